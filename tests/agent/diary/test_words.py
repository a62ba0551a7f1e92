"""Every string that people read is translated, with its placeholders, and shown in their language."""

import gettext
import re
import shutil
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.template.base import Lexer, TokenType
from django.utils import timezone, translation

from provision import words
from rota.adapters.reconciling import HOST_WENT_DOWN, RUNNER_WAS_KILLED
from rota.core.incident import BEFORE_THE_PROGRAM, why_without_record
from rota.core.status import Skip
from rota.diary import phrases
from rota.diary.phrases import AUDIT, in_words, schedule_in_words
from rota.diary.templatetags.diary import length, number, percentage
from rota.planning import obstacle_of
from rota.runner import ENDED_BY_OTHERS
from tests.agent.diary.conftest import Cast, Shipper, visitor
from tests.agent.diary.records import run

ROOT = Path(__file__).resolve().parents[3]
DIARY = ROOT / "agent" / "src" / "rota" / "diary"
APPS = words.apps_of(ROOT)
LANGUAGES = [code for code, _ in settings.LANGUAGES if code != "en"]
KEPT = re.compile(r"%(?:\(\w+\))?[sd]|</?\w[^>]*>|`[^`]*`")
"""What a translation has from its original as it is: placeholders, HTML, what is to be typed."""
NAMES = {"Rota", "CSV", "JSON", "pack", "exit 3", "2026-01-31T14:30"}
"""What is the same in every language."""
LEFT_OUT = {"blocktranslate": "endblocktranslate", "block page": "endblock"}
"""What is translated already, and the classes of a page."""
RESULTS = (
    "exit-code", "signal", "core-dump", "watchdog", "resources", "protocol", "oom-kill", "start-limit-hit", "timeout",
    "exec-condition",
)  # fmt: skip
"""What systemd calls the outcome of a service: org.freedesktop.systemd1(5)."""
READ_ALOUD = ("title", "placeholder", "aria-label", "alt")


def catalogue(folder: Path, language: str) -> dict[object, str]:
    """What is compiled there: each original, in the plural with the number of its form, and its translation."""
    with (folder / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        found: dict[object, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # has no other way
    return {original: said for original, said in found.items() if original}


def test_the_pages_of_packs_are_among_what_is_translated() -> None:
    assert "reports" in {path.parent.name for path in APPS[1:]}


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.parent.name)
def test_everything_is_translated_and_compiled(tmp_path: Path, capfd: pytest.CaptureFixture[str], app: Path) -> None:
    copy = tmp_path / "app"
    shutil.copytree(app, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert words.update(ROOT, copy) == 0, f"`fab words` tells what to translate:\n{capfd.readouterr().out}"
    for language in LANGUAGES:
        assert catalogue(copy, language) == catalogue(app, language), "`fab words` brings the catalogues up to date"


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.parent.name)
@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_placeholders_html_and_what_is_to_be_typed(language: str, app: Path) -> None:
    for original, said in catalogue(app, language).items():
        english = str(original[0] if isinstance(original, tuple) else original)
        assert set(KEPT.findall(said)) == set(KEPT.findall(english)), f"{english!r} is {said!r}"


class Words(HTMLParser):
    """Collects what a page's source says outside of any translation."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data.strip(" \n·:;,.…←→()"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in READ_ALOUD and not (value or "").startswith("#")]


def bare_words(source: str) -> set[str]:
    """The words of a template that no translation reaches; what stands in tags and variables is left to Python."""
    parser, end = Words(), ""
    for token in Lexer(source).tokenize():
        if token.token_type is TokenType.BLOCK and end:
            end = "" if token.contents == end else end
        elif token.token_type is TokenType.BLOCK:
            end = next((end for start, end in LEFT_OUT.items() if token.contents.startswith(start)), "")
        elif token.token_type is TokenType.TEXT and not end:
            parser.feed(token.contents)
    return {each for each in parser.found if any(map(str.isalpha, each))}


def test_templates_say_nothing_that_is_not_marked() -> None:
    paths = [path for app in APPS for path in app.rglob("templates/**/*.html")]
    found = {str(path.relative_to(ROOT)): bare_words(path.read_text()) - NAMES for path in paths}
    assert {name: said for name, said in found.items() if said} == {}


def test_bare_words_are_found() -> None:
    source = '<p title="Hm">{% if a %}Ah{% endif %}{% blocktranslate %}So{% endblocktranslate %} {{ b }} <b>Oh</b></p>'
    assert bare_words(source) == {"Hm", "Ah", "Oh"}


def test_set_phrases_of_hosts_and_of_the_audit_log_are_known() -> None:
    source = "".join(path.read_text() for app in APPS for path in app.rglob("*.py"))
    assert set(re.findall(r'audit\.note\(\s*[^,]+,\s*"([^"]+)"', source)) <= {*AUDIT, *phrases.LEARNT}
    with translation.override("ru"):
        for reason in (
            *Skip,
            *ENDED_BY_OTHERS,
            HOST_WENT_DOWN,
            RUNNER_WAS_KILLED,
            "timeout",
            "exit 3",
            "signal 9 (KILL)",
        ):
            assert in_words(str(reason)) != reason
            assert in_words(f"{reason}: the disk") == f"{in_words(str(reason))}: the disk"
        assert in_words("KeyError: 'a'; b") == "KeyError: 'a'; b"


def test_why_a_unit_did_not_start_is_said_in_the_readers_language() -> None:
    states = ("not-found", "masked", "error", "bad-setting")
    obstacles = [
        obstacle_of(what, {"LoadState": state, "LoadError": 'x "free: text"'}, is_to_be_active=is_timer)
        for what, is_timer in (("its timer", True), ("its unit", False))
        for state in states
    ]
    obstacles += [obstacle_of("its timer", {"LoadState": "loaded", "ActiveState": "inactive"}, is_to_be_active=True)]
    failed = {"LoadState": "loaded", "ActiveState": "failed"}
    obstacles += [obstacle_of("its unit", failed | {"Result": result}) for result in RESULTS]
    reasons = [why_without_record("exit-code", "exited", str(number)) for number in (*BEFORE_THE_PROGRAM, 253)]
    reasons += [why_without_record(result, "", "") for result in RESULTS]
    reasons += [Skip.NEVER_STARTED.because(each) for each in obstacles]
    with translation.override("ru"):
        for reason in reasons:
            never, _, why = reason.removesuffix(': "free: text"').partition(": ")
            for english in filter(None, (never, *re.split(r" \(exit \d+\)|: ", why))):
                assert english not in in_words(reason).replace(f"({english})", ""), in_words(reason)
    with translation.override("de"):
        said = {
            "never started: a credential is missing (exit 243)": "nie gestartet: ein Credential fehlt (Exit-Code 243)",
            "never started: exit 253 of systemd.exec(5)": "nie gestartet: Exit-Code 253, siehe systemd.exec(5)",
            "never started: its unit cannot be loaded: /x: 'a' is bad": (
                "nie gestartet: seine Unit lässt sich nicht laden: /x: 'a' is bad"
            ),
            "signal 9, and left no record": "Signal 9, ohne Aufzeichnung",
            "exit 3": "Exit-Code 3",
            "exit 3 (they say)": "Exit-Code 3 (they say)",
        }
        assert {english: in_words(english) for english in said} == said


def test_schedules_are_said_in_the_readers_language() -> None:
    with translation.override("de"):
        said = {
            "every day at 02:40 Europe/Zurich": "täglich um 02:40 Europe/Zurich",
            "every Monday at 00:00 and 12:00 UTC": "jeden Montag um 00:00 und 12:00 UTC",
            "every 10 minutes, Monday to Friday Europe/Zurich": "alle 10 Minuten, Montag bis Freitag Europe/Zurich",
            "on the 1st of January, April, July and October at 03:00 UTC": (
                "am 1. im Januar, April, Juli und Oktober um 03:00 UTC"
            ),
            "on the last day of each month at 03:00 UTC": "am letzten Tag jedes Monats um 03:00 UTC",
            "when the last success is 1 day 12 hours old": "wenn der letzte Erfolg 1 d 12 h alt ist",
            "every 6 hours at :15 UTC; by hand": "alle 6 Stunden um :15 UTC; von Hand",
            "*-*-* 01:02:03 UTC": "*-*-* 01:02:03 UTC",
            "each 1 day": "each 1 day",
        }
        assert {english: schedule_in_words(english) for english in said} == said


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", ["1,234.5", "99.9%", "0.25 s", "1 run is reviewed.", "3 runs are reviewed.", "21 runs are reviewed."]),
        ("de", ["1.234,5", "99,9 %", "0,25 s", "1 Lauf ist bewertet.", "3 Läufe sind", "21 Läufe sind"]),
        ("fr", ["1 234,5", "99,9 %", "0,25 s", "1 exécution est", "3 exécutions sont", "21 exécutions sont"]),
        ("ru", ["1 234,5", "99,9 %", "0,25 с", "1 запуск разобран", "3 запуска разобрано", "21 запуск разобран"]),
    ],
)
def test_numbers_durations_and_plurals_are_right(language: str, shown: list[str]) -> None:
    with translation.override(language):
        reviewed = (
            translation.ngettext("%d run is reviewed.", "%d runs are reviewed.", amount) % amount
            for amount in (1, 3, 21)
        )
        said = [number(1234.5), percentage(0.9999), length(0.25), *reviewed]
    for has, wanted in zip(said, shown, strict=True):
        assert has.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ").startswith(wanted)


def test_pages_speak_the_language_that_somebody_chose_or_the_browser_asks_for(cast: Cast, production: Shipper) -> None:
    production.ship(run(status="failed", reason="exit 3", started=timezone.now() - timedelta(hours=2)))
    asks_for = {"HTTP_ACCEPT_LANGUAGE": "tlh, fr-CH;q=0.9, en;q=0.5"}
    page = cast.viewer.get("/", **asks_for)
    assert page["Content-Language"] == "fr"
    assert "Accept-Language" in page["Vary"]
    for said in ('<html lang="fr">', "échouée", "code de sortie 3", "il y a 2 h", "Exécutions"):
        assert said in page.content.decode()
    assert "Se connecter" in visitor().get("/login/", **asks_for).content.decode()
    chosen = {"name": "Viewer", "language": "ru", "time_zone": ""}
    cast.viewer.post("/account/change", chosen)
    person = cast.people["viewer"]
    person.refresh_from_db()
    page = visitor(person).get("/", **asks_for)
    assert '<html lang="ru">' in page.content.decode()
    assert "2 ч назад" in page.content.decode()
    assert "Accept-Language" not in page.get("Vary", "")
    assert visitor(cast.people["reviewer"]).get("/")["Content-Language"] == "en"

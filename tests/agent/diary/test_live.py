"""A run under way is followed while somebody looks at it, by short answers, until its record has come."""

from datetime import timedelta
from html.parser import HTMLParser
from random import Random
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from rota.diary.following import KEPT, SHOWN_ITEMS, parse_seen
from rota.diary.models import Host, Live, LivePart
from rota.diary.output import render, render_lines, split_lines, without_unfinished
from rota.diary.pages.live import MOST_LINES
from tests.agent.diary.conftest import Cast, Shipper
from tests.agent.diary.records import catalogue, run, running
from tests.agent.diary.test_asking import ask, listen, look
from tests.agent.diary.test_pages import text_of

pytestmark = pytest.mark.each_engine

EVIL = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202e"


@pytest.fixture
def identifier(production: Shipper) -> str:
    return str(production.ship(running())[0]["id"])


def output_of(identifier: str, begin: int, text: str) -> dict[str, Any]:
    return {"run": identifier, "output": [begin, begin + len(text)], "text": text}


def report_of(identifier: str, begin: int, **said: Any) -> dict[str, Any]:
    return {"run": identifier, "report": [begin, begin + 10], "items": [], "counts": {}} | said


def events(client: Client, identifier: str, after: str = "0.0") -> tuple[dict[str, str], str]:
    """The content of each event by its name, and the id of the last."""
    response = client.get(f"/runs/{identifier}/live?after={after}")
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    found, last = {}, after
    for block in response.content.decode().split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.split("\n")]
        named = dict(fields)
        if "event" in named:
            found[named["event"]] = "\n".join(value for key, value in fields if key == "data")
            last = named.get("id", last)
    return found, last


def test_a_host_is_asked_for_a_run_while_somebody_looks_at_it(cast: Cast, production: Shipper, identifier: str) -> None:
    assert (look(production), listen(production)["follow"]) == (0, [])
    text_of(cast.viewer, f"/runs/{identifier}/")
    assert look(production) == 1.0
    assert listen(production)["follow"] == [{"run": identifier, "output": 0, "report": 0}]
    Live.objects.update(watched=timezone.now() - timedelta(seconds=1))
    assert (look(production), listen(production)["follow"]) == (0, [])
    events(cast.viewer, identifier)
    assert look(production) == 1.0


def test_what_a_host_tells_is_shown_once_to_each_who_looks(cast: Cast, production: Shipper, identifier: str) -> None:
    viewer = cast.viewer
    text_of(viewer, f"/runs/{identifier}/")
    listen(production, live=[output_of(identifier, 0, "one\ntwo\n")])
    found, last = events(viewer, identifier)
    assert 'id="L2"' in found["output"]
    assert events(viewer, identifier, last)[0] == {}
    listen(production, live=[output_of(identifier, 8, f"{EVIL}\n")])
    found, last = events(viewer, identifier, last)
    assert 'id="L3"' in found["output"]
    assert "one" not in found["output"]
    assert "&lt;script&gt;" in found["output"]
    assert '<span class="ansi-red">red</span>' in found["output"]
    assert "\u202e" not in found["output"]
    assert events(cast.reviewer, identifier)[0]["output"].count('class="line"') == 3


def test_a_message_that_comes_twice_or_late_is_kept_once(cast: Cast, production: Shipper, identifier: str) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    first, second = output_of(identifier, 0, "one\n"), output_of(identifier, 4, "two\n")
    reported = report_of(identifier, 0, counts={"rows": 2})
    for message in (second, first, first, reported, reported, second, second, first):
        listen(production, live=[message])
    page = text_of(cast.viewer, f"/runs/{identifier}/")
    assert page.count('class="line"') == 2
    assert Live.objects.get().counts == {"rows": 2}


def test_items_and_counts_are_shown_so_far_and_the_latest_first(
    cast: Cast, production: Shipper, identifier: str
) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    items = [{"name": f"<b>{number}", "outcome": "written", "message": ""} for number in range(SHOWN_ITEMS + 5)]
    listen(production, live=[report_of(identifier, 0, items=items, counts={"rows": 2, "<i>": 1})])
    listen(production, live=[report_of(identifier, 10, counts={"rows": 3})])
    shown = events(cast.viewer, identifier)[0]["report"]
    assert f'<span class="tally">{SHOWN_ITEMS + 5}</span>' in shown
    assert "<dd>5</dd>" in shown
    assert "&lt;b&gt;104" in shown
    assert "<b>" not in shown
    assert shown in text_of(cast.viewer, f"/runs/{identifier}/"), "without JavaScript too"


def test_when_the_record_comes_the_page_is_told_and_nothing_is_left(
    cast: Cast, production: Shipper, identifier: str
) -> None:
    viewer = cast.viewer
    text_of(viewer, f"/runs/{identifier}/")
    listen(production, live=[output_of(identifier, 0, "one\n"), report_of(identifier, 0, counts={"rows": 2})])
    production.ship(run(id=identifier))
    assert events(viewer, identifier)[0] == {"end": "succeeded"}
    assert (Live.objects.count(), LivePart.objects.count()) == (0, 0)
    listen(production, live=[output_of(identifier, 4, "late\n")])
    page = text_of(viewer, f"/runs/{identifier}/")
    assert "<script" not in page
    assert "hello" in page


def test_of_a_long_output_only_so_much_is_kept_until_it_ends(cast: Cast, production: Shipper, identifier: str) -> None:
    viewer = cast.viewer
    text_of(viewer, f"/runs/{identifier}/")
    line, position, last = "x" * 99 + "\n", 0, "0.0"
    for _ in range(20):
        text = line * 300
        listen(production, live=[output_of(identifier, position, text)])
        position += len(text)
        found, last = events(viewer, identifier, last)
        assert found["output"].count('class="line"') == 300
    kept = sum(len(part.text) for part in LivePart.objects.all())
    assert KEPT <= kept <= KEPT + 2 * len(line) * 300
    page = text_of(viewer, f"/runs/{identifier}/")
    assert 'class="left-out"' in page
    assert 'id="L6000"' in page


def test_short_messages_share_a_row(cast: Cast, production: Shipper, identifier: str) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    for number in range(30):
        listen(production, live=[output_of(identifier, number * 2, "x\n")])
    assert LivePart.objects.count() == 1
    assert events(cast.viewer, identifier, "40.0")[0]["output"].count('class="line"') == 10


LOUD = (
    "plain \x1b[1;31mred\n\x1b[4mstill\x1b[24m é \x1b[38;5;196m<b>\n\n\x1b[0;32mgreen\x1b]0;a title\x07\n\x1b[39mbold? "
    "\x1b[2J\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\ \x1bPq\x1b\\\x1b(B \x1b[99999999999m\x1b[\x1b[35;1m\x1b"
    "\nviolet\x1b[;m\n"
)


class Painted(HTMLParser):
    """Each character that is shown, with its classes; numbers of lines, and where lines end, left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.characters: list[tuple[str, str]] = []
        self.within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.within.append(tag if tag == "a" else dict(attributes)["class"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.within.pop()

    def handle_data(self, text: str) -> None:
        if "a" not in self.within:
            classes = " ".join(each for each in self.within if each not in ("line", "mark", ""))
            self.characters += [(classes, each) for each in text if each != "\n"]


def test_colours_go_on_from_message_to_message_wherever_these_are_cut(
    cast: Cast, production: Shipper, identifier: str
) -> None:
    viewer, sizes = cast.viewer, Random(7)  # noqa: S311 - where to cut, and no secret
    whole = Painted("".join(str(line.html) for line in render(LOUD).head)).characters
    assert {classes for classes, _ in whole} > {"", "bold ansi-red", "bold underlined ansi-red", "ansi-green"}
    for most in (3, 40):
        LivePart.objects.all().delete()
        Live.objects.all().delete()
        shown = text_of(viewer, f"/runs/{identifier}/")
        position, pieces, last = 0, [], "0.0"
        while position < len(LOUD):
            size = sizes.randint(1, most)
            piece = LOUD[position : position + size]
            listen(production, live=[output_of(identifier, position, piece)])
            position += len(piece)
            if not pieces:
                shown = text_of(viewer, f"/runs/{identifier}/")
                last = shown.split("live?after=")[1].split('"')[0]
                pieces.append(shown.split('id="live-output"')[1].split(">", 1)[1].split("</pre>")[0])
            found, last = events(viewer, identifier, last)
            pieces.append(found.get("output", ""))
        assert Painted("".join(pieces)).characters == whole, most


@given(st.text("\x1b[]m;0123456789\\\x07P_^x\r \u202e", max_size=80), st.integers(0, 80))
def test_whatever_is_cut_off_was_no_whole_sequence(text: str, at: int) -> None:
    first = without_unfinished(text[:at])
    assert text.startswith(first)
    held = text[len(first) : at]
    assert not held or held[0] == "\x1b"
    if "\r" not in text:
        _, look = render_lines(split_lines(first), first=1)
        rest, end = render_lines(split_lines(text[len(first) :]), first=1, look=look)
        assert end == render_lines(split_lines(text), first=1)[1]


def test_what_begins_a_sequence_is_not_waited_for_without_end(cast: Cast, production: Shipper, identifier: str) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    listen(production, live=[output_of(identifier, 0, "\x1b]" + "x" * 20)])
    assert events(cast.viewer, identifier)[0] == {}
    listen(production, live=[output_of(identifier, 22, "x" * 300)])
    assert "output" in events(cast.viewer, identifier)[0]


def test_after_lines_that_were_left_out_colours_are_those_of_then(
    cast: Cast, production: Shipper, identifier: str
) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    listen(production, live=[output_of(identifier, 0, "\x1b[31m\n" + "x\n" * MOST_LINES)])
    found, last = events(cast.viewer, identifier)
    assert found["output"].count('<span class="ansi-red">x</span>') == MOST_LINES
    assert last.endswith(".red")


def test_a_host_tells_of_its_own_runs_alone(cast: Cast, production: Shipper, identifier: str) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    Live.objects.update(host=Host.objects.create(name="staging"))
    listen(production, live=[output_of(identifier, 0, "forged\n")])
    assert LivePart.objects.count() == 0


@pytest.mark.parametrize(
    "said",
    [
        None,
        "x",
        [None],
        [{"run": 3}],
        [{"output": [0, 5], "text": 7}],
        [{"output": [0, 5, 6], "text": "x"}],
        [{"output": ["0", 5], "text": "x"}],
        [{"output": [0, 10**30], "text": "x"}],
        [{"report": [0, 5], "items": [1, {}, "x"], "counts": [1]}],
        [{"report": [0, 5], "items": None, "counts": {"x" * 999: 1, "nul\0": 1e400, "t": "text"}}],
        [{"output": [0, 5], "text": "nul\0 and \ud800"}],
    ],
    ids=range(11),
)
def test_whatever_a_host_tells_it_gets_an_answer(cast: Cast, production: Shipper, identifier: str, said: Any) -> None:
    text_of(cast.viewer, f"/runs/{identifier}/")
    told = [each | {"run": identifier} if isinstance(each, dict) and "run" not in each else each for each in said or []]
    assert listen(production, live=told if isinstance(said, list) else said)["again"] == 1.0
    text_of(cast.viewer, f"/runs/{identifier}/")


@pytest.mark.parametrize(
    "text", ["", "x", "1", "1.x", "-1.0", "9" * 99 + ".0", "٣.٤", "1.2.3", "1.2.red.bold", "1.2.<b>"]
)
def test_what_is_no_events_id_means_that_nothing_was_seen(text: str) -> None:
    assert str(parse_seen(text)) == "0.0"
    for said in ("12.3", "12.3.red", "12.3.bold.dim.underlined.cyan"):
        assert str(parse_seen(said)) == said


def test_a_stranger_follows_nothing(cast: Cast, production: Shipper, identifier: str) -> None:
    assert cast.stranger.get(f"/runs/{identifier}/live").status_code == 302
    assert not Live.objects.exists()


def test_the_page_of_a_request_hears_when_it_stands_otherwise(cast: Cast, production: Shipper) -> None:
    production.ship(catalogue())
    client = cast.operator
    page = ask(client).headers["Location"]
    shown = text_of(client, page)
    address = shown.split('data-events="')[1].split('"')[0]
    assert "event:" not in client.get(address).content.decode()
    (told,) = listen(production)["requests"]
    listen(production, got=[told["id"]])
    assert "event: end" in client.get(address).content.decode()


def test_following_costs_a_few_queries_however_long_the_output(
    cast: Cast, production: Shipper, identifier: str, django_assert_max_num_queries: Any
) -> None:
    viewer = cast.viewer
    text_of(viewer, f"/runs/{identifier}/")
    listen(production, live=[output_of(identifier, 0, "line\n" * 10_000)])
    listen(production, live=[output_of(identifier, 50_000, "line\n" * 10_000)])
    for after in ("0.0", "90000.0", "100000.0"):
        with django_assert_max_num_queries(6):
            events(viewer, identifier, after)


def test_pages_with_a_script_name_a_file_of_ours_and_hold_none_inline(
    cast: Cast, production: Shipper, identifier: str
) -> None:
    page = text_of(cast.viewer, f"/runs/{identifier}/")
    assert page.count("<script") == page.count('<script src="/static/diary/live.js?v=') == 1
    assert cast.viewer.get("/static/diary/live.js").headers["Content-Type"].startswith("text/javascript")

"""People and programs ask for runs in the diary, and a real worker with the real sandbox answers them."""

import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from rota.diary.configuration import ConfigurationError, Form
from rota.diary.models import AuditEntry, Person
from rota.packs.reports import asked as answering
from rota.packs.reports import asking as files
from rota.packs.reports import ledger
from rota.packs.reports.asking import State
from rota.packs.reports.attempt import as_mapping
from rota.packs.reports.definitions import from_json
from rota.packs.reports.diary import asking, places
from rota.packs.reports.diary.attempts import keep_attempt
from rota.packs.reports.diary.models import Asked, Client, Query, RunLog, Script, ScriptType, Task
from rota.packs.reports.diary.options import is_busy_now, read_options
from rota.packs.reports.diary.outputs import SHOWN, Part, read_new
from rota.packs.reports.diary.pages import programs
from rota.packs.reports.publishing import Export
from rota.packs.reports.running import Desk
from rota.packs.reports.sandbox import Limits
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from tests.agent.diary.conftest import SOURCES, Cast, Shipper, undone, visitor
from tests.agent.reports.diary.test_editor import NEW, REPORT, form_of
from tests.agent.waiting import wait_until

RUN, TRY = f"{REPORT}run", f"{REPORT}try"
EVIL = "<script>alert(1)</script>\0\u202e"


@pytest.fixture
def desk(settings: Any, tmp_path: Path) -> Desk:
    """What the host's task works at; the diary leaves its requests there."""
    settings.CONFIGURATION = replace(settings.CONFIGURATION, home=tmp_path)
    places.prepare()
    return Desk(places=places.workplace(), sandbox=Bubblewrap(), limits=Limits(seconds=20), host="production")


def answer(desk: Desk) -> None:
    """As the host's task does, once."""
    answering.answer_all(desk, at_once=2, tell=lambda _: None, linger=0.05)


@contextmanager
def answered(desk: Desk) -> Iterator[None]:
    """While the host's task answers."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            answer(desk)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        desk.stop.set()
        worker.join()


def options(settings: Any, **said: Any) -> None:
    settings.CONFIGURATION = replace(settings.CONFIGURATION, packs={"reports": said})


def asked_at(response: Any) -> str:
    """The address of what was asked for."""
    assert response.status_code == 302, response.content.decode()
    return str(response["Location"])


def text_of(browser: Browser, address: str, status: int = 200) -> str:
    response = browser.get(address)
    assert response.status_code == status
    return str(response.content.decode())


def saved(task: Task, body: str) -> None:
    Script.objects.filter(pk=task.script_id).update(body=body)


def publish(desk: Desk, content: bytes) -> None:
    export = Export(desk.places.exports)
    new = export.open_new("library")
    os.write(new.descriptor, content)
    export.publish(new, "library/books.csv", 0)


def request_of(desk: Desk) -> dict[str, Any]:
    (path,) = desk.places.asked.iterdir()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.each_engine
def test_what_is_saved_is_made_now_and_published(desk: Desk, editor: Person, shelf: Task, maker: Shipper) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(RUN))
    assert 'class="status due"' in text_of(browser, page)
    answer(desk)
    shown = text_of(browser, page)
    assert 'class="status succeeded"' in shown
    assert "<script" not in shown
    assert (desk.places.exports / "library/books.csv").read_text() == "1\n"
    entry = AuditEntry.objects.get(action="report run asked for")
    assert (entry.person, entry.subject_name) == (editor, "library/books.csv")
    for _, attempt in ledger.waiting(desk.places.ledger):
        assert keep_attempt(maker.host, as_mapping(attempt))["result"] == "accepted"
    log = RunLog.objects.get()
    assert (str(log.attempt), log.trigger, log.rows) == (page.split("/")[3], "run now", 1)
    assert page in text_of(browser, REPORT)
    assert page not in text_of(visitor(Person.objects.get(role="administrator")), REPORT), "one's own alone"


@pytest.mark.each_engine
def test_a_host_is_given_no_more_than_the_report_needs(desk: Desk, cast: Cast, shelf: Task) -> None:
    Client.objects.update(access_key="a" * 64, password="secret", notes="secret")
    for name in ("wanted", "other"):
        Script.objects.create(name=name, type=ScriptType.SNIP, body="")
        Query.objects.create(name=name, is_library=True, body="SELECT 2")
    Task.objects.create(client=shelf.client, file_name="b.csv", extension="csv", start_date=shelf.start_date)
    saved(shelf, "from sniplets import wanted\nfrom queries import wanted as w\n")
    assert cast.administrator.post(RUN).status_code == 302
    said = request_of(desk)
    defined = from_json(said["definitions"])
    assert {each.name for each in defined.scripts} == {"library:books_csv", "wanted"}
    assert {each.name for each in defined.queries} == {"library:books_csv", "wanted"}
    assert (len(defined.tasks), len(defined.clients), "secret" in str(said)) == (1, 1, False)
    assert (said["trigger"], said["asked_by"]) == ("run now", "administrator@example.org")
    (path,) = desk.places.asked.iterdir()
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.each_engine
def test_what_stands_in_the_form_is_tried_and_saved_by_nobody(desk: Desk, editor: Person, shelf: Task) -> None:
    publish(desk, b"one\ntwo\nthree\n")
    browser = visitor(editor)
    script = "import sys\nfrom queries.library import books_csv\nprint('one')\nprint(books_csv.query.strip())\n"
    said = form_of(browser, REPORT, script=f"{script}print('three')\nprint('<b>', file=sys.stderr)", query="SELECT 9")
    page = asked_at(browser.post(TRY, said))
    answer(desk)
    shown = text_of(browser, page)
    assert 'class="status succeeded"' in shown
    assert "SELECT 9" in shown
    assert "&lt;b&gt;" in shown
    assert (desk.places.exports / "library/books.csv").read_bytes() == b"one\ntwo\nthree\n"
    assert Script.objects.get().body == "print(1)\n"
    assert list(ledger.waiting(desk.places.ledger)) == []
    beside = text_of(browser, f"{page}difference/")
    assert '<del class="line">− two' in beside
    assert '<ins class="line">+ SELECT 9' in beside
    download = browser.get(f"{page}output")
    assert download.getvalue() == b"one\nSELECT 9\nthree\n"
    assert download["Content-Disposition"] == 'attachment; filename="library_books.csv.txt"'
    assert (download["Content-Type"], download["X-Content-Type-Options"]) == ("text/plain; charset=utf-8", "nosniff")


def test_who_goes_on_writing_has_all_that_was_tried_and_loses_to_nobody(
    desk: Desk, cast: Cast, editor: Person, shelf: Task
) -> None:
    browser = visitor(editor)
    said = form_of(browser, REPORT, script="print('mine')", query="SELECT 'mine'", keep=7, checks=["csv"])
    page = asked_at(browser.post(TRY, said))
    back = f"{REPORT}?tried={page.split('/')[3]}"
    with undone():
        assert browser.post(REPORT, form_of(browser, back)).status_code == 302, "nobody has changed it"
        assert Script.objects.get().body == "print('mine')"
    other = cast.administrator
    assert other.post(REPORT, form_of(other, REPORT, query="SELECT 'theirs'")).status_code == 302
    answer(desk)
    assert back in text_of(browser, page)
    response = browser.get(back)
    values = response.context["values"]
    assert {name: values[name] for name in ("script", "query", "keep", "checks")} == {
        "script": "print('mine')", "query": "SELECT 'mine'", "keep": 7, "checks": ["csv"],
    }  # fmt: skip
    assert browser.post(REPORT, form_of(browser, back)).status_code == 409, "somebody else has saved meanwhile"
    assert other.get(f"{NEW}?tried={page.split('/')[3]}").status_code == 404, "of another form"
    assert other.get(f"{REPORT}?tried=x").status_code == 404


def test_a_report_that_is_not_there_yet_can_be_tried(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    said = form_of(browser, NEW, file_name="new.csv", script="print('new')")
    page = asked_at(browser.post(f"{NEW.removesuffix('new')}try", said))
    answer(desk)
    assert "new\n" in text_of(browser, page)
    assert browser.get(f"{NEW}?tried={page.split('/')[3]}").context["values"]["file_name"] == "new.csv"
    assert (Task.objects.count(), list(desk.places.exports.iterdir())) == (1, [])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"script": "import x ("}, "line 1"),
        ({"script": "from sniplets import nothing"}, "sniplets has no &#x27;nothing&#x27;"),
        ({"script": "  "}, "is empty"),
        ({"file_name": "../x.csv"}, "not allowed"),
        ({"start_date": "x"}, "start_date"),
    ],
)
def test_what_cannot_be_tried_is_said_and_stays_in_the_form(
    desk: Desk, editor: Person, shelf: Task, wrong: dict[str, str], told: str
) -> None:
    browser = visitor(editor)
    said = form_of(browser, REPORT, query="SELECT 'kept'") | wrong
    response = browser.post(TRY, said)
    page = response.content.decode()
    assert response.status_code == 200
    assert told in page
    assert 'role="alert"' in page
    assert "SELECT &#x27;kept&#x27;" in page
    assert response.context["token"] == said["token"]
    assert list(desk.places.asked.iterdir()) == []
    assert not Asked.objects.exists()


def test_an_editor_does_not_reach_another_clients_query(desk: Desk, editor: Person, shelf: Task) -> None:
    """By trying, by saving and running, by the remarks or by what they hint at."""
    Query.objects.create(name="press:titles_xml", body="SELECT 'of the press'")
    browser, words = visitor(editor), "from queries.press import titles_xm{0}\nprint(titles_xm{0}.query)"
    for end in ("", "l"):
        said = form_of(browser, REPORT, script=words.format(end))
        for address in (TRY, REPORT, RUN):
            browser.post(address, said)
        tried = browser.post(TRY, said).content.decode()
        shown = browser.get(REPORT).content.decode() + tried
        assert "a library query" in tried
        assert "of the press" not in shown
        assert f"&#x27;press:titles_xm{end}&#x27;" in shown
        assert end or "titles_xml" not in shown
    assert list(desk.places.asked.iterdir()) == []


def test_a_form_that_was_wrong_once_still_knows_when_it_was_opened(cast: Cast, editor: Person, shelf: Task) -> None:
    mine, theirs = cast.administrator, visitor(editor)
    said = form_of(mine, REPORT, script="print('mine')", keep="x")
    assert theirs.post(REPORT, form_of(theirs, REPORT, script="print('theirs')")).status_code == 302
    again = mine.post(REPORT, said)
    assert mine.post(REPORT, said | {"keep": 3, "token": again.context["token"]}).status_code == 409


def test_what_is_saved_and_cannot_run_is_said_at_once(desk: Desk, editor: Person, shelf: Task) -> None:
    saved(shelf, "from sniplets import nothing")
    response = visitor(editor).post(RUN)
    assert (response.status_code, "sniplets has no" in response.content.decode()) == (409, True)
    assert not Asked.objects.exists()


def test_a_script_that_fails_shows_why(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(TRY, form_of(browser, REPORT, script="print('begun')\nraise ValueError('<no>')")))
    answer(desk)
    shown = text_of(browser, page)
    assert 'class="status failed"' in shown
    assert "ValueError: &lt;no&gt;" in shown
    assert "begun" in shown


def live(browser: Browser, page: str, standing: str, after: str = "0.0") -> tuple[dict[str, str], str]:
    """The content of each event by its name, and the id of the last."""
    content = browser.get(f"{page}live?standing={standing}&after={after}").content.decode()
    found, last = {}, after
    for block in content.split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.split("\n")]
        if "event" in dict(fields):
            found[dict(fields)["event"]] = "\n".join(value for key, value in fields if key == "data")
            last = dict(fields).get("id", last)
    return found, last


def test_output_and_errors_are_followed_line_by_line_while_it_runs(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    script = (
        "import sys, time\nprint('one', flush=True)\nprint('half', end='', flush=True)\n"
        f"print({EVIL!r}, file=sys.stderr, flush=True)\ntime.sleep(60)\n"  # inside the sandbox
    )
    page = asked_at(browser.post(TRY, form_of(browser, REPORT, script=script)))
    assert live(browser, page, "waiting")[0] == {}
    with answered(desk):
        output = desk.places.results / page.split("/")[3] / "output"
        wait_until(lambda: output.exists() and output.read_text() == "one\nhalf")
        wait_until(lambda: output.with_name("errors").stat().st_size > 20)
        assert live(browser, page, "waiting")[0] == {"end": "changed"}
        shown = text_of(browser, page)
        assert "one\n</span>" in shown
        assert "half" not in shown
        assert shown.count("<script") == shown.count('<script src="/static/diary/live.js?v=') == 1
        found, last = live(browser, page, "running")
        assert found["output"] == '<span class="line">one\n</span>'
        assert "&lt;script&gt;" in found["report"]
        assert not {"\0", "\u202e"} & set(found["report"])
        assert live(browser, page, "running", last)[0] == {}
        assert f"after={last}" in shown
    shown = text_of(browser, page)
    assert "half" in shown
    assert 'class="status failed"' in shown
    assert live(browser, page, "running", last)[0] == {"end": "changed"}


def test_who_follows_is_shown_the_latest_whole_lines_however_fast_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "output"
    assert read_new(path, 0) == Part()
    path.write_text("".join(f"{number}\n" for number in range(100_000)) + "begun")
    part = read_new(path, 5)
    assert (part.is_cut, part.end, part.lines[-1]) == (True, path.stat().st_size - len("begun"), "99999")
    assert read_new(path, part.end) == Part("", part.end, False, path.stat().st_size)
    path.write_text("x" * SHOWN)
    assert read_new(path, 0).end == SHOWN, "a line without end is shown in pieces"


@pytest.mark.parametrize(
    "written",
    [
        "sys.stdout.buffer.write(b'\\xff\\x00<i>\\r\\n' * 100_000)",
        "print('\\u202e\\x1b[31m</pre><img>' * 50_000)",
        "sys.stdout.buffer.write(b'x' * 3_000_000)",
        "print('\\n' * 1_000_000)",
    ],
    ids=["invalid", "markup", "one line", "empty lines"],
)
def test_whatever_it_writes_is_shown_as_text_and_not_all_of_it(
    desk: Desk, editor: Person, shelf: Task, written: str
) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(TRY, form_of(browser, REPORT, script=f"import sys\n{written}")))
    answer(desk)
    shown = text_of(browser, page)
    assert 'class="left-out"' in shown
    assert len(shown) < 40 * SHOWN
    assert not {"\0", "\u202e", "\x1b"} & set(shown)
    assert "<i>" not in shown
    assert "<img>" not in shown
    assert text_of(browser, f"{page}difference/")
    size = (desk.places.results / page.split("/")[3] / "output").stat().st_size
    assert len(browser.get(f"{page}output").getvalue()) == size


def test_an_output_that_is_a_link_leads_nowhere(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(TRY, form_of(browser, REPORT)))
    answer(desk)
    output = desk.places.results / page.split("/")[3] / "output"
    secret = output.with_name("secret")
    secret.write_text("secret")
    output.unlink()
    output.symlink_to(secret)
    assert browser.get(f"{page}output").status_code == 404
    for address in (page, f"{page}difference/"):
        assert "secret" not in browser.get(address).content.decode()


def test_of_what_is_long_the_beginnings_are_compared_and_the_page_says_so(
    desk: Desk, editor: Person, shelf: Task
) -> None:
    publish(desk, b"".join(b"%d\n" % number for number in range(300_000)))
    browser = visitor(editor)
    script = "for number in range(300_000):\n    print(number if number else '<first>')"
    page = asked_at(browser.post(TRY, form_of(browser, REPORT, script=script)))
    answer(desk)
    shown = text_of(browser, f"{page}difference/")
    assert "+ &lt;first&gt;" in shown
    assert 'class="notice"' in shown
    assert len(shown) < 100_000


def test_a_report_that_is_being_made_is_refused_and_says_so(desk: Desk, editor: Person, shelf: Task) -> None:
    saved(shelf, "import time\ntime.sleep(1)")  # inside the sandbox
    browser = visitor(editor)
    pages = [asked_at(browser.post(RUN)), asked_at(browser.post(TRY, form_of(browser, REPORT)))]
    answer(desk)
    shown = [text_of(browser, page) for page in pages]
    assert sorted("never made twice at once" in each for each in shown) == [False, True]


def test_who_asks_twice_before_it_is_taken_up_has_asked_once(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    assert asked_at(browser.post(RUN)) == asked_at(browser.post(RUN))
    assert Asked.objects.count() == len(list(desk.places.asked.iterdir())) == 1


def test_who_saves_before_it_is_taken_up_has_that_made(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    first = asked_at(browser.post(RUN))
    assert browser.post(REPORT, form_of(browser, REPORT, script="print('saved since')")).status_code == 302
    second = asked_at(browser.post(RUN))
    assert second != first
    assert Asked.objects.get(pk=first.split("/")[3]).withdrawn
    answer(desk)
    assert (desk.places.exports / "library/books.csv").read_text() == "saved since\n"


def test_what_nobody_takes_up_says_what_to_look_at_and_can_be_withdrawn(
    desk: Desk, editor: Person, shelf: Task
) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(RUN))
    Asked.objects.update(at=timezone.now() - timedelta(seconds=31))
    assert live(browser, page, "waiting")[0] == {"end": "changed"}
    assert "rota-task-reports_asked.path" in text_of(browser, page)
    assert asked_at(browser.post(f"{page}withdraw")) == page
    assert 'class="status skipped"' in text_of(browser, page)
    answer(desk)
    assert not (desk.places.exports / "library").exists()
    assert AuditEntry.objects.filter(action="report run withdrawn").count() == 1
    assert asked_at(browser.post(RUN)) != page


def test_what_is_taken_up_cannot_be_withdrawn(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(RUN))
    answer(desk)
    browser.post(f"{page}withdraw")
    assert 'class="status succeeded"' in text_of(browser, page)
    assert not AuditEntry.objects.filter(action="report run withdrawn").exists()


def test_a_worker_that_is_killed_leaves_no_run_that_seems_to_go_on(desk: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(RUN))
    (claimed,) = answering.claim_all(desk.places)
    assert 'class="status running"' in text_of(browser, page)
    os.close(claimed.lock)  # as the kernel does for who is killed
    assert answering.INTERRUPTED in text_of(browser, page)


def test_what_is_kept_no_longer_says_so_and_shows_the_run_log(
    desk: Desk, editor: Person, shelf: Task, maker: Shipper
) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(RUN))
    tried = asked_at(browser.post(TRY, form_of(browser, REPORT, script="print('tried')")))
    answer(desk)
    answer(desk)
    for _, attempt in ledger.waiting(desk.places.ledger):
        keep_attempt(maker.host, as_mapping(attempt))
    now = timezone.now().timestamp()
    assert answering.sweep(desk.places, now=now + 3 * 86400) == 2
    assert 'class="status succeeded"' in text_of(browser, page)
    assert "two days" in text_of(browser, tried)
    assert "kept no longer" in text_of(browser, f"{REPORT}?tried={tried.split('/')[3]}")
    for each in ("output", "difference/"):
        assert browser.get(f"{tried}{each}").status_code == 404


def test_where_nobody_makes_reports_there_is_no_dead_button(
    editor: Person, shelf: Task, settings: Any, tmp_path: Path
) -> None:
    settings.CONFIGURATION = replace(settings.CONFIGURATION, home=tmp_path / "none")
    browser = visitor(editor)
    page = text_of(browser, REPORT)
    assert "reports_asked" in page
    assert RUN not in page
    assert TRY not in page
    said = form_of(browser, REPORT, script="print('kept')")
    assert "print(&#x27;kept&#x27;)" in browser.post(TRY, said).content.decode()
    assert not Asked.objects.exists()


def test_so_many_requests_wait_and_no_more(desk: Desk, editor: Person, shelf: Task) -> None:
    for number in range(files.MOST_WAITING):
        (desk.places.asked / f"{number}.json").write_text("{}")
    (desk.places.asked / ".being-written").write_text("")
    response = visitor(editor).post(RUN)
    assert (response.status_code, "wait already" in response.content.decode()) == (409, True)
    assert not Asked.objects.exists()
    assert not AuditEntry.objects.filter(action="report run asked for").exists()


def test_in_the_busy_window_nobody_asks_and_the_form_is_kept(
    desk: Desk, editor: Person, shelf: Task, settings: Any
) -> None:
    options(settings, busy_hours=24)
    browser = visitor(editor)
    assert "02:00" in browser.post(RUN).content.decode()
    said = form_of(browser, REPORT, script="print('kept')")
    assert "print(&#x27;kept&#x27;)" in browser.post(TRY, said).content.decode()
    assert list(desk.places.asked.iterdir()) == []


# -- programs


@pytest.fixture
def token(cast: Cast, shelf: Task) -> str:
    page = cast.administrator.post("/reports/tokens/make", {"name": "the press's shop"})
    made: str = page.context["made"]
    assert made in page.content.decode()
    return made


def call(token: str, task: str, *, path: str = "runtask", method: str = "post", **more: Any) -> Any:
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}
    return getattr(visitor(), method)(f"/{path}/{task}", **headers, **more)


def told(response: Any) -> tuple[int, dict[str, Any]]:
    return response.status_code, response.json()


@pytest.mark.each_engine
def test_a_program_has_a_report_made_and_hears_of_it_in_the_originals_words(
    desk: Desk, shelf: Task, token: str, settings: Any
) -> None:
    with answered(desk):
        response = call(token, shelf.pk)
        dry = call(token, shelf.pk.upper(), path="dryruntask")
    assert response.status_code == dry.status_code == 200
    moment = response.json()["dateTime"]
    assert response.content.decode() == (
        f'{{"idTask":"{shelf.pk}","message":"OK","dateTime":"{moment}","output":null,"success":true}}'
    )
    assert (len(moment), "+" in moment, response["Content-Type"]) == (26, False, "application/json")
    assert (desk.places.exports / "library/books.csv").read_text() == "1\n"
    assert [attempt.trigger for _, attempt in ledger.waiting(desk.places.ledger)] == ["run now"]
    entry = AuditEntry.objects.get(action="report run asked for")
    assert entry.detail == {"token": "the press's shop"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise SystemExit(3)", "exit value 3"),
        ("open('x')", "Illegal instructions found: {library:books_csv=[open()]}"),
        ("from sniplets import nothing", "sniplets has no 'nothing'"),
        ("x (", "line 1"),
        ("", "is empty"),
    ],
)
def test_a_report_that_cannot_be_made_is_told_with_500_and_logged(
    desk: Desk, shelf: Task, token: str, body: str, message: str
) -> None:
    saved(shelf, body)
    with answered(desk):
        status, said = told(call(token, shelf.pk))
    assert (status, said["success"], said["output"]) == (500, False, None)
    assert message in said["message"]
    assert [attempt.message for _, attempt in ledger.waiting(desk.places.ledger)] == [said["message"]]


def test_what_is_wrong_with_the_call_is_told_in_the_originals_order(
    desk: Desk, cast: Cast, shelf: Task, token: str, settings: Any
) -> None:
    assert told(call("", shelf.pk))[0] == told(call("wrong", shelf.pk))[0] == 401
    assert call(token, shelf.pk, method="get").headers["Allow"] == "POST"
    assert visitor().post(f"/runtask/{shelf.pk}?token={token}").status_code == 401, "never in an address"
    assert cast.administrator.post(f"/runtask/{shelf.pk}").status_code == 401, "no cookie opens it"
    unknown = call(token, "00000000-0000-0000-0000-000000000000")
    assert (unknown.status_code, unknown.content) == (404, b"")
    status, said = told(call(token, "<x>"))
    assert (status, said["status"], said["error"]) == (400, 400, "Bad Request")
    options(settings, busy_hours=24)
    busy = {"message": "Taskrunner does not accept client calls during scheduled hours"}
    assert told(call(token, "<x>")) == told(call(token, shelf.pk)) == (503, busy), "before it is looked up"
    assert not Asked.objects.exists()


def test_by_get_only_where_the_installation_says_so(desk: Desk, shelf: Task, token: str, settings: Any) -> None:
    for method in ("get", "head", "put", "options"):
        assert call(token, shelf.pk, method=method).status_code == 405
    options(settings, get_runs=True)
    assert call(token, shelf.pk, method="head")["Allow"] == "GET, POST"
    assert call("", shelf.pk, method="get").status_code == 401
    with answered(desk):
        assert told(call(token, shelf.pk, method="get"))[1]["success"] is True


def test_a_report_that_is_being_made_is_409_and_one_that_is_not_over_504(
    desk: Desk, editor: Person, shelf: Task, token: str, settings: Any
) -> None:
    options(settings, wait_seconds=1)
    assert told(call(token, shelf.pk))[0] == 504
    assert told(call(token, shelf.pk, path="dryruntask"))[1]["message"].startswith("the host has not taken it up")
    for path in desk.places.asked.iterdir():
        path.unlink()
    saved(shelf, "import time\ntime.sleep(60)")  # inside the sandbox
    page = asked_at(visitor(editor).post(RUN))
    with answered(desk):
        wait_until(lambda: files.standing(desk.places, page.split("/")[3]).state is State.RUNNING)
        wait_until(lambda: (desk.places.locks / f"{shelf.pk}.lock").exists())
        wait_until(lambda: any(desk.places.trees.iterdir()))
        status, said = told(call(token, shelf.pk))
        assert (status, said["success"], "library/books.csv" in said["message"]) == (409, False, True)


def test_one_that_goes_on_is_504_and_made_all_the_same(desk: Desk, shelf: Task, token: str, settings: Any) -> None:
    options(settings, wait_seconds=1)
    saved(shelf, "import time\ntime.sleep(3)\nprint(1)")  # inside the sandbox
    with answered(desk):
        assert told(call(token, shelf.pk))[1]["message"] == "it is not over yet, and goes on"
        wait_until(lambda: (desk.places.exports / "library/books.csv").exists())


def test_so_many_programs_wait_at_once_and_the_next_is_told_to_come_back(
    desk: Desk, shelf: Task, token: str, settings: Any
) -> None:
    options(settings, waiting=1)
    with programs.a_turn(1):
        response = call(token, shelf.pk)
    assert (response.status_code, response["Retry-After"]) == (503, "10")
    assert not Asked.objects.exists()
    with answered(desk):
        assert call(token, shelf.pk).status_code == 200


def test_a_token_is_shown_once_kept_as_a_hash_limited_to_a_client_and_revoked(
    desk: Desk, cast: Cast, shelf: Task, token: str, settings: Any
) -> None:
    options(settings, wait_seconds=1)
    browser = cast.administrator
    assert token not in text_of(browser, "/reports/tokens/")
    assert "never" in text_of(browser, "/reports/tokens/")
    museum = Client.objects.create(name="The museum", username="museum")
    own = browser.post("/reports/tokens/make", {"name": "<museum>", "client": "museum"}).context["made"]
    unknown = call(own, shelf.pk)
    assert (unknown.status_code, unknown.content) == (404, b""), "as if it were not there"
    theirs = Task.objects.create(client=museum, file_name="a.csv", extension="csv", start_date=shelf.start_date)
    assert call(own, theirs.pk).status_code == 504
    page = text_of(browser, "/reports/tokens/")
    assert "&lt;museum&gt;" in page
    first = reverse("reports:revoke_token", args=[page.split("/reports/tokens/")[1].split("/")[0]])
    for address in {first, first.rpartition("/")[0].rpartition("/")[0]}:
        browser.post(address)
    for each in list(browser.get("/reports/tokens/").context["tokens"]):
        browser.post(reverse("reports:revoke_token", args=[each.pk]))
    assert call(own, theirs.pk).status_code == call(token, shelf.pk).status_code == 401
    assert "No token yet" in text_of(browser, "/reports/tokens/")
    assert AuditEntry.objects.filter(action="reports' token revoked").count() == 2


@pytest.mark.parametrize("wrong", [{"name": " "}, {"name": "kept", "client": "nobody"}])
def test_a_token_for_nothing_is_not_made(cast: Cast, shelf: Task, wrong: dict[str, str]) -> None:
    response = cast.administrator.post("/reports/tokens/make", wrong)
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    assert f'value="{wrong["name"]}"' in response.content.decode()


def test_what_is_asked_for_is_forgotten_in_time(desk: Desk, editor: Person, shelf: Task) -> None:
    month = timezone.now() - timedelta(days=31)
    old = Asked.objects.create(client=shelf.client, file_name="x.csv", is_dry_run=True, at=month)
    visitor(editor).post(RUN)
    assert not Asked.objects.filter(pk=old.pk).exists()


# -- the embedded form


@pytest.fixture
def embedded(desk: Desk, settings: Any, empty_diary: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A diary of one's own machine, whose processes find its folder as it does."""
    home = desk.places.state.parent
    shutil.copyfile(empty_diary, home / "diary.sqlite3")
    settings.CONFIGURATION = replace(settings.CONFIGURATION, form=Form.EMBEDDED)
    monkeypatch.setenv("ROTA_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(SOURCES))
    return desk


def test_in_the_embedded_form_the_diary_has_it_answered_itself(embedded: Desk, editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    page = asked_at(browser.post(TRY, form_of(browser, REPORT, script="print('embedded')")))
    wait_until(lambda: files.standing(embedded.places, page.split("/")[3]).state is State.DONE, seconds=30)
    assert "embedded\n" in text_of(browser, page)


def test_in_the_embedded_form_its_command_keeps_the_run_log(
    embedded: Desk, editor: Person, shelf: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "start_worker", lambda: None)  # the command below does its work
    page = asked_at(visitor(editor).post(RUN))
    call_command("answer_reports", stdout=io.StringIO())
    log = RunLog.objects.get()
    assert (str(log.attempt), log.is_success, log.task) == (page.split("/")[3], True, shelf)
    assert list(embedded.places.ledger.iterdir()) == []


def test_without_bubblewrap_the_embedded_form_says_so(
    embedded: Desk, editor: Person, shelf: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(embedded.places.state))
    page = text_of(visitor(editor), REPORT)
    assert "apt-get install bubblewrap" in page
    assert RUN not in page


def test_the_command_is_for_the_embedded_form_alone(desk: Desk) -> None:
    with pytest.raises(CommandError, match="reports_asked"):
        call_command("answer_reports")


# -- settings


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"busy": 1}, "no setting busy; there are: busy_hours, busy_start"),
        ({"busy_hours": 25}, "a whole number from 0 to 24"),
        ({"busy_start": "2"}, "a time of day like '02:00'"),
        ({"get_runs": "yes"}, "true or false"),
        ({"wait_seconds": True}, "from 1 to 3600"),
    ],
)
def test_a_setting_that_is_wrong_says_what_would_be_right(said: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read_options(said)


def test_the_busy_window_is_one_of_the_diarys_zone_and_goes_over_midnight() -> None:
    said = read_options({"busy_start": "22:00", "busy_hours": 4})
    zone = timezone.get_default_timezone()
    busy = {hour for hour in range(24) if is_busy_now(said, datetime(2026, 1, 31, hour, 30, tzinfo=zone))}
    assert busy == {22, 23, 0, 1}
    with timezone.override("Asia/Tokyo"):
        assert is_busy_now(said, datetime(2026, 1, 31, 23, tzinfo=zone)), "whoever reads"

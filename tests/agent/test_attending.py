"""A host asks the diary what is wanted of it, keeps what it is handed once, and stays while somebody wants it to."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rota.adapters.incidents import Incidents
from rota.adapters.listening import Line, NoAnswer
from rota.adapters.reviews import reviews_of
from rota.adapters.spool import spool_of
from rota.attending import Attending, attend
from rota.core import places as layout
from rota.core.host_request import parse_request
from rota.core.incident import Incident
from rota.core.places import Places
from rota.listening import NO_ANSWER

SOURCE = Path(__file__).resolve().parents[2] / "agent" / "src"
ID = "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59"
WISH = {
    "id": ID,
    "action": "run",
    "task": "export",
    "values": [["label", "x"]],
    "is_dry_run": False,
    "until": None,
    "reason": "",
    "asked_by": "anna@example.org",
    "seconds": 600.0,
}


class Diary(ThreadingHTTPServer):
    """The address where the diary is heard: remembers the questions, answers as the test says, then with nothing."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.questions: list[dict[str, Any] | None] = []
        self.connections: set[Any] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Diary
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert self.path == "/api/v1/listen"
        assert self.headers["Authorization"] == "Bearer secret"
        self.server.connections.add(self.client_address)
        length = int(self.headers.get("Content-Length") or 0)
        self.server.questions.append(json.loads(self.rfile.read(length)) if length else None)
        answer = self.server.answers.pop(0) if self.server.answers else {"again": 0}
        code = answer if isinstance(answer, int) else 200
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - the base class names it so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def diary() -> Iterator[Diary]:
    with Diary() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = layout.under(tmp_path)
    made.fetched.mkdir()
    return made


def listen(diary: Diary, places: Places, *, is_asking: bool = True) -> tuple[int, list[float]]:
    waits: list[float] = []
    line = Line(diary.url, "secret")
    try:
        work = Attending(line=line, places=places, spool=spool_of(places), is_asking=is_asking, wait=waits.append)
        return attend(work), waits
    finally:
        line.close()


def fetched(places: Places) -> list[str]:
    return sorted(path.name for path in places.fetched.iterdir())


def test_what_is_handed_out_is_kept_and_confirmed_with_its_deadline_by_the_hosts_clock(
    diary: Diary, places: Places
) -> None:
    diary.answers = [{"again": 2, "requests": [WISH]}, {"again": 0, "requests": []}]
    assert listen(diary, places) == (1, [2.0])
    assert [each and each["got"] for each in diary.questions] == [[], [ID]]
    assert fetched(places) == [f"{ID}.json"]
    kept = parse_request(json.loads((places.fetched / f"{ID}.json").read_text()))
    assert timedelta(minutes=9) < kept.deadline - datetime.now(UTC) <= timedelta(minutes=10)


def test_it_stays_on_one_connection_while_the_diary_wants_it_to(diary: Diary, places: Places) -> None:
    diary.answers = [{"again": 2}] * 3
    assert listen(diary, places) == (0, [2.0] * 3)
    assert len(diary.questions) == 4
    assert len(diary.connections) == 1


def test_what_was_answered_before_is_confirmed_and_not_kept_again(diary: Diary, places: Places) -> None:
    places.answered.mkdir()
    (places.answered / f"{ID}.done").touch()
    diary.answers = [{"again": 0, "requests": [WISH]}]
    listen(diary, places)
    assert fetched(places) == []
    assert diary.questions[1] == {"version": 1, "is_asking": True, "got": [ID], "live": []}


def test_a_host_that_heeds_nothing_keeps_nothing(diary: Diary, places: Places) -> None:
    diary.answers = [{"again": 0, "requests": [WISH]}]
    assert listen(diary, places, is_asking=False) == (0, [])
    assert fetched(places) == []
    assert diary.questions == [{"version": 1, "is_asking": False, "got": [], "live": []}]


@pytest.mark.parametrize(
    "handed",
    [["x"], "x", [{"id": "../../x"}], [{"id": 3}], [None], [WISH | {"seconds": "soon"}], [WISH | {"seconds": 1e99}]],
    ids=str,
)
def test_whatever_the_diary_hands_out_no_file_lies_elsewhere_and_none_may_begin_late(
    diary: Diary, places: Places, handed: Any
) -> None:
    diary.answers = [{"again": 0, "requests": handed}]
    listen(diary, places)
    assert set(fetched(places)) <= {f"{ID}.json"}
    for path in places.fetched.iterdir():
        assert parse_request(json.loads(path.read_text())).deadline <= datetime.now(UTC)


def test_what_is_there_of_a_followed_run_is_told_at_once_and_then_what_comes(diary: Diary, places: Places) -> None:
    spool_of(places).make()
    (places.spool / "output" / ID).write_text("one\n")
    follow = [{"run": ID, "output": 0, "report": 0}]
    diary.answers = [{"again": 1, "follow": follow}, {"again": 1, "follow": [follow[0] | {"output": 4}]}, {"again": 0}]
    assert listen(diary, places) == (0, [0.0, 1.0])
    live = [{"run": ID, "output": [0, 4], "text": "one\n"}]
    assert [each and each["live"] for each in diary.questions] == [[], live, []]


@pytest.mark.parametrize("answer", [500, 401, b"<html>", b"[]", {"again": "soon"}], ids=str)
def test_a_diary_that_does_not_answer_as_one_is_no_answer(diary: Diary, places: Places, answer: Any) -> None:
    diary.answers = [answer]
    with pytest.raises(NoAnswer):
        listen(diary, places)


REVIEW = {"run": ID, "handled": {"by": "anna@example.org", "at": "2025-07-14T13:00:00+00:00", "holds": True}}


def fail(places: Places) -> None:
    incident = Incident(task="export", since=datetime.now(UTC), failures=1, run=ID, reason="exit 3")
    memory = Incidents(folder=places.alerts, spare=places.alerts_spare)
    memory.make()
    memory.keep(incident)
    spool_of(places).make()


def test_a_host_that_stays_asks_what_people_said_of_its_failures_and_keeps_it(diary: Diary, places: Places) -> None:
    fail(places)
    diary.answers = [{"again": 1}, {"again": 1, "reviews": [REVIEW]}, {"again": 0}]
    listen(diary, places)
    assert [each and each["failures"] for each in diary.questions] == [[ID]] * 3
    assert reviews_of(places).load()[ID], "an answer that says nothing of it does not unsay it"


LOOK = "import sys; from rota.reporting import main; main(); print(sorted(m for m in sys.modules if m == 'yaml'))"


def test_the_look_loads_no_catalogue_where_nobody_wants_anything(diary: Diary, tmp_path: Path) -> None:
    (tmp_path / "diary_token").write_text("secret\n")
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", LOOK, "listen", diary.url]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "[]\n", "")
    assert diary.questions == [None]


def test_the_look_asks_about_failures_where_there_are_some(diary: Diary, places: Places, tmp_path: Path) -> None:
    fail(places)
    (tmp_path / "diary_token").write_text("secret\n")
    own = {"CREDENTIALS_DIRECTORY": str(tmp_path), "PYTHONPATH": str(SOURCE), "ROTA_HOME": str(tmp_path)}
    diary.answers = [{"again": 0, "reviews": [REVIEW]}]
    command = [sys.executable, "-c", LOOK, "listen", diary.url]
    answer = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "[]\n", "")
    assert diary.questions == [{"version": 1, "failures": [ID]}]
    assert reviews_of(places).load()[ID]


def test_the_look_tells_by_its_exit_code_alone_that_the_diary_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "diary_token").write_text("secret\n")
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", LOOK, "listen", "http://127.0.0.1:1"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (NO_ANSWER, "", "")

"""Laws of errors in logs: each is told once, whatever happens to the log or to whoever tells it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st

from rota.adapters.spool import spool_of
from rota.core import places
from rota.core.record import OutboundRecord
from rota.packs.logs import journal, logged, tailing
from rota.packs.logs.exports import BadPattern
from rota.packs.logs.grouping import Groups, normalise
from rota.packs.logs.outcomes import SomeFailed
from rota.packs.logs.recognising import RECOGNISERS, Occurrence, records
from rota.packs.logs.tasks import BadSetting, process_logged_errors
from tests.agent.logs.conftest import Said, age, pack_broken
from tests.agent.logs.web_servers import apache, nginx
from tests.agent.neighbours import free_port, open_folder
from tests.agent.test_alerting import Received

NGINX = "2026/03/02 09:08:24 [error] 12#12: *7 connect() failed (111: Connection refused), client: 192.0.2.7\n"
ROOT = Path(__file__).resolve().parents[3]


class Deadly(Received):
    """Takes a mail, and kills whoever brought it before saying so."""

    victim: "subprocess.Popen[str] | None" = None
    refused: set[str] = set()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - named by aiosmtpd
        if address in self.refused:
            return f"550 no {address} here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - named by aiosmtpd
        answer = await super().handle_DATA(server, session, envelope)
        if self.victim:
            self.victim.send_signal(signal.SIGKILL)
            self.victim.wait()
        return str(answer)


class Host:
    """An embedded host that looks at logs in a folder."""

    def __init__(self, home: Path, port: int, new_report: Callable[[], Said]) -> None:
        self.home, self.logs, self.new_report = home, home / "logs", new_report
        self.logs.mkdir(parents=True)
        self.port = port
        self.configure("production")

    def configure(self, environment: str, *, to: tuple[str, ...] = ("anna@example.org",)) -> None:
        (self.home / "environment").write_text(f"{environment}\n")
        alert = {"to": list(to), "server": "127.0.0.1", "port": self.port}
        agent = {"host": "books", "environment": environment, "alert": alert}
        (self.home / "agent.yml").write_text(yaml.safe_dump({"agent": agent}))

    def write(self, name: str, text: str, *, mode: str = "a") -> Path:
        """Add to a log, as somebody did a minute ago."""
        path = self.logs / name
        with path.open(mode, encoding="utf-8") as stream:
            stream.write(text)
        self.rest(path)
        return path

    def rest(self, path: Path) -> None:
        moment = (datetime.now(UTC) - timedelta(minutes=1)).timestamp()
        os.utime(path, (moment, moment))

    def settings(self, **settings: Any) -> dict[str, Any]:
        watched = (
            {} if settings.keys() & {"python", "apache", "w3c", "units"} else {"nginx": [f"{self.logs}/error.log*"]}
        )
        return {"state": self.home / "state", **watched, **settings}

    def look(self, **settings: Any) -> Said:
        said = self.new_report()
        process_logged_errors(said, **self.settings(**settings))
        return said

    def process(self, **settings: Any) -> "subprocess.Popen[str]":
        """The same in a process of its own."""
        text = json.dumps(self.settings(**settings), default=str)
        command = [sys.executable, "-m", "rota.packs", "logs.process_logged_errors", text]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "agent/src"), "ROTA_HOME": str(self.home)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def sink() -> Iterator[tuple[Deadly, int]]:
    received = Deadly()
    controller = Controller(received, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield received, controller.port
    controller.stop()


@pytest.fixture
def mails(sink: tuple[Deadly, int]) -> list[EmailMessage]:
    return sink[0].mails


@pytest.fixture
def host(
    tmp_path: Path, sink: tuple[Deadly, int], new_report: Callable[[], Said], monkeypatch: pytest.MonkeyPatch
) -> Host:
    """A host whose log had an error before anybody looked."""
    monkeypatch.setenv("ROTA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ROTA_TASK", raising=False)
    host = Host(tmp_path / "home", sink[1], new_report)
    host.write("error.log", NGINX)
    return host


def numbered(number: int) -> str:
    """An error of a kind of its own: letters are no number."""
    word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    return f"2026/03/02 09:{number % 60:02}:00 [error] 12#12: *{number} the {word} is lost\n"


# -- once


def test_the_first_look_begins_at_the_end_and_what_is_new_is_told_once(host: Host, mails: list[EmailMessage]) -> None:
    assert host.look().counts == {}
    host.write("error.log", NGINX + NGINX.replace("09:08:24", "09:10:00").replace(".7", ".8").replace("*7", "*9"))
    said = host.look()
    host.look()
    assert said.counts == {"errors": 2, "kinds of errors": 1}
    (mail,) = mails
    assert mail["Subject"] == "[production] 2 errors of 1 kind in the logs of books"
    assert "2 times, 2026-03-02 09:08:24 to 2026-03-02 09:10:00 UTC" in mail.get_content()
    assert "[error] connect() failed (111: Connection refused)" in mail.get_content()
    assert mail["X-RcptTo"] == "anna@example.org"


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_log_that_was_renamed_is_read_to_its_end_and_the_new_one_from_its_beginning(
    host: Host, is_compressed: bool
) -> None:
    host.look()
    host.write("error.log", numbered(1))
    host.look()
    old = host.write("error.log", numbered(2)).rename(host.logs / "error.log.1")
    if is_compressed:
        with old.open("rb") as plain, gzip.open(host.logs / "error.log.2.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        old.unlink()
    host.write("error.log", numbered(3))
    assert host.look().counts["errors"] == 2
    assert host.look().counts == {}


def test_a_log_that_was_copied_and_cut_off_loses_and_repeats_nothing(host: Host) -> None:
    host.look()
    host.write("error.log", numbered(1))
    host.look()
    path = host.write("error.log", numbered(2))
    shutil.copy(path, host.logs / "error.log.1")
    host.rest(host.logs / "error.log.1")
    host.write("error.log", numbered(3) * 3, mode="w")  # longer than it was
    assert host.look().counts["errors"] == 4
    host.write("error.log", numbered(4), mode="w")  # and shorter
    assert host.look().counts["errors"] == 1


@pytest.mark.parametrize("name", ["error.log.1", "error.log.1.gz"])
@pytest.mark.parametrize("part", [0.4, 1.0])
def test_a_copy_is_not_read_beside_its_original_and_takes_its_place_when_that_is_cut_off(
    host: Host, name: str, part: float
) -> None:
    host.look()
    host.write("error.log", "".join(map(numbered, range(1, 60))))
    assert host.look().counts["errors"] == 59
    path, copy = host.write("error.log", numbered(7_000_001)), host.logs / name
    packed = gzip.compress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    copy.write_bytes(packed[: int(part * len(packed))])
    assert host.look().counts["errors"] == 1, "only what is new in the original"
    copy.write_bytes(packed)
    host.rest(copy)
    host.write("error.log", numbered(8_000_001), mode="w")
    assert host.look().counts["errors"] == 1
    assert host.look().counts == {}


def rotate(path: Path, how: str) -> None:
    """As logrotate does by default, and with copytruncate."""
    if how == "copied":
        shutil.copy(path, path.with_name(f"{path.name}.1"))
        path.write_text("")
    else:
        path.rename(path.with_name(f"{path.name}.1"))
        path.touch()


@pytest.mark.parametrize("how", ["renamed", "copied"])
@pytest.mark.parametrize("read_before", [0, 3, 40])
@pytest.mark.parametrize("moment", ["placed", "read"])
def test_a_log_that_is_rotated_while_it_is_read_loses_and_repeats_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, how: str, read_before: int, moment: str
) -> None:
    host.look()
    host.write("error.log", "".join(numbered(100 + number) for number in range(read_before)))
    told = host.look().counts.get("errors", 0)
    path = host.write("error.log", "".join(numbered(200 + number) for number in range(30)))
    lines = tailing.lines

    def rotated(log: tailing.Log, offset: int) -> Iterator[tuple[bytes, int, int]]:
        found = lines(log, offset)
        if moment == "read":
            yield next(found)
        rotate(path, how)
        host.write("error.log", numbered(999))
        yield from found

    with monkeypatch.context() as patched:
        patched.setattr(tailing, "lines", rotated)
        told += host.look().counts.get("errors", 0)
    for name in ("error.log", "error.log.1"):
        host.rest(host.logs / name)
    for _ in range(2):
        told += host.look().counts.get("errors", 0)
    assert told == read_before + 30 + 1


def test_a_new_log_that_is_cut_off_while_it_is_read_loses_and_repeats_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.write("error.log", "", mode="w")
    host.look()
    host.write("error.log", "".join(map(numbered, range(30))))
    lines = tailing.lines

    def cut_off(log: tailing.Log, offset: int) -> Iterator[tuple[bytes, int, int]]:
        found = lines(log, offset)
        yield next(found)
        rotate(path, "copied")
        host.write("error.log", "".join(map(numbered, range(30, 60))))
        yield from found

    with monkeypatch.context() as patched:
        patched.setattr(tailing, "lines", cut_off)
        told = host.look().counts.get("errors", 0)
    host.rest(host.logs / "error.log.1")
    assert told + host.look().counts["errors"] == 60
    assert host.look().counts == {}


def test_what_was_rotated_twice_between_two_looks_is_read_once(host: Host) -> None:
    host.look()
    path = host.write("error.log", "".join(map(numbered, range(30))))
    assert host.look().counts["errors"] == 30
    rotate(path, "copied")
    packed = gzip.compress((host.logs / "error.log.1").read_bytes())
    (host.logs / "error.log.1.gz").write_bytes(packed)
    host.write("error.log", numbered(7_000_001))
    assert host.look().counts["errors"] == 1, "the packed one is a copy of what the log was"
    (host.logs / "error.log.1").unlink()
    assert host.look().counts == {}


def test_a_packed_log_in_the_place_of_another_is_read(host: Host) -> None:
    host.look()
    for number in (1, 2):
        (host.logs / "error.log.1.gz").write_bytes(gzip.compress(numbered(number).encode()))
        age(host.logs / "error.log.1.gz", days=1)
        assert host.look().counts["errors"] == 1


def test_a_log_that_lost_its_end_is_read_on_from_what_is_left(host: Host) -> None:
    host.look()
    path = host.write("error.log", "".join(map(numbered, range(1, 60))))
    host.look()
    os.truncate(path, len(NGINX + "".join(map(numbered, range(1, 30)))))
    host.write("error.log", numbered(7_000_001))
    host.look()
    host.write("error.log", numbered(8_000_001))
    assert host.look().counts["errors"] == 1


def test_a_packed_log_is_read_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.look()
    (host.logs / "error.log.1.gz").write_bytes(gzip.compress(numbered(1).encode()))
    host.rest(host.logs / "error.log.1.gz")
    assert host.look().counts["errors"] == 1
    read: list[str] = []
    lines = tailing.lines
    monkeypatch.setattr(tailing, "lines", lambda log, offset: read.append(log.path.name) or lines(log, offset))
    assert host.look().counts == {}
    assert read == ["error.log"]


def test_of_a_huge_log_each_run_reads_a_part(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logged, "MOST_AT_ONCE", 10 * len(numbered(1)))
    host.look()
    path = host.write("error.log", "".join(numbered(number) for number in range(1, 10)) * 3)
    assert host.look().counts["errors"] == 10
    assert "bytes are left for the next run" in capsys.readouterr().out
    path.rename(host.logs / "error.log.1")
    assert [host.look().counts.get("errors", 0) for _ in range(3)] == [10, 7, 0]


def test_a_log_of_each_day_is_read_from_its_beginning(host: Host) -> None:
    host.look(nginx=[f"{host.logs}/error.*.log"])
    for day in (1, 2):
        host.write(f"error.2026.03.0{day}.log", numbered(day))
        assert host.look(nginx=[f"{host.logs}/error.*.log"]).counts["errors"] == 1


def test_a_line_that_is_not_complete_is_left_for_the_next_time(host: Host) -> None:
    host.look()
    host.write("error.log", numbered(1)[:-20])
    assert host.look().counts == {}
    host.write("error.log", numbered(1)[-20:])
    assert host.look().counts["errors"] == 1


def test_an_entry_that_is_being_written_is_left_for_the_next_time(host: Host) -> None:
    log = [f"{host.logs}/app.log"]
    host.write("app.log", "2026-03-02 09:00:00,123 fine\n")
    host.look(python=log)
    with (host.logs / "app.log").open("a") as stream:
        stream.write("2026-03-02 09:00:01,123 Boom\nTraceback (most recent call last):\n")
    assert host.look(python=log).counts == {}
    host.write("app.log", '  File "x.py", line 1, in x\nValueError: 7\n')
    said = host.look(python=log)
    assert (said.counts["errors"], [*said.outcomes]) == (1, ["ValueError: 7"])


def test_a_mail_server_that_refuses_loses_nothing_and_repeats_nothing(host: Host, mails: list[EmailMessage]) -> None:
    host.look()
    host.write("error.log", numbered(1))
    good, host.port = host.port, free_port()
    host.configure("production")
    for _ in range(2):
        with pytest.raises(SomeFailed, match="did not leave this host"):
            host.look()
    host.port = good
    host.configure("production")
    host.write("error.log", numbered(2))
    host.look()
    assert [mail["Subject"].partition("] ")[2][:7] for mail in mails] == ["1 error", "1 error"]
    assert ["the b is lost" in mail.get_content() for mail in mails] == [True, False]


def test_only_who_did_not_get_the_mail_is_tried_again(
    host: Host, sink: tuple[Deadly, int], mails: list[EmailMessage]
) -> None:
    host.look()
    host.write("error.log", numbered(1))
    people = ["anna@example.org", "ben@example.org"]
    sink[0].refused = {"ben@example.org"}
    with pytest.raises(SomeFailed, match="ben"):
        host.look(notify=people)
    sink[0].refused = set()
    assert host.look(notify=people).counts == {}
    assert [mail["X-RcptTo"] for mail in mails] == people
    assert mails[0]["Message-ID"] == mails[1]["Message-ID"]


def test_a_run_killed_between_mail_and_state_tells_nothing_twice_and_nothing_is_lost(
    host: Host, sink: tuple[Deadly, int], mails: list[EmailMessage], capsys: pytest.CaptureFixture[str]
) -> None:
    host.look()
    host.write("error.log", numbered(1))
    sink[0].victim = host.process()
    with sink[0].victim as process:
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert len(mails) == 1
    sink[0].victim = None
    host.write("error.log", numbered(2))
    with pytest.raises(SomeFailed, match="may not have arrived"):
        host.look()
    assert "the b is lost" in capsys.readouterr().out
    host.look()
    assert ["the b is lost" in mail.get_content() for mail in mails] == [True, False]


def test_a_run_killed_before_its_mail_is_followed_by_one_that_sends_it(
    host: Host, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    host.look()
    host.write("error.log", numbered(1))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("rota.packs.logs.logged.tell", die)
        with pytest.raises(KeyboardInterrupt):
            host.look()
    assert host.look().counts["errors"] == 1
    assert len(mails) == 1


def test_where_nothing_may_leave_the_mail_is_caught(
    host: Host, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTA_TASK", "look_at_errors")
    monkeypatch.setenv("ROTA_RUN_ID", "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59")
    host.configure("staging")
    host.look()
    host.write("error.log", numbered(1))
    host.look()
    (caught,) = (host.home / "outbox").glob("*.eml")
    assert "[staging] 1 error" in caught.read_text()
    (record,) = spool_of(places.under(host.home)).records("done")
    assert isinstance(record, OutboundRecord)
    assert (record.task, str(record.run)) == ("look_at_errors", "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59")
    assert "[staging] 1 error" in record.subject
    assert mails == []


def test_people_are_the_tasks_own_or_nobody(host: Host, mails: list[EmailMessage]) -> None:
    host.look()
    host.write("error.log", numbered(1))
    host.look(notify=["ben@example.org", "eva@example.org"])
    host.write("error.log", numbered(2))
    assert host.look(notify=[]).counts["errors"] == 1
    assert [mail["X-RcptTo"] for mail in mails] == ["ben@example.org, eva@example.org"]


def test_who_writes_to_people_alone_asks_for_no_urls(
    host: Host, mails: list[EmailMessage], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its unit is not given their file."""
    (places.under(host.home).credentials / "alert_urls").mkdir(parents=True)  # no file, so that it cannot be read
    host.look()
    host.write("error.log", numbered(1))
    host.look()
    assert len(mails) == 1
    assert "alert_urls" not in "".join(capsys.readouterr())


def test_a_dry_run_tells_what_is_new_and_leaves_it_new(
    host: Host, mails: list[EmailMessage], capsys: pytest.CaptureFixture[str]
) -> None:
    host.look()
    host.write("error.log", numbered(1))
    host.look(dry_run=True)
    assert "the b is lost" in capsys.readouterr().out
    assert mails == []
    assert host.look().counts["errors"] == 1


def test_what_exceeds_the_limit_is_counted(host: Host, mails: list[EmailMessage]) -> None:
    host.look()
    host.write("error.log", "".join(numbered(number) for number in range(1, 8)) + numbered(1))
    said = host.look(limit=3)
    assert said.counts == {"errors": 8, "kinds of errors": 7}
    assert len(said.outcomes) == 3
    assert "… and 4 more, of 4 other kinds" in mails[0].get_content()


def test_one_log_that_cannot_be_read_keeps_no_other_from_its_turn(host: Host, mails: list[EmailMessage]) -> None:
    host.look()
    whole = "".join(map(numbered, range(9000))).encode()
    wrong = {"3": b"no gzip at all", "4": pack_broken(whole), "5": gzip.compress(whole)[:3000]}
    for name, content in wrong.items():
        (host.logs / f"error.log.{name}.gz").write_bytes(content)
        age(host.logs / f"error.log.{name}.gz", days=1)
    host.write("error.log", numbered(1))
    with pytest.raises(SomeFailed) as raised:
        host.look()
    assert [f"error.log.{name}.gz" in str(raised.value) for name in wrong] == [True] * 3
    assert len(mails) == 1


def test_a_link_among_the_logs_is_not_followed(host: Host) -> None:
    host.look()
    (host.home / "secret").write_text(numbered(1))
    (host.logs / "error.log.9").symlink_to(host.home / "secret")
    assert host.look().counts == {}


def test_what_is_ignored_is_not_told(host: Host) -> None:
    host.look()
    host.write("error.log", numbered(1) + numbered(2))
    assert host.look(ignore=[r"the b is"]).counts["errors"] == 1
    with pytest.raises(BadPattern):
        host.look(ignore=["("])


def test_a_task_that_watches_nothing_says_so(host: Host) -> None:
    with pytest.raises(BadSetting, match="name files under"):
        host.look(nginx=[])


def test_two_tasks_of_a_host_remember_apart(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        monkeypatch.setenv("ROTA_TASK", name)
        host.look()
    host.write("error.log", numbered(1))
    for name in ("one", "two"):
        monkeypatch.setenv("ROTA_TASK", name)
        assert host.look().counts["errors"] == 1


# -- what is an error


def errors(kind: str, text: str, context: str = "") -> list[str]:
    recogniser = RECOGNISERS[kind]
    found = []
    for record in records(((line, 0, 0) for line in text.splitlines()), recogniser.begins):
        context = recogniser.context(context, record.first[0])
        if error := recogniser.read(record.lines, context):
            found.append(error.text)
    return found


TRACEBACK = 'Traceback (most recent call last):\n  File "/srv/x.py", line {line}, in f\n    g()\nValueError: {number}'


def test_errors_that_a_real_nginx_and_a_real_apache_write_are_told(host: Host, mails: list[EmailMessage]) -> None:
    with open_folder("web") as folder, nginx(folder / "nginx") as one, apache(folder / "apache") as other:
        settings = {"nginx": [str(one.error_log)], "apache": [str(other.error_log)]}
        host.look(**settings)
        for server in (one, other):
            assert server.ask("/index.html") == 200
            assert server.ask("/down?visit=1") >= 500
            assert server.ask("/down/again?visit=2") >= 500
            host.rest(server.error_log)
        said = host.look(**settings)
    assert said.counts["errors"] == 6, "one of nginx's and two of Apache's for each of two requests"
    text = mails[0].get_content()
    assert "2 times" in text
    assert "[error] connect() failed (111: Connection refused) while connecting to upstream" in text
    assert "AH01114: HTTP: failed to make connection to backend" in text


def test_python_errors_are_entries_with_tracebacks_or_levels() -> None:
    trace = TRACEBACK.format(line=7, number=1)
    text = "\n".join([
        "2026-03-02 09:00:00,123 INFO  [app][MainThread] all is well",
        "2026-03-02 09:00:01,123 ERROR [app][MainThread] the shelf is empty",
        "2026-03-02 09:00:02,123 WARNING [app] nearly",
        "2026-03-02 09:00:03,123 https://example.org/x", trace,
        "[2026-03-02 09:00:04 +0100] [17] [ERROR] Exception in worker process", trace,
        "[2026-03-02 09:00:05 +0100] [17] [INFO] Booting worker",
        "ERROR:root:plain",
        "INFO:root:fine",
    ])  # fmt: skip
    assert errors("python", text) == [
        "ERROR [app][MainThread] the shelf is empty",
        f"https://example.org/x\n{trace}",
        f"[17] [ERROR] Exception in worker process\n{trace}",
        "ERROR:root:plain",
    ]


def test_a_chained_traceback_is_one_error() -> None:
    trace = TRACEBACK.format(line=7, number=1)
    chained = f"{trace}\n\nDuring handling of the above exception, another exception occurred:\n\n{trace}"
    assert errors("python", f"2026-03-02 09:00:03,123 INFO x\n{chained}\nsomething printed\n{trace}") == [
        chained,
        trace,
    ]


# Raised by a real Python each, with what they are known by and named after.
RAISED = {
    "a group": ('raise ExceptionGroup("many", [ValueError("a\\nb"), ExceptionGroup("in", [OSError("x")])])',
                "| OSError: x", "ExceptionGroup: many (2 sub-exceptions)"),
    "a group from one": ("""try:
    raise ValueError("one\\ntwo\\n\\nthree")
except ValueError as error:
    error.add_note("a note")
    raise ExceptionGroup("many", [OSError("x")]) from error
""", "| OSError: x", "ExceptionGroup: many (1 sub-exception)"),
    "one from a group": ("""try:
    raise ExceptionGroup("many", [OSError("x")])
except ExceptionGroup as error:
    raise RuntimeError("outer\\nsecond line") from error
""", "RuntimeError: outer", "RuntimeError: outer"),
    "lines in a chain": ("""try:
    raise ValueError("one\\ntwo")
except ValueError:
    raise KeyError("three")
""", "KeyError: 'three'", "KeyError: 'three'"),
    "no syntax": ('compile("a b", "x.py", "exec")', "SyntaxError: invalid syntax", "SyntaxError: invalid syntax"),
}  # fmt: skip


@pytest.mark.parametrize("way", RAISED)
@pytest.mark.parametrize("beginning", ["", "2026-03-02 09:00:00,123 ERROR [app] boom\n"])
def test_what_python_raises_is_one_error_named_after_the_exception(way: str, beginning: str) -> None:
    program, known_by, name = RAISED[way]
    raised = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    after = "\n2026-03-02 09:00:09,123 INFO [app] well\n" if beginning else "\nprinted later\n"
    (text,) = errors("python", f"{beginning}{raised.rstrip()}{after}")
    groups = Groups()
    groups.add("x", Occurrence(None, text, text), now=datetime.now(UTC))
    assert known_by in text
    assert groups.by_source()[0].headline == name
    assert "printed later" not in text


def test_a_traceback_too_long_to_keep_is_named_after_its_exception() -> None:
    frames = "".join(f'  File "/srv/x.py", line {number}, in f\n    g()\n' for number in range(200))
    (text,) = errors("python", f"Traceback (most recent call last):\n{frames}ValueError: 7\n")
    assert text.endswith("ValueError: 7")


def test_levels_may_be_cut_to_five_letters() -> None:
    begin = "2026-03-02 09:00:00,123"
    lines = [f"{begin} {level:<5.5s} [app][MainThread] x" for level in ("INFO", "WARNING", "ERROR", "CRITICAL")]
    assert [text[:5] for text in errors("python", "\n".join(lines))] == ["ERROR", "CRITI"]


def test_nginx_and_apache_errors_begin_at_level_error() -> None:
    levels = "debug info notice warn error crit alert emerg".split()
    nginx_text = "\n".join(f"2026/03/02 09:00:00 [{level}] 1#1: x" for level in levels)
    apache_text = "\n".join(
        f"[Mon Mar 02 09:00:00.123456 2026] [core:{level}] [pid 1:tid 2] [client 192.0.2.1:5] AH1: x"
        for level in levels
    )
    assert [text.split()[0] for text in errors("nginx", nginx_text)] == ["[error]", "[crit]", "[alert]", "[emerg]"]
    assert [text.split()[0] for text in errors("apache", apache_text)] == ["[error]", "[crit]", "[alert]", "[emerg]"]


IIS = (
    "#Software: Microsoft Internet Information Services 10.0\n"
    "#Fields: date time cs-method cs-uri-stem cs-uri-query sc-status\n"
    "2026-03-02 09:00:00 GET /a - 200\n2026-03-02 09:00:01 GET /b x=1 500\n2026-03-02 09:00:02 POST /c - 503\n"
)


def test_w3c_errors_are_answers_from_500_on() -> None:
    assert errors("w3c", IIS) == ["status 500: GET /b?x=1", "status 503: POST /c"]


def test_the_fields_of_a_w3c_log_are_known_from_its_beginning(host: Host) -> None:
    log = {"w3c": [f"{host.logs}/u_ex*.log"]}
    host.write("u_ex260302.log", IIS)
    host.look(**log)
    host.write("u_ex260302.log", "2026-03-02 09:00:03 GET /d - 502\n")
    assert [*host.look(**log).outcomes] == ["d"]  # status 502: GET /d
    host.write("u_ex260302.log", "2026-03-02 09:00:03 GET /e - 502\n")
    assert [*host.look(**log).outcomes] == ["e"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user 12 at 192.0.2.7:80", "user 977 at 198.51.100.200:443"),
        ("from 2001:db8::7 in 0x7f3a", "from fe80::1:2 in 0xdeadbeef"),
        ("run 0195f1d3-8a3c-7e2b-9c4d-5e6f7a8b9c0d", "run 11111111-2222-3333-4444-555555555555"),
        ("commit 3bf85d8a at line 7", "commit adb031d4 at line 900"),
    ],
)
def test_errors_that_differ_in_numbers_and_addresses_are_one_kind(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert normalise(one) != normalise(one.replace("at", "near").replace("from", "to").replace("run", "task"))


@given(st.lists(st.text(alphabet="ab 1[]:/-,.\u00e9\x00", max_size=30), max_size=20))
def test_no_text_of_a_log_stops_a_recogniser(lines: list[str]) -> None:
    for kind in RECOGNISERS:
        errors(kind, "\n".join(lines))


# -- the journal

EXPORT = """__CURSOR=s=1;i={number:x}
__REALTIME_TIMESTAMP={time}
__MONOTONIC_TIMESTAMP={number}
_BOOT_ID=0123456789abcdef0123456789abcdef
_MACHINE_ID=0123456789abcdef0123456789abcdef
_SYSTEMD_UNIT={unit}
_PID={process}
PRIORITY={priority}
MESSAGE={message}

"""


class Journal:
    """A real journal, of entries that came a minute ago."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.entries = folder, ""
        self.number = 0
        folder.mkdir()

    def add(self, *messages: str, priority: int = 6, unit: str = "app.service", process: int = 1) -> None:
        for message in messages:
            self.number += 1
            time = int((datetime.now(UTC) - timedelta(seconds=60)).timestamp() * 1e6) + self.number
            self.entries += EXPORT.format(
                number=self.number, time=time, unit=unit, process=process, priority=priority, message=message
            )
        (self.folder / "x.journal").unlink(missing_ok=True)
        command = ["/lib/systemd/systemd-journal-remote", f"--output={self.folder}/x.journal", "--split-mode=none", "-"]
        subprocess.run(command, input=self.entries, text=True, check=True, capture_output=True)


def test_errors_of_a_unit_are_those_of_the_journal_after_the_last_look(
    host: Host, tmp_path: Path, mails: list[EmailMessage]
) -> None:
    written = Journal(tmp_path / "journal")
    written.add("before anybody looked", priority=3)
    settings = {"units": ["app.service"], "journal": written.folder}
    host.look(**settings)
    memory = host.home / "state/process_logged_errors/memory.json"
    memory.write_text(memory.read_text().replace(', "since": ', ', "since": 0.000001, "was": '))
    written.add("it broke", priority=3)
    written.add("it broke elsewhere", priority=3, unit="other.service")
    written.add("Starting", *TRACEBACK.format(line=1, number=2).splitlines(), "Stopping", process=7)
    assert host.look(**settings).counts["errors"] == 3
    written.add("it broke again", priority=2)
    said = host.look(**settings)
    assert (said.counts["errors"], [*said.outcomes]) == (1, ["it broke again"])
    assert host.look(**settings).counts == {}
    assert "ValueError: 2\n" in mails[0].get_content()
    assert "Stopping" not in mails[0].get_content()
    program = 'print("fine", flush=True); raise ExceptionGroup("many", [ValueError("7")])'
    raised = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    written.add(*raised.splitlines(), "Stopping", process=8)
    assert [*host.look(**settings).outcomes] == ["ExceptionGroup: many (1 sub-exception)"]


def test_a_journal_that_cannot_be_read_is_named(host: Host, tmp_path: Path) -> None:
    settings = {"units": ["app.service"], "journal": tmp_path / "none"}
    host.look(**settings)
    with pytest.raises(SomeFailed, match=r"app\.service: The journal cannot be read"):
        host.look(**settings)


def test_a_message_that_is_no_text_is_read_as_bytes() -> None:
    line = {"__REALTIME_TIMESTAMP": "1000000", "__CURSOR": "c", "MESSAGE": [*b"caf\xe9"], "PRIORITY": "3"}
    assert journal.parse(json.dumps(line).encode()).message == "caf\ufffd"

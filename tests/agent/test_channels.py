"""Laws of the one door: a channel that fails delays nobody and loses nothing, and only hosts that may speak do."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from rota import alerting, checks
from rota.adapters import outbound, sending
from rota.core.catalogue import Catalogue
from rota.core.rule import Rule
from rota.core.status import Environment
from tests.agent.alerted import NOW, TASK, Host, Received, subjects
from tests.agent.neighbours import free_port

SECRET = "T0psecretToken"
MINUTE = timedelta(minutes=1)


@dataclass
class Receiver:
    """A web server that keeps what it is asked; the first part of a path says what it answers: `ok`, `500`, `hang`."""

    port: int = 0
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, scheme: str = "json") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{path}/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for _, _, body in self.asked]

    @property
    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.asked]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(size)) if size else {}
            kept.asked.append((self.command, self.path, body))
            word = self.path.split("/")[1]
            if word == "hang":
                kept.released.wait(30)
            if word == "drip":
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                while not kept.released.wait(0.05):
                    try:
                        self.wfile.write(b"X-Still: here\r\n")
                    except OSError:
                        return
            self.send_response(int(word) if word.isdigit() else 200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield kept
    kept.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def mails() -> Iterator[tuple[list[EmailMessage], int]]:
    received = Received()
    controller = Controller(received, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield received.mails, controller.port
    controller.stop()


@pytest.fixture
def host(tmp_path: Path, mails: tuple[list[EmailMessage], int]) -> Host:
    host = Host(tmp_path, Environment.PRODUCTION, mails[1])
    host.places.credentials.mkdir()
    return host


def connect(host: Host, **urls: str) -> None:
    """Give the host these channels, and send alerts to all of them and one mail address."""
    (host.places.credentials / "alert_urls").write_text(json.dumps(urls))
    host.settings(channels=tuple(urls), to=("anna@example.org", *urls))


FAILED = "[production] export failed on books: exit 3"
RECOVERED = "[production] export recovered on books"


def test_a_channel_gets_what_a_mail_says_in_short(host: Host, receiver: Receiver) -> None:
    connect(host, chat=receiver.url("ok"))
    run = host.end("failed")
    (host.spool.folder / "output" / str(run.id)).write_text("one\ntwo\nno space left\n")
    host.look()
    host.end()
    host.look()
    assert receiver.titles == [FAILED, RECOVERED]
    said = receiver.asked[0][2]["message"]
    page = f"https://diary.example/runs/{run.id}/"
    assert said.splitlines() == ["Write the catalogue", page, "one", "two", "no space left"]


@pytest.mark.parametrize("way", ["hang", "refuse", "nonsense"])
def test_a_channel_that_fails_delays_nobody_and_hears_of_it_later(
    host: Host, receiver: Receiver, mails: tuple[list[EmailMessage], int], way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {
        "refuse": f"json://127.0.0.1:{free_port()}/{SECRET}",
        "nonsense": f"nosuch://{SECRET}",
        "hang": f"{receiver.url(way)}?rto=0.5",
    }
    connect(host, bad=bad[way], good=receiver.url("ok"))
    host.end("failed")
    host.look()
    assert subjects(mails[0]) == [FAILED]
    assert receiver.titles.count(FAILED) == (2 if way == "hang" else 1)
    complaint = capsys.readouterr().err
    assert "channel bad" in complaint
    assert any("bad is not reached: channel bad" in line for line in host.status())
    for text in (complaint, *host.status(), *(path.read_text() for path in host.places.alerts.iterdir())):
        assert SECRET not in text
    (incident,) = alerting.list_incidents(host.places, host.now)
    assert set(incident["told"]) == {"anna@example.org", "good"}
    receiver.asked.clear()
    connect(host, bad=receiver.url("ok"), good=receiver.url("ok"))
    host.look()
    assert receiver.titles == [FAILED]
    assert not any("is not reached" in line for line in host.status())
    assert subjects(mails[0]) == [FAILED]


def test_what_answers_without_end_is_given_up_in_time(
    host: Host, receiver: Receiver, mails: tuple[list[EmailMessage], int],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(outbound, "LIMIT", 2.0)
    connect(host, beat=receiver.url("drip", "http"))
    host.settings(to=("anna@example.org",), channels=(), heartbeat="beat")
    host.end("failed")
    began = time.monotonic()
    host.look()
    assert time.monotonic() - began < 20
    assert "heartbeats: it did not answer in time" in capsys.readouterr().err
    assert subjects(mails[0]) == [FAILED]


def test_a_recovery_reaches_those_too_who_could_not_be_told_of_the_failure(host: Host, receiver: Receiver) -> None:
    connect(host, chat=receiver.url("500"))
    host.end("failed")
    host.look()
    connect(host, chat=receiver.url("ok"))
    host.end()
    receiver.asked.clear()
    host.look()
    host.look(after=2 * MINUTE)
    assert receiver.titles == [RECOVERED]
    assert host.status() == []


def test_a_server_that_keeps_failing_is_tried_ever_more_rarely(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.settings(port=free_port())
    host.end("failed")
    tries = ""
    for _ in range(10):
        host.look(after=2 * MINUTE)
        tries += "x" if "Connection refused" in capsys.readouterr().err else "-"
    assert tries == "xxx-x---x-"


def test_a_channel_without_a_url_holds_up_no_mail(
    host: Host, mails: tuple[list[EmailMessage], int], capsys: pytest.CaptureFixture[str]
) -> None:
    host.settings(channels=("chat",), to=("anna@example.org", "chat"))
    for content in (None, "{broken: [", "[]", ""):
        if content is not None:
            (host.places.credentials / "alert_urls").write_text(content)
        host.end("failed")
        host.look(after=45 * MINUTE)
        assert "channel chat: its URL is missing" in capsys.readouterr().err
    assert subjects(mails[0]) == [FAILED]


def test_one_refused_address_keeps_no_other_from_its_letter(
    tmp_path: Path, mails: tuple[list[EmailMessage], int], host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    class Picky(Received):
        async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, *___: Any) -> str:  # noqa: N802 - aiosmtpd names it so
            if address.startswith("ben"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

    received, port = Picky(), free_port()
    controller = Controller(received, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        host.settings(port=port)
        host.end("failed")
        host.look()
        assert subjects(received.mails) == [FAILED]
        assert "no such user" in capsys.readouterr().err
        (incident,) = alerting.list_incidents(host.places, host.now)
        assert list(incident["told"]) == ["anna@example.org"]
    finally:
        controller.stop()


def test_a_trial_tries_the_channels_and_says_which_fail(host: Host, receiver: Receiver) -> None:
    connect(host, chat=receiver.url("ok"))
    catalogue = Catalogue(host.agent, host.tasks)
    assert "anna@example.org, chat" in alerting.try_out(host.places, catalogue, NOW)
    assert receiver.titles == ["[production] a trial from books"]
    connect(host, chat=receiver.url("500"))
    with pytest.raises(outbound.NotSent, match="channel chat") as caught:
        alerting.try_out(host.places, Catalogue(host.agent, host.tasks), NOW)
    assert SECRET not in str(caught.value)


# -- only where things may leave


def test_on_staging_channels_and_heartbeats_are_caught_too(tmp_path: Path, receiver: Receiver) -> None:
    host = Host(tmp_path, Environment.STAGING)
    host.places.credentials.mkdir()
    host.tasks["export"] = replace(TASK, heartbeat="beat")
    connect(host, chat=receiver.url("ok"), beat=receiver.url("ok", "http"))
    host.settings(heartbeat="beat", to=("chat",), channels=("chat",))
    host.end("failed")
    host.look()
    assert receiver.asked == []
    (caught,) = host.outbox()
    assert (caught["X-Rota-Channel"], caught["To"]) == ("chat", None)
    ((at, to, subject),) = alerting.list_caught(host.places)
    assert (at, to, subject) == ("20250714T120101Z", "chat", "[staging] export failed on books: exit 3")
    assert "Would have told the heartbeat beat" in (host.places.outbox / "heartbeat-beat.txt").read_text()
    (letter,) = [record for record in host.caught() if record.means == "channel"]
    assert (letter.to, letter.text) == (("chat",), caught.get_content())
    beats = {record.subject: record for record in host.caught() if record.means == "heartbeat"}
    assert set(beats) == {"beat: a failure", "beat: all is well"}, "the task's, and the host's"
    beat = beats["beat: a failure"]
    assert (beat.to, beat.task, beat.run) == (("beat",), "export", letter.run)
    kept = "".join(path.read_text() for path in (host.spool.folder / "done").iterdir())
    assert SECRET not in kept
    assert receiver.url("ok") not in kept


def test_a_caught_heartbeat_has_a_record_once_a_day_and_when_it_says_something_else(tmp_path: Path) -> None:
    host = Host(tmp_path, Environment.STAGING)
    host.settings(to=(), heartbeat="alive")
    host.tasks["export"] = replace(TASK, heartbeat="beat")

    def said() -> list[str]:
        return [record.subject for record in host.caught()]

    for status in ("succeeded", "succeeded", "failed", "failed", "succeeded"):
        host.end(status)
        host.look()
    assert sorted(said()[:2]) == ["alive: all is well", "beat: all is well"]
    assert said()[2:] == ["beat: a failure", "beat: all is well"]
    host.look(after=timedelta(days=1))
    assert said()[4:] == ["alive: all is well"]


# -- heartbeats


def test_a_heartbeat_follows_each_run_once_and_says_when_it_failed(host: Host, receiver: Receiver) -> None:
    connect(host, beat=receiver.url("ok", "http"))
    host.settings(to=(), channels=())
    host.tasks["export"] = replace(TASK, heartbeat="beat")
    host.look()
    assert receiver.paths == []
    for status in ("succeeded", "failed", "succeeded"):
        host.end(status)
        host.look()
        host.look()
    good = f"GET /ok/{SECRET}"
    assert receiver.paths == [good, f"{good}/fail", good]


def test_a_watcher_that_answers_without_end_keeps_no_other_from_its_heartbeat(
    host: Host, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "LIMIT", 2.0)
    connect(host, slow=receiver.url("drip", "http"), beat=receiver.url("ok", "http").replace("127.0.0.1", "localhost"))
    host.settings(to=(), channels=(), heartbeat="beat")
    host.tasks["export"] = replace(TASK, heartbeat="slow")
    host.end()
    host.look()
    assert f"GET /ok/{SECRET}" in receiver.paths


def test_tasks_of_one_heartbeat_speak_once_for_each_of_their_runs_and_fail_together(
    host: Host, receiver: Receiver
) -> None:
    connect(host, beat=receiver.url("ok", "http"))
    host.settings(to=(), channels=())
    host.tasks = {name: replace(TASK, name=name, heartbeat="beat") for name in ("export", "import")}
    for status in ("succeeded", "failed"):
        for name in host.tasks:
            host.end(status if name == "export" else "succeeded", task=name)
        for _ in range(3):
            host.look()
    good = f"GET /ok/{SECRET}"
    assert receiver.paths == [good, f"{good}/fail"]
    (problem,) = checks.heartbeat_problems(Catalogue(host.agent, host.tasks))
    assert (problem.task, problem.key) == ("import", "heartbeat")


def test_a_heartbeat_that_is_not_heard_is_asked_for_again(
    host: Host, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(host, beat=receiver.url("503", "http"))
    host.settings(to=(), channels=())
    host.tasks["export"] = replace(TASK, heartbeat="beat")
    host.end()
    host.look()
    assert "heartbeat beat: HTTP 503" in capsys.readouterr().err
    connect(host, beat=receiver.url("ok", "http"))
    host.settings(to=(), channels=())
    host.look()
    host.look()
    assert receiver.paths == [f"GET /503/{SECRET}", f"GET /ok/{SECRET}"]


def test_a_host_says_that_it_lives_at_each_look_but_not_when_a_failure_calls(host: Host, receiver: Receiver) -> None:
    connect(host, alive=receiver.url("ok", "http"))
    host.settings(to=(), channels=(), heartbeat="alive")
    for _ in range(3):
        host.look(after=2 * MINUTE)
    assert len(receiver.paths) == 3


def test_after_a_failure_a_url_with_a_query_is_left_in_silence() -> None:
    assert outbound.url_of("https://x/ping?status=up", is_good=True) == "https://x/ping?status=up"
    assert outbound.url_of("https://x/ping?status=up", is_good=False) == ""
    assert outbound.url_of("https://x/ping/", is_good=False) == "https://x/ping/fail"


def test_a_heartbeat_is_a_web_address_and_nothing_else(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    connect(host, alive="file:///etc/passwd")
    host.settings(to=(), channels=(), heartbeat="alive")
    host.look()
    assert "must begin with https://" in capsys.readouterr().err


@pytest.mark.parametrize("url", [f"json://user:{SECRET}@h/x", f"slack://{SECRET}/B1/C1", f"https://h/p?token={SECRET}"])
def test_nothing_of_a_url_is_repeated(url: str) -> None:
    assert SECRET not in sending.without_secrets(f"cannot reach {url}: {SECRET} is wrong", url)


# -- a full disk


@contextmanager
def full(host: Host) -> Iterator[None]:
    """Nothing can be written where alerts are remembered: in the place of each new file there is a folder."""
    names = ("standings.json.new", "export.incident.new", "told.json.new")
    for name in names:
        (host.places.alerts / name).mkdir(parents=True)
    yield
    for name in names:
        (host.places.alerts / name).rmdir()


def test_on_a_full_disk_mail_goes_out_and_once(host: Host, mails: tuple[list[EmailMessage], int]) -> None:
    host.end()
    host.look()
    with full(host):
        for status in ("failed", "failed", "succeeded"):
            host.end(status)
            host.look()
            host.look()
        assert subjects(mails[0]) == [FAILED, RECOVERED]
        host.end("failed")
        host.look()
    host.look()
    host.look(after=MINUTE)
    host.end()
    host.look()
    assert subjects(mails[0]) == [FAILED, RECOVERED, FAILED, RECOVERED]
    assert list(host.places.alerts_spare.iterdir()) == []
    assert host.status() == []


def test_a_run_that_only_the_spare_of_a_full_disk_could_keep_is_told_once(
    host: Host, mails: tuple[list[EmailMessage], int]
) -> None:
    host.end()
    host.look()
    run = host.end("failed")
    path = host.spool.folder / "done" / f"{run.id}.json"
    host.places.spare.mkdir()
    spared = path.rename(host.places.spare / path.name)
    host.look()
    host.look()
    spared.rename(path)
    host.look()
    host.look()
    assert subjects(mails[0]) == [FAILED]
    assert "once" in host.status()[0]


def test_what_is_over_while_only_the_spare_keeps_its_records_is_told_once(
    host: Host, mails: tuple[list[EmailMessage], int]
) -> None:
    host.end()
    host.look()
    host.places.spare.mkdir()
    for run in (host.end("failed"), host.end()):
        path = host.spool.folder / "done" / f"{run.id}.json"
        path.rename(host.places.spare / path.name)
    for _ in range(3):
        host.look()
    for path in host.places.spare.iterdir():
        path.rename(host.spool.folder / "done" / path.name)
    host.look()
    assert subjects(mails[0]) == [RECOVERED]


# -- what `rota check` says


def test_what_would_keep_alerts_from_somebody_is_a_problem(host: Host) -> None:
    def problems(**tasks: Any) -> list[str]:
        catalogue = Catalogue(host.agent, {"export": replace(TASK, **tasks)})
        return [problem.text for problem in checks.alerting_problems(catalogue, host.places)]

    host.settings(channels=("chat",), to=("chat",), heartbeat="alive")
    path = host.places.credentials / "alert_urls"
    assert problems(heartbeat="beat") == [
        f"agent: alert: channels: {path} has no URL named 'chat'",
        f"agent: alert: heartbeat: {path} has no URL named 'alive'",
        f"task export: heartbeat: {path} has no URL named 'beat'",
    ]
    path.write_text("{chat: 'json://x', alive: 'https://x', beat: 'https://y'}")
    assert problems(heartbeat="beat") == []
    assert problems(alert=Rule(to=("pager",))) == [
        "task export: alert: there is no channel 'pager'; agent: alert: channels has chat"
    ]
    path.write_text(f"[{SECRET}]")
    assert problems()[0] == f"agent: alert: urls: {path} must be a mapping of names to URLs"
    host.agent = replace(host.agent, environment=Environment.STAGING)
    assert problems(heartbeat="beat") == []

"""Laws of shipping, against a diary that really answers over HTTP and TLS."""

import gzip
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rota.adapters import shipping
from rota.adapters.diary import Diary, DiaryBusy, DiaryRefused, DiaryUnreachable
from rota.adapters.shipping import ship
from rota.adapters.spool import Spool
from rota.core.record import as_mapping
from tests.agent.records import make_outbound, make_run, make_running
from tests.authority import issue

NOW = datetime(2025, 7, 14, 12, tzinfo=UTC)
Answer = Callable[[list[dict[str, Any]]], tuple[int, Mapping[str, str], object]]


class Receiver(ThreadingHTTPServer):
    """A diary's ingest: remembers what it was sent, and answers as the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[dict[str, Any]] = []
        self.requests: list[int] = []
        self.tokens: set[str | None] = set()
        self.answer: Answer = accept

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        records = json.loads(body)["records"]
        self.server.tokens.add(self.headers["Authorization"])
        self.server.requests.append(len(records))
        code, headers, answer = self.server.answer(records)
        if code == 200:
            self.server.received += records
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


def accept(records: list[dict[str, Any]]) -> tuple[int, Mapping[str, str], object]:
    return 200, {}, {"results": [{"id": each["id"], "result": "accepted", "reason": ""} for each in records]}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", tmp_path / "spare")
    made.make()
    return made


def send(spool: Spool, receiver: Receiver, *, now: datetime = NOW) -> shipping.Shipment:
    diary = Diary(url=receiver.url, token="secret", timeout=5)
    return ship(spool, diary, pause=spool.folder / "sent" / "pause", now=now)


def test_records_arrive_once_in_order_with_their_output_and_are_kept_as_sent(spool: Spool, receiver: Receiver) -> None:
    made = [make_run(output_bytes=3) for _ in range(5)]
    for record in reversed(made):
        spool.store(record)
        (spool.folder / "output" / str(record.id)).write_text("hi\n")
    assert send(spool, receiver).acknowledged == 5
    assert [each["id"] for each in receiver.received] == [str(record.id) for record in made]
    assert {each["output"] for each in receiver.received} == {"hi\n"}
    assert receiver.tokens == {"Bearer secret"}
    assert spool.names("done") == []
    assert len(spool.names("sent")) == 5
    send(spool, receiver)
    assert len(receiver.received) == 5


def test_more_than_one_request_holds_are_sent_in_several(spool: Spool, receiver: Receiver) -> None:
    for _ in range(501):
        spool.store(make_run())
    assert send(spool, receiver).acknowledged == 501
    assert receiver.requests == [500, 1]


def test_large_outputs_are_spread_over_requests(spool: Spool, receiver: Receiver) -> None:
    for _ in range(70):
        record = make_run(output_bytes=131072)
        spool.store(record)
        (spool.folder / "output" / str(record.id)).write_bytes(b"x" * 131072)
    assert send(spool, receiver).acknowledged == 70
    assert len(receiver.requests) == 2


def test_runs_under_way_are_told_and_stay(spool: Spool, receiver: Receiver) -> None:
    spool.store(make_running(), folder="running")
    assert send(spool, receiver).running == 1
    assert receiver.received[0]["status"] == "running"
    assert len(spool.names("running")) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [(401, DiaryRefused), (400, DiaryRefused), (500, DiaryUnreachable), (429, DiaryBusy), (503, DiaryBusy)],
)
def test_a_refusal_loses_nothing(spool: Spool, receiver: Receiver, code: int, error: type[Exception]) -> None:
    spool.store(make_run())
    receiver.answer = lambda _: (code, {}, {})
    with pytest.raises(error):
        send(spool, receiver)
    receiver.answer = accept
    assert send(spool, receiver, now=NOW + timedelta(hours=1)).acknowledged == 1


def test_a_diary_that_does_not_answer_loses_nothing(spool: Spool, receiver: Receiver) -> None:
    spool.store(make_run())
    diary = Diary(url="http://127.0.0.1:1", token="secret", timeout=1)
    with pytest.raises(DiaryUnreachable, match="Connection refused"):
        ship(spool, diary, pause=spool.folder / "sent" / "pause", now=NOW)
    assert send(spool, receiver).acknowledged == 1


@pytest.mark.parametrize("answer", [[], {"results": 3}, {"results": [3]}, "x"])
def test_an_answer_that_is_none_loses_nothing(spool: Spool, receiver: Receiver, answer: object) -> None:
    spool.store(make_run())
    receiver.answer = lambda _: (200, {}, answer)
    with pytest.raises(DiaryUnreachable, match="not as a diary does"):
        send(spool, receiver)
    assert len(spool.names("done")) == 1


def test_a_record_the_diary_does_not_speak_of_stays(spool: Spool, receiver: Receiver) -> None:
    for _ in range(3):
        spool.store(make_run())
    receiver.answer = lambda records: accept(records[1:])
    assert send(spool, receiver).acknowledged == 2
    assert len(spool.names("done")) == 1


def test_a_quarantined_record_is_kept_aside_with_the_reason(spool: Spool, receiver: Receiver) -> None:
    record = make_run()
    spool.store(record)
    results = {"results": [{"id": str(record.id), "result": "quarantined", "reason": "no such host"}]}
    receiver.answer = lambda _: (200, {}, results)
    assert send(spool, receiver).quarantined == 1
    assert (spool.folder / "quarantine" / f"{record.id}.reason").read_text() == "no such host\n"


def refuse_unknown(records: list[dict[str, Any]]) -> tuple[int, Mapping[str, str], object]:
    """What a diary answers that knows of runs and deploys alone."""
    reason = "This record breaks the format of version 1: 'kind' is 'outbound'; it must be 'run' or 'deploy'"
    known = [each["kind"] in ("run", "deploy") for each in records]
    results = [
        {"id": each["id"], "result": "accepted" if is_known else "quarantined", "reason": "" if is_known else reason}
        for each, is_known in zip(records, known, strict=True)
    ]
    return 200, {}, {"results": results}


def test_what_was_caught_is_shipped_in_order_with_runs(spool: Spool, receiver: Receiver) -> None:
    made = [make_run(), make_outbound(), make_run(), make_outbound()]
    for record in reversed(made):
        spool.store(record)
    assert send(spool, receiver).acknowledged == 4
    assert [each["id"] for each in receiver.received] == [str(record.id) for record in made]
    assert spool.names("sent") == [str(record.id) for record in made]


def test_what_an_older_diary_does_not_know_is_put_aside_and_arrives_once_it_does(
    spool: Spool, receiver: Receiver
) -> None:
    made, ran = make_outbound(), make_run()
    spool.store(made)
    spool.store(ran)
    now = datetime.now(UTC)
    receiver.answer = refuse_unknown
    shipment = send(spool, receiver, now=now)
    assert (shipment.acknowledged, shipment.quarantined, spool.names("done")) == (1, 1, [])
    send(spool, receiver, now=now + timedelta(minutes=59))
    assert receiver.requests == [2], "it is not asked again at once"
    assert send(spool, receiver, now=now + timedelta(minutes=61)).quarantined == 1
    assert receiver.requests == [2, 1]
    receiver.answer = accept
    assert send(spool, receiver, now=now + timedelta(hours=3)).acknowledged == 1
    assert spool.names("sent") == [str(made.id), str(ran.id)]
    assert list((spool.folder / "quarantine").iterdir()) == []


def test_what_the_release_before_did_not_know_is_shipped_by_the_one_that_does(spool: Spool, receiver: Receiver) -> None:
    made = make_outbound()
    spool.store(made)
    path = spool.folder / "done" / f"{made.id}.json"
    whole = path.read_text()
    path.write_text(whole.replace('"outbound"', '"telepathy"'))
    assert send(spool, receiver).quarantined == 1
    send(spool, receiver, now=datetime.now(UTC) + timedelta(hours=3))
    assert spool.names("quarantine") == [str(made.id)], "this release does not know it either"
    (spool.folder / "quarantine" / path.name).write_text(whole)
    assert send(spool, receiver, now=datetime.now(UTC) + timedelta(hours=3)).acknowledged == 1


def test_what_was_put_aside_for_another_reason_stays_there(spool: Spool, receiver: Receiver) -> None:
    for reason in ("no such host", ""):
        record = make_outbound()
        spool.store(record)
        spool.quarantine(str(record.id), reason)
    (spool.folder / "quarantine" / f"{make_run().id}.json").write_text("{}")
    before = spool.names("quarantine")
    send(spool, receiver, now=datetime.now(UTC) + timedelta(days=2))
    assert (spool.names("quarantine"), receiver.requests) == (before, [])


def test_a_diary_s_wish_to_wait_is_remembered_and_respected(spool: Spool, receiver: Receiver) -> None:
    spool.store(make_run())
    receiver.answer = lambda _: (429, {"Retry-After": "120"}, {})
    with pytest.raises(DiaryBusy):
        send(spool, receiver)
    receiver.answer = accept
    with pytest.raises(DiaryBusy):
        send(spool, receiver, now=NOW + timedelta(seconds=119))
    assert receiver.requests == [1]
    assert send(spool, receiver, now=NOW + timedelta(seconds=121)).acknowledged == 1


def test_what_is_too_large_together_is_sent_apart_and_what_is_too_large_alone_is_put_aside(
    spool: Spool, receiver: Receiver
) -> None:
    made = [make_run(reason="large" if number == 2 else "") for number in range(5)]
    for record in made:
        spool.store(record)
    receiver.answer = lambda records: (413, {}, {}) if "large" in str(records) or len(records) > 2 else accept(records)
    sent = send(spool, receiver)
    assert (sent.acknowledged, sent.quarantined) == (4, 1)
    assert spool.names("quarantine") == [str(made[2].id)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\0\xff"])
def test_a_broken_record_is_put_aside_and_stops_nothing(spool: Spool, receiver: Receiver, content: bytes) -> None:
    spool.store(make_run())
    (spool.folder / "done" / "broken.json").write_bytes(content)
    sent = send(spool, receiver)
    assert (sent.acknowledged, sent.quarantined) == (1, 1)
    assert (spool.folder / "quarantine" / "broken.reason").read_text()


HOSTILE = {
    "a folder in done": lambda spool: (spool.folder / "done" / "0.json").mkdir(),
    "a folder in running": lambda spool: (spool.folder / "running" / "0.json").mkdir(),
    "a folder in the spare": lambda spool: (spool.spare / "0.json").mkdir(),
    "a long name in done": lambda spool: (spool.folder / "done" / f"{'0' * 250}.json").touch(),
    "a long name in the spare": lambda spool: (spool.spare / f"{'0' * 250}.json").touch(),
    "a pipe in done": lambda spool: os.mkfifo(spool.folder / "done" / "0.json"),
    "a pipe in the spare": lambda spool: os.mkfifo(spool.spare / "0.json"),
    "a name that is not UTF-8": lambda spool: Path(os.fsdecode(bytes(spool.folder) + b"/done/\xff.json")).touch(),
    "deep JSON": lambda spool: (spool.folder / "done" / "0.json").write_text("[" * 60_000),
    "deep JSON under way": lambda spool: (spool.folder / "running" / "0.json").write_text("[" * 60_000),
}


@pytest.mark.parametrize("trap", HOSTILE)
def test_nothing_a_task_leaves_in_the_spool_stops_the_records_of_others(
    spool: Spool, receiver: Receiver, trap: str
) -> None:
    spool.spare.mkdir()
    HOSTILE[trap](spool)
    spool.store(make_run())
    assert send(spool, receiver).acknowledged == 1


def test_what_cannot_be_put_aside_is_counted_and_left(spool: Spool, receiver: Receiver) -> None:
    spool.store(make_run())
    (spool.folder / "done" / "0.json").write_text("{")
    (spool.folder / "quarantine" / "0.json").mkdir()
    sent = send(spool, receiver)
    assert (sent.acknowledged, sent.quarantined, sent.left) == (1, 0, 1)


def test_large_records_of_runs_under_way_stop_nothing(spool: Spool, receiver: Receiver) -> None:
    item = {"name": "x" * 255, "outcome": "done", "message": ""}
    for _ in range(3):
        spool.store(make_running(items=[item] * 10_000), folder="running")
    spool.store(make_run())
    sent = send(spool, receiver)
    assert (sent.running, sent.acknowledged) == (3, 1)
    assert [each["items"] for each in receiver.received] == [[]] * 4


def test_a_diary_that_takes_only_small_requests_gets_the_runs_under_way_apart(spool: Spool, receiver: Receiver) -> None:
    for _ in range(5):
        spool.store(make_running(), folder="running")
    receiver.answer = lambda records: (413, {}, {}) if len(records) > 2 else accept(records)
    assert send(spool, receiver).running == 5


def test_a_run_whose_items_break_the_format_arrives_without_them(spool: Spool, receiver: Receiver) -> None:
    record = make_run(counts={"rows": 1})
    mapping = as_mapping(record) | {"items": [{"name": "", "outcome": "", "message": ""}]}
    (spool.folder / "done" / f"{record.id}.json").write_text(json.dumps(mapping))
    assert send(spool, receiver).acknowledged == 1
    assert receiver.received[0]["items"] == []


def test_an_answer_that_is_cut_short_loses_nothing(spool: Spool, receiver: Receiver) -> None:
    spool.store(make_run())
    receiver.answer = lambda _: (200, {"Content-Length": "1000"}, {})
    with pytest.raises(DiaryUnreachable, match="IncompleteRead"):
        send(spool, receiver)
    assert len(spool.names("done")) == 1


def test_a_pause_longer_than_any_is_a_clock_that_was_set_back(spool: Spool, receiver: Receiver) -> None:
    spool.store(make_run())
    receiver.answer = lambda _: (429, {"Retry-After": "120"}, {})
    with pytest.raises(DiaryBusy):
        send(spool, receiver, now=NOW + timedelta(days=400))
    receiver.answer = accept
    assert send(spool, receiver).acknowledged == 1


def test_a_link_in_the_spool_is_never_followed(spool: Spool, receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    record = make_run()
    spool.store(record)
    (spool.folder / "output" / str(record.id)).symlink_to(secret)
    (spool.folder / "done" / "trap.json").symlink_to(secret)
    sent = send(spool, receiver)
    assert (sent.acknowledged, sent.quarantined) == (1, 1)
    assert "secret" not in json.dumps(receiver.received)


def test_only_the_pinned_certificate_is_trusted(spool: Spool, receiver: Receiver, tmp_path: Path) -> None:
    for name in ("ours", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ours.pem", tmp_path / "ours.key")
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    url = f"https://localhost:{receiver.server_port}"
    spool.store(make_run())
    pause = spool.folder / "sent" / "pause"
    for certificate in (tmp_path / "other.pem", None):
        with pytest.raises(DiaryUnreachable, match="certificate verify failed"):
            ship(spool, Diary(url=url, token="secret", certificate=certificate), pause=pause, now=NOW)
    assert receiver.received == []
    assert ship(
        spool, Diary(url=url, token="secret", certificate=tmp_path / "ours.pem"), pause=pause, now=NOW
    ).acknowledged
    spool.store(make_run())
    with pytest.raises(DiaryRefused, match="cannot be read"):
        ship(spool, Diary(url=url, token="secret", certificate=tmp_path / "none.pem"), pause=pause, now=NOW)


def test_a_pinned_certificate_is_trusted_whoever_signed_it(spool: Spool, receiver: Receiver, tmp_path: Path) -> None:
    """One that an authority signed, through an intermediate, does not vouch for itself."""
    ours = issue("localhost")
    for name, text in (
        ("chain", ours.chain),
        ("key", ours.key),
        ("leaf", ours.leaf),
        ("other", issue("localhost").leaf),
    ):
        (tmp_path / f"{name}.pem").write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    spool.store(make_run())
    pause = spool.folder / "sent" / "pause"
    diary = Diary(url=f"https://localhost:{receiver.server_port}", token="secret", certificate=tmp_path / "other.pem")
    with pytest.raises(DiaryUnreachable, match="certificate verify failed"):
        ship(spool, diary, pause=pause, now=NOW)
    assert ship(spool, replace(diary, certificate=tmp_path / "leaf.pem"), pause=pause, now=NOW).acknowledged

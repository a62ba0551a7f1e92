"""What a host hands its diary and fetches there, where the diary takes no request of that size."""

import gzip
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rota.adapters.diary import Diary
from rota.packs.reports import ledger, source
from rota.packs.reports.attempt import Attempt
from tests.agent.reports.test_nightly import attempt_of

MOST = 20_000


class Handler(BaseHTTPRequestHandler):
    """Takes so many bytes and no more, and answers no question."""

    taken: list[str]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(content) if self.headers["Content-Encoding"] == "gzip" else content
        self.send_response(200 if len(body) <= MOST else 413)
        self.end_headers()
        if len(body) <= MOST:
            told = [attempt["id"] for attempt in json.loads(body)["attempts"]]
            self.taken.extend(told)
            answer = {"results": [{"id": each, "result": "accepted", "reason": ""} for each in told]}
            self.wfile.write(json.dumps(answer).encode())

    def do_GET(self) -> None:
        self.send_error(413)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def diary() -> Iterator[Diary]:
    Handler.taken = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Diary(url=f"http://127.0.0.1:{server.server_port}", token="t")
        server.shutdown()
        thread.join()


def test_what_is_too_much_for_one_request_goes_in_several_and_what_is_too_large_alone_stays_away(
    diary: Diary, tmp_path: Path
) -> None:
    names = [f"a{number}" for number in range(9)]
    for name in names:
        ledger.note(tmp_path, replace(attempt_of(name), message="x" * 5000))
    ledger.note(tmp_path, replace(attempt_of("b"), message="x" * MOST))
    assert ledger.deliver(tmp_path, diary) == (9, {"b": "it is larger than the diary takes"})
    assert sorted(Handler.taken) == names
    assert list(tmp_path.iterdir()) == []


def test_what_another_hands_over_at_the_same_time_is_no_error(
    diary: Diary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        ledger.note(tmp_path, attempt_of(name))
    found = ledger.waiting(tmp_path)
    assert next(found)[1].id == "a"
    (tmp_path / "b.json").unlink()
    assert [each.id for _, each in found] == ["c"]

    def hand_over_twice(attempts: Sequence[Attempt], diary: Diary) -> Iterator[tuple[str, str, str]]:
        monkeypatch.undo()
        ledger.deliver(tmp_path, diary)
        return ledger.handed(attempts, diary)

    monkeypatch.setattr(ledger, "handed", hand_over_twice)
    assert ledger.deliver(tmp_path, diary) == (2, {})
    assert Handler.taken == ["a", "c"] * 2
    assert list(tmp_path.iterdir()) == []


def test_definitions_that_are_known_are_used_whatever_the_diary_answers(diary: Diary, tmp_path: Path) -> None:
    with pytest.raises(source.NoDefinitions, match="413"):
        source.from_diary(diary, tmp_path / "known")
    (tmp_path / "known").write_text(json.dumps({"version": "1", "definitions": {}}))
    assert "413" in source.from_diary(diary, tmp_path / "known")[1]

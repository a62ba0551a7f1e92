"""A real diary that was away for a day's worth of runs: all of them arrive, in order, none twice."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from rota.adapters.diary import Diary, DiaryUnreachable, Verdict
from rota.adapters.shipping import ship
from rota.adapters.spool import Spool
from rota.core.identifier import first_identifier
from rota.core.record import Record, as_mapping
from tests.agent.diary.conftest import SOURCES
from tests.agent.neighbours import free_port
from tests.agent.records import START, make_run

DAY = timedelta(days=1)
RUNS = 1_200
"""Three requests' worth."""


@dataclass(frozen=True, kw_only=True)
class Faltering(Diary):
    """Stores the second request of all, and breaks the connection before it answers."""

    sent: list[int] = field(default_factory=list)

    def send(self, records: Sequence[Record]) -> dict[str, Verdict]:
        self.sent.append(len(records))
        answers = super().send(records)
        if len(self.sent) == 2:
            raise DiaryUnreachable("it broke off")
        return answers


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A day's worth of runs that nobody has fetched."""
    made = Spool(tmp_path / "spool", tmp_path / "spare")
    made.make()
    mapping = as_mapping(make_run())
    for number in range(RUNS):
        moment = START + DAY * number / RUNS
        name = f"{first_identifier(moment)}-7000-8000-{number:012x}"
        when = {"id": name, "started": moment.isoformat(), "ended": moment.isoformat()}
        (made.folder / "done" / f"{name}.json").write_text(json.dumps(mapping | when))
        (made.folder / "output" / name).write_text(f"run {number}\n")
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "diary"
    home.mkdir()
    known = {"host_tokens": {"here": sha256(b"secret").hexdigest()}, "host_environments": {"here": "staging"}}
    (home / "diary.yml").write_text(json.dumps({"diary": known}))
    return home


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    """The address of the embedded diary, which runs as people run it."""
    command = [sys.executable, "-m", "rota.diary.manage", "serve", "--port", "0"]
    environment = {**os.environ, "ROTA_HOME": str(home), "PYTHONPATH": str(SOURCES)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        yield server.stdout.readline().strip().rstrip("/")
        server.terminate()


def test_after_a_day_without_the_diary_all_runs_arrive_in_order_and_none_twice(
    spool: Spool, home: Path, url: str
) -> None:
    names, told = spool.names("done"), list[tuple[int, int]]()
    pause, now = spool.folder / "sent" / "pause", datetime.fromisoformat("2025-07-15T12:00:00Z")
    with pytest.raises(DiaryUnreachable):
        ship(spool, Diary(url=f"http://127.0.0.1:{free_port()}", token="secret"), pause=pause, now=now)
    assert spool.names("done") == names
    diary = Faltering(url=url, token="secret")
    with pytest.raises(DiaryUnreachable, match="broke off"):
        ship(spool, diary, pause=pause, now=now)
    assert spool.names("done") == names[500:]
    shipment = ship(spool, diary, pause=pause, now=now, tell=lambda done, total: told.append((done, total)))
    assert shipment.acknowledged == RUNS - 500
    assert told == [(number, RUNS - 500) for number in range(1, RUNS - 500 + 1)]
    assert (spool.names("done"), spool.names("sent")) == ([], names)
    with sqlite3.connect(f"file:{home}/diary.sqlite3?mode=ro", uri=True) as database:
        stored = [name for (name,) in database.execute("SELECT id FROM diary_run ORDER BY rowid")]
        (outputs,) = database.execute("SELECT count(*) FROM diary_output").fetchone()
    assert [name.replace("-", "") for name in names] == [name.replace("-", "") for name in stored]
    assert outputs == RUNS

"""Whatever is killed, and whenever: no run is lost from the records, none is there twice, and no line is half.

`ROTA_CRASHES=2000 pytest tests/agent/test_crashes.py` kills in so many runs; the suite does it in a few dozen.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.adapters.reconciling import read_boot, reconcile
from rota.adapters.spool import spool_of
from rota.core import places as layout
from rota.core.places import Places
from rota.core.record import RunRecord
from rota.core.status import Status
from rota.runner import make_identifier
from rota.units import runner_command
from tests.agent.test_runner import PACKAGE
from tests.agent.waiting import wait_until

RUNS = int(os.environ.get("ROTA_CRASHES", "24"))
AT_ONCE = 4
# The work leaves its process ids, and those of a process of its own, before it does anything else.
WORK = """echo $$ > "$0.child"; sleep 0.1 & echo $! > "$0.grandchild"
echo '{"count": "rows", "value": 1}' >&3; seq 200; wait $! || exit 5; touch "$0.end" """
VICTIMS = ("runner", "child", "grandchild")


@dataclass(frozen=True)
class Crash:
    """One run, what is killed of it, and after how many seconds."""

    identifier: str
    victim: str
    after: float


def crash(places: Places, each: Crash) -> None:
    """Run, kill, and wait until nothing of it lives."""
    trace = places.requests / each.identifier
    settings = {
        "task": "try",
        "host": "here",
        "environment": "development",
        "spool": places.spool,
        "spare": places.spare,
        "lock": f"{trace}.lock",
        "id": each.identifier,
    }
    words = [f"{key}={value}" for key, value in settings.items()]
    command = [*runner_command(PACKAGE), *words, "--", "/bin/sh", "-c", WORK, str(trace)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as runner:
        time.sleep(each.after)  # the very moment is what is tried
        kill(runner.pid if each.victim == "runner" else read_process(Path(f"{trace}.{each.victim}")))
    wait_until(lambda: all(is_gone(Path(f"{trace}.{kind}")) for kind in VICTIMS[1:]))


def read_process(path: Path) -> int:
    text = path.read_text() if path.is_file() else ""
    return int(text) if text.strip() else 0


def kill(process: int) -> None:
    if process:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return


def is_gone(path: Path) -> bool:
    process = read_process(path)
    return not process or not Path(f"/proc/{process}/cmdline").is_file() or not read_command(process)


def read_command(process: int) -> bytes:
    """Empty of a process that has ended and nobody has asked about."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_whatever_is_killed_every_run_has_one_whole_record(tmp_path: Path) -> None:
    places = layout.under(tmp_path)
    spool = spool_of(places)
    spool.make()
    for folder in (places.spare, places.requests):
        folder.mkdir(parents=True)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # told when it fails
    choose = random.Random(seed)
    crashes = [planned(choose) for _ in range(RUNS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda each: crash(places, each), crashes))
    later = datetime.now(UTC) + timedelta(minutes=2)
    for _ in range(2):
        reconcile(places, boot=read_boot(), now=later, has_diary=True)
    assert spool.names("running") == spool.names("quarantine") == []
    assert list((spool.folder / "tmp").iterdir()) == []
    lines = [path.read_text() for path in (spool.folder / "done").iterdir()]
    assert all(line.endswith("}\n") and json.loads(line) for line in lines)
    records = {str(each.id): each for each in spool.records("done") if isinstance(each, RunRecord)}
    assert len(records) == len(lines)
    check_each(crashes, records, lambda name, kind: (places.requests / f"{name}.{kind}").is_file())
    print(Counter(f"{each.victim}: {records[each.identifier].reason or 'succeeded'}" for each in crashes
                  if each.identifier in records))  # fmt: skip


def planned(choose: random.Random) -> Crash:
    identifier = make_identifier(time.time_ns() // 1_000_000, choose.randbytes(10))
    return Crash(identifier, choose.choice(VICTIMS), choose.uniform(0, 0.25))


def check_each(crashes: list[Crash], records: dict[str, RunRecord], left: Callable[[str, str], bool]) -> None:
    """Work that began has a record, and the record says what became of it."""
    for each in crashes:
        record = records.get(each.identifier)
        assert record or not left(each.identifier, "child"), each
        if record is None:
            continue
        assert record.status in (Status.SUCCEEDED, Status.FAILED, Status.LOST), each
        if record.status is Status.SUCCEEDED:
            assert left(each.identifier, "end"), each
            assert record.counts == {"rows": 1}, each
        if record.status is Status.LOST:
            assert (each.victim, record.reason) == ("runner", "runner was killed"), each
        if record.status is Status.FAILED:
            assert each.victim != "runner", each
            assert record.reason in ("signal 9 (KILL)", "exit 5"), each

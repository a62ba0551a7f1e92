"""Laws of reconciling: which runs are lost, what is recovered, and what makes room."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters import reconciling
from rota.adapters.reconciling import Boot, read_boot, reconcile
from rota.adapters.spool import Spool, spool_of
from rota.core import places
from rota.core.record import RunRecord, as_mapping
from rota.core.status import Status
from tests.agent.records import START, make_run, make_running

NOW = START + timedelta(minutes=5)
BOOTED = START - timedelta(hours=1)


@pytest.fixture
def home(tmp_path: Path) -> places.Places:
    made = places.under(tmp_path)
    spool_of(made).make()
    made.spare.mkdir()
    return made


@pytest.fixture
def spool(home: places.Places) -> Spool:
    return spool_of(home)


def run_reconcile(home: places.Places, *, boot: str = "boot", now: datetime = NOW, has_diary: bool = True) -> object:
    return reconcile(home, boot=Boot(boot, BOOTED), now=now, has_diary=has_diary)


def begin(spool: Spool) -> RunRecord:
    record = make_running()
    spool.store(record, folder="running")
    (spool.folder / "output" / str(record.id)).write_text("so far")
    return record


def ended(spool: Spool, record: RunRecord) -> RunRecord:
    found = spool.load("done", str(record.id))
    assert isinstance(found, RunRecord)
    assert spool.names("running") == []
    return found


def test_a_run_whose_host_lost_power_is_lost_at_the_next_boot(home: places.Places, spool: Spool) -> None:
    record = begin(spool)
    run_reconcile(home, boot="another boot")
    lost = ended(spool, record)
    assert (lost.status, lost.reason, lost.ended, lost.duration) == (Status.LOST, "host went down", NOW, None)
    assert spool.output(lost) == "so far"


def test_a_run_whose_runner_was_killed_is_lost(home: places.Places, spool: Spool) -> None:
    record = begin(spool)
    run_reconcile(home)
    assert ended(spool, record).reason == "runner was killed"


def test_a_container_that_went_down_is_told_from_a_killed_runner_by_when_it_booted(
    home: places.Places, spool: Spool
) -> None:
    record = begin(spool)
    reconcile(home, boot=Boot("boot", START + timedelta(minutes=1)), now=NOW, has_diary=True)
    assert ended(spool, record).reason == "host went down"


def test_the_present_boot_is_past() -> None:
    assert read_boot().began <= datetime.now(UTC)
    assert len(read_boot().id) == 36


def test_a_run_whose_runner_lives_is_left_alone(home: places.Places, spool: Spool) -> None:
    record = begin(spool)
    file = os.open(spool.folder / "output" / str(record.id), os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        run_reconcile(home)
    finally:
        os.close(file)
    assert spool.names("running") == [str(record.id)]


@pytest.mark.parametrize("boot_id", ["another boot", ""])
def test_a_held_lock_is_proof_of_life_whatever_the_boot_id_says(
    home: places.Places, spool: Spool, boot_id: str
) -> None:
    record = make_running(boot_id=boot_id)
    spool.store(record, folder="running")
    with (spool.folder / "output" / str(record.id)).open("w") as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        run_reconcile(home)
    assert spool.names("running") == [str(record.id)]


def test_a_run_whose_boot_is_unknown_is_lost_once_its_lock_is_free(home: places.Places, spool: Spool) -> None:
    record = make_running(boot_id="")
    spool.store(record, folder="running")
    (spool.folder / "output" / str(record.id)).touch()
    run_reconcile(home)
    assert ended(spool, record).reason == "runner was killed"


@pytest.mark.parametrize("has_been_shipped", [False, True])
def test_a_run_that_ends_while_it_is_looked_at_is_not_lost(
    home: places.Places, spool: Spool, monkeypatch: pytest.MonkeyPatch, has_been_shipped: bool
) -> None:
    record = begin(spool)

    def end_now(path: Path) -> bool:
        spool.store(make_run(id=str(record.id)))
        if has_been_shipped:
            spool.acknowledge(str(record.id))
        return False

    monkeypatch.setattr(reconciling, "is_locked", end_now)
    run_reconcile(home)
    (found,) = spool.records("done", "sent")
    assert found.status is Status.SUCCEEDED


def test_a_record_is_never_stored_over_another(spool: Spool) -> None:
    record = make_run()
    spool.store(record)
    with pytest.raises(FileExistsError):
        spool.store(make_run(id=str(record.id), status="failed"))
    assert [each.status for each in spool.records("done")] == [Status.SUCCEEDED]
    assert list((spool.folder / "tmp").iterdir()) == []


HOSTILE = {
    "a folder in running": lambda spool: (spool.folder / "running" / "0.json").mkdir(),
    "a folder in tmp": lambda spool: (spool.folder / "tmp" / "0.end.json").mkdir(),
    "a long name in running": lambda spool: (spool.folder / "running" / f"{'0' * 250}.json").touch(),
    "a long name in the spare": lambda spool: (spool.spare / f"{'0' * 250}.json").touch(),
    "a pipe in tmp": lambda spool: os.mkfifo(spool.folder / "tmp" / "0.end.json"),
    "deep JSON": lambda spool: (spool.folder / "running" / "0.json").write_text("[" * 60_000),
    "what cannot be put aside": lambda spool: [
        (spool.folder / "running" / "0.json").touch(),
        (spool.folder / "quarantine" / "0.json").mkdir(),
    ],
}


@pytest.mark.parametrize("trap", HOSTILE)
def test_nothing_a_task_leaves_in_the_spool_keeps_a_lost_run_open(home: places.Places, spool: Spool, trap: str) -> None:
    HOSTILE[trap](spool)
    record = begin(spool)
    run_reconcile(home, boot="another boot", now=datetime.now(UTC) + timedelta(hours=1))
    assert spool.load("done", str(record.id)).status is Status.LOST


@pytest.fixture
def any_time() -> Iterator[places.Places]:
    """A home on a file system that keeps any time, also one that no calendar has."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # noqa: S108 - always a tmpfs
        made = places.under(Path(folder))
        spool_of(made).make()
        yield made


@pytest.mark.parametrize("second", [-(10**12), 10**12])
@pytest.mark.parametrize("where", ["tmp/0.end.json", "quarantine/0.json"])
def test_no_time_that_a_task_gives_its_files_keeps_a_lost_run_open(
    any_time: places.Places, second: int, where: str
) -> None:
    spool = spool_of(any_time)
    path = spool.folder / where
    path.touch()
    os.utime(path, (second, second))
    assert path.stat().st_mtime == second
    record = begin(spool)
    run_reconcile(any_time, boot="another boot")
    assert spool.load("done", str(record.id)).status is Status.LOST
    assert not (spool.folder / "tmp" / "0.end.json").exists()


def test_a_pipe_in_the_place_where_its_end_is_written_does_not_keep_a_run_open(
    home: places.Places, spool: Spool
) -> None:
    record = begin(spool)
    trap = spool.folder / "tmp" / f"{record.id}.store.json"
    os.mkfifo(trap)
    reader = os.open(trap, os.O_RDONLY | os.O_NONBLOCK)  # else whoever writes to it waits for ever
    try:
        run_reconcile(home, boot="another boot")
    finally:
        os.close(reader)
    assert ended(spool, record).status is Status.LOST


def test_a_run_said_to_begin_far_ahead_is_closed_like_one_that_began_long_ago(
    home: places.Places, spool: Spool
) -> None:
    record = make_running(started="2060-01-01T00:00:00Z")
    spool.store(record, folder="running")
    run_reconcile(home)
    assert ended(spool, record).status is Status.LOST


def test_an_output_that_became_a_folder_does_not_keep_its_record(home: places.Places, spool: Spool) -> None:
    record, good = make_run(), make_run()
    for each in (record, good):
        spool.store(each)
    (spool.folder / "output" / str(record.id)).mkdir()
    run_reconcile(home, now=datetime.now(UTC) + timedelta(days=91), has_diary=False)
    assert spool.names("done") == [str(good.id)]


def test_without_proof_a_run_is_not_lost(home: places.Places, spool: Spool) -> None:
    spool.store(make_running(), folder="running")
    run_reconcile(home)
    assert len(spool.names("running")) == 1
    run_reconcile(home, now=NOW + timedelta(days=8))
    assert spool.names("running") == []


def test_a_run_that_ended_is_not_lost_because_its_start_record_stayed(home: places.Places, spool: Spool) -> None:
    record = make_run()
    spool.store(record)
    (spool.folder / "running" / f"{record.id}.json").write_text("{}")
    run_reconcile(home)
    assert ended(spool, record).status is Status.SUCCEEDED


def test_an_end_record_that_was_never_renamed_is_recovered(home: places.Places, spool: Spool) -> None:
    record = begin(spool)
    final = make_run(id=str(record.id))
    rest(spool.folder / "tmp" / f"{record.id}.end.json", json.dumps(as_mapping(final)))
    run_reconcile(home, boot="another boot")
    assert ended(spool, record).status is Status.SUCCEEDED


def test_a_fresh_end_record_is_recovered_once_its_runner_is_gone(home: places.Places, spool: Spool) -> None:
    record = begin(spool)
    final = make_run(id=str(record.id))
    (spool.folder / "tmp" / f"{record.id}.end.json").write_text(json.dumps(as_mapping(final)))
    run_reconcile(home, boot="another boot", now=datetime.now(UTC))
    assert ended(spool, record).status is Status.SUCCEEDED


def test_a_start_record_that_was_never_renamed_is_a_lost_run(home: places.Places, spool: Spool) -> None:
    record = make_running()
    rest(spool.folder / "tmp" / f"{record.id}.start.json", json.dumps(as_mapping(record)))
    run_reconcile(home, boot="another boot")
    assert ended(spool, record).status is Status.LOST


@pytest.mark.parametrize("content", ["", "\0" * 4096, '{"version": 1, "ki'])
def test_what_is_no_record_leaves_tmp(home: places.Places, spool: Spool, content: str) -> None:
    rest(spool.folder / "tmp" / "x.end.json", content)
    run_reconcile(home)
    assert list((spool.folder / "tmp").iterdir()) == []


def test_what_is_being_written_stays_in_tmp(home: places.Places, spool: Spool) -> None:
    (spool.folder / "tmp" / "x.end.json").write_text("")
    run_reconcile(home, now=datetime.now(UTC))
    assert len(list((spool.folder / "tmp").iterdir())) == 1


def test_a_broken_start_record_is_put_aside(home: places.Places, spool: Spool) -> None:
    (spool.folder / "running" / "x.json").write_text("{")
    run_reconcile(home)
    assert "not JSON" in (spool.folder / "quarantine" / "x.reason").read_text()


def test_the_spare_is_taken_into_the_spool(home: places.Places, spool: Spool) -> None:
    record = begin(spool)
    (home.spare / f"{record.id}.json").write_text(json.dumps(as_mapping(make_run(id=str(record.id)))))
    run_reconcile(home)
    assert ended(spool, record).status is Status.SUCCEEDED
    assert list(home.spare.iterdir()) == []


def test_of_several_that_take_from_the_spare_one_does_at_a_time(
    home: places.Places, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = begin(spool)
    (home.spare / f"{record.id}.json").write_text(json.dumps(as_mapping(make_run(id=str(record.id)))))
    held: list[bool | None] = []
    monkeypatch.setattr(Spool, "_take", lambda _, path: held.append(reconciling.is_locked(path.parent)))
    spool.take_spare()
    assert held == [True]


def rest(path: Path, content: str) -> None:
    """A file that nobody has touched for a while."""
    path.write_text(content)
    os.utime(path, (START.timestamp(), START.timestamp()))

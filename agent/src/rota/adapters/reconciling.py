"""Reconciling: runs whose runner is provably gone become `lost`, and old records make room."""

import fcntl
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.adapters.retaining import Retainer
from rota.adapters.spool import MAX_RECORD, Spool, UnsafeFile, decode, is_over, read_plain, spool_of
from rota.adapters.standings import Standings
from rota.core.places import Places
from rota.core.record import BadRecord, Record, RunRecord
from rota.core.retention import Keep
from rota.core.status import Status

SETTLED = timedelta(minutes=1)
"""A file in tmp/ that is younger may still be being written."""
WITHOUT_OUTPUT = timedelta(days=7)
DEFAULT_KEEP = Keep()
HOST_WENT_DOWN, RUNNER_WAS_KILLED = "host went down", "runner was killed"


@dataclass
class Reconciliation:
    """What one reconciling did."""

    lost: int = 0
    recovered: int = 0
    removed: int = 0
    discarded: int = 0
    """How many of the removed the diary never had."""
    quarantined: int = 0
    left: int = 0
    """What could not be moved or removed: a folder that a task made, for one."""


@dataclass(frozen=True)
class Boot:
    """The host's present boot: the kernel's id of it, and when its first process began.

    In a container the id is the machine's, which outlives the container's boots; `first` tells these apart, also when
    the clock is set: after how many ticks of the kernel the first process began.
    """

    id: str
    began: datetime
    first: int = 0


def reconcile(
    places: Places, *, boot: Boot, now: datetime, has_diary: bool, keep: Keep = DEFAULT_KEEP
) -> Reconciliation:
    spool = spool_of(places)
    done = Reconciliation()
    done.recovered, done.left = spool.take_spare()
    recover_unfinished(spool, now, done)
    close_lost(spool, boot, now, done)
    retainer = Retainer(spool=spool, keep=keep, baselines=baselines_of(places, now), has_diary=has_diary, now=now)
    retention = retainer.retain()
    done.removed, done.discarded = retention.removed, retention.discarded
    done.left += retention.left
    return done


def baselines_of(places: Places, now: datetime) -> set[str]:
    """The ids of every task's latest good runs, with which later ones are compared."""
    standings = Standings(places.alerts).look(spool_of(places), now=now).standings
    return {ended.run for each in standings.values() for ended in (each.success, each.good) if ended}


def close_lost(spool: Spool, boot: Boot, now: datetime, done: Reconciliation) -> None:
    """Give an end to every running record whose runner cannot be alive any more."""
    for name in spool.names("running"):
        try:
            close(spool, name, boot, now, done)
        except FileNotFoundError:
            continue
        except OSError:
            done.left += 1


def close(spool: Spool, name: str, boot: Boot, now: datetime, done: Reconciliation) -> None:
    if has_ended(spool, name):
        (spool.folder / "running" / f"{name}.json").unlink(missing_ok=True)
        return
    try:
        record = spool.load("running", name)
    except (BadRecord, UnsafeFile) as error:
        spool.quarantine(name, str(error), source="running")
        done.quarantined += 1
        return
    reason = why_lost(spool, record, boot, now) if isinstance(record, RunRecord) else None
    # Looked for again: it may have ended meanwhile. Whose lock is free has left its end record, if it ever will.
    if reason and isinstance(record, RunRecord) and not has_ended(spool, name):
        spool.store(lose(record, reason, now, output_bytes=output_size(spool, name)))
        done.lost += 1


def has_ended(spool: Spool, name: str) -> bool:
    """Whether the run has left its end record: looked for in the order in which shipping moves it along."""
    places = (spool.spare, *(spool.folder / folder for folder in ("done", "sent", "quarantine")))
    return any((place / f"{name}.json").is_file() for place in places)


def why_lost(spool: Spool, record: RunRecord, boot: Boot, now: datetime) -> str | None:
    """The reason this run is lost, or None while its runner may live: it holds a kernel lock on its output file."""
    is_held = is_locked(spool.folder / "output" / str(record.id))
    if is_held:
        return None
    if record.boot_id not in ("", boot.id):
        return HOST_WENT_DOWN
    if is_held is None and abs(now - record.started) < WITHOUT_OUTPUT:
        return None
    return HOST_WENT_DOWN if record.started < boot.began else RUNNER_WAS_KILLED


def lose(record: RunRecord, reason: str, now: datetime, *, output_bytes: int) -> RunRecord:
    """The record of a run that nobody saw end: it says when this was found out, and claims no duration."""
    return replace(record, status=Status.LOST, reason=reason, ended=now, output_bytes=output_bytes)


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the kernel's lock on this file; None when there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def output_size(spool: Spool, name: str) -> int:
    try:
        return (spool.folder / "output" / name).lstat().st_size
    except OSError:
        return 0


def recover_unfinished(spool: Spool, now: datetime, done: Reconciliation) -> None:
    """Take whole records from tmp/ whose writer went down between writing and renaming; remove the rest."""
    folder = spool.folder / "tmp"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            if is_settled(spool, path, now):
                recover(spool, path, done)
        except FileNotFoundError:
            continue
        except OSError:
            done.left += 1


def is_settled(spool: Spool, path: Path, now: datetime) -> bool:
    """Whether nobody writes this file of tmp/ any more. Raises FileNotFoundError."""
    # A task may give its files any time, also one that no calendar has; one to come is as good as long past.
    is_young = abs(now.timestamp() - path.lstat().st_mtime) < SETTLED.total_seconds()
    is_runners = path.name.endswith((".start.json", ".end.json"))
    is_held = is_locked(spool.folder / "output" / path.name.partition(".")[0])
    return not is_held if is_runners and is_held is not None else not (is_held or is_young)


def recover(spool: Spool, path: Path, done: Reconciliation) -> None:
    name = path.name.partition(".")[0]
    record = read_record(path)
    if record is None or str(record.id) != name or has_ended(spool, name):
        path.unlink(missing_ok=True)
        return
    path.replace(spool.folder / ("done" if is_over(record) else "running") / f"{name}.json")
    done.recovered += 1


def read_record(path: Path) -> Record | None:
    """The whole record in this file; one that was reserved and never written is none. Raises FileNotFoundError."""
    try:
        return decode(read_plain(path, MAX_RECORD))
    except (UnsafeFile, BadRecord):
        return None


def read_boot() -> Boot:
    """The present boot, by proc(5): process 1 began so many ticks after the kernel, whose start is `btime`."""
    ticks = int(Path("/proc/1/stat").read_text("ascii").rpartition(")")[2].split()[19])
    lines = Path("/proc/stat").read_text("ascii").splitlines()
    kernel = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    began = datetime.fromtimestamp(kernel + ticks / os.sysconf("SC_CLK_TCK"), UTC)
    return Boot(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), began, ticks)

"""Reconciling: runs whose runner is provably gone become `lost`, and old records make room."""

import fcntl
import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.adapters.spool import MAX_RECORD, Spool, UnsafeFile, expired, is_over, read_plain, spool_of
from rota.core.places import Places
from rota.core.record import BadRecord, RunRecord, parse_record
from rota.core.status import Status

KEEP_AGE = timedelta(days=90)
KEEP_BYTES = 1024**3
SETTLED = timedelta(minutes=1)
"""A file in tmp/ that is younger may still be being written."""
WITHOUT_OUTPUT = timedelta(days=7)
HOST_WENT_DOWN, RUNNER_WAS_KILLED = "host went down", "runner was killed"


@dataclass
class Reconciliation:
    """What one reconciling did."""

    lost: int = 0
    recovered: int = 0
    removed: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Boot:
    """The host's present boot: the kernel's id of it, and when its first process began.

    In a container the id is the machine's, which outlives the container's boots.
    """

    id: str
    began: datetime


def reconcile(places: Places, *, boot: Boot, now: datetime, has_diary: bool) -> Reconciliation:
    spool = spool_of(places)
    done = Reconciliation()
    done.recovered += spool.take_spare()
    recover_unfinished(spool, now, done)
    close_lost(spool, boot, now, done)
    remove_old(spool, ("sent", "quarantine") if has_diary else ("sent", "done", "quarantine"), now, done)
    return done


def close_lost(spool: Spool, boot: Boot, now: datetime, done: Reconciliation) -> None:
    """Give an end to every running record whose runner cannot be alive any more."""
    finished = set(spool.names("done")) | set(spool.names("sent"))
    for name in spool.names("running"):
        if name in finished:
            (spool.folder / "running" / f"{name}.json").unlink(missing_ok=True)
            continue
        try:
            record = spool.load("running", name)
        except FileNotFoundError:
            continue
        except (BadRecord, UnsafeFile) as error:
            spool.quarantine(name, str(error), source="running")
            done.quarantined += 1
            continue
        if isinstance(record, RunRecord) and (reason := why_lost(spool, record, boot, now)):
            spool.store(lose(record, reason, now, output_bytes=output_size(spool, name)))
            done.lost += 1


def why_lost(spool: Spool, record: RunRecord, boot: Boot, now: datetime) -> str | None:
    """The reason this run is lost, or None while its runner may live: it holds a kernel lock on its output file."""
    if record.boot_id != boot.id:
        return HOST_WENT_DOWN
    is_held = is_locked(spool.folder / "output" / str(record.id))
    if is_held or (is_held is None and now - record.started < WITHOUT_OUTPUT):
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
        name = path.name.partition(".")[0]
        try:
            is_young = now - datetime.fromtimestamp(path.lstat().st_mtime, UTC) < SETTLED
        except FileNotFoundError:
            continue
        if is_young or is_locked(spool.folder / "output" / name):
            continue
        if is_record(path, name):
            is_final = is_over(parse_record(json.loads(path.read_bytes())))
            path.replace(spool.folder / ("done" if is_final else "running") / f"{name}.json")
            done.recovered += 1
        else:
            path.unlink(missing_ok=True)


def is_record(path: Path, name: str) -> bool:
    """Whether the file holds the whole record of this id; one that was reserved and never written does not."""
    try:
        return str(parse_record(json.loads(read_plain(path, MAX_RECORD))).id) == name
    except (FileNotFoundError, UnsafeFile, BadRecord, ValueError):
        return False


def remove_old(spool: Spool, folders: tuple[str, ...], now: datetime, done: Reconciliation) -> None:
    """Delete records and outputs beyond the retention by age, then by size."""
    for folder in folders:
        kept = {name: (age_and_size(spool, folder, name)) for name in spool.names(folder)}
        for name in expired(kept, now=now, age=KEEP_AGE, size=KEEP_BYTES):
            for path in (
                spool.folder / folder / f"{name}.json",
                spool.folder / folder / f"{name}.reason",
                spool.folder / "output" / name,
            ):
                path.unlink(missing_ok=True)
            done.removed += 1


def age_and_size(spool: Spool, folder: str, name: str) -> tuple[datetime, int]:
    status = (spool.folder / folder / f"{name}.json").lstat()
    return datetime.fromtimestamp(status.st_mtime, UTC), status.st_size + output_size(spool, name)


def read_boot() -> Boot:
    """The present boot, by proc(5): process 1 began so many ticks after the kernel, whose start is `btime`."""
    ticks = int(Path("/proc/1/stat").read_text("ascii").rpartition(")")[2].split()[19])
    lines = Path("/proc/stat").read_text("ascii").splitlines()
    kernel = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    began = datetime.fromtimestamp(kernel + ticks / os.sysconf("SC_CLK_TCK"), UTC)
    return Boot(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), began)

"""Retaining: old records make room, and what is left of them is counted."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from rota.adapters.spool import MAX_RECORD, Spool, UnsafeFile, read_plain, record_names, replace_through
from rota.core.identifier import first_identifier
from rota.core.retention import Keep, Worth, too_many, too_old
from rota.core.status import Status

BATCH = 2_000
"""How many records one retaining removes at most; the next, ten minutes later, goes on."""
RECOUNT = timedelta(hours=1)
ORPHANED = timedelta(days=7)
"""An output that is older and has no record has lost it."""
LIMIT = 64 * 1024
NOTABLE = (Status.FAILED, Status.LOST)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the last retaining found. Records before `judged` that are still there are known to be worth keeping.

    `size` is bytes, as of `counted`; `discarded` counts the records that were removed before the diary had them.
    """

    judged: str = ""
    size: int | None = None
    counted: datetime | None = None
    discarded: int = 0


@dataclass
class Retention:
    """What one retaining did. `left` is what could not be removed: a folder that a task made, for one."""

    removed: int = 0
    discarded: int = 0
    left: int = 0


@dataclass(frozen=True, kw_only=True)
class Retainer:
    """What to keep of a spool. `baselines` are the ids of the latest good runs.

    Without a diary, what is done counts as acknowledged.
    """

    spool: Spool
    keep: Keep
    baselines: Collection[str]
    has_diary: bool
    now: datetime

    def retain(self) -> Retention:
        """Remove what is kept no longer, at most a batch of it."""
        done, before = Retention(), load_usage(self.spool)
        usage = self._remove_by_age(before, done)
        if usage.counted is None or not timedelta() <= self.now - usage.counted < RECOUNT:
            usage = self._remove_by_size(usage, done)
        if usage != before:
            store_usage(self.spool, usage)
        return done

    @property
    def _acknowledged(self) -> tuple[str, ...]:
        return ("sent",) if self.has_diary else ("sent", "done")

    def _remove_by_age(self, usage: Usage, done: Retention) -> Usage:
        places = {name: folder for folder in self._acknowledged for name in self.spool.names(folder)}
        worth = self._worth(places, usage.judged)
        for name in too_old(places, self.keep, worth, self.now):
            if done.removed >= BATCH:
                return replace(usage, judged=max(usage.judged, name))
            remove(self.spool, places[name], name, done)
        return replace(usage, judged=max(usage.judged, first_identifier(self.now - self.keep.age)))

    def _remove_by_size(self, usage: Usage, done: Retention) -> Usage:
        """Count what all of it takes; remove what is beyond the limits, and what belongs to nothing any more."""
        # Outputs first: what ends meanwhile has its record by the time that records are listed.
        outputs = sizes_in(self.spool.folder / "output")
        records = {folder: sizes_in(self.spool.folder / folder, ".json") for folder in ("done", "sent", "quarantine")}
        self._remove_oversized({"output": outputs, **records}, done)
        total = sum(outputs.values()) + sum(sum(sizes.values()) for sizes in records.values())
        total -= self._remove_orphans(outputs, records, done)
        total -= self._remove_put_aside(outputs, done)
        places = {name: folder for folder in self._acknowledged for name in records[folder]}
        total -= self._limit(places, records, outputs, self.keep.size, done)
        if self.has_diary:
            discarded = done.removed
            total -= self._limit(dict.fromkeys(records["done"], "done"), records, outputs, self.keep.unsent, done)
            done.discarded = done.removed - discarded
        # What is left of a batch is for the next time.
        counted = self.now if done.removed < BATCH else None
        return replace(usage, size=total, counted=counted, discarded=usage.discarded + done.discarded)

    def _limit(
        self,
        places: Mapping[str, str],
        records: Mapping[str, Mapping[str, int]],
        outputs: Mapping[str, int],
        most: int,
        done: Retention,
    ) -> int:
        """Remove what is beyond so many bytes. Returns how many bytes that was."""
        sizes = {name: records[folder][name] + outputs.get(name, 0) for name, folder in places.items()}
        freed = 0
        for name in too_many(sizes, most, self._worth(places, "")):
            if done.removed >= BATCH:
                break
            remove(self.spool, places[name], name, done)
            freed += sizes[name]
        return freed

    def _remove_oversized(self, sizes: Mapping[str, dict[str, int]], done: Retention) -> None:
        """Remove files that no runner leaves and nobody reads: they must not take the room of what is worth keeping."""
        for folder, found in sizes.items():
            for name in [name for name, size in found.items() if size > MAX_RECORD]:
                unlink(self.spool.folder / folder / (name if folder == "output" else f"{name}.json"), done)
                del found[name]

    def _remove_orphans(
        self, outputs: Mapping[str, int], records: Mapping[str, Mapping[str, int]], done: Retention
    ) -> int:
        """Remove old outputs whose record is gone. Returns how many bytes they took."""
        known = {name for sizes in records.values() for name in sizes}
        known.update(record_names(self.spool.folder / "running"), record_names(self.spool.spare))
        known.update(name.partition(".")[0] for name in sizes_in(self.spool.folder / "tmp"))
        old = first_identifier(self.now - ORPHANED)
        orphans = [name for name in outputs.keys() - known if name < old]
        for name in orphans:
            unlink(self.spool.folder / "output" / name, done)
        return sum(outputs[name] for name in orphans)

    def _remove_put_aside(self, outputs: Mapping[str, int], done: Retention) -> int:
        """Remove what was put aside long ago; what lies there may have any name. Returns how many bytes it took."""
        freed, folder = 0, self.spool.folder / "quarantine"
        for name in record_names(folder):
            try:
                status = (folder / f"{name}.json").lstat()
            except FileNotFoundError:
                continue
            # When it was put aside; when it was written a task may have set to anything.
            if self.now.timestamp() - status.st_ctime > self.keep.age.total_seconds():
                remove(self.spool, "quarantine", name, done)
                freed += status.st_size + outputs.get(name, 0)
        return freed

    def _worth(self, places: Mapping[str, str], judged: str) -> Callable[[str], Worth]:
        def worth(name: str) -> Worth:
            if name in self.baselines:
                return Worth.BASELINE
            # Judged before, and still there: it was worth keeping, and need not be read again.
            return Worth.NOTABLE if name < judged else read_worth(self.spool.folder / places[name] / f"{name}.json")

        return worth


def read_worth(path: Path) -> Worth:
    """What the record in this file is worth; it is not checked whole, for that takes ten times as long."""
    try:
        found = json.loads(read_plain(path, MAX_RECORD))
    except (FileNotFoundError, UnsafeFile, ValueError, RecursionError):
        return Worth.ROUTINE
    if not isinstance(found, dict) or found.get("dry_run"):
        return Worth.ROUTINE
    is_notable = found.get("status") in NOTABLE or found.get("unexpected") or found.get("kind") == "deploy"
    return Worth.NOTABLE if is_notable else Worth.ROUTINE


def remove(spool: Spool, folder: str, name: str, done: Retention) -> None:
    """Delete a record and what belongs to it; the record last, so that nothing is left without it."""
    unlink(spool.folder / "output" / name, done)
    if folder == "quarantine":
        unlink(spool.folder / folder / f"{name}.reason", done)
    unlink(spool.folder / folder / f"{name}.json", done)
    done.removed += 1


def unlink(path: Path, done: Retention) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except OSError:
        done.left += 1


def sizes_in(folder: Path, ending: str = "") -> dict[str, int]:
    """The sizes of the files in this folder by name, without the ending that they must have."""
    try:
        with os.scandir(folder) as entries:
            return dict(sizes_of((entry for entry in entries if entry.name.endswith(ending)), len(ending)))
    except FileNotFoundError:
        return {}


def sizes_of(entries: Iterable["os.DirEntry[str]"], ending: int) -> Iterable[tuple[str, int]]:
    for entry in entries:
        try:
            if not entry.is_dir(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                # What it takes: a file may claim any size, and have holes.
                yield entry.name[: len(entry.name) - ending], min(status.st_size, 512 * status.st_blocks)
        except FileNotFoundError:
            continue


def usage_file(spool: Spool) -> Path:
    return spool.folder / "sent" / "usage"


def load_usage(spool: Spool) -> Usage:
    """What the last retaining found; nothing where there was none."""
    try:
        values = json.loads(read_plain(usage_file(spool), LIMIT))
        return Usage(
            judged=str(values["judged"]),
            size=None if values["size"] is None else int(values["size"]),
            counted=datetime.fromisoformat(values["counted"]) if values["counted"] else None,
            discarded=int(values["discarded"]),
        )
    except (FileNotFoundError, UnsafeFile, ValueError, KeyError, TypeError):
        return Usage()


def store_usage(spool: Spool, usage: Usage) -> None:
    replace_through(usage_file(spool), json.dumps(asdict(usage), default=datetime.isoformat) + "\n")

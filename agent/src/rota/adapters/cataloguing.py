"""What the diary is told of a host's catalogue: a record whenever it has changed, and once a day."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from rota.adapters.spool import Spool, UnsafeFile, read_plain, replace_through
from rota.core.catalogue import Catalogue
from rota.core.definition import definition_of
from rota.core.pause import Pause
from rota.core.record import MAX_NAME, MAX_TEXT, CatalogueRecord, Paused, Unit, as_mapping, fitting
from rota.core.timing import timing_of
from rota.runner import make_identifier

MARK = "catalogue"


def tell_catalogue(
    spool: Spool,
    catalogue: Catalogue,
    pauses: Mapping[str, Pause],
    release: str,
    now: datetime,
    *,
    units: Mapping[str, Unit] = {},
    has_timers: bool = True,
) -> bool:
    """Put a record of the catalogue among those to be sent, unless one that says the same was told today.

    `units` are those of tasks, by task. Where nothing runs by itself, `has_timers` keeps it from telling when.
    What was told last is remembered beside the records that were sent, where no task can change it.
    """
    record = record_of(catalogue, pauses, release, now, units=units, has_timers=has_timers)
    mark, told = spool.folder / "sent" / MARK, f"{now:%Y-%m-%d} {digest_of(record)}\n"
    if read_mark(mark) == told:
        return False
    spool.store(record)
    replace_through(mark, told)
    return True


def record_of(
    catalogue: Catalogue,
    pauses: Mapping[str, Pause],
    release: str,
    now: datetime,
    *,
    units: Mapping[str, Unit] = {},
    has_timers: bool = True,
) -> CatalogueRecord:
    agent = catalogue.agent
    return CatalogueRecord(
        id=UUID(make_identifier(time.time_ns() // 1_000_000, os.urandom(10))),
        host=agent.host,
        environment=agent.environment,
        at=now,
        release=fitting(release, MAX_NAME),
        is_asking=agent.asking,
        tasks={
            name: replace(
                definition_of(task),
                timing=timing_of(task, agent.environment, now) if has_timers else None,
                unit=units.get(name),
            )
            for name, task in catalogue.tasks.items()
        },
        pauses={
            name: Paused(
                since=pause.since,
                until=pause.until,
                by=fitting(pause.by, MAX_TEXT),
                reason=fitting(pause.reason, MAX_TEXT),
            )
            for name, pause in pauses.items()
            if name in catalogue.tasks and (pause.until is None or pause.until > now)
        },
    )


def digest_of(record: CatalogueRecord) -> str:
    """The same for records that say the same, whenever they were made."""
    same = as_mapping(replace(record, id=UUID(int=0), at=datetime.min.replace(tzinfo=record.at.tzinfo)))
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def read_mark(path: Path) -> str:
    try:
        return read_plain(path, 1_000).decode("utf-8", "replace")
    except (FileNotFoundError, UnsafeFile):
        return ""


def release_at(current: Path) -> str:
    """The release that is in use, by the link to it; empty where there is none."""
    return current.readlink().name if current.is_symlink() else ""

"""Measuring: what a look at the host finds, and the file in which node exporter looks for it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from rota.adapters.outbound import caught_in
from rota.adapters.pauses import Pauses
from rota.adapters.retaining import load_usage
from rota.adapters.spool import replace_through, spool_of
from rota.core.catalogue import Catalogue
from rota.core.due import next_start, overdue_since
from rota.core.exposition import Measured, MeasuredTask, render
from rota.core.history import Standing
from rota.core.identifier import began_at
from rota.core.incident import Incident
from rota.core.objective import attain
from rota.core.pause import Pause
from rota.core.places import Places
from rota.core.task import Task


def measure(
    places: Places,
    catalogue: Catalogue,
    *,
    standings: Mapping[str, Standing],
    failing: Mapping[str, Incident],
    now: datetime,
) -> Measured:
    """What is measured of this host now. `failing` are the open incidents by task. Raises SpoolUnreadable."""
    spool, agent = spool_of(places), catalogue.agent
    waiting = spool.names("done") if agent.diary else None
    pauses, usage = Pauses(places.pauses).all(), load_usage(spool)
    return Measured(
        at=now,
        host=agent.host,
        environment=agent.environment,
        release=places.current.resolve().name if places.current.exists() else "",
        tasks={
            name: measure_task(task, standings.get(name), pauses.get(name), failing.get(name), now=now)
            for name, task in catalogue.tasks.items()
        },
        waiting=None if waiting is None else len(waiting),
        oldest_waiting=next(filter(None, map(began_at, waiting or ())), None),
        discarded=usage.discarded,
        spool_bytes=usage.size,
        quarantined=len(spool.names("quarantine")),
        outbox=len(caught_in(places.outbox)),
    )


def measure_task(
    task: Task, standing: Standing | None, pause: Pause | None, incident: Incident | None, *, now: datetime
) -> MeasuredTask:
    overdue = overdue_since(task, standing, pause, now)
    return MeasuredTask(
        standing=standing or Standing(),
        is_failing=incident is not None,
        is_handled=incident is not None and incident.handled is not None,
        is_paused=pause is not None and pause.covers(now),
        next_start=next_start(task, standing, pause, now),
        overdue=now - overdue if overdue else None,
        attainment=attain(task.objective, standing, now) if task.objective else None,
    )


def write(folder: Path, measured: Measured) -> None:
    """Replace the measurements in the folder where node exporter looks, if there is one."""
    if not folder.is_dir():
        return
    replace_through(folder / "rota.prom", render(measured), mode=0o644)

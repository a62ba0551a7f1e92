"""The catalogues of the made-up estate's hosts, as each would have told it this morning."""

from datetime import datetime, timedelta

from rota.core.record import CatalogueRecord, Declared, Definition
from rota.core.status import Environment
from rota.core.wording import span
from rota.diary.estate.runs import identifier, release_at
from rota.diary.estate.tasks import TASKS, MadeTask


def catalogue_record(host: str, *, now: datetime) -> CatalogueRecord:
    """All tasks that run on this host; nobody answers there, so what is asked of it expires."""
    morning = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return CatalogueRecord(
        id=identifier(morning, host, "catalogue"),
        host=host,
        environment=Environment(host),
        at=morning,
        release=release_at(morning),
        is_asking=host != "backup",
        tasks={task.name: definition(task) for task in TASKS if host in task.hosts},
        pauses={},
    )


def definition(task: MadeTask) -> Definition:
    every, first = timedelta(minutes=task.every), timedelta(minutes=task.at)
    return Definition(
        description=task.name.replace("_", " ").capitalize(),
        words=f"every {span(every).removeprefix('1 ')}",
        pack=task.pack,
        is_asked=True,
        has_dry_run=False,
        parameters=tuple(map(declared, task.parameters or {})),
        fields={"zone": "UTC", "spread": span(first), "catch_up": "latest", "timeout": span(every)},
    )


def declared(name: str) -> Declared:
    return Declared(name=name, kind="text", is_many=False, choices=(), default=None, meaning="")

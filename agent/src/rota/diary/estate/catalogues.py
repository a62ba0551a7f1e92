"""The catalogues of the made-up estate's hosts, as each would have told it this morning."""

from datetime import datetime, timedelta

from rota.core.record import CatalogueRecord, Declared, Definition, Timing, Unit, Wanted
from rota.core.status import Environment
from rota.core.wording import in_words, span
from rota.diary.estate.runs import identifier, release_at, unit_hash
from rota.diary.estate.tasks import TASKS, MadeTask

MONTH = timedelta(days=30).total_seconds()
HARDENING = (
    "DynamicUser=yes",
    "UMask=0077",
    "TasksMax=128",
    "MemoryMax=512M",
    "PrivateNetwork=yes",
    "IPAddressDeny=any",
    "CapabilityBoundingSet=",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "ProtectHome=yes",
    "ProtectSystem=strict",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
)


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
        tasks={task.name: definition(task, now) for task in TASKS if host in task.hosts},
        pauses={},
    )


def definition(task: MadeTask, now: datetime) -> Definition:
    every = span(timedelta(minutes=task.every))
    return Definition(
        description=task.name.replace("_", " ").capitalize(),
        words=in_words(task.schedule),
        pack=task.pack,
        is_asked=True,
        has_dry_run=False,
        parameters=tuple(map(declared, task.parameters or {})),
        fields={"schedule": task.schedule, "zone": "UTC", "catch_up": "latest", "timeout": every},
        timing=timing(task),
        unit=Unit(hash=unit_hash(task, now), exposure=1.5, hardening=HARDENING),
    )


def timing(task: MadeTask) -> Timing:
    fresh = 2.2 * timedelta(minutes=task.every)
    return Timing(
        schedule=(task.schedule,),
        zone="UTC",
        dst="",
        only=(),
        excepted=(),
        every=None,
        spread=0,
        lock_wait=0,
        objective=Wanted(success=task.success, within=MONTH, fresh=fresh.total_seconds()) if task.success else None,
    )


def declared(name: str) -> Declared:
    return Declared(name=name, kind="text", is_many=False, choices=(), default=None, meaning="")

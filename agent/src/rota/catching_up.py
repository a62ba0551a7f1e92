"""Catching up: runs of one task for slots that were missed, and runs for which somebody set a time."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rota.adapters import systemd
from rota.adapters.pauses import Pauses
from rota.adapters.plans import Plans
from rota.adapters.requests import Asked, Requests
from rota.adapters.spool import Spool
from rota.core.errors import RotaError
from rota.core.places import Places
from rota.core.plan import BadPlan, Plan
from rota.core.request import Request
from rota.core.status import Trigger
from rota.core.task import CatchUp, Task
from rota.planning import has_begun, lateness, load_runs
from rota.runner import make_identifier
from rota.starting import find_run, request_left
from rota.units import unit_name

LOOK_EVERY = 0.5


class NotCaughtUp(RotaError):
    """The run did not begin."""


@dataclass(frozen=True)
class Wanted:
    """One run that should have begun at this moment; `asked` where somebody set that time."""

    slot: datetime
    asked: Asked | None = None

    @property
    def request(self) -> Request:
        identifier = make_identifier(time.time_ns() // 1_000_000, os.urandom(10))
        if self.asked is None:
            return Request(id=identifier, trigger=Trigger.CATCH_UP, slot=self.slot)
        return Request(
            id=identifier,
            slot=self.slot,
            asked_by=self.asked.asked_by,
            parameters=self.asked.parameters,
            environment=self.asked.environment,
            arguments=self.asked.arguments,
            is_dry_run=self.asked.is_dry_run,
        )


def catch_up(task: Task, places: Places, spool: Spool) -> int:
    """Run the task once for each slot that was missed and each time that was asked for, the earliest first.

    Returns how many runs began. What is wanted is looked up anew before each, for it takes as long as they take.
    Raises NotCaughtUp, and leaves the rest to the next accounting.
    """
    number = 0
    while wanted := next(all_wanted(task, places, spool, datetime.now(UTC)), None):
        start(task, places, spool, wanted)
        number += 1
    return number


def all_wanted(task: Task, places: Places, spool: Spool, now: datetime) -> Iterator[Wanted]:
    """The runs that are wanted now, the earliest first."""
    plan, pause = load_plan(places, task.name), Pauses(places.pauses).load(task.name)
    may_catch_up = task.catch_up not in (None, CatchUp.NONE) and not (pause and pause.covers(now))
    missed = [slot.moment for slot in plan.missed if may_catch_up and now - slot.moment <= task.catch_up_window]
    asked = [
        each
        for each in Requests(places.asked).all()
        if each.task == task.name and each.at <= now and now - each.at <= lateness(task)
    ]
    if not (missed or asked):
        return
    runs = load_runs(spool, min([*missed, *(each.at for each in asked)])).get(task.name, ())
    told = {run.slot for run in runs}
    wanted = [Wanted(slot) for slot in missed if slot not in told]
    wanted += [Wanted(each.at, each) for each in asked if not has_begun(each, runs)]
    yield from sorted(wanted, key=lambda each: each.slot)


def load_plan(places: Places, name: str) -> Plan:
    try:
        return Plans(places.plans).load(name) or Plan()
    except BadPlan:
        return Plan()  # the next accounting makes it anew


def start(task: Task, places: Places, spool: Spool, wanted: Wanted) -> None:
    """Start the task's unit for this, and wait until it is over. Raises NotCaughtUp.

    That happens when its timer was faster; it is not tried again here, for whatever else is wrong, the work must not be
    done over and over.
    """
    unit, said = unit_name(task.name), ""
    wait_until_idle(unit)
    request = wanted.request
    with request_left(places.requests / task.name, request):
        try:
            systemd.ask(systemd.start_command([unit]))
        except systemd.SystemdRefused as error:
            # A run that fails does that as well; what counts is its record.
            said = " ".join(error.args[0].split())
        if find_run(spool, request.id) is None:
            why = said or "its timer was faster"
            raise NotCaughtUp(f"{unit} for {wanted.slot:%Y-%m-%d %H:%M} UTC; {why}; see rota runs {task.name}")


def wait_until_idle(unit: str) -> None:
    """Wait for a run that is under way; as long as it takes, for its own timeout ends it."""
    while systemd.is_active(unit):
        print(f"rota: {unit} is running; waiting for its end", file=sys.stderr)
        while systemd.is_active(unit):
            time.sleep(LOOK_EVERY)  # between two looks at the unit

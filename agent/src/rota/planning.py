"""Planning: the plan of every task, the records of slots that passed without a run, and which of them are made up for.

Each record is stored before the plan forgets its slot, and a slot of which a record speaks is not recorded again:
whatever interrupts an accounting, the next one goes on where it was.
"""

import hashlib
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from rota.adapters import systemd, unit_files
from rota.adapters.pauses import Pauses
from rota.adapters.plans import Look, Plans
from rota.adapters.reconciling import Boot, read_boot, read_record
from rota.adapters.requests import Asked, Requests
from rota.adapters.spool import Spool, spool_of
from rota.adapters.standings import Standings
from rota.core.accounting import (
    LATE,
    SETTLED,
    SLOTS_COUNT,
    SPAN_COUNT,
    Rule,
    Skipped,
    Units,
    Witness,
    settle,
    unanswered,
    why,
)
from rota.core.catalogue import Agent, Catalogue
from rota.core.due import planned
from rota.core.errors import RotaError
from rota.core.history import Standing, usual_values
from rota.core.pause import Pause
from rota.core.places import Places
from rota.core.plan import HORIZON, MOST, BadPlan, Plan
from rota.core.record import MAX_TEXT, Record, RunRecord
from rota.core.schedule import Schedule, schedule_of, shifts_in
from rota.core.status import Status, Trigger
from rota.core.task import CatchUp, Task
from rota.runner import cut, make_identifier

READ_IN = ("running", "done", "sent", "quarantine")
"""In the order in which a record moves on, so that none is overlooked on its way."""
LOOK_BACK = timedelta(minutes=5)
AT_ONCE = 10_000
"""How many slots of a task are accounted for in one go, and how often one accounting goes on."""
GOES = 10
CLOCK_MARGIN = timedelta(minutes=2)
CLOCK_TRUSTED = timedelta(days=1)
"""When the clock is set back by more, it was wrong before, and what was accounted for then is planned again."""
REACHES_FAR = timedelta(days=300)
IN_A_MILLISECOND = 4096
CATCH_UP_UNIT = "rota-catch-up@{}.service"
SHOWN = ("LoadState", "LoadError", "ActiveState", "Result", "ActiveEnterTimestamp", "InactiveExitTimestamp", "Job")


BROKEN = "broken"


class NotAccounted(RotaError):
    """Some slots could not be accounted for; the next accounting tries again."""


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """One look at all slots of a host. `is_live` where systemd can be asked; `starts` what is to be made up for.

    `uptime` is how many seconds the boot has lasted, which no setting of the clock changes.
    """

    places: Places
    catalogue: Catalogue
    now: datetime
    uptime: float
    boot: Boot
    is_live: bool
    starts: bool = True

    @property
    def spool(self) -> Spool:
        return spool_of(self.places)

    @property
    def plans(self) -> Plans:
        return Plans(self.places.plans)

    @property
    def pauses(self) -> Pauses:
        return Pauses(self.places.pauses)

    @property
    def requests(self) -> Requests:
        return Requests(self.places.asked)


@dataclass(frozen=True)
class Accounted:
    """How many slots were recorded as skipped, and which tasks have runs to be made up for."""

    skipped: int
    behind: tuple[str, ...]


def account_now(places: Places, catalogue: Catalogue, *, is_live: bool, starts: bool = True) -> Accounted:
    """Account for all slots up to this moment. Raises SpoolUnreadable, NotAccounted."""
    return account(
        Accounting(
            places=places,
            catalogue=catalogue,
            now=datetime.now(UTC),
            uptime=time.clock_gettime(time.CLOCK_BOOTTIME),
            boot=read_boot(),
            is_live=is_live,
            starts=starts,
        )
    )


def account(work: Accounting) -> Accounted:
    """Record each slot that passed without a run, begin what is to be made up for, and write the plans anew.

    Raises SpoolUnreadable, NotAccounted.
    """
    with work.plans.alone():
        look = work.plans.last_look()
        ledger = Ledger(work, look)
        for name in sorted({*work.plans.names(), *work.catalogue.tasks}):
            ledger.open(name)
        ledger.gather()
        for name in ledger.plans:
            ledger.close(name)
        behind = ledger.settle_requests()
        clear(work)
        if ledger.is_complete:
            keep_look(work, look)
    behind = sorted({*behind, *(name for name, plan in ledger.plans.items() if plan.missed)})
    if work.is_live and work.starts and behind:
        systemd.ask(systemd.start_soon_command(CATCH_UP_UNIT.format(name) for name in behind))
    if ledger.failures:
        raise NotAccounted("; ".join(ledger.failures))
    return Accounted(ledger.skipped, tuple(behind))


class Ledger:
    """The plans of one accounting, and the runs that they are compared with."""

    def __init__(self, work: Accounting, look: Look | None) -> None:
        self.work = work
        self.look = look
        self.plans: dict[str, Plan] = {}
        self.reached: dict[str, datetime] = {}
        self.stored: dict[str, Plan | None] = {}
        self.runs: Mapping[str, Sequence[RunRecord]] = {}
        self.units: Mapping[str, Units] = {}
        self.witness = witness_of(work, look, ())
        self.standings: dict[str, Standing] | None = None
        self.skipped = 0
        self.failures: list[str] = []
        self.is_complete = True

    def open(self, name: str) -> None:
        """Take up the task's plan as it stands; one that is broken is computed again from the latest accounting on."""
        try:
            self.stored[name] = plan = self.work.plans.load(name)
        except BadPlan as error:
            print(f"rota: {error}", file=sys.stderr)
            self.stored[name], plan = None, Plan(basis=BROKEN)
        except OSError as error:
            self.fail(name, error)
            return
        plan = plan or Plan()
        last = self.look.at if self.look and plan.basis else self.work.now
        self.reached[name] = plan.slots[-1].moment if plan.slots else last - SETTLED if plan.basis == BROKEN else last
        self.plans[name] = plan
        self.extend(name)

    def gather(self) -> None:
        """Read the runs since the earliest slot in question; those from before only where a slot has none."""
        asked = [each.at for each in self.work.requests.all() if each.at <= self.work.now]
        moments = [slot.moment for plan in self.plans.values() for slot in (*plan.past(self.work.now), *plan.missed)]
        if not (asked or moments):
            return
        since = min([*asked, *moments])
        self.runs = load_runs(self.work.spool, since - LOOK_BACK)
        behind = [name for name, plan in self.plans.items() if plan.missed or self.is_open(name, plan)]
        if behind or asked:
            longest = max((self.rule(name)[1] for name in behind), default=timedelta())
            self.runs = load_runs(self.work.spool, since - longest - LOOK_BACK)
            self.units = look_at_units(behind) if self.work.is_live else {}
        self.witness = witness_of(self.work, self.look, itertools.chain.from_iterable(self.runs.values()))

    def close(self, name: str) -> None:
        """Store the records of what passed without a run, then the plan with what comes."""
        try:
            for _ in range(GOES):
                self.settle(name)
                if not self.extend(name):
                    self.renew(name)
                    return
            # What is next goes on from the last slot that was accounted for.
            self.is_complete = False
            self.work.plans.store(name, replace(self.plans[name], slots=self.plans[name].slots[:1]))
        except OSError as error:
            self.fail(name, error)

    def settle(self, name: str) -> None:
        plan, runs = self.plans[name], self.runs.get(name, ())
        found = settle(plan, self.rule(name)[0], runs, self.units.get(name, Units()), self.witness)
        task = self.work.catalogue.tasks.get(name)
        for number, each in enumerate(found.skipped):
            self.work.spool.store(record_of(self.work, name, task, each, number))
            self.skipped += each.slots
        self.plans[name] = found.plan

    def renew(self, name: str) -> None:
        task = self.work.catalogue.tasks.get(name)
        if task is None:
            self.work.plans.remove(name)
            return
        plan = replace(self.renewed(self.plans[name], task), medians=self.usual(task))
        if plan != self.stored[name]:
            self.work.plans.store(name, plan)
        self.plans[name] = plan

    def extend(self, name: str) -> bool:
        """Add what passed beyond the plan's end, if anything did: it holds no more than so many slots."""
        task = self.work.catalogue.tasks.get(name)
        schedule = schedule_here(task, self.work.catalogue.agent) if task else None
        if schedule is None or self.reached[name] >= self.work.now:
            return False
        passed = planned(schedule, self.work.pauses.load(name), self.reached[name], self.work.now)
        more = tuple(itertools.islice(passed, AT_ONCE))
        self.reached[name] = more[-1].moment if len(more) == AT_ONCE else self.work.now
        self.plans[name] = replace(self.plans[name], slots=(*self.plans[name].slots, *more))
        return bool(more)

    def settle_requests(self) -> list[str]:
        """Forget runs that were asked for and have begun, or are too late; the tasks of which some are to begin now."""
        behind: list[str] = []
        for asked in self.work.requests.all():
            try:
                if self.settle_request(asked):
                    behind.append(asked.task)
            except OSError as error:
                self.fail(asked.task, error)
        return behind

    def settle_request(self, asked: Asked) -> bool:
        task = self.work.catalogue.tasks.get(asked.task)
        now, runs = self.work.now, self.runs.get(asked.task, ())
        if asked.at > now:
            if self.work.is_live:
                arm(asked)
            return False
        if task and not has_begun(asked, runs):
            if now - asked.at <= lateness(task):
                return True
            reason = why(asked.at, runs, Units(), self.witness)
            skipped = Skipped(moment=asked.at, reason=reason)
            record = record_of(self.work, asked.task, task, skipped, 0)
            record = replace(record, trigger=Trigger.MANUAL, asked_by=asked.asked_by, parameters=asked.parameters)
            self.work.spool.store(record)
            self.skipped += 1
        self.work.requests.remove(asked)
        return False

    def usual(self, task: Task) -> dict[str, float]:
        """What the runner compares a success of this task with."""
        if not any(each.is_of_median for each in task.expect):
            return {}
        if self.standings is None:
            self.standings = Standings(self.work.places.alerts).load()
        standing = self.standings.get(task.name)
        return usual_values(standing, task.expect) if standing else {}

    def renewed(self, plan: Plan, task: Task) -> Plan:
        """The plan with its coming slots, computed anew where the schedule or a pause changed, or they run out."""
        schedule, pause = schedule_here(task, self.work.catalogue.agent), self.work.pauses.load(task.name)
        after = self.work.now if self.was_clock_wrong or not self.look else max(self.work.now, self.look.at)
        basis = basis_of(schedule, pause, self.work.now)
        coming = plan.coming(after)
        is_far = len(coming) >= MOST // 2 or bool(coming) and coming[-1].moment > self.work.now + REACHES_FAR
        if plan.basis == basis and is_far and not self.was_clock_wrong:
            return plan
        slots = planned(schedule, pause, after, after + HORIZON) if schedule else ()
        return plan.with_coming(itertools.islice(slots, MOST), after=after, basis=basis)

    @property
    def was_clock_wrong(self) -> bool:
        """Whether the latest accounting was so far in what is now the future that its clock must have been wrong."""
        return self.look is not None and self.look.at - self.work.now > CLOCK_TRUSTED

    def is_open(self, name: str, plan: Plan) -> bool:
        return bool(unanswered(plan, self.rule(name)[0], self.runs.get(name, ()), self.work.now))

    def rule(self, name: str) -> tuple[Rule, timedelta]:
        """The rule of a task, which may be gone, and how long its runs may take."""
        task = self.work.catalogue.tasks.get(name)
        if task is None:
            return Rule(), timedelta(days=1)
        pause = self.work.pauses.load(name)
        is_paused = pause is not None and pause.covers(self.work.now)
        catch_up = CatchUp.NONE if is_paused or task.catch_up is None else task.catch_up
        rule = Rule(spread=task.spread, catch_up=catch_up, window=task.catch_up_window)
        return rule, task.timeout + task.grace + task.lock_wait

    def fail(self, name: str, error: OSError) -> None:
        self.failures.append(f"{name}: {error.strerror or error}")
        self.is_complete = False


def schedule_here(task: Task, agent: Agent) -> Schedule | None:
    """The task's schedule on this host; None for a task without one, or which this environment runs only by hand."""
    is_elsewhere = bool(task.environments) and agent.environment not in task.environments
    return None if is_elsewhere else schedule_of(task)


def basis_of(schedule: Schedule | None, pause: Pause | None, now: datetime) -> str:
    """What tells whether the coming slots must be computed anew: also a zone's clocks, which are set by law."""
    zones = dict.fromkeys(calendar.zone for calendar in schedule.calendars) if schedule else ()
    shifts = [shifts_in(zone, year) for zone in zones for year in (now.year, now.year + 1)]
    return hashlib.sha256(repr((schedule, pause, shifts)).encode()).hexdigest()[:12]


def witness_of(work: Accounting, look: Look | None, runs: Iterable[RunRecord]) -> Witness:
    """What is known of the time since the latest accounting."""
    is_same_boot = look is not None and (look.boot, look.first) == (work.boot.id, work.boot.first)
    signs = [run.started for run in runs if run.started < work.boot.began]
    if look and not is_same_boot and look.at < work.boot.began:
        signs.append(look.at)
    clock_set = timedelta()
    if look and is_same_boot:
        clock_set = (work.now - look.at) - timedelta(seconds=work.uptime - look.uptime)
    return Witness(
        now=work.now,
        booted=work.boot.began,
        alive=max(signs, default=None),
        accounted=look.at if look else None,
        clock_set=clock_set if clock_set > CLOCK_MARGIN else timedelta(),
    )


def keep_look(work: Accounting, look: Look | None) -> None:
    """Remember this accounting; not while the clock is a little behind the latest, which stays the one to go by."""
    if look is None or not timedelta() < look.at - work.now <= CLOCK_TRUSTED:
        work.plans.keep_look(Look(at=work.now, boot=work.boot.id, first=work.boot.first, uptime=work.uptime))


def clear(work: Accounting) -> None:
    """Remove the pauses that are over or whose task is gone, and see to it that the others hold."""
    for name, pause in work.pauses.all().items():
        is_over = pause.until is not None and pause.until <= work.now
        task = work.catalogue.tasks.get(name)
        if is_over or task is None:
            work.pauses.remove(name)
        if work.is_live and task and is_over:
            look_again(task)
        elif work.is_live and task:
            # A boot or `rota sync` has started them again.
            stop_looking(task)


def stop_looking(task: Task) -> None:
    """Stop the units that start a task without slots, while it is paused; the others find its slots barred."""
    if not task.schedule:
        unit_files.stop(starters(task.name))


def look_again(task: Task) -> None:
    """Start the units that a pause stopped."""
    for unit in [] if task.schedule else starters(task.name):
        if systemd.is_enabled(unit) and not systemd.is_active(unit):
            systemd.ask(systemd.start_command([unit]))


def starters(name: str) -> list[str]:
    return [f"rota-task-{name}.{kind}" for kind in ("timer", "path")]


def load_runs(spool: Spool, since: datetime) -> dict[str, list[RunRecord]]:
    """The runs that began since, those under way, and those whose records are not in their place yet, by task."""
    found: dict[UUID, RunRecord] = {}
    for record in itertools.chain(unfinished(spool), *(read_folder(spool, folder, since) for folder in READ_IN)):
        if isinstance(record, RunRecord):
            found[record.id] = replace(record, items=())
    by_task: dict[str, list[RunRecord]] = {}
    for run in found.values():
        by_task.setdefault(run.task, []).append(run)
    return by_task


def read_folder(spool: Spool, folder: str, since: datetime) -> Iterator[Record]:
    return spool.records(folder, since=None if folder == "running" else since)


def unfinished(spool: Spool) -> Iterator[Record]:
    """Records that a full disk left in the spare, or a power cut in tmp/; `rota reconcile` puts them in their place."""
    yield from spool.spared_records()
    for path in sorted((spool.folder / "tmp").glob("*.json")):
        try:
            if record := read_record(path):
                yield record
        except OSError:
            continue


def record_of(work: Accounting, name: str, task: Task | None, skipped: Skipped, number: int) -> RunRecord:
    """The record of a slot without a run, the so-and-so-many-th of this moment: ids sort as they were made."""
    milliseconds, place = divmod(number, IN_A_MILLISECOND)
    random = (place << 62 | int.from_bytes(os.urandom(8), "big") >> 2).to_bytes(10, "big")
    agent = work.catalogue.agent
    counts = {SLOTS_COUNT: float(skipped.slots), SPAN_COUNT: skipped.span.total_seconds()} if skipped.span else {}
    return RunRecord(
        id=UUID(make_identifier(int(work.now.timestamp() * 1000) + milliseconds, random)),
        host=agent.host,
        environment=agent.environment,
        task=name,
        pack=task.pack if task else None,
        slot=skipped.moment,
        trigger=Trigger.TIMER,
        started=work.now,
        ended=work.now,
        status=Status.SKIPPED,
        reason=cut(skipped.reason, MAX_TEXT),
        counts=counts,
        boot_id=work.boot.id,
    )


def has_begun(asked: Asked, runs: Iterable[RunRecord]) -> bool:
    return any(run.slot == asked.at and run.trigger is Trigger.MANUAL for run in runs)


def lateness(task: Task) -> timedelta:
    """How late a run that was asked for may begin, as when its host was down."""
    return LATE if task.catch_up is CatchUp.NONE else max(LATE, task.catch_up_window)


def arm(asked: Asked) -> None:
    """Have the run begin at its moment; the timer that does so is forgotten when the host goes down."""
    timer = f"rota-asked-{asked.name}"
    if not systemd.is_active(f"{timer}.timer"):
        systemd.ask(systemd.start_at_command(timer, asked.at, CATCH_UP_UNIT.format(asked.task)))


def disarm(asked: Asked) -> None:
    timer = f"rota-asked-{asked.name}.timer"
    if systemd.is_active(timer):
        systemd.ask(systemd.stop_command([timer]))


def look_at_units(names: Sequence[str]) -> dict[str, Units]:
    """How the timers and services of these tasks stand."""
    if not names:
        return {}
    units = [f"rota-task-{name}.{kind}" for name in names for kind in ("timer", "service")]
    shown = systemd.show(units, SHOWN)
    return {name: units_as(*shown[2 * place : 2 * place + 2]) for place, name in enumerate(names)}


def units_as(timer: Mapping[str, str], service: Mapping[str, str]) -> Units:
    """What systemd shows of a timer and its service, in words."""
    is_running = service.get("ActiveState") in ("active", "activating", "deactivating")
    return Units(
        obstacle=obstacle_of("its timer", timer, is_to_be_active=True) or obstacle_of("its unit", service),
        timer_since=systemd.read_moment(timer.get("ActiveEnterTimestamp", "")),
        running_since=systemd.read_moment(service.get("InactiveExitTimestamp", "")) if is_running else None,
        is_queued=not is_running and service.get("Job", "0") not in ("", "0"),
    )


def obstacle_of(what: str, unit: Mapping[str, str], *, is_to_be_active: bool = False) -> str:
    """What keeps this unit from starting; empty where nothing does."""
    load, state, result = (unit.get(key, "") for key in ("LoadState", "ActiveState", "Result"))
    if load == "not-found":
        return f"{what} is missing"
    if load == "masked":
        return f"{what} is masked"
    if load not in ("loaded", ""):
        return f"{what} cannot be loaded: {unit.get('LoadError', '').partition(' ')[2].strip() or load}"
    if state == "failed" and result != "exit-code":
        return f"{what} failed: {result}"
    return f"{what} is stopped" if is_to_be_active and state != "active" else ""

"""What became of slots that passed: answered by a run, to be caught up, or skipped and why."""

import bisect
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from rota.core.plan import MOST, Plan, Planned
from rota.core.record import RunRecord
from rota.core.status import Skip, Status, Trigger
from rota.core.task import CatchUp

SETTLED = timedelta(minutes=2)
"""How long after its slot, and its spread, a run has certainly begun."""
PUNCTUAL = timedelta(seconds=60)
"""How long after its slot, and its spread, a start is taken for that slot's."""
LATE = timedelta(minutes=15)
"""How late a start that nobody asked for may be, to answer a slot that nothing else answers."""
BOOTING = timedelta(minutes=10)
FOLDED = 100
"""More slots in a row than this that were skipped alike make one record."""
SLOTS_COUNT, SPAN_COUNT = "slots", "span in seconds"
"""What such a record counts, so that it is told which slots it speaks of."""
CAUGHT_UP = (Skip.HOST_DOWN, Skip.NEVER_STARTED)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a task says of slots that passed."""

    spread: timedelta = timedelta()
    catch_up: CatchUp = CatchUp.NONE
    window: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True)
class Units:
    """How a task's timer and service stand, in words where that keeps them from starting; since when they do.

    `is_queued` says that the service waits for others before it starts.
    """

    obstacle: str = ""
    timer_since: datetime | None = None
    running_since: datetime | None = None
    is_queued: bool = False


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What is known of the time in which the slots passed.

    `alive` is the latest sign of life from before this boot, `booted` when this boot began. `clock_set` is by how much
    the clock was set forward since the last accounting, which was at `accounted`.
    """

    now: datetime
    booted: datetime
    alive: datetime | None = None
    accounted: datetime | None = None
    clock_set: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A slot without a run, and why; or so many in a row, from `span` before `moment` until then."""

    moment: datetime
    reason: str
    slots: int = 1
    span: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What is to be recorded, oldest first, and the plan that remains."""

    skipped: tuple[Skipped, ...]
    plan: Plan


def due(plan: Plan, rule: Rule, now: datetime) -> tuple[Planned, ...]:
    """The slots whose runs must have begun by now."""
    return plan.past(now - rule.spread - SETTLED)


def unanswered(plan: Plan, rule: Rule, runs: Iterable[RunRecord], now: datetime) -> tuple[Planned, ...]:
    """The due slots that none of these runs of the task answers."""
    known = answered(plan.past(now), runs, rule)
    return tuple(slot for slot in due(plan, rule, now) if slot.moment not in known)


def answered(slots: Sequence[Planned], runs: Iterable[RunRecord], rule: Rule) -> set[datetime]:
    """The moments that a run, or a record that none ran, speaks of; `slots` are all that passed."""
    known: set[datetime] = set()
    stray: list[RunRecord] = []
    for run in runs:
        if run.slot is None:
            stray.append(run)
            continue
        known.add(run.slot)
        if span := run.counts.get(SPAN_COUNT, 0) if run.status is Status.SKIPPED else 0:
            first = run.slot - timedelta(seconds=span)
            known.update(slot.moment for slot in slots if first <= slot.moment <= run.slot)
    for run in stray:
        if slot := slot_of_stray(slots, run, rule):
            known.add(slot.moment)
    return known


def slot_of_stray(slots: Sequence[Planned], run: RunRecord, rule: Rule) -> Planned | None:
    """The slot that a start is for which tells none and which nobody asked for, as when its unit failed to start."""
    if run.trigger not in (Trigger.TIMER, Trigger.MANUAL) or run.asked_by:
        return None
    position = bisect.bisect_right(slots, run.started, key=by_moment)
    slot = slots[position - 1] if position else None
    return slot if slot and run.started - slot.moment <= rule.spread + LATE else None


def settle(plan: Plan, rule: Rule, runs: Sequence[RunRecord], units: Units, witness: Witness) -> Settlement:
    """Say of each due slot what became of it. Doing so again, after its records are stored, says nothing new."""
    open_slots = unanswered(plan, rule, runs, witness.now)
    begun = {run.slot for run in runs if run.slot and run.status is not Status.SKIPPED}
    told = {run.slot for run in runs if run.slot}
    kept = {slot for slot in open_slots if is_under_way(slot, open_slots, rule, runs, units)}
    judged = [
        slot if slot.reason else replace(slot, reason=why(slot.moment, runs, units, witness))
        for slot in open_slots
        if slot not in kept
    ]
    without = sorted([*(slot for slot in plan.missed if slot.moment not in told), *judged], key=by_moment)
    missed = to_catch_up(without, rule, begun, witness.now)
    rest = plan.slots[len(due(plan, rule, witness.now)) :]
    return Settlement(
        skipped=tuple(fold(sorted([*without, *kept], key=by_moment), apart={*missed, *kept})),
        plan=replace(plan, slots=(*sorted(kept, key=by_moment), *rest), missed=tuple(missed)),
    )


def by_moment(slot: Planned) -> datetime:
    return slot.moment


def is_under_way(slot: Planned, slots: Sequence[Planned], rule: Rule, runs: Iterable[RunRecord], units: Units) -> bool:
    """Whether the task is being run, or about to be, for this very slot, and has left no record yet."""
    if units.is_queued:
        return slot == slots[-1]
    since = units.running_since
    if since is None or any(run.status is Status.RUNNING and run.started >= since for run in runs):
        return False
    is_latest = not any(slot.moment < each.moment <= since for each in slots)
    return is_latest and timedelta() <= since - slot.moment <= rule.spread + LATE


def why(moment: datetime, runs: Iterable[RunRecord], units: Units, witness: Witness) -> str:
    """Why nothing ran at this moment, in a record's words."""
    if since := busy_since(moment, runs, units, witness):
        return Skip.STILL_RUNNING.because(f"since {shown(since)}")
    if witness.clock_set and (witness.accounted is None or moment > witness.accounted):
        return Skip.NEVER_STARTED.because(f"the clock was set forward by {show_span(witness.clock_set)}")
    if moment < witness.booted and (witness.alive is None or moment > witness.alive):
        return Skip.HOST_DOWN.because(f"it booted {shown(witness.booted)}")
    if units.timer_since and moment < units.timer_since:
        if moment >= witness.booted and units.timer_since - witness.booted < BOOTING:
            return Skip.HOST_DOWN.because(f"it was booting until {shown(units.timer_since)}")
        return Skip.NEVER_STARTED.because(f"its timer was stopped until {shown(units.timer_since)}")
    return Skip.NEVER_STARTED.because(units.obstacle or "systemd does not say why")


def busy_since(moment: datetime, runs: Iterable[RunRecord], units: Units, witness: Witness) -> datetime | None:
    """When the run of the task began that was under way at this moment."""
    for run in runs:
        if run.status is not Status.SKIPPED and run.started <= moment < last_seen(run, witness):
            return run.started
    return units.running_since if units.running_since and units.running_since <= moment else None


def last_seen(run: RunRecord, witness: Witness) -> datetime:
    """Until when this run was under way, as far as anybody knows: of a lost one, the end is when that was found out."""
    if run.started < witness.booted and run.status in (Status.RUNNING, Status.LOST):
        return max(run.started, witness.alive or run.started)
    return run.ended or witness.now


def to_catch_up(without: Sequence[Planned], rule: Rule, begun: Set[datetime], now: datetime) -> list[Planned]:
    """Which of the slots without a run are to be run now; the latest of them only unless a later one has begun."""
    found = [slot for slot in without if Skip.of(slot.reason) in CAUGHT_UP and now - slot.moment <= rule.window]
    if rule.catch_up is CatchUp.NONE or not found:
        return []
    if rule.catch_up is CatchUp.LATEST:
        return [] if any(found[-1].moment < moment <= now for moment in begun) else found[-1:]
    return found[-MOST:]


def fold(slots: Iterable[Planned], *, apart: Container[Planned]) -> Iterator[Skipped]:
    """A record for each of these slots that does not stand apart; for many in a row that were skipped alike, one."""
    for word, group in groupby(slots, key=lambda slot: "" if slot in apart else slot.reason.partition(":")[0]):
        alike = list(group)
        if not word:
            continue
        if len(alike) <= FOLDED:
            yield from (Skipped(moment=slot.moment, reason=slot.reason) for slot in alike)
            continue
        first, last = alike[0].moment, alike[-1].moment
        told = f"{alike[-1].reason}; {len(alike)} slots from {shown(first)} to {shown(last)}"
        yield Skipped(moment=last, reason=told, slots=len(alike), span=last - first)


def shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def show_span(span: timedelta) -> str:
    """A length of time for people: `2 days`, `3 hours`, `5 minutes`."""
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if span >= length:
            number = round(span / length)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{span.total_seconds():.0f} seconds"

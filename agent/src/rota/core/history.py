"""A task's history in short: its latest run and success, what its successes took, and what became of it each day."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from rota.core.expectation import DURATION, ITEMS, OUTPUT_BYTES, Expectation
from rota.core.record import RunRecord
from rota.core.status import Skip, Status

LATEST = 50
"""Of how many successes durations and counts are kept."""
ENOUGH = 5
"""Of how many successes there is a usual value."""
DAYS = 400
MISSED = (Skip.HOST_DOWN, Skip.NEVER_STARTED)
"""Why a slot is skipped that should have run; the other reasons are somebody's wish, or a run of the same work."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many runs came to which end. `missed` counts those of the skipped that should have run."""

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    lost: int = 0
    missed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + its for mine, its in zip(self.numbers, other.numbers, strict=True)))

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        return self.succeeded, self.failed, self.skipped, self.lost, self.missed

    @property
    def good(self) -> int:
        return self.succeeded

    @property
    def bad(self) -> int:
        return self.failed + self.lost + self.missed


ROW = 1 + len(Tally().numbers)


@dataclass(frozen=True, slots=True)
class Days:
    """A tally for each day (UTC) that had one, as plain numbers: a hundred tasks have forty thousand days.

    `numbers` holds six for each day, in the order of days: the day's ordinal (`date.toordinal`) and its tally.
    """

    numbers: tuple[int, ...] = ()

    def add(self, day: int, tally: Tally) -> "Days":
        """With this tally on that day. Of more than 400 days the earliest goes."""
        start = len(self.numbers)
        while start and self.numbers[start - ROW] >= day:
            start -= ROW
        is_known = start < len(self.numbers) and self.numbers[start] == day
        before = Tally(*self.numbers[start + 1 : start + ROW]) if is_known else Tally()
        after = self.numbers[start + ROW :] if is_known else self.numbers[start:]
        numbers = (*self.numbers[:start], day, *(before + tally).numbers, *after)
        return Days(numbers[-ROW * DAYS :])

    def sum(self, first: int, last: int) -> Tally:
        """What came of the runs from one day to another, both included."""
        chosen = (at for at in range(0, len(self.numbers), ROW) if first <= self.numbers[at] <= last)
        return sum((Tally(*self.numbers[at + 1 : at + ROW]) for at in chosen), Tally())


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that came to an end. `duration` is seconds."""

    run: str
    started: datetime
    ended: datetime
    status: Status
    reason: str
    duration: float | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a task stands: its latest run and its latest success, and what those before them add up to.

    `good` is the latest success that is not suspicious, and `missing` the first slot since the latest run that should
    have run. `durations` and `counts` are those of the latest 50 successes, oldest first; `total` only grows.
    """

    latest: Ended | None = None
    success: Ended | None = None
    good: Ended | None = None
    missing: datetime | None = None
    durations: tuple[float, ...] = ()
    counts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    total: Tally = Tally()
    days: Days = Days()


def follow(standing: Standing | None, run: RunRecord, *, now: datetime, counted: Collection[str] = ()) -> Standing:
    """How the task stands after this run; `counted` names the counts to remember.

    A skipped run is counted, and may be one that is missing; the work that held its lock has a record of its own.
    A record may arrive late. Its run is counted and becomes the latest only if it is, or if the one that was lies in
    the future, since the clock was set back.
    """
    standing = standing or Standing()
    if not changes_standing(run):
        return standing
    tally = tally_of(run)
    standing = replace(
        standing,
        total=standing.total + tally,
        days=standing.days.add(run.started.astimezone(UTC).toordinal(), tally),
    )
    if run.status is Status.SKIPPED:
        return replace(standing, missing=missing_since(standing, run)) if tally.missed else standing
    ended = ended_of(run)
    latest = later(standing.latest, ended, now)
    is_here = standing.missing is None or latest.started >= standing.missing or standing.missing > now
    standing = replace(standing, latest=latest, missing=None if is_here else standing.missing)
    if run.status is not Status.SUCCEEDED:
        return standing
    return replace(
        standing,
        success=later(standing.success, ended, now),
        good=standing.good if run.unexpected else later(standing.good, ended, now),
        durations=standing.durations if run.duration is None else kept(standing.durations, run.duration),
        counts={name: counts_after(standing.counts.get(name, ()), name, run) for name in sorted(counted)},
    )


def changes_standing(run: RunRecord) -> bool:
    """Whether something came of it: not so under way, in a trial, or in an attempt after which another comes."""
    return run.status.is_final and not run.dry_run and run.retry_at is None


def missing_since(standing: Standing, run: RunRecord) -> datetime | None:
    """The first slot without a run since the latest run, after this one was missed."""
    slot = run.slot or run.started
    is_over = standing.latest is not None and standing.latest.started >= slot
    return standing.missing if is_over else min(standing.missing or slot, slot)


def ended_of(run: RunRecord) -> Ended:
    return Ended(
        run=str(run.id),
        started=run.started,
        ended=run.ended or run.started,
        status=run.status,
        reason=run.reason,
        duration=run.duration,
    )


def later(known: Ended | None, ended: Ended, now: datetime) -> Ended:
    """Which of the two is the latest; one that begins in the future is of a clock that was set back since."""
    return known if known and ended.started < known.started <= now else ended


def counts_after(values: tuple[float, ...], name: str, run: RunRecord) -> tuple[float, ...]:
    """The values of one count with that of this run, if it has it; a count may also be what every run has."""
    found = dict(run.counts) | {OUTPUT_BYTES: run.output_bytes, ITEMS: len(run.items)}
    return kept(values, found[name]) if name in found else values


def kept(values: Sequence[float], value: float) -> tuple[float, ...]:
    return (*values, value)[-LATEST:]


def tally_of(run: RunRecord) -> Tally:
    """What one record adds; that of many missed slots says in its counts how many."""
    if run.status is not Status.SKIPPED:
        return Tally(**{run.status.value: 1})
    slots = max(1, round(run.counts.get("slots", 1)))
    return Tally(skipped=slots, missed=slots if Skip.of(run.reason) in MISSED else 0)


def median(values: Iterable[float]) -> float | None:
    """The middle of these values; None without any."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if not ordered:
        return None
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def usual(values: Collection[float]) -> float | None:
    """The median; None while there are too few values."""
    return median(values) if len(values) >= ENOUGH else None


def usual_values(standing: Standing, expectations: Iterable[Expectation]) -> dict[str, float]:
    """What is usual of a task's successes, by the names that are expected to be a factor of it."""
    values = {DURATION: standing.durations, **standing.counts}
    names = {each.name for each in expectations if each.is_of_median}
    found = {name: usual(values.get(name, ())) for name in sorted(names)}
    return {name: value for name, value in found.items() if value is not None}


def tally_within(standing: Standing, within: timedelta, now: datetime) -> Tally:
    """What came of the runs within so many days, today included (UTC); less than a day is today."""
    today = now.astimezone(UTC).toordinal()
    return standing.days.sum(today - max(1, round(within / timedelta(days=1))) + 1, today)


def success_rate(standing: Standing, within: timedelta, now: datetime) -> float | None:
    """Which part of the runs within so many days succeeded, of those that should have; None without any.

    Failed, lost, and missed slots are what should have.
    """
    tally = tally_within(standing, within, now)
    return tally.good / (tally.good + tally.bad) if tally.good + tally.bad else None

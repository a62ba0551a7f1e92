"""What is wanted of a task over time: how many of its runs succeed, and how old its latest success may be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rota.core.history import DAYS, Standing, Tally, tally_within
from rota.core.quantities import parse_duration, show_duration

PERCENTAGE = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*%")
DAY = timedelta(days=1)
RIGHT = "a mapping like {success: 99%, within: 30d, fresh: 26h}"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What part of the runs within so many days is to succeed, and how old the latest success may be; None: any."""

    success: float | None = None
    within: timedelta = timedelta(days=30)
    fresh: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Attainment:
    """How far a task is from its objective. `rate` and `budget` are None while there is nothing to count.

    `budget` is the part of the error budget that is left: 1 before anything failed, 0 when as much failed as may, and
    less beyond that. `age` is how long ago the latest success ended.
    """

    objective: Objective
    tally: Tally
    rate: float | None
    budget: float | None
    age: timedelta | None

    @property
    def is_attained(self) -> bool:
        return not self.is_overspent and not self.is_stale

    @property
    def is_overspent(self) -> bool:
        return self.budget is not None and self.budget < 0

    @property
    def is_stale(self) -> bool:
        fresh = self.objective.fresh
        return fresh is not None and self.age is not None and self.age > fresh

    @property
    def words(self) -> str:
        """`96.7% of 30 runs in 30 days (99% wanted), error budget spent; succeeded 2 h 00 min ago (26 h 00 min …)`."""
        return "; ".join(part for part in (self._success(), self._freshness()) if part)

    def _success(self) -> str:
        wanted = self.objective.success
        if wanted is None:
            return ""
        days = f"{round(self.objective.within / DAY)} days"
        if self.rate is None or self.budget is None:
            return f"no runs in {days} ({percent(wanted)} wanted)"
        left = f"{percent(self.budget)} of the error budget left" if self.budget > 0 else "error budget spent"
        runs = self.tally.good + self.tally.bad
        return f"{percent(self.rate)} of {runs} runs in {days} ({percent(wanted)} wanted), {left}"

    def _freshness(self) -> str:
        fresh = self.objective.fresh
        if fresh is None:
            return ""
        ago = f"succeeded {show_duration(self.age.total_seconds())} ago" if self.age is not None else "never succeeded"
        return f"{ago} ({show_duration(fresh.total_seconds())} wanted)"


def attain(objective: Objective, standing: Standing | None, now: datetime) -> Attainment:
    """How far a task that stands so is from its objective."""
    standing = standing or Standing()
    tally = tally_within(standing, objective.within, now)
    runs = tally.good + tally.bad
    rate = tally.good / runs if runs else None
    allowed = None if objective.success is None or rate is None else 1 - objective.success
    return Attainment(
        objective=objective,
        tally=tally,
        rate=rate,
        # Of ten runs 90% allow one failure exactly, whatever binary fractions make of 1 - 0.9.
        budget=None if allowed is None else round(1 - tally.bad / (runs * allowed), 9),
        age=max(now - standing.success.ended, timedelta()) if standing.success else None,
    )


def percent(part: float) -> str:
    """`99.5%`; never rounded up to a whole that it is not."""
    return f"{int(part * 1000 + 1e-9) / 10:g}%"


def parse_objective(value: object) -> Objective:
    """The field `objective` of a task. Raises ValueError saying what would be right."""
    if not isinstance(value, Mapping) or not value or not set(value) <= {"success", "within", "fresh"}:
        raise ValueError(RIGHT)
    if "success" not in value and ("within" in value or "fresh" not in value):
        raise ValueError(f"{RIGHT}; within says of which days success is meant")
    return Objective(
        success=parse_success(value["success"]) if "success" in value else None,
        within=parse_within(value["within"]) if "within" in value else Objective.within,
        fresh=parse_fresh(value["fresh"]) if "fresh" in value else None,
    )


def parse_success(value: object) -> float:
    found = PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if not found or not float(found[1]):
        raise ValueError(f"{RIGHT}; success is a percentage below 100%, which leaves something for errors")
    return float(found[1]) / 100


def parse_within(value: object) -> timedelta:
    within = length("within", value)
    if within % DAY or not DAY <= within <= DAYS * DAY:
        raise ValueError(f"{RIGHT}; within is whole days, 1d to {DAYS}d")
    return within


def parse_fresh(value: object) -> timedelta:
    fresh = length("fresh", value)
    if not fresh:
        raise ValueError(f"{RIGHT}; fresh is longer than nothing")
    return fresh


def length(key: str, value: object) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{RIGHT}; {key} is {error}") from None

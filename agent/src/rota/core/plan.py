"""The plan of a task: its coming slots and those not yet accounted for, as a value and as the text of a file.

A line per slot, in order: its moment as ten digits of seconds since 1970, then nothing, or a blank and why it is not to
run. The runner finds its slot in these lines, so what it does not need of a plan stands in comments after them:

    # median duration 4.213
    1764039600
    1764126000 paused: until 2026-12-01 08:00 UTC by anna, moving house
    # missed 1764030000 host was down
    # basis 5f3c0c1d9a2b
"""

import bisect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from rota.core.errors import RotaError

HORIZON = timedelta(days=400)
"""How far a plan reaches."""
MOST = 3_000
"""How many coming slots it holds."""
DIGITS = 10


class BadPlan(RotaError):
    """This is no plan of a task."""


@dataclass(frozen=True)
class Planned:
    """A slot of a plan. `reason` says why it is not to run; of a missed one, why it did not."""

    moment: datetime
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a task's slots.

    `slots` are those not yet accounted for and the coming ones, in order; `missed` those that did not run and are to be
    caught up. `medians` are a run's usual duration in seconds and its usual counts, by name. `basis` stands for what
    the coming slots were computed from.
    """

    slots: tuple[Planned, ...] = ()
    missed: tuple[Planned, ...] = ()
    medians: Mapping[str, float] = field(default_factory=dict)
    basis: str = ""

    def past(self, moment: datetime) -> tuple[Planned, ...]:
        """The slots not later than this moment."""
        return self.slots[: self._position(moment)]

    def coming(self, moment: datetime) -> tuple[Planned, ...]:
        """The slots later than this moment."""
        return self.slots[self._position(moment) :]

    def slot_at(self, moment: datetime, *, within: timedelta) -> Planned | None:
        """The slot that a start at this moment is for: the latest one, unless it is longer ago than `within`."""
        past = self.past(moment)
        return past[-1] if past and moment - past[-1].moment <= within else None

    def with_coming(self, slots: Iterable[Planned], *, after: datetime, basis: str) -> "Plan":
        """The plan with other slots after this moment; those up to it stay, to be judged by what was planned then."""
        return replace(self, slots=(*self.past(after), *slots), basis=basis)

    def _position(self, moment: datetime) -> int:
        return bisect.bisect_right(self.slots, moment, key=lambda slot: slot.moment)


def write_plan(plan: Plan) -> str:
    """The text of the plan."""
    medians = [f"# median {name} {value:g}" for name, value in sorted(plan.medians.items())]
    missed = [f"# missed {write_slot(slot)}" for slot in plan.missed]
    basis = [f"# basis {plan.basis}"] if plan.basis else []
    return "\n".join([*medians, *map(write_slot, plan.slots), *missed, *basis, ""])


def write_slot(slot: Planned) -> str:
    return f"{seconds(slot.moment)} {one_line(slot.reason)}".rstrip()


def one_line(text: str) -> str:
    return " ".join(text.split())


def seconds(moment: datetime) -> str:
    return f"{int(moment.timestamp()):0{DIGITS}d}"


def read_plan(text: str) -> Plan:
    """The plan in this text. Raises BadPlan naming the line."""
    slots: list[Planned] = []
    missed: list[Planned] = []
    medians: dict[str, float] = {}
    basis = ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if not line.startswith("#"):
                slots.append(read_slot(line))
                continue
            word, _, rest = line.removeprefix("# ").partition(" ")
            match word:
                case "median":
                    medians |= read_median(rest)
                case "missed":
                    missed.append(read_slot(rest))
                case "basis":
                    basis = rest
        except (ValueError, OverflowError) as error:
            raise BadPlan(f"line {number} is {line[:80]!r}; it must be {error}") from None
    if any(later.moment <= slot.moment for slot, later in zip(slots, slots[1:], strict=False)):
        raise BadPlan("its slots are not in order")
    return Plan(slots=tuple(slots), missed=tuple(missed), medians=medians, basis=basis)


def read_slot(text: str) -> Planned:
    digits, blank, reason = text[:DIGITS], text[DIGITS : DIGITS + 1], text[DIGITS + 1 :]
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()) or blank not in ("", " "):
        raise ValueError("ten digits of seconds since 1970, then nothing, or a blank and a reason")
    return Planned(datetime.fromtimestamp(int(digits), UTC), reason)


def read_median(text: str) -> dict[str, float]:
    name, _, value = text.rpartition(" ")
    if not name or not math.isfinite(float(value)):
        raise ValueError("# median NAME NUMBER")
    return {name: float(value)}

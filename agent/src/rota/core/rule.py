"""When and whom the incidents of one task are told, as its field `alert` says it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from rota.core.quantities import parse_answer, parse_duration

# As SMTP takes it (RFC 5321 section 4.1.2), without the quoted forms that nobody has.
ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
CHANNEL = re.compile(r"[a-z][a-z0-9_]*")
NEVER = timedelta()
DEFAULT_PACE = 5.0
DEFAULT_REMIND = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """Who else is told of an incident that is open for so long."""

    after: timedelta
    to: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a task says of its alerts; None is as the host says.

    `to` are mail addresses and names of channels. `after` is how many failures in a row it takes. An `urgent` task
    alerts in quiet hours too. `pace` is by what factor a run may be slower or faster than usual, 0 for any.
    """

    to: tuple[str, ...] | None = None
    after: int = 1
    urgent: bool = False
    then: Escalation | None = None
    remind: timedelta | None = None
    pace: float | None = None


def is_channel(receiver: str) -> bool:
    return "@" not in receiver


def receivers(value: object) -> tuple[str, ...]:
    """Mail addresses and names of channels. Raises ValueError saying what would be right."""
    if isinstance(value, list) and all(isinstance(each, str) and is_receiver(each) for each in value):
        return tuple(dict.fromkeys(value))
    raise ValueError("a list; each entry is a mail address or the name of a channel")


def is_receiver(text: str) -> bool:
    return bool(ADDRESS.fullmatch(text) or CHANNEL.fullmatch(text))


def failures(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1000:
        return value
    raise ValueError("a whole number from 1 to 1000: how many failures in a row it takes")


def remind(value: object) -> timedelta:
    """How often an open incident is told again; at least an hour, or never."""
    if value == "never" or value is False:
        return NEVER
    try:
        found = parse_duration(value)
    except ValueError:
        found = NEVER
    if found < timedelta(hours=1):
        raise ValueError("a duration of an hour at least, like 1d, or never")
    return found


def pace(value: object) -> float:
    if value is False or value == "any":
        return 0.0
    if isinstance(value, int | float) and not isinstance(value, bool) and 1.5 <= value <= 1000:
        return float(value)
    raise ValueError("a factor from 1.5 to 1000, or any")


def escalation(value: object) -> Escalation:
    right = "a mapping like {after: 2h, to: [somebody@example.org]}"
    if not isinstance(value, Mapping) or set(value) != {"after", "to"} or not value["to"]:
        raise ValueError(right)
    try:
        return Escalation(after=parse_duration(value["after"]), to=receivers(value["to"]))
    except ValueError as error:
        raise ValueError(f"{right}; in it {error}") from None


READERS: Mapping[str, Callable[[object], object]] = {
    "to": receivers,
    "after": failures,
    "urgent": parse_answer,
    "then": escalation,
    "remind": remind,
    "pace": pace,
}


def parse_rule(value: object) -> Rule:
    """The field `alert` of a task. Raises ValueError naming the key and saying what would be right."""
    if not isinstance(value, Mapping) or not value or not set(value) <= set(READERS):
        raise ValueError(f"a mapping of {', '.join(READERS)}")
    values: dict[str, object] = {}
    for key, each in value.items():
        try:
            values[key] = READERS[key](each)
        except ValueError as error:
            raise ValueError(f"a mapping whose {key} is {error}") from None
    return Rule(**values)  # type: ignore[arg-type]  # READERS reads each as what Rule declares

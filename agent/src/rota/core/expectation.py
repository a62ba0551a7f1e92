"""What a task expects of a success; one that is otherwise is suspicious and wants a look."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rota.core.quantities import parse_duration
from rota.core.record import MAX_COUNT_NAME

DURATION, OUTPUT_BYTES, ITEMS = "duration", "output_bytes", "items"
OPERATORS = (">=", "<=", ">", "<", "=")
BOUND = re.compile(r"(>=|<=|>|<|=)\s*(.+)")
OF_MEDIAN = re.compile(r"(\d+(?:\.\d+)?)\s*x\s+median")
RIGHT = 'like ">0", ">=0.5x median", "<3x median" or, of a duration, "<10min"'
NAME = re.compile(r"[^\s;|<>=][^;|<>=\n]*")


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """`name` is a count, `duration` (seconds), `output_bytes` or `items`; `bound` a number, or a factor of the usual.

    `said` is what the configuration says.
    """

    name: str
    operator: str
    bound: float
    is_of_median: bool
    said: str

    @property
    def argument(self) -> str:
        """As the runner reads it."""
        factor = "x" if self.is_of_median else ""
        return f"{self.name}|{self.operator}|{self.bound!r}|{factor}|{self.said}"


def usual_names(expectations: Iterable[Expectation]) -> frozenset[str]:
    """Of what the usual value has to be known; that of the duration always is."""
    return frozenset(each.name for each in expectations if each.is_of_median and each.name != DURATION)


def read_expectations(value: object) -> tuple[Expectation, ...]:
    """From a mapping of names to one bound or several. Raises ValueError saying what would be right."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"a mapping of names to bounds {RIGHT}")
    found: list[Expectation] = []
    for name, said in value.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > MAX_COUNT_NAME:
            raise ValueError(
                f"a mapping whose names are counts, {DURATION}, {OUTPUT_BYTES} or {ITEMS}; {name!r} is not"
            )
        found += [read_expectation(name, each) for each in (said if isinstance(said, list) else [said])]
    return tuple(found)


def read_expectation(name: str, said: object) -> Expectation:
    text = f"={said}" if isinstance(said, int | float) and not isinstance(said, bool) else said
    match = BOUND.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"a mapping of names to bounds {RIGHT}; that of {name} is {said!r}")
    operator, rest = match[1], match[2].strip()
    of_median = OF_MEDIAN.fullmatch(rest)
    bound = float(of_median[1]) if of_median else read_bound(name, rest)
    return Expectation(
        name=name, operator=operator, bound=bound, is_of_median=bool(of_median), said=f"{operator}{rest}"
    )


def read_bound(name: str, text: str) -> float:
    """A number, or a duration in seconds where a duration is meant."""
    try:
        bound = float(text)
    except ValueError:
        if name != DURATION:
            raise ValueError(f"a mapping of names to bounds {RIGHT}; that of {name} is {text!r}") from None
        bound = parse_duration(text).total_seconds()
    if not math.isfinite(bound):
        raise ValueError(f"a mapping of names to bounds {RIGHT}; that of {name} is {text!r}")
    return bound

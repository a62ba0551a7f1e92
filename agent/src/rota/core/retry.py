"""How often and after which waits a failed run of a task is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from rota.core.nearest import nearest
from rota.core.quantities import parse_duration, show_seconds

KEYS = ("times", "wait", "factor", "longest")
MOST = 100


@dataclass(frozen=True, kw_only=True)
class Retry:
    """At most `times` further attempts; each wait is `factor` times the one before, and none is above `longest`."""

    times: int
    wait: timedelta = timedelta(minutes=1)
    factor: float = 2
    longest: timedelta = timedelta(minutes=30)

    @property
    def waits(self) -> list[timedelta]:
        """What lies between the end of each attempt and the beginning of the next."""
        return [min(self.wait * min(self.factor**number, 1e6), self.longest) for number in range(self.times)]

    @property
    def total(self) -> timedelta:
        return sum(self.waits, timedelta())

    @property
    def argument(self) -> str:
        """The waits in seconds, as the runner reads them."""
        return ",".join(map(show_seconds, self.waits))


def read_retry(value: object) -> Retry:
    """From a number of times, or a mapping. Raises ValueError saying what would be right."""
    said = value if isinstance(value, Mapping) else {"times": value}
    for key in said:
        if key not in KEYS:
            raise ValueError(f"a mapping of {', '.join(KEYS)}; {key!r} is unknown{nearest(str(key), KEYS)}")
    times = said.get("times")
    if not isinstance(times, int) or isinstance(times, bool) or not 1 <= times <= MOST:
        raise ValueError(f"a number of times from 1 to {MOST}, or a mapping with times and {', '.join(KEYS[1:])}")
    factor = said.get("factor", 2)
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 1 <= factor <= 100:
        raise ValueError("a mapping whose factor is a number from 1 to 100")
    durations = {key: parse_duration(said[key]) for key in ("wait", "longest") if key in said}
    return Retry(times=times, factor=factor, **durations)

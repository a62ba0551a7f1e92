"""Retention: which records a host keeps, by age, by what they are worth, and by the room they take."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from rota.core.fields import read_keys
from rota.core.identifier import first_identifier
from rota.core.quantities import parse_duration, parse_size

GIB = 1024**3
SUFFIXES = {"K": 1024, "M": 1024**2, "G": GIB, "T": 1024**4}


class Worth(IntEnum):
    """What a record is worth: the more, the longer it is kept.

    ROUTINE is a success or a skipped slot, NOTABLE what failed, was lost, or was suspicious, and BASELINE the latest
    good run of its task, with which later ones are compared.
    """

    ROUTINE = 0
    NOTABLE = 1
    BASELINE = 2


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How long and how much is kept, as `agent: {keep: …}` says it.

    `size` is for records that the diary has, `unsent` for those that it has not; both in bytes, with outputs.
    """

    age: timedelta = timedelta(days=90)
    failures: timedelta = timedelta(days=400)
    size: int = GIB
    unsent: int = 4 * GIB

    def __post_init__(self) -> None:
        if self.failures < self.age:
            raise ValueError("failures is shorter than age; what failed is worth more than what went well")


def too_old(names: Collection[str], keep: Keep, worth: Callable[[str], Worth], now: datetime) -> Iterator[str]:
    """Which of these ids of runs are kept no longer, oldest first. Asks for the worth of none that is not old."""
    old, older = first_identifier(now - keep.age), first_identifier(now - keep.failures)
    for name in sorted(name for name in names if name < old):
        of = worth(name)
        if of is Worth.ROUTINE or (of is Worth.NOTABLE and name < older):
            yield name


def too_many(sizes: Mapping[str, int], most: int, worth: Callable[[str], Worth]) -> Iterator[str]:
    """Which of these records to remove so that the rest takes at most so many bytes.

    The oldest routine first, then what is notable, and the baselines last.
    """
    total = sum(sizes.values())
    later: dict[Worth, list[str]] = {Worth.NOTABLE: [], Worth.BASELINE: []}
    for name in sorted(sizes):
        if total <= most:
            return
        if (of := worth(name)) is not Worth.ROUTINE:
            later[of].append(name)
            continue
        total -= sizes[name]
        yield name
    for name in (*later[Worth.NOTABLE], *later[Worth.BASELINE]):
        if total <= most:
            return
        total -= sizes[name]
        yield name


def parse_keep(mapping: Mapping[str, object]) -> Keep:
    """The settings as `/etc/rota/*.yml` writes them; a key without a value is absent.

    Raises ValueError naming the key, its value and what would be right.
    """
    return Keep(**read_keys(mapping, READERS))  # type: ignore[arg-type]  # READERS reads each as what Keep declares


def age(value: object) -> timedelta:
    found = parse_duration(value)
    if found < timedelta(days=1):
        raise ValueError("a duration of a day at least, like 90d")
    return found


def size(value: object) -> int:
    """Bytes. Raises ValueError."""
    text = parse_size(value)
    found = int(text.rstrip("KMGT")) * SUFFIXES.get(text[-1], 1)
    if found < SUFFIXES["M"]:
        raise ValueError("a size of 1M at least")
    return found


READERS: Mapping[str, Callable[[object], object]] = {"age": age, "failures": age, "size": size, "unsent": size}

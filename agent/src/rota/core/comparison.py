"""In what two runs differ: their outcome, counts, items, duration, release, and the lines that only one printed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from rota.core.quantities import show_duration, show_size
from rota.core.record import RunRecord

CONTEXT = 3
MUCH = 1.5
"""By which factor a duration or a peak of memory must differ to be worth a word."""
LEAST_SECONDS = 1.0
LEAST_BYTES = 16_000_000
NAMED = 5
"""How many items are named in one line; of more their number is said."""


@dataclass(frozen=True)
class Change:
    """One thing in which a run differs from the one it is compared with, each in words."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what} {self.before or 'none'} → {self.after or 'none'}"


@dataclass(frozen=True)
class Hunk:
    """Lines that differ, by number from 0: `before[first:last]` was replaced by `after[first:last]`."""

    before: range
    after: range


@dataclass(frozen=True)
class Comparison:
    """A run beside another: what changed, and the outputs' lines with where they differ."""

    changes: tuple[Change, ...]
    before: Sequence[str]
    after: Sequence[str]
    hunks: tuple[Hunk, ...]

    @property
    def added(self) -> int:
        return sum(len(hunk.after) for hunk in self.hunks)

    @property
    def removed(self) -> int:
        return sum(len(hunk.before) for hunk in self.hunks)

    def __str__(self) -> str:
        """All of it in one line."""
        lines = [f"output +{self.added} -{self.removed} lines"] if self.hunks else []
        return ", ".join([*(str(change) for change in self.changes), *lines]) or "nothing but times, ids and the like"


@dataclass(frozen=True)
class Block:
    """Hunks that are shown together, and which lines of each output they and the lines around them are."""

    hunks: Sequence[Hunk]
    before: range
    after: range


def find_changes(run: RunRecord, other: RunRecord) -> tuple[Change, ...]:
    """In what a run differs from the other one, its output aside."""
    return (*find_facts(run, other), *count_changes(run.counts, other.counts), *item_changes(run, other))


def find_facts(run: RunRecord, other: RunRecord) -> list[Change]:
    """In what its result and its circumstances differ."""
    pairs = [
        ("result", outcome(other), outcome(run)),
        ("parameters", shown_parameters(other), shown_parameters(run)),
        ("dry run", yes_or_no(is_so=other.dry_run), yes_or_no(is_so=run.dry_run)),
        ("release", other.release, run.release),
        ("unit", other.unit_hash[:12], run.unit_hash[:12]),
    ]
    if differ_much(other.duration, run.duration, LEAST_SECONDS):
        pairs.append(("duration", show_duration(other.duration), show_duration(run.duration)))
    if differ_much(other.memory_peak, run.memory_peak, LEAST_BYTES):
        pairs.append(("peak memory", show_size(other.memory_peak or 0), show_size(run.memory_peak or 0)))
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def outcome(run: RunRecord) -> str:
    words = f"{run.status}: {run.reason}" if run.reason else str(run.status)
    return f"{words}, but {'; '.join(run.unexpected)}" if run.unexpected else words


def shown_parameters(run: RunRecord) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(run.parameters.items()))


def yes_or_no(*, is_so: bool) -> str:
    return "yes" if is_so else "no"


def differ_much(before: float | None, after: float | None, least: float) -> bool:
    """Whether two measurements lie far enough apart to matter; one that is missing says nothing."""
    if before is None or after is None:
        return False
    low, high = sorted((before, after))
    return high - low >= least and high > MUCH * low


def count_changes(after: Mapping[str, float], before: Mapping[str, float]) -> Iterator[Change]:
    for name in sorted(after.keys() | before.keys()):
        was, now = before.get(name), after.get(name)
        if was != now:
            yield Change(name, shown_count(was), shown_count(now))


def shown_count(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"


def find_items(run: RunRecord, other: RunRecord) -> Iterator[Change]:
    """Each item that came to another outcome, or that only one of the two has."""
    after = {item.name: item.outcome for item in run.items}
    before = {item.name: item.outcome for item in other.items}
    for name in [*after, *(name for name in before if name not in after)]:
        if before.get(name, "") != after.get(name, ""):
            yield Change(name, before.get(name, ""), after.get(name, ""))


def item_changes(run: RunRecord, other: RunRecord) -> Iterator[Change]:
    """One line for the items of each pair of outcomes: `a, b: written → failed`, `c: none → written`."""
    moved: dict[tuple[str, str], list[str]] = {}
    for item in find_items(run, other):
        moved.setdefault((item.before, item.after), []).append(item.what)
    for (was, now), names in moved.items():
        yield Change(f"{named(names)}:", was, now)


def named(names: Sequence[str]) -> str:
    return f"items {', '.join(names)}" if len(names) <= NAMED else f"{len(names)} items"


def unified(comparison: Comparison, names: tuple[str, str], context: int = CONTEXT) -> Iterator[str]:
    """The lines of a unified diff; what both have is shown as the later one printed it."""
    if not comparison.hunks:
        return
    yield f"--- {names[0]}"
    yield f"+++ {names[1]}"
    for block in blocks(comparison, context):
        yield f"@@ -{spanned(block.before)} +{spanned(block.after)} @@"
        at = block.after.start
        for hunk in block.hunks:
            yield from (f" {line}" for line in comparison.after[at : hunk.after.start])
            yield from (f"-{comparison.before[number]}" for number in hunk.before)
            yield from (f"+{comparison.after[number]}" for number in hunk.after)
            at = hunk.after.stop
        yield from (f" {line}" for line in comparison.after[at : block.after.stop])


def blocks(comparison: Comparison, context: int = CONTEXT) -> Iterator[Block]:
    """What differs, with at most so many lines around it."""
    for group in grouped(comparison.hunks, context):
        first, last = group[0], group[-1]
        lead = min(context, first.after.start, first.before.start)
        trail = min(context, len(comparison.after) - last.after.stop, len(comparison.before) - last.before.stop)
        before = range(first.before.start - lead, last.before.stop + trail)
        after = range(first.after.start - lead, last.after.stop + trail)
        yield Block(group, before, after)


def spanned(lines: range) -> str:
    """A range of lines as a unified diff counts them: from 1, and an empty one from the line before it."""
    return f"{lines.start + 1 if lines else lines.start},{len(lines)}"


def grouped(hunks: Sequence[Hunk], context: int) -> Iterator[list[Hunk]]:
    """Hunks whose context would touch, together."""
    group: list[Hunk] = []
    for hunk in hunks:
        if group and hunk.after.start - group[-1].after.stop > 2 * context:
            yield group
            group = []
        group.append(hunk)
    if group:
        yield group


def first(lines: Iterator[str], limit: int) -> tuple[list[str], bool]:
    """At most so many lines, and whether there are more."""
    found = list(islice(lines, limit + 1))
    return found[:limit], len(found) > limit

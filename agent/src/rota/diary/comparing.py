"""How a run differs from another, above all from the last good one: bounded, so that the page comes at once."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice, zip_longest

from django.db.models import QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from rota.adapters.comparing import TookTooLong, find_hunks
from rota.core.comparison import (
    CONTEXT,
    Block,
    Change,
    Comparison,
    Hunk,
    blocks,
    count_changes,
    find_facts,
    find_items,
)
from rota.core.normalising import normalise
from rota.core.record import MAX_OUTPUT, Item, RunRecord
from rota.core.status import Status
from rota.diary.looking_back import as_record
from rota.diary.models import Output, Run
from rota.diary.output import Look, render_line, split_lines
from rota.diary.phrases import in_words
from rota.diary.templatetags.diary import duration, written

MOST_NORMALISED = 2 * MAX_OUTPUT
"""Characters of two outputs together in which times, ids and the like are told apart: all that two hosts keep."""
MOST_SECONDS = 0.08
"""That diff(1) may take: it needs milliseconds, but seconds where most of a hundred thousand lines have moved."""
MOST_ITEMS = 10_000
SHOWN_ITEMS = 100
SHOWN_AT_ONCE = 100
"""Lines that came, or went, at one place."""
SHOWN_LINES = 600
SHOWN_CHARACTERS = 200_000
WIDTH, BEFORE = 300, 60
"""How many characters are shown of a line, and how many of them before the first that differs."""
FACTS = {
    "result": _("result"),
    "parameters": _("parameters"),
    "dry run": _("dry run"),
    "release": _("release"),
    "unit": _("unit"),
    "duration": _("duration"),
    "peak memory": _("peak memory"),
}
DIGITS = dict.fromkeys(map(ord, "0123456789"))


class Care(StrEnum):
    """What was left out of account."""

    NOTHING = "nothing"
    VALUES = "values"
    """Times, ids, paths and the like."""
    NUMBERS = "numbers"
    """Every digit: the outputs are too long for more."""


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line of the difference; `sign` is a class of the style sheet, `number` counts from 1 in the output it is of."""

    sign: str
    number: int
    html: SafeString


@dataclass(frozen=True, slots=True)
class Difference:
    """What two outputs differ in; `lines` holds None where some are left out, `is_cut` says that there is more."""

    added: int
    removed: int
    care: Care
    is_in_order: bool
    lines: list[ShownLine | None]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Items:
    """The items that came out otherwise, the first of them, and whether there are more."""

    changes: list[Change] = field(default_factory=list)
    has_more: bool = False


def good_runs(host: int, task: str) -> "QuerySet[Run]":
    """The runs with which others are compared, newest first: those that succeeded, and not suspiciously."""
    good = Run.objects.filter(host_id=host, task=task, status=Status.SUCCEEDED, unexpected=[], dry_run=False)
    return good.order_by("-started", "-id")


def last_good_before(run: Run) -> Run | None:
    return good_runs(run.host_id, run.task).filter(started__lte=run.started).exclude(pk=run.pk).first()


def changes_of(run: Run, other: Run) -> list[Change]:
    """In what the result and the circumstances differ, and the counts."""
    facts = (as_read(each, run, other) for each in find_facts(as_record(run), as_record(other)))
    return [*facts, *count_changes(run.counts, other.counts)]


def as_read(fact: Change, run: Run, other: Run) -> Change:
    """The fact in the reader's language, its values as other pages write them."""
    what, write = str(FACTS.get(fact.what, fact.what)), WRITTEN.get(fact.what)
    return Change(what, write(other), write(run)) if write else replace(fact, what=what)


def result_of(run: Run) -> str:
    status = run.get_status_display()
    result = f"{status}: {in_words(run.reason)}" if run.reason else status
    if not run.unexpected:
        return result
    return gettext("%(result)s, but %(doubts)s") % {"result": result, "doubts": run.doubts}


WRITTEN: dict[str, Callable[[Run], str]] = {
    "result": result_of,
    "dry run": lambda run: written(run.dry_run),
    "duration": lambda run: duration(run.duration),
    "peak memory": lambda run: "" if run.memory_peak is None else filesizeformat(run.memory_peak),
}


def items_of(run: Run, other: Run) -> Items:
    found = list(find_items(with_items(run), with_items(other)))
    return Items(found[:SHOWN_ITEMS], len(found) > SHOWN_ITEMS)


def with_items(run: Run) -> RunRecord:
    rows = run.items.order_by("position").values_list("name", "outcome")[:MOST_ITEMS]
    return replace(as_record(run), items=tuple(Item(name=name, outcome=said, message="") for name, said in rows))


def texts_of(run: Run, other: Run) -> tuple[str | None, str | None]:
    """The outputs of both, None where the host has not sent what the run wrote."""
    kept = dict(Output.objects.filter(pk__in=(run.pk, other.pk)).values_list("pk", "text"))
    return tuple(kept.get(each.pk, None if each.output_bytes else "") for each in (run, other))  # type: ignore[return-value]  # they are two


def difference_of(after: str, before: str, *, is_exact: bool) -> Difference:
    """What is new in an output, and what is missing, beside another."""
    lines = split_lines(before), split_lines(after)
    care = care_for(*lines, is_exact=is_exact)
    keys = keys_of(lines[0], care), keys_of(lines[1], care)
    try:
        hunks, is_in_order = find_hunks(*keys, seconds=MOST_SECONDS), True
    except TookTooLong:
        hunks, is_in_order = moved_hunks(*keys), False
    comparison = Comparison((), *lines, hunks)
    every = listed(comparison, CONTEXT if is_in_order else 0)
    shown = list(limited(every))
    return Difference(
        added=comparison.added,
        removed=comparison.removed,
        care=care,
        is_in_order=is_in_order,
        lines=shown,
        is_cut=next(every, None) is not None,
    )


def limited(lines: Iterator[ShownLine | None]) -> Iterator[ShownLine | None]:
    """As many of the lines as make a page; marks for control characters take their room too."""
    room = SHOWN_CHARACTERS
    for line in islice(lines, SHOWN_LINES):
        yield line
        room -= len(line.html) if line else 0
        if room < 0:
            return


def care_for(before: Sequence[str], after: Sequence[str], *, is_exact: bool) -> Care:
    if is_exact:
        return Care.NOTHING
    return Care.VALUES if sum(map(len, (*before, *after))) <= MOST_NORMALISED else Care.NUMBERS


def keys_of(lines: Sequence[str], care: Care) -> Sequence[str]:
    """The lines as they are compared."""
    if care is Care.NOTHING or not lines:
        return lines
    text = "\n".join(lines)
    return (normalise(text) if care is Care.VALUES else text.translate(DIGITS)).split("\n")


def moved_hunks(before: Sequence[str], after: Sequence[str]) -> tuple[Hunk, ...]:
    """Which lines are new, and which are missing, in whichever order they stand."""
    new = (Hunk(range(0), range(at, at + 1)) for at in surplus(after, before))
    missing = (Hunk(range(at, at + 1), range(0)) for at in surplus(before, after))
    return (*new, *missing)


def surplus(lines: Sequence[str], others: Sequence[str]) -> Iterator[int]:
    """Where the lines stand that the others have not, or not as often."""
    left = Counter(others)
    for at, line in enumerate(lines):
        left[line] -= 1
        if left[line] < 0:
            yield at


def listed(comparison: Comparison, context: int) -> Iterator[ShownLine | None]:
    """The lines of the difference; None stands for some that are left out."""
    before, after = comparison.before, comparison.after
    for number, block in enumerate(blocks(comparison, context) if context else map(alone, comparison.hunks)):
        if number and context:
            yield None
        at = block.after.start
        for hunk in block.hunks:
            yield from (line_of("same", each, after[each]) for each in range(at, hunk.after.start))
            yield from side("del", before, hunk.before, after, hunk.after)
            yield from side("ins", after, hunk.after, before, hunk.before)
            at = hunk.after.stop
        yield from (line_of("same", each, after[each]) for each in range(at, block.after.stop))


def alone(hunk: Hunk) -> Block:
    return Block([hunk], hunk.before, hunk.after)


def side(
    sign: str, lines: Sequence[str], numbers: range, others: Sequence[str], beside: range
) -> Iterator[ShownLine | None]:
    """The lines that one output has at a place, each cut to where it differs from the one in its stead."""
    for number, other in zip_longest(numbers[:SHOWN_AT_ONCE], beside[: len(numbers)][:SHOWN_AT_ONCE]):
        yield line_of(sign, number, lines[number], "" if other is None else others[other])
    if len(numbers) > SHOWN_AT_ONCE:
        yield None


def line_of(sign: str, number: int, text: str, beside: str = "") -> ShownLine:
    return ShownLine(sign, number + 1, render_line(cut(text, beside), Look())[0])


def cut(text: str, beside: str) -> str:
    """The part of a long line in which it begins to differ from the other."""
    if len(text) <= WIDTH:
        return text
    begin = max(0, common(text, beside) - BEFORE)
    end = begin + WIDTH
    return f"{'… ' if begin else ''}{text[begin:end]}{' …' if end < len(text) else ''}"


def common(one: str, other: str) -> int:
    """With how many characters both begin, found by halves: lines may have a million."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low

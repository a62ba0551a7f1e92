"""Charts as SVG made on the server: a year of days, and durations or counts over time; readable without scripts.

They carry classes and no style of their own, so that the style sheet alone knows colours; each mark has a shape beside
its colour, and a title that says what it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median, quantiles
from typing import Protocol

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext, ngettext_lazy

from rota.diary.templatetags.diary import number

WEEKS = 53
CELL, GAP, LEFT, TOP = 12, 2, 30, 16
WIDTH, HEIGHT, MARGIN = 720, 150, 72
WORST_FIRST = ("failed", "lost", "missed", "skipped", "succeeded")
AMOUNTS = {
    "failed": ngettext_lazy("%(shown)s failed", "%(shown)s failed", "runs"),
    "lost": ngettext_lazy("%(shown)s lost", "%(shown)s lost", "runs"),
    "missed": ngettext_lazy("%(shown)s missed", "%(shown)s missed", "runs"),
    "skipped": ngettext_lazy("%(shown)s skipped", "%(shown)s skipped", "runs"),
    "succeeded": ngettext_lazy("%(shown)s succeeded", "%(shown)s succeeded", "runs"),
}


@dataclass(frozen=True, slots=True)
class Day:
    """How many runs that began on a day came to which end, `missed` slots beside them; `address` leads to them.

    `is_missing` says that no record speaks of some slot of that day.
    """

    day: date
    runs: Mapping[str, int]
    address: str
    is_missing: bool = False

    @property
    def worst(self) -> str:
        ends = [status for status in WORST_FIRST if self.runs.get(status)]
        is_worse = self.is_missing and not (ends and ends[0] in WORST_FIRST[:3])
        return "missing" if is_worse else next(iter(ends), "none")

    @property
    def title(self) -> str:
        said = [amounts(self.runs, WORST_FIRST)]
        said += [gettext("no record of a slot")] if self.is_missing else []
        return f"{self.day:%Y-%m-%d}: {', '.join(filter(None, said)) or gettext('no slot')}"


@dataclass(frozen=True, slots=True)
class Point:
    """One run: when it began, what was measured, and where its page is."""

    at: datetime
    value: float
    address: str
    is_good: bool


class Shown(Protocol):
    """How a value is written."""

    def __call__(self, value: float, /) -> str: ...


def year_of(days: Iterable[Day], *, until: date, label: str) -> SafeString:
    """A year of days, a column a week, from Monday down to Sunday; the last column has `until`."""
    known = {day.day: day for day in days}
    first = until - timedelta(days=until.weekday(), weeks=WEEKS - 1)
    cells = format_html_join("\n", "{}", ((cell(known.get(day), day, first),) for day in days_from(first, until)))
    width, height = LEFT + WEEKS * (CELL + GAP), TOP + 7 * (CELL + GAP)
    return format_html(
        '<svg class="year" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">\n{}\n{}\n{}\n</svg>',
        width, height, width, height, label, months(first, until), weekdays(), cells,
    )  # fmt: skip


def days_from(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def cell(known: Day | None, day: date, first: date) -> SafeString:
    weeks, weekday = divmod((day - first).days, 7)
    x, y = LEFT + weeks * (CELL + GAP), TOP + weekday * (CELL + GAP)
    if known is None or known.worst == "none":
        return format_html('<rect class="day none" x="{}" y="{}" width="{}" height="{}"/>', x, y, CELL, CELL)
    return format_html(
        '<a href="{}"><title>{}</title><rect class="day {}" x="{}" y="{}" width="{}" height="{}"/>{}</a>',
        known.address, known.title, known.worst, x, y, CELL, CELL, shape(known.worst, x, y),
    )  # fmt: skip


def shape(worst: str, x: int, y: int) -> SafeString:
    """What tells a day from others where colours do not: a cross, a bar, a square, a ring; nothing on good days."""
    inner, outer = 3, CELL - 3
    match worst:
        case "failed":
            return format_html(
                '<path class="mark" d="M{} {}L{} {}M{} {}L{} {}"/>',
                x + inner, y + inner, x + outer, y + outer, x + outer, y + inner, x + inner, y + outer,
            )  # fmt: skip
        case "lost":
            return format_html('<path class="mark" d="M{} {}h{}"/>', x + inner, y + CELL // 2, outer - inner)
        case "missed" | "missing":
            return format_html('<path class="mark" d="M{} {}h6v6h-6z"/>', x + inner, y + inner)
        case "skipped":
            return format_html('<circle class="mark" cx="{}" cy="{}" r="3"/>', x + CELL // 2, y + CELL // 2)
    return mark_safe("")  # noqa: S308 - a constant


def months(first: date, until: date) -> SafeString:
    """The number of each month above the week in which it begins."""
    begins = (day for day in days_from(first, until) if day.day == 1)
    places = ((LEFT + (day - first).days // 7 * (CELL + GAP), TOP - 5, f"{day:%Y-%m}") for day in begins)
    shown = (place for place in places if place[0] < LEFT + (WEEKS - 2) * (CELL + GAP))
    return format_html_join("\n", '<text x="{}" y="{}">{}</text>', shown)


def weekdays() -> SafeString:
    names = (gettext("Mon"), "", gettext("Wed"), "", gettext("Fri"), "", "")
    places = ((0, TOP + number * (CELL + GAP) + CELL - 2, name) for number, name in enumerate(names) if name)
    return format_html_join("\n", '<text x="{}" y="{}">{}</text>', places)


@dataclass(frozen=True, slots=True)
class Usual:
    """The median of some values, and what 95 of 100 of them do not exceed."""

    median: float
    p95: float


def usual(values: Sequence[float]) -> Usual | None:
    """None where there are no values."""
    if not values:
        return None
    return Usual(median(values), quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0])


def over_time(points: Sequence[Point], *, shown: Shown, label: str) -> SafeString:
    """A dot for each run from the oldest to the newest, failures as crosses; lines for the usual of the good ones."""
    ordinary = usual([point.value for point in points if point.is_good])
    top = max((point.value for point in points), default=0.0) or 1.0
    first, last = points[0].at, points[-1].at
    span = (last - first).total_seconds() or 1.0

    def place(point: Point) -> tuple[float, float]:
        return MARGIN + (point.at - first).total_seconds() / span * (WIDTH - MARGIN - 8), height_of(point.value, top)

    marks = format_html_join("\n", "{}", ((dot(point, *place(point), shown(point.value)),) for point in points))
    lines = [(ordinary.median, "median", gettext("median")), (ordinary.p95, "p95", gettext("p95"))] if ordinary else []
    return format_html(
        '<svg class="over-time" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">\n{}\n{}\n'
        '<text x="0" y="12">{}</text><text x="0" y="{}">{}</text>'
        '<text x="{}" y="{}">{}</text><text class="end" x="{}" y="{}">{}</text>\n</svg>',
        WIDTH, HEIGHT, WIDTH, HEIGHT, label,
        format_html_join("\n", "{}", ((level(value, top, *names),) for value, *names in lines)), marks,
        shown(top), HEIGHT - 18, shown(0.0),
        MARGIN, HEIGHT - 2, first.date(), WIDTH - 8, HEIGHT - 2, last.date(),
    )  # fmt: skip


def height_of(value: float, top: float) -> float:
    return HEIGHT - 20 - value / top * (HEIGHT - 32)


def level(value: float, top: float, name: str, word: str) -> SafeString:
    y = f"{height_of(value, top):.1f}"
    return format_html(
        '<path class="{}" d="M{} {}H{}"/><text class="end {}" x="{}" y="{}">{}</text>',
        name, MARGIN, y, WIDTH - 8, name, WIDTH - 8, f"{float(y) - 3:.1f}", word,
    )  # fmt: skip


def dot(point: Point, x: float, y: float, said: str) -> SafeString:
    title = f"{point.at:%Y-%m-%d %H:%M} UTC: {said}"
    drawn = (
        format_html('<circle class="run" cx="{}" cy="{}" r="2.5"/>', f"{x:.1f}", f"{y:.1f}")
        if point.is_good
        else format_html('<path class="failed" d="M{} {}l6 6m0 -6l-6 6"/>', f"{x - 3:.1f}", f"{y - 3:.1f}")
    )
    return format_html('<a href="{}"><title>{}</title>{}</a>', point.address, title, drawn)


def summary_of(days: Iterable[Day]) -> str:
    """A year in a sentence, for whoever does not see the chart."""
    totals: dict[str, int] = {}
    for day in days:
        for status, runs in day.runs.items():
            totals[status] = totals.get(status, 0) + runs
    runs = sum(totals.values())
    return ngettext("%(runs)s run: %(said)s", "%(runs)s runs: %(said)s", runs) % {
        "runs": number(runs),
        "said": amounts(totals, reversed(WORST_FIRST)) or "0",
    }


def amounts(runs: Mapping[str, int], statuses: Iterable[str]) -> str:
    """How many runs ended so, in words; those that there are none of left out."""
    amounts = ((status, runs[status]) for status in statuses if runs.get(status))
    return ", ".join(AMOUNTS[status] % {"runs": runs, "shown": number(runs)} for status, runs in amounts)

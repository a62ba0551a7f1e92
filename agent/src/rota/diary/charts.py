"""Charts as SVG made on the server: a year of days, and durations or counts over time; readable without scripts.

They carry classes and no style of their own, so that the style sheet alone knows colours; each mark has a shape beside
its colour, and a title that says what it is. Marks are many: each is written at once, its words escaped here, for
`format_html` takes a third of a page's time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from html import escape
from statistics import median, quantiles
from typing import Protocol

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, gettext, ngettext, ngettext_lazy

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
    cells = written(cell(known.get(day), day, first) for day in days_from(first, until))
    width, height = LEFT + WEEKS * (CELL + GAP), TOP + 7 * (CELL + GAP)
    return format_html(
        '<svg class="year" viewBox="0 0 {} {}" width="{}" height="{}" role="group" aria-label="{}">\n'
        "{}\n{}\n{}\n</svg>",
        width, height, width, height, label, months(first, until), weekdays(), cells,
    )  # fmt: skip


def days_from(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def written(marks: Iterable[str]) -> SafeString:
    """Marks, a line each, whose words are escaped."""
    return mark_safe("\n".join(marks))  # noqa: S308 - as it says


def cell(known: Day | None, day: date, first: date) -> str:
    weeks, weekday = divmod((day - first).days, 7)
    x, y = LEFT + weeks * (CELL + GAP), TOP + weekday * (CELL + GAP)
    worst = known.worst if known else "none"
    drawn = f'<rect class="day {worst}" x="{x}" y="{y}" width="{CELL}" height="{CELL}"/>{shape(worst, x, y)}'
    return linked(known.address, known.title, drawn) if known and worst != "none" else drawn


def linked(address: str, title: str, drawn: str) -> str:
    return f'<a href="{escape(address)}"><title>{escape(title)}</title>{drawn}</a>'


def shape(worst: str, x: int, y: int) -> str:
    """What tells a day from others where colours do not: a cross, a bar, a square, a ring; nothing on good days."""
    inner, outer = 3, CELL - 3
    match worst:
        case "failed":
            cross = f"M{x + inner} {y + inner}L{x + outer} {y + outer}M{x + outer} {y + inner}L{x + inner} {y + outer}"
            return f'<path class="mark" d="{cross}"/>'
        case "lost":
            return f'<path class="mark" d="M{x + inner} {y + CELL // 2}h{outer - inner}"/>'
        case "missed" | "missing":
            return f'<path class="mark" d="M{x + inner} {y + inner}h6v6h-6z"/>'
        case "skipped":
            return f'<circle class="mark" cx="{x + CELL // 2}" cy="{y + CELL // 2}" r="3"/>'
    return ""


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

    marks = written(dot(point, *place(point), shown(point.value)) for point in points)
    lines = [(ordinary.median, "median", gettext("median")), (ordinary.p95, "p95", gettext("p95"))] if ordinary else []
    return format_html(
        '<svg class="over-time" viewBox="0 0 {} {}" width="{}" height="{}" role="group" aria-label="{}">\n{}\n{}\n'
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


def dot(point: Point, x: float, y: float, said: str) -> str:
    drawn = (
        f'<circle class="run" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
        if point.is_good
        else f'<path class="failed" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'
    )
    return linked(point.address, f"{point.at:%Y-%m-%d %H:%M} UTC: {said}", drawn)


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
    language = get_language()
    return ", ".join(amount(status, runs[status], language) for status in statuses if runs.get(status))


@lru_cache(maxsize=1000)
def amount(status: str, runs: int, language: str | None) -> str:
    """So many runs of this status, in this language; most days of a year say the same."""
    return AMOUNTS[status] % {"runs": runs, "shown": number(runs)}

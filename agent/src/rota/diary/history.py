"""How a task did over time on a host: its days, durations and counts, and how many of its runs succeeded."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from rota.core.history import Days, success_rate
from rota.core.history import Tally as CoreTally
from rota.core.objective import Attainment, attain
from rota.diary import charts
from rota.diary.models import Host, Run, Status, Tally
from rota.diary.prospect import Prospect
from rota.diary.templatetags.diary import length, number

YEAR = timedelta(days=371)
MONTH = timedelta(days=30)
NEWEST = 120
"""How many of the latest runs the charts show."""
MOST_COUNTS = 4
COUNTED = (Status.SUCCEEDED, Status.FAILED, Status.LOST)


@dataclass(frozen=True, slots=True)
class Chart:
    """One measure of the latest runs: what it is, its usual values as written, and the drawing."""

    name: str
    median: str
    p95: str
    drawn: SafeString


@dataclass(frozen=True, slots=True)
class History:
    """`rate` is the share of the last 30 days' runs that succeeded, of those that should have; None without any.

    `is_empty` says that there is no day to show; `attainment` how far the task is from its objective, None without one.
    """

    year: SafeString
    is_empty: bool
    summary: str
    rate: float | None
    attainment: Attainment | None
    charts: list[Chart]


def history_of(host: Host, task: str, prospect: Prospect, *, now: datetime) -> History:
    today = now.astimezone(UTC).date()
    rows = list(rows_of(host, task, since=today - YEAR))
    days = list(days_of(rows, missing=prospect.days_missing(now), host=host, task=task))
    standing = replace(prospect.standing, days=core_days(rows))
    return History(
        year=charts.year_of(days, until=today, label=gettext("The year of %s, a square for each day") % task),
        is_empty=not days,
        summary=charts.summary_of(days),
        rate=success_rate(standing, MONTH, now),
        attainment=attain(prospect.objective, standing, now) if prospect.objective else None,
        charts=list(charts_of(latest_runs(host, task))),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """What the tally says of one status on one day."""

    day: date
    status: str
    runs: int
    beside: int
    missed: int


def rows_of(host: Host, task: str, *, since: date) -> Iterator[Row]:
    """The tally of days with slots or runs, the oldest first; by days of UTC, as they are counted."""
    rows = Tally.objects.filter(host=host, task=task, day__gte=since).order_by("day")
    return (Row(*values) for values in rows.values_list("day", "status", "runs", "beside", "missed"))


def days_of(rows: Iterable[Row], *, missing: Collection[date], host: Host, task: str) -> Iterator[charts.Day]:
    """The days as they are drawn; of a record that speaks of many slots each counts."""
    runs: dict[date, dict[str, int]] = {day: {} for day in missing}
    for row in rows:
        skipped = row.status == Status.SKIPPED
        ends = {"missed": row.missed, row.status: max(0, row.runs - row.missed)} if skipped else {row.status: row.runs}
        runs.setdefault(row.day, {}).update(ends)
    address = f"{reverse('runs')}?{urlencode({'task': task, 'host': host.name})}"
    for day, by_status in runs.items():
        yield charts.Day(day, by_status, f"{address}&since={day}&until={day}", is_missing=day in missing)


def core_days(rows: Iterable[Row]) -> Days:
    """The tally as hosts have it, so that both reckon alike."""
    numbers: list[int] = []
    for day, same in groupby(rows, key=lambda row: row.day):
        tally = sum((CoreTally(**{row.status: row.runs - row.beside}, missed=row.missed) for row in same), CoreTally())
        numbers += [day.toordinal(), *tally.numbers]
    return Days(tuple(numbers))


def latest_runs(host: Host, task: str) -> list[Run]:
    """The latest runs that came to an end by themselves, the oldest first."""
    found = Run.objects.filter(host=host, task=task, status__in=COUNTED, duration__isnull=False, dry_run=False)
    return list(found.only("id", "started", "duration", "counts", "status").order_by("-started", "-id")[:NEWEST])[::-1]


def charts_of(runs: list[Run]) -> Iterator[Chart]:
    if len(runs) < 2:
        return

    address_of = addresses()
    durations = [point(run, run.duration or 0.0, address_of) for run in runs]
    yield chart_of(gettext("duration"), durations, length)
    names = Counter(name for run in runs for name in run.counts)
    for name, times in names.most_common(MOST_COUNTS):
        if times > 1:
            counted = [point(run, run.counts[name], address_of) for run in runs if name in run.counts]
            yield chart_of(name, counted, number)


def addresses() -> Callable[[UUID], str]:
    """The addresses of runs' pages, which Django takes some time to work out, from one of them."""
    before, _, after = reverse("run", args=[UUID(int=0)]).partition(str(UUID(int=0)))
    return lambda identifier: f"{before}{identifier}{after}"


def point(run: Run, value: float, address_of: Callable[[UUID], str]) -> charts.Point:
    return charts.Point(run.started, float(value), address_of(run.pk), run.status == Status.SUCCEEDED)


def chart_of(name: str, points: list[charts.Point], shown: charts.Shown) -> Chart:
    usual = charts.usual([each.value for each in points if each.is_good])
    label = ngettext("%(name)s of the latest %(runs)d run", "%(name)s of the latest %(runs)d runs", len(points))
    drawn = charts.over_time(points, shown=shown, label=label % {"name": name, "runs": len(points)})
    return Chart(name, shown(usual.median) if usual else "", shown(usual.p95) if usual else "", drawn)

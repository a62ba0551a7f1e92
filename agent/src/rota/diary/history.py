"""How a task did over time on a host: its days, durations and counts, and how many of its runs succeeded."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Sum
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from rota.diary import charts
from rota.diary.models import Host, Run, Status, Tally
from rota.diary.templatetags.diary import length, number

YEAR = timedelta(days=371)
MONTH = timedelta(days=30)
NEWEST = 300
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
    """`rate` is the share of the last 30 days' runs that succeeded, skipped slots apart; None where there was none."""

    year: SafeString
    summary: str
    rate: float | None
    runs: int
    charts: list[Chart]


def history_of(host: Host, task: str, *, now: datetime) -> History:
    today = now.astimezone(UTC).date()
    days = list(days_of(host, task, since=today - YEAR))
    latest = latest_runs(host, task)
    succeeded, ended = rate_of(days, since=today - MONTH)
    return History(
        year=charts.year_of(days, until=today, label=gettext("The year of %s, a square for each day") % task),
        summary=charts.summary_of(days),
        rate=succeeded / ended if ended else None,
        runs=ended,
        charts=list(charts_of(latest)),
    )


def days_of(host: Host, task: str, *, since: date) -> Iterator[charts.Day]:
    """The days on which there were slots or runs, the oldest first; by days of UTC, as they are counted."""
    rows = Tally.objects.filter(host=host, task=task, day__gte=since).values_list("day", "status")
    runs: dict[date, dict[str, int]] = defaultdict(dict)
    for day, status, amount in rows.annotate(Sum("runs")).order_by("day"):
        runs[day][status] = amount
    for day, by_status in runs.items():
        asked = {"task": task, "host": host.name, "since": day.isoformat(), "until": day.isoformat()}
        yield charts.Day(day, by_status, f"{reverse('runs')}?{urlencode(asked)}")


def rate_of(days: list[charts.Day], *, since: date) -> tuple[int, int]:
    """How many runs succeeded since that day, of how many that were to."""
    total: Counter[str] = Counter()
    for day in days:
        if day.day >= since:
            total.update(day.runs)
    return total[Status.SUCCEEDED], sum(total[status] for status in COUNTED)


def latest_runs(host: Host, task: str) -> list[Run]:
    """The latest runs that came to an end by themselves, the oldest first."""
    found = Run.objects.filter(host=host, task=task, status__in=COUNTED, duration__isnull=False, dry_run=False)
    return list(found.only("id", "started", "duration", "counts", "status").order_by("-started", "-id")[:NEWEST])[::-1]


def charts_of(runs: list[Run]) -> Iterator[Chart]:
    if len(runs) < 2:
        return

    durations = [point(run, run.duration or 0.0) for run in runs]
    yield chart_of(gettext("duration"), durations, length)
    names = Counter(name for run in runs for name in run.counts)
    for name, times in names.most_common(MOST_COUNTS):
        if times > 1:
            yield chart_of(name, [point(run, run.counts[name]) for run in runs if name in run.counts], number)


def point(run: Run, value: float) -> charts.Point:
    return charts.Point(run.started, float(value), reverse("run", args=[run.pk]), run.status == Status.SUCCEEDED)


def chart_of(name: str, points: list[charts.Point], shown: charts.Shown) -> Chart:
    usual = charts.usual([each.value for each in points if each.is_good])
    label = ngettext("%(name)s of the latest %(runs)d run", "%(name)s of the latest %(runs)d runs", len(points))
    drawn = charts.over_time(points, shown=shown, label=label % {"name": name, "runs": len(points)})
    return Chart(name, shown(usual.median) if usual else "", shown(usual.p95) if usual else "", drawn)

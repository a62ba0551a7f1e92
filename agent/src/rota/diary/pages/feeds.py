"""What people follow with other programs: a feed of failures, a calendar of slots, measurements for Prometheus."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from heapq import merge
from itertools import islice
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.feedgenerator import Atom1Feed
from django.utils.http import quote_etag
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_safe

from rota.core.agenda import Series, write_agenda
from rota.diary.api.access import for_readers
from rota.diary.filters import BadFilter, RunFilter, read_filter
from rota.diary.listing import Listing
from rota.diary.measurements import measure
from rota.diary.models import Run, Status, TaskStanding
from rota.diary.phrases import in_words
from rota.diary.searching.query import BadQuery
from rota.diary.standings import coming_slots
from rota.diary.templatetags.diary import length as taking

NEWEST = 50
NARROWING = {"host": "host__name", "task": "task"}
EACH = 10
"""How many slots of a task the calendar has: what runs each hour is no appointment."""
MOST_TASKS = 500
REFRESH = timedelta(hours=1)
FOLLOWED = (Status.FAILED, Status.LOST)


@for_readers
@require_safe
def failures(request: HttpRequest) -> HttpResponseBase:
    """The newest failures as an Atom feed (RFC 4287), narrowed by the same words as the list of runs."""
    try:
        runs = newest_failures(read_filter(RunFilter, request.GET))
    except (BadQuery, BadFilter) as error:
        return HttpResponse(f"{error}\n", status=400, content_type="text/plain; charset=utf-8")
    items = [item_of(run, request) for run in runs]
    return unless_known(request, items, lambda: feed_of(items, request), "application/atom+xml; charset=utf-8")


def item_of(run: Run, request: HttpRequest) -> dict[str, Any]:
    return {
        "title": f"{run.task} {run.get_status_display()}, {run.host}: {in_words(run.reason)}",
        "link": request.build_absolute_uri(reverse("run", args=[run.pk])),
        "description": in_words(run.reason),
        "unique_id": f"urn:uuid:{run.pk}",
        "pubdate": run.started,
        "updateddate": run.ended or run.started,
        "author_name": run.host.name,
        "categories": (run.task, run.environment),
    }


def feed_of(items: list[dict[str, Any]], request: HttpRequest) -> str:
    here = request.build_absolute_uri(reverse("runs"))
    feed = Atom1Feed(
        title=gettext("Failures in Rota's diary"),
        link=here,
        description=None,
        feed_url=request.build_absolute_uri(),
        language=get_language(),
    )
    for item in items:
        feed.add_item(**item)
    text: str = feed.writeString("utf-8")
    return text


def newest_failures(wanted: RunFilter) -> list[Run]:
    """The newest of those that failed, and of those that were lost, in order. Raises BadQuery and BadFilter."""
    statuses = [status for status in FOLLOWED if wanted.status in ("", status)]
    listings = [Listing.of(replace(wanted, status=status, sort="")) for status in statuses]
    found = [islice(each.runs(Run.objects.select_related("host")), NEWEST) for each in listings]
    return list(islice(merge(*found, key=lambda run: (run.started, run.pk), reverse=True), NEWEST))


@for_readers
@require_safe
def slots(request: HttpRequest) -> HttpResponseBase:
    """The coming slots as a calendar (iCalendar, RFC 5545), narrowed by `host` and `task`."""
    wanted = {name: str(value).replace("\0", "") for name, value in request.GET.items()}
    if unknown := sorted(wanted.keys() - NARROWING):
        said = gettext("“%(name)s” is no filter; there are: %(names)s")
        said %= {"name": unknown[0], "names": ", ".join(NARROWING)}
        return HttpResponse(f"{said}\n", status=400, content_type="text/plain; charset=utf-8")
    planned = TaskStanding.objects.filter(due__isnull=False).select_related("host").defer("standing", "timing")
    rows = planned.filter(**{NARROWING[name]: value for name, value in wanted.items()}).order_by("due")[:MOST_TASKS]
    now = timezone.now()
    series = [series_of(row, request, now) for row in rows]
    name = ", ".join(["Rota", *wanted.values()])
    # As numbers: the words of as many moments take longer than the calendar.
    told = [(each.url, each.description, each.length, [begin.timestamp() for begin in each.begins]) for each in series]
    return unless_known(
        request,
        (name, told),
        lambda: write_agenda(name, series, now=now, refresh=REFRESH),
        "text/calendar; charset=utf-8",
    )


def unless_known(request: HttpRequest, said: object, write: Callable[[], str], kind: str) -> HttpResponseBase:
    """What is written, or, to who has it already, that it says the same: 304 (RFC 9110 section 13).

    Its tag is of what it says, in which language and at which address, so that nothing is written for nobody. There is
    no date beside it: what comes late, or is removed, would not change that.
    """
    read = repr((said, get_language(), request.build_absolute_uri()))
    tag = quote_etag(sha256(read.encode()).hexdigest()[:32])
    response = get_conditional_response(request, etag=tag) or HttpResponse(write(), content_type=kind)
    response.headers["ETag"] = tag
    return response


def series_of(row: TaskStanding, request: HttpRequest, now: datetime) -> Series:
    """The next slots of a task; of a minute each where it takes less, or nobody knows."""
    return Series(
        name=f"{row.task}-{row.host.name}",
        begins=coming_slots(row, now)[:EACH],
        length=timedelta(seconds=max(60.0, row.median or 0)),
        summary=f"{row.task} · {row.host.name}",
        description=gettext("usually takes %s") % taking(row.median) if row.median else "",
        url=request.build_absolute_uri(reverse("task", args=[row.host.name, row.task])),
    )


@for_readers
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Measurements of all hosts' runs, in Prometheus's text format."""
    return HttpResponse(measure(), content_type="text/plain; version=0.0.4; charset=utf-8")

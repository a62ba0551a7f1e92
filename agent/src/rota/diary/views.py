"""The pages: overview, one run, hosts, releases; the outbox and the list of runs have modules of their own."""

from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from rota.diary.catalogues import hardening_of, task_at
from rota.diary.deploying import fared, since_good
from rota.diary.filters import host_number
from rota.diary.lateness import due_next, is_silent, troubles
from rota.diary.listing import listed
from rota.diary.models import Assessment, Deploy, Host, Outbound, Output, Quarantine, Run, Status, Token
from rota.diary.output import Rendered
from rota.diary.output import render as render_output
from rota.diary.pages.asking import again
from rota.diary.pages.live import following
from rota.diary.paging import page_of
from rota.diary.reviewing import IS_OPEN, OPEN, open_like

# So that the overview fits a laptop's screen.
SHOWN_FAILURES = 12
"""And what is late, missed or slow, of which there are no more than so many."""
SHOWN_TROUBLES = 6
SHOWN_RUNNING = 3
SHOWN_DUE = 4
SHOWN_HOSTS = 4
DEPLOYS = 12
"""Of the page of releases: each is told with how runs fared after it."""
SHOWN_DEPLOYS = 3
MOST_RUNNING = 100
SHOWN_QUARANTINE = 25
SHOWN_ITEMS = 500
SHOWN_CAUGHT = 10
SHOWN_TOKENS = 200


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """What needs somebody now, what is running and due next, when each host was last heard of, the latest deploys."""
    now = timezone.now()
    under_way = Run.objects.filter(status=Status.RUNNING).select_related("host").only("id", "task", "started", "host")
    running = list(under_way.order_by("-started", "-id")[:MOST_RUNNING])
    found = troubles(running, now=now)
    shown = SHOWN_FAILURES - len(found[:SHOWN_TROUBLES])
    failures = unhandled_failures(shown + 1)
    # The silent ones first: they want somebody.
    contacts = sorted(hosts_with_contact(now), key=lambda contact: not contact.is_silent)
    return render(
        request,
        "diary/overview.html",
        {
            "failures": failures[:shown],
            "more_failures": len(failures) > shown,
            "open_amount": Run.objects.filter(IS_OPEN).count(),
            "troubles": found[:SHOWN_TROUBLES],
            "more_troubles": len(found) - SHOWN_TROUBLES,
            "running": running[:SHOWN_RUNNING],
            "more_running": len(running) > SHOWN_RUNNING,
            "due": due_next(SHOWN_DUE, now=now),
            "hosts": contacts[:SHOWN_HOSTS],
            "more_hosts": len(contacts) > SHOWN_HOSTS,
            "hosts_amount": len(contacts),
            "deploys": Deploy.objects.select_related("host").order_by("-started", "-id")[:SHOWN_DEPLOYS],
        },
    )


@require_safe
def run(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """One run: its record, items, counts and output, and what was said of it."""
    found = get_object_or_404(Run.objects.select_related("host"), pk=identifier)
    has_task, definition = task_at(found.host, found.task, found.started)
    items = list(found.items.order_by("position")[: SHOWN_ITEMS + 1])
    return render(
        request,
        "diary/run.html",
        {
            "run": found,
            "following": following(found, timezone.now()),
            "again": again(request, found, timezone.now()),
            "has_task": has_task,
            "definition": definition,
            "hardening": hardening_of(found),
            "since_good": since_good(found),
            "older": neighbour(found, older=True),
            "newer": neighbour(found, older=False),
            "items": items[:SHOWN_ITEMS],
            "more_items": len(items) > SHOWN_ITEMS,
            "counts": sorted(found.counts.items()),
            "parameters": sorted(found.parameters.items()),
            "caught": Outbound.objects.filter(run=found.pk)
            .only("id", "means", "subject")
            .order_by("at")[:SHOWN_CAUGHT],
            "output": output_of(found),
            "reviews": list(found.reviews.select_related("person").order_by("-at", "-id")),
            "assessments": [choice for choice in Assessment.choices if choice[0]],
            "open": open_like(found).count() if found.review in OPEN else 0,
        },
    )


@require_safe
def output_text(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """A run's output as it was kept, as plain text."""
    found = get_object_or_404(Output, pk=identifier)
    return HttpResponse(found.text, content_type="text/plain; charset=utf-8")


@require_safe
def hosts(request: HttpRequest) -> HttpResponse:
    """Each host, its last contact and its release; and the records that could not be understood."""
    return render(
        request,
        "diary/hosts.html",
        {
            "hosts": hosts_with_contact(timezone.now()),
            "tokens": Token.objects.select_related("host", "revoked_by").order_by("host__name", "-id")[:SHOWN_TOKENS],
            "quarantined": Quarantine.objects.select_related("host").order_by("-received")[:SHOWN_QUARANTINE],
        },
    )


@require_safe
def releases(request: HttpRequest) -> HttpResponse:
    """Every deploy of every host, newest first, and how runs fared after it."""
    deploys = Deploy.objects.select_related("host")
    wanted = request.GET.get("host", "").replace("\0", "")
    page = page_of(deploys.filter(host_id=host_number(wanted)) if wanted else deploys, request.GET, most=DEPLOYS)
    how = fared(page.rows)
    return render(
        request,
        "diary/releases.html",
        {
            "page": page,
            "deploys": [(deploy, how.get(deploy.pk)) for deploy in page.rows],
            "wanted": wanted,
            "hosts": Host.objects.order_by("name").values_list("name", flat=True),
        },
    )


def unhandled_failures(most: int) -> list[Run]:
    """The newest open failure of so many tasks on hosts, each with how many are `open` there, newest first.

    The index has all that it takes to choose them; only these are read.
    """
    places = Run.objects.filter(IS_OPEN).values("task", "host_id")
    newest = places.annotate(newest=Max("started"), open=Count("*")).order_by("-newest", "task", "host_id")[:most]
    open_at = {(each["host_id"], each["task"], each["newest"]): each["open"] for each in newest}
    if not open_at:
        return []
    chosen = reduce(or_, (Q(host=host, task=task, started=moment) for host, task, moment in open_at))
    found: dict[tuple[int, str], Run] = {}
    for run in listed(Run.objects.filter(IS_OPEN)).filter(chosen).order_by("started", "id"):
        run.open = open_at[run.host_id, run.task, run.started]  # type: ignore[attr-defined]  # for this page alone
        found[run.host_id, run.task] = run
    return sorted(found.values(), key=lambda run: (run.started, run.pk), reverse=True)


@dataclass(frozen=True, slots=True)
class Contact:
    host: Host
    is_silent: bool
    release: str
    deployed: datetime | None


def hosts_with_contact(now: datetime) -> list[Contact]:
    latest = Deploy.objects.filter(host=OuterRef("pk"), status="succeeded").order_by("-started", "-id")
    rows = Host.objects.annotate(
        release=Subquery(latest.values("release")[:1]), deployed=Subquery(latest.values("started")[:1])
    ).order_by("environment", "name")
    return [
        Contact(
            host=row,
            is_silent=is_silent(row, now),
            release=row.release or "",
            deployed=row.deployed,
        )
        for row in rows
    ]


def neighbour(found: Run, *, older: bool) -> Run | None:
    """The run of the same task on the same host just before or after this one."""
    same = Run.objects.filter(task=found.task, host_id=found.host_id).exclude(pk=found.pk).only("id", "started")
    if older:
        return same.filter(started__lte=found.started).order_by("-started", "-id").first()
    return same.filter(started__gt=found.started).order_by("started", "id").first()


def output_of(found: Run) -> Rendered | None:
    kept = Output.objects.filter(pk=found.pk).first()
    return render_output(kept.text) if kept else None

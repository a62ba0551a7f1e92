"""The pages of what would have left the estate, and was caught: all of it, and one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from rota.diary.filters import OutboxFilter, read_filter, values_of
from rota.diary.listing import address
from rota.diary.models import Environment, Host, Outbound, Run
from rota.diary.output import render as render_text
from rota.diary.paging import PAGE, Page, page_of
from rota.diary.searching.finding import Finding, rows_of, span_from
from rota.diary.searching.index import HIGHEST, LOWEST, Asked, Span, moment_of
from rota.diary.searching.keeping import UNREAD_CAUGHT, not_before
from rota.diary.searching.query import BadQuery, parse
from rota.diary.searching.words import caught_facts

LISTED = ("id", "environment", "host__name", "at", "task", "means", "to", "subject")


@dataclass
class Letters:
    """What was caught and is asked for; `stopped` and `unread` are as those of a list of runs."""

    wanted: OutboxFilter
    stopped: int | None = None
    unread: datetime | None = None

    def page(self, rows: "QuerySet[Outbound]", query: QueryDict) -> Page[Outbound]:
        """Raises BadQuery."""
        if not self.wanted.text:
            return page_of(self.wanted.narrow(rows), query, by="at")
        backwards = bool(query.get("after"))
        place = query.get("after" if backwards else "before", "")
        shown, has_newer, has_older = self.part(rows, place, backwards=backwards, most=PAGE)
        return Page(
            rows=[row for _, row in shown],
            newer=address(query, "after", str(shown[0][0])) if has_newer and shown else "",
            older=address(query, "before", str(shown[-1][0])) if has_older and shown else "",
            newest=address(query, "", "") if place else "",
        )

    def part(
        self, rows: "QuerySet[Outbound]", place: str, *, backwards: bool, most: int
    ) -> tuple[list[tuple[int, Outbound]], bool, bool]:
        """What was searched for, at most so much beyond this place, newest first, each with its place.

        And whether there is newer, and older. Raises BadQuery.
        """
        self.unread = not_before(UNREAD_CAUGHT)
        found = list(islice(self.found(rows, place, newest_first=not backwards), most + 1))
        if backwards:
            return found[:most][::-1], len(found) > most, True
        return found[:most], bool(place), len(found) > most

    def found(self, rows: "QuerySet[Outbound]", place: str, *, newest_first: bool) -> Iterator[tuple[int, Outbound]]:
        asked = Asked(parse(self.wanted.text), tuple(caught_facts(self.wanted.facts())))
        span = span_from(place, Span(LOWEST, HIGHEST), newest_first=newest_first)
        finding = Finding(asked, span, newest_first=newest_first)
        yield from rows_of(finding, lambda hit: self.wanted.narrow(rows.filter(pk__in=hit)).in_bulk())
        self.stopped = finding.stopped


@require_safe
def outbox(request: HttpRequest) -> HttpResponse:
    """Everything that was caught, newest first, narrowed by what the address says."""
    letters, problem = Letters(read_filter(OutboxFilter, request.GET)), ""
    page: Page[Outbound] = Page([], "", "", "")
    try:
        page = letters.page(Outbound.objects.select_related("host").only(*LISTED), request.GET)
    except BadQuery as error:
        problem = str(error)
    return render(
        request,
        "diary/outbox.html",
        {
            "page": page,
            "problem": problem,
            "listing": letters,
            "further": address(request.GET, "before", str(letters.stopped)) if letters.stopped else "",
            "stopped": moment_of(letters.stopped) if letters.stopped else None,
            "wanted": letters.wanted,
            "environments": Environment.choices,
            "hosts": Host.objects.order_by("name").values_list("name", flat=True),
            "means": values_of(Outbound, "means"),
            "tasks": values_of(Outbound, "task"),
        },
    )


@require_safe
def caught(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """One thing that was caught: to whom, from where, and what it says."""
    found = get_object_or_404(Outbound.objects.select_related("host"), pk=identifier)
    return render(
        request,
        "diary/caught.html",
        {
            "caught": found,
            "text": render_text(found.text) if found.text else None,
            "has_run": found.run is not None and Run.objects.filter(pk=found.run).exists(),
        },
    )

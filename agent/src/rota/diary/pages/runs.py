"""The page of all hosts' runs, and the same list as CSV and as JSON."""

import csv
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from rota.diary.filters import BadFilter, RunFilter, read_filter, values_of
from rota.diary.listing import ListedPage, Listing, address, listed, page_of_runs
from rota.diary.models import Assessment, Environment, Host, Item, Output, Review, ReviewState, Run, Status, Trigger
from rota.diary.pages.saved import searches_of
from rota.diary.searching.excerpts import excerpts, pattern_of
from rota.diary.searching.index import moment_of
from rota.diary.searching.query import BadQuery

MOST_EXPORTED = 10_000
READ_ITEMS = 200
SORTS = (("", _("newest first")), ("oldest", _("oldest first")), ("longest", _("longest first")))
COLUMNS = (
    "id", "environment", "host", "task", "pack", "slot", "trigger", "asked_by", "started", "ended", "duration",
    "status", "reason", "exit_code", "signal", "review", "assessment", "release", "attempt",
)  # fmt: skip


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    """All hosts' runs, newest first, narrowed by what the address says."""
    wanted, problem = read_filter(RunFilter, request.GET), ""
    page, listing = ListedPage([], "", "", ""), Listing(wanted)
    try:
        listing = Listing.of(wanted)
        page = page_of_runs(listing, listed(Run.objects.all()), request.GET)
    except (BadQuery, BadFilter) as error:
        problem = str(error)
    show_excerpts(listing, page.rows)
    return render(
        request,
        "diary/runs.html",
        {
            "page": page,
            "problem": problem,
            "listing": listing,
            "further": address(request.GET, "before", str(listing.stopped)) if listing.stopped else "",
            "stopped": moment_of(listing.stopped) if listing.stopped else None,
            "wanted": wanted,
            "query": wanted.address(),
            "sorts": SORTS,
            "searches": searches_of(request.user),
            "environments": Environment.choices,
            "statuses": Status.choices,
            "triggers": Trigger.choices,
            "reviews": [choice for choice in ReviewState.choices if choice[0]],
            "assessments": [choice for choice in Assessment.choices if choice[0]],
            "hosts": Host.objects.order_by("name").values_list("name", flat=True),
            "tasks": values_of(Run, "task"),
        },
    )


def show_excerpts(listing: Listing, rows: list[Run]) -> None:
    """Give each run the lines in which something was found."""
    pattern = pattern_of(listing.query)
    if pattern is None or not rows:
        return
    texts: dict[Any, list[str]] = {run.pk: [] for run in rows}
    for pk, text in Output.objects.filter(run_id__in=texts).values_list("run_id", "text"):
        texts[pk].append(text)
    for pk, *item in (
        Item.objects.filter(run_id__in=texts, position__lt=READ_ITEMS)
        .order_by("position")
        .values_list("run_id", "name", "outcome", "message")
    ):
        texts[pk].append(" ".join(filter(None, item)))
    for pk, summary in Review.objects.filter(run_id__in=texts).values_list("run_id", "summary"):
        texts[pk].append(summary)
    for run in rows:
        run.excerpts = excerpts(texts[run.pk], pattern)  # type: ignore[attr-defined]  # the template reads it


@require_safe
def as_csv(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The list as CSV, at most ten thousand runs; no cell is a formula to a spreadsheet."""
    return exported(request, "text/csv; charset=utf-8", "runs.csv", csv_lines)


@require_safe
def as_json(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The list as JSON, at most ten thousand runs."""
    return exported(request, "application/json", "runs.json", json_lines)


def exported(request: HttpRequest, kind: str, name: str, lines: Any) -> HttpResponse | StreamingHttpResponse:
    try:
        listing = Listing.of(read_filter(RunFilter, request.GET))
    except (BadQuery, BadFilter) as error:
        return HttpResponse(f"{error}\n", status=400, content_type="text/plain; charset=utf-8")
    rows = listing.runs(Run.objects.select_related("host"))
    response = StreamingHttpResponse(lines(islice(rows, MOST_EXPORTED)), content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


class Echo:
    """A file that gives each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def csv_lines(rows: Iterator[Run]) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for run in rows:
        yield writer.writerow([harmless(value) for value in cells_of(run)])


def json_lines(rows: Iterator[Run]) -> Iterator[str]:
    separator = "["
    for run in rows:
        yield f"{separator}\n{json.dumps(dict(zip(COLUMNS, cells_of(run), strict=True)), ensure_ascii=False)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def cells_of(run: Run) -> list[str | int | float | None]:
    plain = [run.host.name if name == "host" else getattr(run, name) for name in COLUMNS]
    return [
        value if value is None or isinstance(value, int | float) else
        value.isoformat() if hasattr(value, "isoformat") else str(value)
        for value in plain
    ]  # fmt: skip


def harmless(value: str | int | float | None) -> str | int | float | None:
    """A text that a spreadsheet does not take for a formula: it would run what some host has printed."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

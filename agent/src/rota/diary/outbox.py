"""The pages of what would have left the estate, and was caught: all of it, and one by one."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from rota.diary.filters import OutboxFilter, read_filter, values_of
from rota.diary.models import Environment, Host, Outbound, Run
from rota.diary.output import render as render_text
from rota.diary.paging import page_of

LISTED = ("id", "environment", "host__name", "at", "task", "means", "to", "subject")


@require_safe
def outbox(request: HttpRequest) -> HttpResponse:
    """Everything that was caught, newest first, narrowed by what the address says."""
    wanted = read_filter(OutboxFilter, request.GET)
    caught = wanted.apply(Outbound.objects.select_related("host").only(*LISTED))
    return render(
        request,
        "diary/outbox.html",
        {
            "page": page_of(caught, request.GET, by="at"),
            "wanted": wanted,
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

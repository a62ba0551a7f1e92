"""The pages of tasks: those of all hosts, and what one of them is."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from rota.diary.asking import attend_to, new_token, state_of, why_not
from rota.diary.catalogues import changes_of, pause_of, task_on, tasks_in_force
from rota.diary.history import history_of
from rota.diary.lateness import outlooks
from rota.diary.models import Host, HostRequest
from rota.diary.prospect import prospect_of

SHOWN_TASKS = 500
SHOWN_REQUESTS = 10


@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    """What every host does, and when; narrowed to one host by the address."""
    wanted = request.GET.get("host", "").replace("\0", "")
    found = list(tasks_in_force(wanted)[: SHOWN_TASKS + 1])
    coming = outlooks({row.host_id for row in found}, now=timezone.now())
    return render(
        request,
        "diary/tasks.html",
        {
            "tasks": [(row, coming.get((row.host_id, row.task))) for row in found[:SHOWN_TASKS]],
            "more_tasks": len(found) > SHOWN_TASKS,
            "wanted": wanted,
            "hosts": Host.objects.order_by("name").values_list("name", flat=True),
        },
    )


@require_safe
def task(request: HttpRequest, host: str, name: str) -> HttpResponse:
    """One task of one host: what it is, how that changed, and what is asked of it."""
    return render(request, "diary/task.html", task_page(request, get_object_or_404(Host, name=host), name))


def task_page(request: HttpRequest, host: Host, name: str, *, problem: str = "") -> dict[str, Any]:
    """What the page shows; `problem` is why something that was asked for cannot be. Raises Http404."""
    found, now = task_on(host, name), timezone.now()
    if found is None:
        raise Http404(gettext("this host has told of no such task"))
    attend_to(request.user, host, now)
    prospect = prospect_of(host, name)
    asked = HostRequest.objects.filter(host=host, task=name).select_related("person").order_by("-asked")
    return {
        "host": host,
        "task": found,
        "name": name,
        "pause": pause_of(host, name, now=now),
        "changes": changes_of(host, name),
        "standing": prospect.row,
        "is_late": prospect.is_late(now),
        "coming": prospect.coming(now),
        "history": history_of(host, name, prospect, now=now),
        "asked": [(each, state_of(each, now)) for each in asked[:SHOWN_REQUESTS]],
        "refusal": why_not(host, found),
        "token": new_token(now),
        "inputs": [(each, request.POST.getlist(f"set:{each.name}")) for each in found.parameters],
        "problem": problem,
    }

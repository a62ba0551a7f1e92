"""The pages of tasks: those of all hosts, and what one of them is."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from rota.diary.catalogues import catalogue_of, changes_of, pause_of, task_on, tasks_in_force
from rota.diary.models import Host

SHOWN_TASKS = 500


@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    """What every host does, and when; narrowed to one host by the address."""
    wanted = request.GET.get("host", "").replace("\0", "")
    found = list(tasks_in_force(wanted)[: SHOWN_TASKS + 1])
    return render(
        request,
        "diary/tasks.html",
        {
            "tasks": found[:SHOWN_TASKS],
            "more_tasks": len(found) > SHOWN_TASKS,
            "wanted": wanted,
            "hosts": Host.objects.order_by("name").values_list("name", flat=True),
        },
    )


@require_safe
def task(request: HttpRequest, host: str, name: str) -> HttpResponse:
    """One task of one host: what it is, and how that changed."""
    here = get_object_or_404(Host, name=host)
    found = task_on(here, name)
    if found is None:
        raise Http404(gettext("this host has told of no such task"))
    return render(
        request,
        "diary/task.html",
        {
            "host": here,
            "task": found,
            "name": name,
            "pause": pause_of(here, name, now=timezone.now()),
            "catalogue": catalogue_of(here),
            "changes": changes_of(here, name),
        },
    )

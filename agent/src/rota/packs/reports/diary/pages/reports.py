"""The pages of one report: its form with script and query, its log, its history; and what is found while writing."""

from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rota.core.errors import RotaError
from rota.diary.pages.difference import parse_identifier
from rota.diary.rights import person_of
from rota.packs.reports.diary import asking, comparing, editing
from rota.packs.reports.diary.editing import ChangedMeanwhile
from rota.packs.reports.diary.keeping import task_value
from rota.packs.reports.diary.models import Check, Client, Frequency, History, MonthEnd, Task
from rota.packs.reports.diary.pages import editor
from rota.packs.reports.diary.pages.forms import LONGEST_BODY, ReportForm, values_of
from rota.packs.reports.diary.rights import client_for, editors_only, report_for
from rota.packs.reports.frequency import next_due

NEWEST = 10


@require_http_methods(["GET", "HEAD", "POST"])
@editors_only
def new_report(request: HttpRequest, username: str) -> HttpResponse:
    """A report of this client that is not there yet; it begins tomorrow, monthly, inactive and private."""
    task = new_task(client_for(request, username))
    return save(request, task) if request.method == "POST" else show_saved(request, task)


def new_task(client: Client) -> Task:
    return Task(client=client, start_date=timezone.localdate() + timedelta(days=1))


@require_http_methods(["GET", "HEAD", "POST"])
@editors_only
def report(request: HttpRequest, username: str, file_name: str) -> HttpResponse:
    """One report, shown and saved."""
    task = report_for(request, username, file_name)
    return save(request, task) if request.method == "POST" else show_saved(request, task)


def show_saved(request: HttpRequest, task: Task) -> HttpResponse:
    """As it is saved, or for who goes on writing as it was `tried`, by the id of that dry run."""
    if "tried" not in request.GET:
        return show(request, task, values_of(task))
    asked = asking.asked_for(request, parse_identifier(request.GET["tried"]))
    if asked.client_id != task.client_id or asked.task_id != (None if task._state.adding else task.pk):
        raise Http404
    tried = asking.tried_values(asked)
    if tried is None:
        gone = gettext("What you tried is kept no longer; this is what is saved.")
        return show(request, task, values_of(task), problem=gone)
    return show(request, task, tried, token=asked.opened, is_tried=True)


def save(request: HttpRequest, task: Task) -> HttpResponse:
    """Whatever is wrong, what somebody wrote is in the form again."""
    form = ReportForm(request.POST)
    if not form.is_valid():
        return refused(request, task, form)
    said = form.cleaned_data
    try:
        editing.save_report(
            task,
            form.columns,
            script=said["script"],
            query=said["query"],
            by=person_of(request),
            token=None if task._state.adding else said["token"],
        )
    except ChangedMeanwhile as error:
        now = Task.objects.select_related("client", "script__query").get(pk=task.pk)
        return show(request, now, said, problem=str(error), theirs=values_of(now), status=409)
    except RotaError as error:
        kept = task if task._state.adding else Task.objects.select_related("client", "script__query").get(pk=task.pk)
        return show(request, kept, said, problem=str(error), token=said["token"])
    return redirect("reports:report", username=task.client.username, file_name=said["file_name"])


def refused(request: HttpRequest, task: Task, form: ReportForm) -> HttpResponse:
    """The form as it was sent, also that it was opened before somebody else's change."""
    written = request.POST.dict() | {"checks": request.POST.getlist("checks")}
    return show(request, task, written, form=form, token=request.POST.get("token", ""))


def show(request: HttpRequest, task: Task, values: dict[str, Any], *, status: int = 200, **more: Any) -> HttpResponse:
    """The page; a report that is not saved yet has neither log nor history."""
    is_new = task._state.adding
    said = {name: str(values.get(name) or "") for name in ("file_name", "script", "query")}
    shown = {
        "task": task,
        "client": task.client,
        "is_new": is_new,
        "values": values | {"start_date": str(values.get("start_date", ""))},
        "token": "" if is_new else editing.token_of_report(task),
        "remarks": editing.remarks_on_report(task, **said),
        "frequencies": Frequency.choices,
        "month_ends": MonthEnd.choices,
        "checks": Check.choices,
        "next": None if is_new else next_due(task_value(task), timezone.localdate()),
        "log": [] if is_new else task.log.order_by("-date", "-id")[:NEWEST],
        **editor.shown(),
        "own_runs": [] if is_new else asking.newest_of(person_of(request), task),
        "nobody_runs": asking.why_nobody_runs(),
        **more,
    }
    return render(request, "reports/report.html", shown, status=status)


@require_POST
@editors_only
def delete_report(request: HttpRequest, username: str, file_name: str) -> HttpResponse:
    """With its script and query, unless others import that."""
    task = report_for(request, username, file_name)
    try:
        editing.delete_report(task, by=person_of(request))
    except RotaError as error:
        return show(request, task, values_of(task), problem=str(error), status=409)
    return redirect("reports:client", username=username)


@require_safe
@editors_only
def report_history(request: HttpRequest, username: str, file_name: str) -> HttpResponse:
    """How it came to be what it is, newest first, with what each change was."""
    task = report_for(request, username, file_name)
    changes = comparing.changes_of(editing.history_of_report(task))
    shown = {"task": task, "client": task.client, "name": task.file_name, "changes": changes}
    return render(request, "reports/history.html", shown)


@require_POST
@editors_only
def restore_report(request: HttpRequest, username: str, file_name: str, number: int) -> HttpResponse:
    """Make the report, its script or its query what it was then; that is a change like any other."""
    task = report_for(request, username, file_name)
    known = {each.pk for each in editing.history_of_report(task)}
    entry = get_object_or_404(History, pk=number, pk__in=known)
    try:
        name = editing.restore_report(task, entry, by=person_of(request))
    except RotaError as error:
        return show(request, task, values_of(task), problem=str(error), status=409)
    return redirect("reports:report", username=username, file_name=name)


@require_POST
@editors_only
def lint(request: HttpRequest) -> JsonResponse:
    """What is found in a script while it is written: form fields `script`, and `name` of a library.

    Of a report `client`, the `file_name` and `query` that stand in the form, and `report`, its name as it is saved.
    The answer has it as `findings`, and as the `html` that the page shows.
    """
    said = {name: request.POST.get(name, "") for name in ("file_name", "script", "query")}
    if max(map(len, said.values())) > LONGEST_BODY:
        return JsonResponse({"error": gettext("This is too long.")}, status=413)
    if "client" in request.POST:
        client = client_for(request, request.POST["client"])
        saved = Task.objects.select_related("client", "script__query").filter(client=client)
        task = saved.filter(file_name=request.POST.get("report", "")).first() or new_task(client)
        found = editing.remarks_on_report(task, **said)
    else:
        found = editing.remarks_on_library(request.POST.get("name", "")[:255] or "script", said["script"])
    html = render_to_string("reports/remarks.html", {"remarks": found})
    return JsonResponse({"findings": [each.as_json() for each in found], "html": html})

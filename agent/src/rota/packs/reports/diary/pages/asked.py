"""The pages of runs that somebody asked for: asking, following, what came of it, beside what is published."""

from pathlib import Path
from typing import Any
from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from rota.core.errors import RotaError
from rota.diary.comparing import difference_of
from rota.diary.following import Seen as Place
from rota.diary.following import parse_seen
from rota.diary.pages.live import event, events
from rota.diary.rights import person_of
from rota.packs.reports.asking import State
from rota.packs.reports.diary import asking, outputs, places
from rota.packs.reports.diary.models import Asked, RunLog, Task
from rota.packs.reports.diary.pages.forms import ReportForm, values_of
from rota.packs.reports.diary.pages.reports import new_task, refused, show
from rota.packs.reports.diary.published import Published
from rota.packs.reports.diary.rights import client_for, editors_only, report_for


@require_POST
@editors_only
def run(request: HttpRequest, username: str, file_name: str) -> HttpResponse:
    """Have the report made now, as it is saved."""
    task = report_for(request, username, file_name)
    try:
        asked = asking.run_now(task, by=person_of(request))
    except RotaError as error:
        return show(request, task, values_of(task), problem=str(error), status=409)
    return redirect("reports:asked", asked.pk)


@require_POST
@editors_only
def try_report(request: HttpRequest, username: str, file_name: str) -> HttpResponse:
    """Have a dry run made of what stands in the form."""
    return try_out(request, report_for(request, username, file_name))


@require_POST
@editors_only
def try_new(request: HttpRequest, username: str) -> HttpResponse:
    """The same of a report that is not there yet."""
    return try_out(request, new_task(client_for(request, username)))


def try_out(request: HttpRequest, task: Task) -> HttpResponse:
    """Whatever is wrong, what somebody wrote is in the form again; it is saved by nobody."""
    form, opened = ReportForm(request.POST), request.POST.get("token", "")
    if not form.is_valid():
        return refused(request, task, form)
    said = form.cleaned_data
    try:
        asked = asking.try_out(
            task, form.columns, script=said["script"], query=said["query"], by=person_of(request), opened=opened
        )
    except RotaError as error:
        return show(request, task, said, problem=str(error), token=opened)
    return redirect("reports:asked", asked.pk)


@require_safe
@editors_only
def asked(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """How it stands, what it has written, and what came of it."""
    found = asking.seen(asking.asked_for(request, identifier))
    folder = folder_of(found.asked)
    attempt = found.standing.attempt
    shown: dict[str, Any] = {
        "seen": found,
        "asked": found.asked,
        "attempt": attempt,
        "message": list(outputs.rendered(attempt.message)) if attempt and not attempt.outcome.is_good else [],
        "log": RunLog.objects.filter(attempt=found.asked.pk).first() if found.standing.state is State.GONE else None,
        "host": why_waiting(found),
    }
    if found.asked.is_dry_run and found.word in ("running", "done", "refused"):
        # What follows begins where this ends; a last line that goes on is shown once it is whole.
        output = outputs.read_new(folder / "output", 0) if found.is_open else outputs.read_end(folder / "output")
        errors = outputs.read_end(folder / "errors")
        shown |= {"output": output, "errors": errors, "after": Place(output.end, errors.size)}
    return render(request, "reports/asked.html", shown)


def why_waiting(found: asking.Seen) -> str:
    """What is to be looked at where nobody takes it up."""
    if found.word != "late":
        return ""
    if reason := asking.why_nobody_runs():
        return reason
    if asking.is_embedded():
        return gettext("What the diary's own process said of it stands where it was started.")
    return gettext("Look on the host that makes reports: `systemctl status rota-task-reports_asked.path`.")


@require_safe
@editors_only
def live(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """What is new of it: `output`, `report` with what is on standard error, and `end` where it stands otherwise."""
    found = asking.seen(asking.asked_for(request, identifier))
    if found.word != request.GET.get("standing", ""):
        return events([event("end", "changed")])
    if not (found.asked.is_dry_run and found.word == "running"):
        return events([])
    seen = parse_seen(request.headers.get("Last-Event-ID") or request.GET.get("after", ""))
    folder = folder_of(found.asked)
    output, errors = outputs.read_new(folder / "output", seen.length), outputs.size_of(folder / "errors")
    now, said = Place(max(output.end, seen.length), errors), []
    if output.text:
        said.append(event("output", render_to_string("reports/lines.html", {"part": output}), now))
    if errors > seen.revision:
        part = outputs.read_end(folder / "errors")
        said.append(event("report", render_to_string("reports/errors.html", {"errors": part}), now))
    return events(said)


@require_safe
@editors_only
def output(request: HttpRequest, identifier: UUID) -> HttpResponseBase:
    """All that a dry run wrote, as a file: it runs nowhere."""
    found = asking.asked_for(request, identifier)
    try:
        content = outputs.opened(folder_of(found) / "output")
    except FileNotFoundError:
        raise Http404(gettext("its output is kept no longer")) from None
    return FileResponse(
        content,
        as_attachment=True,
        filename=f"{found.client.username}_{found.file_name}.txt",
        content_type="text/plain; charset=utf-8",
        headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"},
    )


@require_safe
@editors_only
def difference(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """The beginning of what a dry run wrote, beside that of what clients get now."""
    found = asking.seen(asking.asked_for(request, identifier))
    path = folder_of(found.asked) / "output"
    if not found.asked.is_dry_run or found.is_open or not path.is_file():
        raise Http404(gettext("its output is kept no longer"))
    task = found.asked.task
    published = Published(task.client).current(task) if task and task.file_name == found.asked.file_name else None
    tried, before = outputs.read_head(path), outputs.read_head(published.path) if published else None
    shown = {
        "asked": found.asked,
        "tried": tried,
        "before": before,
        "published": published,
        "difference": difference_of(tried.text, before.text, is_exact=True) if before else None,
        "head": outputs.HEAD,
    }
    return render(request, "reports/beside.html", shown)


@require_POST
@editors_only
def withdraw(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """Take back what the host has not taken up; what it has goes on, and its page says so."""
    found = asking.asked_for(request, identifier)
    asking.withdraw(found, by=person_of(request))
    return redirect("reports:asked", found.pk)


def folder_of(asked: Asked) -> Path:
    return places.workplace().results / str(asked.pk)

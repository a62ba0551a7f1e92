"""Asking a host for something: the forms of a task's and a run's page, and the page of what was asked for."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from rota.core.errors import RotaError
from rota.diary.asking import NotAskable, ask, attend_to, new_token, pairs_in, pairs_of, state_of, why_not
from rota.diary.catalogues import TaskOnHost, task_on
from rota.diary.models import Action, Host, HostRequest, Person, RequestState, Run
from rota.diary.pages.tasks import task_page
from rota.diary.rights import operators_only, person_of


@require_POST
@operators_only
def ask_task(request: HttpRequest, host: str, name: str) -> HttpResponse:
    """Ask a host to run, pause or resume a task."""
    person, here = person_of(request), get_object_or_404(Host, name=host)
    task = found_task(here, name)
    try:
        asked = ask(person, here, task, read_wish(request, task), now=timezone.now())
    except RotaError as error:
        return render(request, "diary/task.html", task_page(request, here, name, problem=str(error)), status=400)
    return redirect("asked", asked.pk)


@require_POST
@operators_only
def ask_again(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """Ask a run's host to do the same once more, with the same parameters, or to show what it would do."""
    person = person_of(request)
    run = get_object_or_404(Run.objects.select_related("host"), pk=identifier)
    task = found_task(run.host, run.task)
    wish = {
        "token": request.POST.get("token", ""),
        "action": Action.RUN,
        "values": pairs_of(run.parameters),
        "is_dry_run": request.POST.get("dry_run") == "yes",
    }
    try:
        asked = ask(person, run.host, task, wish, now=timezone.now())
    except RotaError as error:
        page = task_page(request, run.host, run.task, problem=str(error))
        return render(request, "diary/task.html", page, status=400)
    return redirect("asked", asked.pk)


@require_safe
def asked(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """What was asked for, and what came of it."""
    found = get_object_or_404(HostRequest.objects.select_related("host", "person"), pk=identifier)
    now = timezone.now()
    attend_to(request.user, found.host, now)
    state, run = state_of(found, now), run_of(found)
    is_waited_for = found.action == Action.RUN and state == RequestState.DONE and (run is None or run.ended is None)
    return render(
        request,
        "diary/asked.html",
        {
            "asked": found,
            "state": state,
            "is_open": state in (RequestState.WAITING, RequestState.FETCHED) or is_waited_for,
            "standing": standing(found, now),
            "run": run,
        },
    )


def run_of(asked: HostRequest) -> Run | None:
    """The run that came of it, once its host has told of it."""
    if asked.action != Action.RUN:
        return None
    return Run.objects.filter(pk=asked.pk, host=asked.host_id).only("id", "status", "ended").first()


def standing(asked: HostRequest, now: datetime) -> str:
    """How it stands, in a word that is another when anything of it has changed."""
    run = run_of(asked)
    return f"{state_of(asked, now)}-{run.status if run else ''}"


def again(request: HttpRequest, run: Run, now: datetime) -> dict[str, Any] | None:
    """What a run's page needs to ask for the same once more; None for whoever may not, or of a task unheard of."""
    attend_to(request.user, run.host, now)
    task = task_on(run.host, run.task) if isinstance(request.user, Person) and request.user.may_operate else None
    return {"task": task, "refusal": why_not(run.host, task), "token": new_token(now)} if task else None


def found_task(host: Host, name: str) -> TaskOnHost:
    task = task_on(host, name)
    if task is None:
        raise Http404
    return task


def read_wish(request: HttpRequest, task: TaskOnHost) -> dict[str, Any]:
    """What the form says. Raises NotAskable."""
    form = request.POST
    if form.get("action") not in Action.values:
        raise NotAskable(f"{form.get('action', '')!r}")
    wish: dict[str, Any] = {"token": form.get("token", ""), "action": form["action"], "why": form.get("why", "")}
    if form["action"] == Action.RUN:
        cleaned = {key: [word.replace("\0", "") for word in form.getlist(key)] for key in form}
        wish |= {"values": pairs_in(cleaned, task.parameters), "is_dry_run": form.get("dry_run") == "yes"}
    if form["action"] == Action.PAUSE:
        wish["until"] = read_until(form.get("until", ""))
    return wish


def read_until(text: str) -> datetime | None:
    """A moment of the diary's time zone, as a browser's own field writes it. Raises NotAskable."""
    if not text.strip():
        return None
    try:
        moment = parse_datetime(text.strip())
    except ValueError:
        moment = None
    if moment is None:
        raise NotAskable(gettext("“%(text)s” is no time like 2026-12-01 08:00") % {"text": text})
    return moment if moment.tzinfo else timezone.make_aware(moment)

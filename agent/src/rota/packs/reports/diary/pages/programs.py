"""Runs that programs ask for, at the addresses and with the answers of the system that this pack replaces."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from rota.core.errors import RotaError
from rota.packs.reports import asking as hosts
from rota.packs.reports.asking import Standing, State
from rota.packs.reports.diary import asking, places
from rota.packs.reports.diary.models import Asked, Task
from rota.packs.reports.diary.options import is_busy_now, options
from rota.packs.reports.diary.tokens import may_run, token_of

CHALLENGE = 'Bearer realm="reports"'
BUSY = "Taskrunner does not accept client calls during scheduled hours"
LOOK_EVERY = 0.2
RETRY_AFTER = 10
OVER = (State.DONE, State.REFUSED, State.GONE)


class TooManyWait(Exception):
    """So many programs wait for their results already that pages would be slow."""


@csrf_exempt
@login_not_required
def run_task(request: HttpRequest, identifier: str) -> HttpResponse:
    """POST /runtask/ID: make the report and publish it; answers when that is over."""
    return answer(request, identifier, is_dry_run=False)


@csrf_exempt
@login_not_required
def dry_run_task(request: HttpRequest, identifier: str) -> HttpResponse:
    """POST /dryruntask/ID: make the report and publish nothing."""
    return answer(request, identifier, is_dry_run=True)


def answer(request: HttpRequest, identifier: str, *, is_dry_run: bool) -> HttpResponse:
    """In the original's order: whether it is the time for it comes before the report."""
    said = options()
    allowed = ("GET", "POST") if said.get_runs else ("POST",)
    if request.method not in allowed:
        return told({"message": f"use {' or '.join(allowed)}"}, 405, Allow=", ".join(allowed))
    token = token_of(request)
    if token is None:
        return told({"message": "this address wants a token"}, 401, **{"WWW-Authenticate": CHALLENGE})
    if is_busy_now(said):
        return told({"message": BUSY}, 503)
    if not is_uuid(identifier):
        moment = timezone.now().isoformat()
        return told({"timestamp": moment, "status": 400, "error": "Bad Request", "path": request.path}, 400)
    tasks = Task.objects.select_related("client", "script__query")
    task = tasks.filter(pk__in={identifier, identifier.lower()}).first()
    if task is None or not may_run(token, task):
        return HttpResponse(status=404, content_type="application/json")
    try:
        with a_turn(said.waiting):
            asked = asking.run_for(token, task, is_dry_run=is_dry_run)
            return result_of(asked, wait_for(asked, said.wait_seconds))
    except TooManyWait as error:
        return told({"message": str(error.__doc__)}, 503, **{"Retry-After": str(RETRY_AFTER)})
    except hosts.NotTaken as error:
        return told({"message": str(error)}, 503, **{"Retry-After": str(RETRY_AFTER)})
    except RotaError as error:
        return told(outcome(task.pk, str(error), is_success=False), 500)


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


@contextmanager
def a_turn(number: int) -> Iterator[None]:
    """One of so many that may wait in this process, whose threads pages need. Raises TooManyWait."""
    turns = turns_of(number)
    if not turns.acquire(blocking=False):
        raise TooManyWait
    try:
        yield
    finally:
        turns.release()


@cache
def turns_of(number: int) -> BoundedSemaphore:
    return BoundedSemaphore(number)


def wait_for(asked: Asked, seconds: float) -> Standing:
    """How it stands when it is over, or after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        standing = hosts.standing(places.workplace(), str(asked.pk))
        if standing.state in OVER or time.monotonic() >= end:
            return standing
        time.sleep(LOOK_EVERY)  # between two looks at a file of the host's


def result_of(asked: Asked, standing: Standing) -> HttpResponse:
    task = asked.task_id or ""
    if standing.attempt:
        is_good, ended = standing.attempt.outcome.is_good, standing.attempt.ended
        local = timezone.make_naive(ended, timezone.get_default_timezone()).isoformat()
        return told(outcome(task, standing.attempt.message, is_success=is_good, moment=local), 200 if is_good else 500)
    match standing.state:
        case State.WAITING:
            return told(outcome(task, "the host has not taken it up yet; it still waits", is_success=False), 504)
        case State.RUNNING:
            return told(outcome(task, "it is not over yet, and goes on", is_success=False), 504)
    message = standing.refusal or "nothing of it is there any more"
    return told(outcome(task, message, is_success=False), 409 if standing.is_running else 500)


def outcome(task: str, message: str, *, is_success: bool, moment: str = "") -> dict[str, Any]:
    """As the original said it, in its order; the moment is one of the diary's own zone, and says none."""
    now = timezone.make_naive(timezone.now(), timezone.get_default_timezone()).isoformat()
    return {"idTask": task, "message": message, "dateTime": moment or now, "output": None, "success": is_success}


def told(said: dict[str, Any], status: int, **headers: str) -> JsonResponse:
    headers["Cache-Control"] = "no-store"
    return JsonResponse(said, status=status, headers=headers, json_dumps_params={"separators": (",", ":")})

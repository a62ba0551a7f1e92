"""The download side: the files of a client, for whoever has its key or its password, or for everybody."""

from collections.abc import Callable
from datetime import date, datetime
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db.models import Max, Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rota.packs.reports.diary import places, visiting
from rota.packs.reports.diary.keeping import task_value
from rota.packs.reports.diary.models import Client, Task
from rota.packs.reports.diary.published import Published
from rota.packs.reports.diary.sending import send
from rota.packs.reports.diary.visiting import RETRY_AFTER, TooMany, is_client, is_editor, may_read
from rota.packs.reports.frequency import next_due
from rota.packs.reports.names import BadName
from rota.packs.reports.publishing import Export, Version

View = Callable[..., HttpResponseBase]
CHALLENGE = 'Bearer realm="reports"'


def for_clients(view: View) -> View:
    """Whoever may look is decided by the view itself; programs are told in plain words."""

    @login_not_required
    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except TooMany:
            response = plain("TOO MANY REQUESTS", 429)
            response.headers["Retry-After"] = str(RETRY_AFTER)
        # A key may stand in the address, which no other site is to learn. With no-referrer browsers would also keep to
        # themselves where a form comes from, and it would be refused.
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    return guarded


@require_safe
@for_clients
def file(request: HttpRequest, username: str, file_name: str) -> HttpResponseBase:
    """What was published last."""
    return found_file(request, username, file_name, Published.current)


@require_safe
@for_clients
def version(request: HttpRequest, username: str, file_name: str, name: str) -> HttpResponseBase:
    """What was published before."""
    return found_file(request, username, file_name, lambda published, task: version_called(published, task, name))


def version_called(published: Published, task: Task, name: str) -> Version | None:
    return next((each for each in published.versions(task) if each.path.name == name), None)


def found_file(
    request: HttpRequest, username: str, file_name: str, find: Callable[[Published, Task], Version | None]
) -> HttpResponseBase:
    """The file, or the original's answer in its words."""
    client = Client.objects.filter(username=username).first()
    if client is None:
        return plain("CLIENT NOT FOUND", 404)
    task = client.tasks.filter(file_name=file_name).first()
    wanted = find(Published(client), task) if task else left_by_another(client, file_name)
    if wanted is None:
        return plain("FILE NOT FOUND", 404)
    if task is None or not may_read(request, client, task):
        response = plain("UNAUTHORIZED", 401)
        response.headers["WWW-Authenticate"] = CHALLENGE
        return response
    is_current = wanted.path.name == file_name
    # Of a version nothing but its name is written down; the name is its moment, to the nanosecond.
    tag = Export(places.exports()).checksum(str(task)) if is_current else f"{file_name}-{wanted.path.name}"
    try:
        return send(request, wanted.path, name=file_name, sha256=tag)
    except FileNotFoundError:
        return plain("FILE NOT FOUND", 404)


def left_by_another(client: Client, file_name: str) -> Version | None:
    """What lies there of a report that is deleted."""
    try:
        return Export(places.exports()).current(f"{client.username}/{file_name}")
    except BadName:
        return None


def plain(words: str, status: int) -> HttpResponse:
    return HttpResponse(words, status=status, content_type="text/plain; charset=utf-8")


@require_http_methods(["GET", "HEAD", "POST"])
@for_clients
@sensitive_post_parameters("password")
def files(request: HttpRequest, username: str) -> HttpResponseBase:
    """The client's page; whoever may not see it can log in here, and is not told whether there is such a client."""
    client = Client.objects.filter(username=username).first()
    if request.method == "POST":
        if visiting.log_in(request, username, request.POST.get("password", "")):
            return redirect("reports:files", username=username)
        problem = gettext("This user name and password do not belong together.")
        return render(request, "reports/files_login.html", {"username": username, "problem": problem})
    if client is None or not (is_client(request, client) or is_editor(request, client)):
        return render(request, "reports/files_login.html", {"username": username})
    shown = {"client": client, "files": files_of(client), "is_client": is_client(request, client)}
    return render(request, "reports/files.html", shown)


@require_POST
@for_clients
def leave(request: HttpRequest, username: str) -> HttpResponseBase:
    """Log the client out; a person who is logged in in the same browser stays so."""
    visiting.log_out(request)
    return redirect("reports:files", username=username)


def files_of(client: Client) -> list[dict[str, Any]]:
    """What is made for the client now and was made at least once; failures are not its concern."""
    good = Max("log__date", filter=Q(log__is_success=True))
    tasks = client.tasks.filter(is_active=True).annotate(made=good).order_by("file_name")
    published, today = Published(client), timezone.localdate()
    return [each for task in tasks if (each := described(published, task, today))["updated"]]


def described(published: Published, task: Task, today: date) -> dict[str, Any]:
    current = published.current(task)
    # The file tells, also where its run has not reached the diary yet.
    made: datetime | None = current.at if current else getattr(task, "made")  # noqa: B009  the query adds it
    return {
        "task": task,
        "updated": made,
        "next": next_due(task_value(task), today),
        "size": current.size if current else None,
        "sha256": Export(places.exports()).checksum(str(task)) if current else "",
        "versions": [{"name": each.path.name, "at": each.at, "size": each.size} for each in published.versions(task)],
    }

"""The pages of clients: which there are, and one of them with its reports."""

from collections.abc import Callable

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rota.core.errors import RotaError
from rota.diary.models import Person
from rota.diary.rights import freshly_proven, person_of
from rota.packs.reports.diary import editing
from rota.packs.reports.diary.keeping import task_value
from rota.packs.reports.diary.models import Client, RunLog, Task
from rota.packs.reports.diary.pages.forms import ClientForm
from rota.packs.reports.diary.rights import administrators_only, client_for, clients_of, editors_only
from rota.packs.reports.frequency import next_due


@require_safe
@editors_only
def clients(request: HttpRequest) -> HttpResponse:
    """Whose reports the reader may edit, with how they stand."""
    person = person_of(request)
    counts = counts_by_client()
    rows = [(client, counts.get(client.pk, {})) for client in clients_of(person).order_by("name", "username")]
    return render(request, "reports/clients.html", {"clients": rows})


def counts_by_client() -> dict[str, dict[str, int]]:
    """By client: its reports, those of them that went well or failed the last time, and empty scripts."""
    empty = Q(script=None) | Q(script__body="")
    counted = with_newest(Task.objects.all()).values("client").annotate(
        tasks=Count("pk"),
        good=Count("pk", filter=Q(newest_success=True)),
        failed=Count("pk", filter=Q(newest_success=False)),
        empty=Count("pk", filter=empty),
    )  # fmt: skip
    return {each["client"]: each for each in counted.order_by("client")}


def with_newest(tasks: "QuerySet[Task]") -> "QuerySet[Task]":
    """Each with whether its newest log is a success, and when that was."""
    newest = RunLog.objects.filter(task=OuterRef("pk")).order_by("-date", "-id")
    return tasks.annotate(
        newest_success=Subquery(newest.values("is_success")[:1]), newest_date=Subquery(newest.values("date")[:1])
    )


@require_safe
@editors_only
def client(request: HttpRequest, username: str) -> HttpResponse:
    """One client with its reports."""
    return show_client(request, client_for(request, username))


def show_client(request: HttpRequest, client: Client, *, problem: str = "", **secrets: str) -> HttpResponse:
    today = timezone.localdate()
    tasks = list(with_newest(client.tasks.select_related("client", "script")).order_by("file_name"))
    shown = {
        "client": client,
        "reports": [(task, next_due(task_value(task), today)) for task in tasks],
        "problem": problem,
        "people": Person.objects.filter(is_active=True).order_by("name", "email"),
        "editors": set(client.editors.values_list("pk", flat=True)),
        **secrets,
    }
    response = render(request, "reports/client.html", shown, status=409 if problem else 200)
    if secrets:
        response.headers["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def new_client(request: HttpRequest) -> HttpResponse:
    """Make a client."""
    form, problem = ClientForm(request.POST or None), ""
    if form.is_valid():
        try:
            made = editing.make_client(form.cleaned_data["username"], form.cleaned_data["name"], by=person_of(request))
            return redirect("reports:client", username=made.username)
        except RotaError as error:
            problem = str(error)
    return render(request, "reports/new_client.html", {"form": form, "problem": problem})


@require_POST
@administrators_only
def change_client(request: HttpRequest, username: str) -> HttpResponse:
    """Its names and notes."""
    client = client_for(request, username)
    form = ClientForm(request.POST)
    if not form.is_valid():
        return show_client(request, client, problem=" ".join(map(str, form.errors.get("name", []))) or "?")
    try:
        editing.change_client(client, form.cleaned_data, by=person_of(request))
    except RotaError as error:
        client.refresh_from_db()
        return show_client(request, client, problem=str(error))
    return redirect("reports:client", username=client.username)


@require_POST
@administrators_only
def delete_client(request: HttpRequest, username: str) -> HttpResponse:
    """Only while it has no reports."""
    client = client_for(request, username)
    try:
        editing.delete_client(client, by=person_of(request))
    except RotaError as error:
        return show_client(request, client, problem=str(error))
    return redirect("reports:clients")


@require_POST
@administrators_only
@freshly_proven
def client_key(request: HttpRequest, username: str) -> HttpResponse:
    """Make the key anew, which is shown once; or remove it."""
    return change_secret(request, username, "key", editing.new_key, editing.remove_key)


@require_POST
@administrators_only
@freshly_proven
def client_password(request: HttpRequest, username: str) -> HttpResponse:
    """Make the password anew, which is shown once; or remove it."""
    return change_secret(request, username, "password", editing.new_password, editing.remove_password)


def change_secret(
    request: HttpRequest, username: str, name: str, make: Callable[..., str], remove: Callable[..., None]
) -> HttpResponse:
    client, person = client_for(request, username), person_of(request)
    if "remove" in request.POST:
        remove(client, by=person)
        return redirect("reports:client", username=username)
    return show_client(request, client, **{name: make(client, by=person)})


@require_POST
@administrators_only
@freshly_proven
def client_editors(request: HttpRequest, username: str) -> HttpResponse:
    """Who may edit its reports."""
    client = client_for(request, username)
    numbers = [each for each in request.POST.getlist("person") if each.isdecimal() and len(each) < 19]
    chosen = Person.objects.filter(pk__in=numbers, is_active=True)
    # Who has left may come back, and is not on the form.
    away = client.editors.filter(is_active=False)
    editing.set_editors(client, [*chosen, *away], by=person_of(request))
    return redirect("reports:client", username=username)

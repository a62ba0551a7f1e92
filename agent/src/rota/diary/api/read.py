"""The addresses of the read API, below /api/v1/."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from ninja import NinjaAPI, Query
from ninja.errors import AuthenticationError, ValidationError

from rota.diary.api.access import CHALLENGE, ByTokenOrSession
from rota.diary.api.schemas import (
    Asked,
    Caught,
    CaughtAsked,
    CaughtWhole,
    Deploys,
    HostRow,
    OfHost,
    Problem,
    Runs,
    RunsAsked,
    RunWhole,
    TaskRow,
    TasksAsked,
    TaskWhole,
    Text,
)
from rota.diary.catalogues import pause_of, task_on, tasks_in_force
from rota.diary.filters import BadFilter, OutboxFilter, RunFilter, host_number
from rota.diary.lateness import Outlook, outlooks
from rota.diary.listing import Listing, part_of, place_of
from rota.diary.models import Deploy, Host, Outbound, Output, Run, TaskDefinition
from rota.diary.outbox import Letters
from rota.diary.paging import Row, beyond, key_of, parse_key
from rota.diary.prospect import prospect_of
from rota.diary.searching.finding import is_key
from rota.diary.searching.query import BadQuery
from rota.diary.views import hosts_with_contact

api = NinjaAPI(
    title="Rota's diary",
    version="1",
    description=(
        "Every run of every host, to be read by programs. Each request bears a token that its person made on the "
        "page *Tokens*: `Authorization: Bearer rota_…`."
    ),
    docs_url=None,  # its page would want scripts of other sites
    openapi_url="openapi.json",
    urls_namespace="api",
    auth=ByTokenOrSession(),
)

Answers = dict[int, Any]


def answers(schema: Any, *more: int) -> Answers:
    """What an address answers: this, or why not."""
    return {200: schema, **dict.fromkeys((401, 422, *more), Problem)}


@api.get("runs", response=answers(Runs), summary="Runs of all hosts, newest first")
def list_runs(request: HttpRequest, asked: Query[RunsAsked]) -> Mapping[str, Any]:
    refuse_unknown(request, asked)
    listing = Listing.of(RunFilter(**filters(asked)))
    refuse_no_keys(asked, listing.is_place)
    shown, has_newer, has_older = part_of(
        listing,
        Run.objects.select_related("host"),
        asked.after or asked.before,
        backwards=bool(asked.after),
        most=asked.limit,
    )
    further = place_of(shown[-1]) if has_older and shown else None
    return {
        "runs": [with_page(row) for row in shown],
        "older": str(listing.stopped) if listing.stopped and not asked.after else further,
        "newer": place_of(shown[0]) if has_newer and shown else None,
        "unread": listing.unread,
    }


@api.get("runs/{uuid:identifier}", response=answers(RunWhole, 404), summary="One run, whole but for its output")
def one_run(request: HttpRequest, identifier: UUID) -> Run:
    found = with_page(get_object_or_404(Run.objects.select_related("host"), pk=identifier))
    reviews = found.reviews.select_related("person").order_by("-at", "-id")
    return Whole(found, list(reviews))  # type: ignore[return-value]  # the schema reads its attributes


@api.get(
    "runs/{uuid:identifier}/output",
    url_name="output",
    response={401: Problem, 404: Problem, 422: Problem},
    summary="What a run wrote, as far as it was kept",
    openapi_extra={"responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}},
)
def output(request: HttpRequest, identifier: UUID) -> HttpResponse:
    found = get_object_or_404(Output, pk=identifier)
    return HttpResponse(found.text, content_type="text/plain; charset=utf-8")


@api.get("hosts", response=answers(list[HostRow]), summary="All hosts")
def list_hosts(request: HttpRequest) -> list[Mapping[str, Any]]:
    return [
        {
            "name": contact.host.name,
            "environment": contact.host.environment,
            "last_contact": contact.host.last_contact,
            "is_silent": contact.is_silent,
            "release": contact.release,
        }
        for contact in hosts_with_contact(timezone.now())
    ]


@api.get("deploys", response=answers(Deploys), summary="Deploys of all hosts, newest first")
def list_deploys(request: HttpRequest, asked: Query[OfHost]) -> Mapping[str, Any]:
    deploys = Deploy.objects.select_related("host")
    rows, keys = page(request, deploys.filter(host_id=host_number(asked.host)) if asked.host else deploys, asked)
    return {"deploys": rows, **keys}


@api.get("tasks", response=answers(list[TaskRow]), summary="What every host does, and when")
def list_tasks(request: HttpRequest, asked: Query[TasksAsked]) -> list[Mapping[str, Any]]:
    refuse_unknown(request, asked)
    rows = list(tasks_in_force(asked.host))
    coming = outlooks({row.host_id for row in rows}, now=timezone.now())
    return [task_row(row, coming.get((row.host_id, row.task)), is_paused=row.is_paused) for row in rows]  # type: ignore[attr-defined]  # an annotation has it


@api.get("hosts/{host}/tasks/{task}", response=answers(TaskWhole, 404), summary="One task of one host, whole")
def one_task(request: HttpRequest, host: Text, task: Text) -> Mapping[str, Any]:
    here, now = get_object_or_404(Host, name=host), timezone.now()
    found = task_on(here, task)
    if found is None or found.is_gone:
        raise Http404
    pause, prospect = pause_of(here, task, now=now), prospect_of(here, task)
    outlook = Outlook(prospect.row.due, prospect.is_late(now), prospect.row.missing)
    return {
        **task_row(found.row, outlook, is_paused=pause is not None),
        **{name: found.said[name] for name in ("is_asked", "has_dry_run", "fields", "parameters")},
        "since": found.row.since,
        "release": found.row.release,
        "paused_until": pause.until if pause else None,
        "coming": prospect.coming(now),
        "median": prospect.row.median,
        "p95": prospect.row.p95,
    }


def task_row(row: TaskDefinition, outlook: Outlook | None, *, is_paused: bool) -> Mapping[str, Any]:
    return {
        "task": row.task,
        "host": row.host.name,
        "environment": row.host.environment,
        **{name: row.definition[name] for name in ("pack", "description", "words")},
        "is_paused": is_paused,
        "due": outlook.due if outlook else None,
        "is_late": outlook is not None and outlook.is_late,
        "missed": outlook.missing if outlook else None,
        "page": reverse("task", args=[row.host.name, row.task]),
    }


@api.get("outbox", response=answers(Caught), summary="What would have been sent and was caught, newest first")
def list_caught(request: HttpRequest, asked: Query[CaughtAsked]) -> Mapping[str, Any]:
    letters, rows = Letters(OutboxFilter(**filters(asked))), Outbound.objects.select_related("host")
    if not asked.text:
        shown, keys = page(request, letters.wanted.narrow(rows), asked, by="at")
        return {"caught": shown, **keys, "unread": None}
    refuse_unknown(request, asked)
    refuse_no_keys(asked, is_key)
    place, backwards = asked.after or asked.before, bool(asked.after)
    found, has_newer, has_older = letters.part(rows, place, backwards=backwards, most=asked.limit)
    further = str(found[-1][0]) if has_older and found else None
    return {
        "caught": [row for _, row in found],
        "older": str(letters.stopped) if letters.stopped and not backwards else further,
        "newer": str(found[0][0]) if has_newer and found else None,
        "unread": letters.unread,
    }


@api.get("outbox/{uuid:identifier}", response=answers(CaughtWhole, 404), summary="One thing that was caught")
def one_caught(request: HttpRequest, identifier: UUID) -> Outbound:
    return get_object_or_404(Outbound.objects.select_related("host"), pk=identifier)


class Whole:
    """A run with what lies in other tables."""

    def __init__(self, run: Run, reviews: list[Any]) -> None:
        self.run = run
        self.items = run.items.order_by("position")
        self.output = reverse("api:output", args=[run.pk])
        self.reviews = [
            {
                "at": each.at,
                "person": str(each.person),
                "state": each.state,
                "assessment": each.assessment,
                "summary": each.summary,
                "tags": each.tags.split(),
            }
            for each in reviews
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


def with_page(run: Run) -> Run:
    run.page = reverse("run", args=[run.pk])  # type: ignore[attr-defined]  # the schema reads it
    return run


def filters(asked: Asked) -> dict[str, str]:
    """What is asked for, as the filters of pages have it."""
    said = asked.dict(exclude={"limit", "before", "after"})
    return {name: str(value) if value else "" for name, value in said.items()}


def page(
    request: HttpRequest, rows: "QuerySet[Row]", asked: Asked, *, by: str = "started"
) -> tuple[list[Row], Mapping[str, str | None]]:
    """The rows that are asked for, in order of this moment, and the keys beyond them."""
    refuse_unknown(request, asked)
    refuse_no_keys(asked, lambda text: parse_key(text) is not None)
    before, after = parse_key(asked.before), parse_key(asked.after)
    shown, has_newer, has_older = beyond(rows, before=before, after=after, most=asked.limit, by=by)
    return shown, {
        "older": str(key_of(shown[-1], by)) if has_older and shown else None,
        "newer": str(key_of(shown[0], by)) if has_newer and shown else None,
    }


def refuse_unknown(request: HttpRequest, asked: Asked | TasksAsked) -> None:
    """Raise ValidationError for a parameter that is not known: a filter that is misspelt would find everything."""
    known = type(asked).model_fields
    for name in request.GET:
        if name not in known:
            raise ValidationError([{"loc": ("query", name), "msg": f"is not known; there are: {', '.join(known)}"}])


def refuse_no_keys(asked: Asked, is_key: Callable[[str], bool]) -> None:
    """Raise ValidationError for a key that is none of this list."""
    for name, text in (("before", asked.before), ("after", asked.after)):
        if text and not is_key(text):
            raise ValidationError([{"loc": ("query", name), "msg": f"{text!r} is no key of this list"}])


@api.exception_handler(ValidationError)
def refuse(request: HttpRequest, error: Any) -> HttpResponse:
    said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors)
    return api.create_response(request, {"error": said}, status=422)


@api.exception_handler(BadQuery)
def refuse_query(request: HttpRequest, error: Any) -> HttpResponse:
    return api.create_response(request, {"error": f"text: {error}"}, status=422)


@api.exception_handler(BadFilter)
def refuse_filter(request: HttpRequest, error: Any) -> HttpResponse:
    return api.create_response(request, {"error": f"since, until: {error}"}, status=422)


@api.exception_handler(AuthenticationError)
def ask_for_a_token(request: HttpRequest, error: Any) -> HttpResponse:
    response = api.create_response(request, {"error": "this address wants one of your tokens"}, status=401)
    response["WWW-Authenticate"] = CHALLENGE
    return response


@api.exception_handler(Http404)
def nothing_there(request: HttpRequest, error: Any) -> HttpResponse:
    return api.create_response(request, {"error": "there is nothing of this id"}, status=404)

"""What hosts ask of the reports and tell of them, each with its token."""

import json
from dataclasses import replace
from hashlib import sha256

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from rota.diary.ingest import VERSION, Refused, a_turn, authenticate, read_body, refusal
from rota.diary.models import Host, TaskDefinition
from rota.packs.reports.definitions import Definitions, to_json
from rota.packs.reports.diary.attempts import keep_attempts
from rota.packs.reports.diary.keeping import definitions_of_database

PACK = "reports"
MOST_ATTEMPTS = 1_000


@csrf_exempt
@login_not_required
@require_GET
def definitions(request: HttpRequest) -> HttpResponse:
    """GET /api/v1/reports/definitions: all that is defined, for a host that makes reports; 304 where it has it.

    `version` is the ETag by which it asks again.
    """
    try:
        refuse_others(authenticate(request))
    except Refused as refused:
        return refusal(refused)
    told = to_json(without_secrets(definitions_of_database()))
    version = sha256(json.dumps(told).encode()).hexdigest()
    tag = f'"{version}"'
    headers = {"ETag": tag, "Cache-Control": "no-store"}
    if tag in (each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")):
        return HttpResponse(status=304, headers=headers)
    return JsonResponse({"version": tag, "definitions": told}, headers=headers)


@csrf_exempt
@login_not_required
@require_POST
def attempts(request: HttpRequest) -> HttpResponse:
    """POST /api/v1/reports/attempts: keep `{"version": 1, "attempts": […]}`, and tell each one's fate in that order."""
    try:
        host = authenticate(request)
        refuse_others(host)
        told = read_attempts(request)
        with a_turn():
            results = keep_attempts(host, told)
    except Refused as refused:
        return refusal(refused)
    except OperationalError:
        return refusal(Refused(429, "the database is busy", retry_after=5))
    return JsonResponse({"results": results})


def refuse_others(host: Host) -> None:
    """Let in hosts of the diary's own environment that have a task of this pack. Raises Refused."""
    here = settings.CONFIGURATION.environment
    if host.environment != here:
        raise Refused(
            403, f"{host.name} belongs to {host.environment or 'no environment'}; reports are those of {here}"
        )
    in_force = TaskDefinition.objects.filter(host=host, until=None)
    if not any(each.get("pack") == PACK for each in in_force.values_list("definition", flat=True)):
        raise Refused(
            403, f"{host.name} has no task of the pack {PACK}; `rota sync` there tells the diary of its tasks"
        )


def without_secrets(defined: Definitions) -> Definitions:
    """Who makes reports need not know with what clients fetch them."""
    return replace(defined, clients=tuple(replace(each, password="", access_key="") for each in defined.clients))


def read_attempts(request: HttpRequest) -> list[object]:
    """Raises Refused."""
    try:
        said = json.loads(read_body(request))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(said, dict) or said.get("version") != VERSION or not isinstance(said.get("attempts"), list):
        raise Refused(400, 'the body is not {"version": 1, "attempts": [...]}')
    told: list[object] = said["attempts"]
    if len(told) > MOST_ATTEMPTS:
        raise Refused(413, f"there are {len(told)} attempts; {MOST_ATTEMPTS} are allowed")
    return told

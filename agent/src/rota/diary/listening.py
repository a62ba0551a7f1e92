"""The address at which hosts hear what is asked of them: they ask, and nobody opens a connection to one."""

import json
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from rota.core.identifier import parse_identifier
from rota.core.review import MOST_ASKED
from rota.diary import asking, following, reviewing
from rota.diary.ingest import VERSION, Refused, authenticate, read_body, refusal

MOST_CONFIRMED = 1_000


@csrf_exempt
@login_not_required
@require_http_methods(["GET", "POST"])
def listen(request: HttpRequest) -> JsonResponse:
    """GET or POST /api/v1/listen: whether a host is to ask `again`, after how many seconds, and 0 where nobody cares.

    A POST also confirms which requests the host `got`, and is handed those that wait; it tells what is new of runs
    that somebody follows, and is told which those are; and it is told what people say of the `failures` it asks about.
    """
    now = timezone.now()
    try:
        host = authenticate(request)
        said = read_question(request) if request.method == "POST" else {}
    except Refused as refused:
        return refusal(refused)
    answer: dict[str, object] = {"version": VERSION}
    followed: list[dict[str, object]] = []
    if said:
        asking.note_fetched(host, read_identifiers(said.get("got")), now)
        following.note_news(host, said.get("live"))
        followed = following.followed(host, now)
        answer["follow"] = followed
        if failures := read_identifiers(said.get("failures"))[:MOST_ASKED]:
            answer["reviews"] = reviewing.told_of(host, failures)
        answer["requests"] = asking.hand_out(host, now) if said.get("is_asking") is True else []
    is_followed = bool(followed) if said else following.is_followed(host, now)
    answer["again"] = following.AGAIN if is_followed else asking.AGAIN if asking.is_wanted(host, now) else 0
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def read_question(request: HttpRequest) -> dict[str, object]:
    """Raises Refused."""
    try:
        said = json.loads(read_body(request))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(said, dict) or said.get("version") != VERSION:
        raise Refused(400, 'the body is not {"version": 1, …}')
    return said


def read_identifiers(said: object) -> list[UUID]:
    told = [each for each in said[:MOST_CONFIRMED] if isinstance(each, str)] if isinstance(said, list) else []
    return [identifier for each in told if (identifier := parse_identifier(each))]

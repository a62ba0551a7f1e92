"""What people ask of hosts: written down here, fetched by the host, judged and answered by it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core import signing
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext

from rota.core.errors import RotaError
from rota.core.host_request import MAX_REASON
from rota.core.identifier import parse_identifier
from rota.core.parameter import Parameter, choose, spell
from rota.core.record import AnswerRecord
from rota.diary import audit
from rota.diary.catalogues import TaskOnHost, catalogue_of
from rota.diary.models import Action, Attention, Host, HostRequest, Person, RequestState
from rota.runner import make_identifier

EXPIRES_AFTER = timedelta(minutes=15)
MOST_WAITING = 20
"""How many requests may wait for one host."""
AGAIN = 2.0
"""Seconds after which a host asks again while somebody wants something of it."""
ATTENTION = timedelta(minutes=5)
RENEWED = timedelta(minutes=4)
"""Attention that lasts longer is not written down anew: a page costs a write once a minute at most."""
FORM_KEPT = timedelta(hours=12)
SALT = "diary.request"


class NotAskable(RotaError):
    """This cannot be asked for."""


def new_token(now: datetime) -> str:
    """What a form carries, so that it asks but once however often it is sent: the request's id, vouched for by us."""
    return signing.dumps(make_identifier(int(now.timestamp() * 1000), os.urandom(10)), salt=SALT)


def read_token(token: str) -> UUID:
    """Raises NotAskable."""
    try:
        identifier = parse_identifier(signing.loads(token, salt=SALT, max_age=FORM_KEPT))
    except signing.BadSignature:
        identifier = None
    if identifier is None:
        raise NotAskable(gettext("this form is too old; send it once more from the page"))
    return identifier


def why_not(host: Host, task: TaskOnHost) -> str:
    """Why nothing can be asked of this task on its host; empty where it can. The host judges again, by itself."""
    catalogue = catalogue_of(host)
    if catalogue is None or not catalogue.is_asking:
        return gettext("This host heeds no requests: its setting `asking` is off.")
    if task.is_gone:
        return gettext("The host has this task no more.")
    if not task.said["is_asked"]:
        return gettext("This task is not for asking; `asking: true` in its declaration would allow it.")
    return ""


def ask(person: Person, host: Host, task: TaskOnHost, wish: Mapping[str, Any], *, now: datetime) -> HostRequest:
    """Write down what is asked for. `wish` has `token`, `action`, `values`, and what else a HostRequest may say.

    Raises RotaError with what would be right: NotAskable, or of a parameter.
    """
    if refusal := why_not(host, task):
        raise NotAskable(refusal)
    identifier = read_token(wish["token"])
    values = [list(pair) for pair in wish.get("values", ())]
    choose(task.row.task, task.parameters, [(name, word) for name, word in values])
    if wish.get("is_dry_run") and not task.said["has_dry_run"]:
        raise NotAskable(gettext("this task has no dry run"))
    if (until := wish.get("until")) is not None and until <= now:
        raise NotAskable(gettext("a pause must end in a time to come"))
    if waiting(host, now).count() >= MOST_WAITING:
        raise NotAskable(gettext("too many requests wait for this host already"))
    request = HostRequest(
        id=identifier,
        host=host,
        task=task.row.task,
        action=Action(wish["action"]),
        values=values,
        is_dry_run=bool(wish.get("is_dry_run")),
        until=until,
        why=" ".join(str(wish.get("why", "")).split())[:MAX_REASON],
        person=person,
        asked_by=person.email,
        asked=now,
        expires=now + EXPIRES_AFTER,
    )
    try:
        with transaction.atomic():
            request.save(force_insert=True)
            audit.note(
                person, f"{request.action} asked for", request, {"values": values, "dry run": request.is_dry_run}
            )
    except IntegrityError:
        return HostRequest.objects.get(pk=identifier, host=host, person=person)  # sent twice
    return request


def pairs_of(parameters: Mapping[str, object]) -> list[tuple[str, str]]:
    """A run's parameters as one would set them again."""
    return [
        (name, spell(each))
        for name, value in parameters.items()
        for each in (value if isinstance(value, list) else [value])
    ]


def pairs_in(form: Mapping[str, Sequence[str]], parameters: Iterable[Parameter]) -> list[tuple[str, str]]:
    """What a form sets: a field that is empty sets nothing, and of a parameter with many each line is one value."""
    found = []
    for parameter in parameters:
        for given in form.get(f"set:{parameter.name}", ()):
            words = given.splitlines() if parameter.is_many else [given.strip()]
            found += [(parameter.name, word.strip()) for word in words if word.strip()]
    return found


def waiting(host: Host, now: datetime) -> "QuerySet[HostRequest]":
    return HostRequest.objects.filter(host=host, state=RequestState.WAITING, expires__gt=now)


def state_of(request: HostRequest, now: datetime) -> RequestState:
    """One that nobody fetched in time has expired, whether or not anybody wrote that down."""
    if request.state == RequestState.WAITING and request.expires <= now:
        return RequestState.EXPIRED
    return RequestState(request.state)


def hand_out(host: Host, now: datetime) -> list[dict[str, object]]:
    """What waits for this host, as it reads it; the same again until it says that it has it."""
    return [
        {
            "id": str(each.pk),
            "action": each.action,
            "task": each.task,
            "values": each.values,
            "is_dry_run": each.is_dry_run,
            "until": each.until and each.until.isoformat(),
            "reason": each.why,
            "asked_by": each.asked_by,
            "seconds": (each.expires - now).total_seconds(),
        }
        for each in waiting(host, now).order_by("asked")
    ]


def note_fetched(host: Host, identifiers: Sequence[UUID], now: datetime) -> None:
    if identifiers:
        requests = HostRequest.objects.filter(host=host, pk__in=identifiers, state=RequestState.WAITING)
        requests.update(state=RequestState.FETCHED, fetched=now)


def note_answer(host: Host, answer: AnswerRecord) -> None:
    """Write down what came of a request; the first answer counts."""
    state = RequestState.DONE if answer.is_done else RequestState.REFUSED
    HostRequest.objects.filter(host=host, pk=answer.request, answered=None).update(
        state=state, answered=answer.at, reason=answer.reason
    )


def attend_to(person: object, host: Host, now: datetime) -> None:
    """Somebody who may ask looks at something of this host: it is to look more often for a while."""
    if not isinstance(person, Person) or not person.may_operate:
        return
    if not Attention.objects.filter(host=host, until__gt=now + RENEWED).exists():
        Attention.objects.update_or_create(host=host, defaults={"until": now + ATTENTION})


def is_wanted(host: Host, now: datetime) -> bool:
    """Whether this host is to stay and ask again soon."""
    return Attention.objects.filter(host=host, until__gt=now).exists() or waiting(host, now).exists()

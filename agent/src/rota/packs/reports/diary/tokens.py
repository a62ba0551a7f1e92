"""Tokens with which programs ask for runs of reports: made, recognised, revoked."""

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from rota.diary import audit
from rota.diary.models import Person
from rota.diary.tokens import NOTED_EVERY, bearer, digest, new
from rota.packs.reports.diary.models import ApiToken, Client, Task

MOST = 50


def make(name: str, client: Client | None, *, by: Person) -> str:
    """A new token, for the reports of this client or for all; it is shown this once and kept nowhere."""
    token = new()
    with transaction.atomic():
        ApiToken.objects.create(name=name, client=client, digest=digest(token))
        audit.note(by, "reports' token made", name, {"client": client.username} if client else {})
    return token


def revoke(token: ApiToken, *, by: Person) -> None:
    with transaction.atomic():
        ApiToken.objects.filter(pk=token.pk, revoked=None).update(revoked=timezone.now())
        audit.note(by, "reports' token revoked", token.name)


def token_of(request: HttpRequest) -> ApiToken | None:
    """The token that the request bears, if it is one; notes, once a minute, that it was used."""
    said = bearer(request)
    if not said:
        return None
    shown, found = digest(said), None
    for each in ApiToken.objects.select_related("client").filter(revoked=None):
        # Each is compared, and in constant time: how long it takes tells nothing of any.
        found = each if constant_time_compare(each.digest, shown) else found
    now = timezone.now()
    if found and (found.last_used is None or now - found.last_used > NOTED_EVERY):
        ApiToken.objects.filter(pk=found.pk).update(last_used=now)
    return found


def may_run(token: ApiToken, task: Task) -> bool:
    return token.client_id is None or token.client_id == task.client_id

"""Tokens with which people's programs read the diary: made, recognised, revoked."""

import base64
import binascii
import secrets
from datetime import timedelta
from hashlib import sha256

from django.http import HttpRequest
from django.utils import timezone

from rota.diary.models import Person, PersonToken

PREFIX = "rota_"
"""So that a scanner of secrets knows one where it should not be."""
NOTED_EVERY = timedelta(minutes=1)
MOST = 20


def make(person: Person, name: str) -> str:
    """Return a new token of this person, which is shown this once and kept nowhere."""
    token = new()
    PersonToken.objects.create(person=person, name=name, digest=digest(token))
    return token


def new() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def bearer(request: HttpRequest) -> str:
    """The token that a request bears; empty where it bears none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def read(request: HttpRequest) -> str:
    """The token of a request: as bearer, or as password of any user, which is what feed readers can."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return bearer(request)
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def person_of(request: HttpRequest) -> Person | None:
    """Whose token the request bears, if anybody's who may log in; notes, once a minute, that it was used."""
    token = read(request)
    if not token:
        return None
    live = PersonToken.objects.select_related("person").filter(revoked=None, person__is_active=True)
    found = live.filter(digest=digest(token)).first()
    if found is None:
        return None
    now = timezone.now()
    if found.last_used is None or now - found.last_used > NOTED_EVERY:
        PersonToken.objects.filter(pk=found.pk).update(last_used=now)
    return found.person

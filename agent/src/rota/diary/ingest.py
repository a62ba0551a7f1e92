"""The address to which hosts ship their records: authenticates, unpacks within limits, stores, answers per record."""

import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from rota.core.record import MAX_BYTES, MAX_RECORDS
from rota.diary.models import Host, Token
from rota.diary.storing import store
from rota.diary.tokens import bearer, digest

VERSION = 1
USE_NOTED_EVERY = timedelta(minutes=5)
AT_ONCE = 2
"""Requests stored at the same time in one process; the rest of its threads stay free for people."""
PATIENCE = 2.0
"""Seconds a request waits for its turn before the host is asked to come back later."""

turns = threading.BoundedSemaphore(AT_ONCE)


class Refused(Exception):
    """The whole request is refused, with an HTTP status."""

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


@csrf_exempt
@login_not_required
@require_POST
def records(request: HttpRequest) -> JsonResponse:
    """POST /api/v1/records: store a batch of a host's records and tell each one's fate, in the batch's order."""
    try:
        host = authenticate(request)
        with a_turn():
            entries = read_entries(request)
            results = store(host, entries, now=timezone.now())
    except Refused as refused:
        return refusal(refused)
    except OperationalError:
        # SQLite has one writer; PostgreSQL may be restarting. Either way nothing is stored and the host asks again.
        return refusal(Refused(429, "the database is busy", retry_after=5))
    return JsonResponse({"results": [result.as_json() for result in results]})


def refusal(refused: Refused) -> JsonResponse:
    response = JsonResponse({"error": str(refused)}, status=refused.status)
    if refused.retry_after is not None:
        response["Retry-After"] = str(refused.retry_after)
    if refused.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def authenticate(request: HttpRequest) -> Host:
    token = bearer(request)
    if not token:
        raise Refused(401, "this address wants the header 'Authorization: Bearer TOKEN'")
    found = Token.objects.select_related("host").filter(digest=digest(token), revoked=None).first()
    if found is None:
        raise Refused(401, "no host has this token; on the diary's host, `rota-diary sync` applies the configured ones")
    note_use(found)
    return found.host


def note_use(token: Token) -> None:
    """Write down that a token was used, a few times an hour: batches come faster than anybody looks."""
    now = timezone.now()
    if token.used is None or now - token.used > USE_NOTED_EVERY:
        Token.objects.filter(pk=token.pk).update(used=now)


@contextmanager
def a_turn() -> Iterator[None]:
    if not turns.acquire(timeout=PATIENCE):
        raise Refused(429, "too many hosts are shipping at once", retry_after=5)
    try:
        yield
    finally:
        turns.release()


def read_entries(request: HttpRequest) -> list[object]:
    """Return the batch's records, undecoded beyond JSON; raises Refused when the batch as a whole is unreadable."""
    try:
        batch = json.loads(read_body(request))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(batch, dict) or not isinstance(batch.get("records"), list):
        raise Refused(400, 'the body is not {"version": 1, "records": [...]}')
    if batch.get("version") != VERSION:
        raise Refused(400, f"the batch's version is {batch.get('version')!r}; this diary understands {VERSION}")
    entries: list[object] = batch["records"]
    if len(entries) > MAX_RECORDS:
        raise Refused(413, f"the batch has {len(entries)} records; {MAX_RECORDS} are allowed")
    return entries


def read_body(request: HttpRequest) -> bytes:
    too_large = Refused(413, f"the body is larger than {MAX_BYTES} bytes")
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BYTES:
        raise too_large
    body = request.read(MAX_BYTES + 1)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "gzip":
        body = unzip(body)
    elif encoding != "identity":
        raise Refused(415, f"the content encoding is {encoding!r}; gzip is understood, and none")
    if len(body) > MAX_BYTES:
        raise too_large
    return body


def unzip(body: bytes) -> bytes:
    """Return the unpacked body, at most one byte more than is allowed, however much it would unpack to."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise Refused(400, f"the body is not gzip: {error}") from error
    if len(unpacked) <= MAX_BYTES and not unpacker.eof:
        raise Refused(400, "the gzip body ends too early")
    return unpacked

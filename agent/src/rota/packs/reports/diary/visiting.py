"""Clients who fetch their files: known by a key in the request, or by a login of their own in a browser."""

from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from rota.diary import audit, sessions
from rota.diary.login import WINDOW, note_attempt, too_many_failures
from rota.diary.models import LoginFailure, Person
from rota.diary.tokens import digest
from rota.diary.tokens import read as read_token
from rota.diary.visitor import client_address, network_of
from rota.packs.reports.diary.models import Client, Task
from rota.packs.reports.diary.rights import clients_of

SESSION = "reports_client"
"""The key in a session under which stands which client is logged in; beside it people's own logins go on."""
BCRYPT = ("$2a$", "$2b$", "$2y$")
"""How hashes of the original begin."""
BCRYPT_READS = 72
RETRY_AFTER = int(WINDOW.total_seconds())


class TooMany(Exception):
    """Too many wrong keys or passwords came from there."""


def may_read(request: HttpRequest, client: Client, task: Task) -> bool:
    """Whether whoever asks may have this file. Raises TooMany where they have guessed too often."""
    return task.is_public or is_client(request, client) or is_editor(request, client) or shows_key(request, client)


def is_client(request: HttpRequest, client: Client) -> bool:
    """Whether this client is logged in; a new password ends its logins."""
    said = request.session.get(SESSION)
    if not isinstance(said, dict) or not client.password:
        return False
    return said.get("id") == client.id and constant_time_compare(str(said.get("proof")), proof_of(client))


def is_editor(request: HttpRequest, client: Client) -> bool:
    return isinstance(request.user, Person) and clients_of(request.user).filter(pk=client.pk).exists()


def shows_key(request: HttpRequest, client: Client) -> bool:
    """Whether the request has the client's key: as bearer, or in its address, where old clients have it.

    Raises TooMany; without any key nothing is counted.
    """
    key = read_token(request) or request.GET.get("key", "")
    if not key:
        return False
    attempt = begin(request, client.username)
    if not constant_time_compare(digest_of(key), client.access_key or ""):
        return False
    attempt.delete()
    return True


def log_in(request: HttpRequest, username: str, password: str) -> Client | None:
    """The client who is logged in from now on; None where these do not belong together. Raises TooMany."""
    attempt = begin(request, username)
    client = Client.objects.filter(username=username).first()
    if client is None or not client.password:
        make_password(password)  # so that it takes as long as a wrong password
    elif is_password(password, client.password):
        attempt.delete()
        remember(request, client, password)
        return client
    audit.note(None, "login refused", client or "(no such client)")
    return None


def remember(request: HttpRequest, client: Client, password: str) -> None:
    if client.password and client.password.startswith(BCRYPT):
        # Hashed anew as everybody's is; no change of what is defined.
        client.password = make_password(password)
        Client.objects.filter(pk=client.pk).update(password=client.password)
    request.session.cycle_key()
    if sessions.BEGAN not in request.session:
        sessions.begin(request, now=timezone.now())
    request.session[SESSION] = {"id": client.id, "proof": proof_of(client)}


def log_out(request: HttpRequest) -> None:
    request.session.pop(SESSION, None)
    request.session.cycle_key()


def is_password(password: str, hashed: str) -> bool:
    if not hashed.startswith(BCRYPT):
        return check_password(password, hashed)
    # Imported here because only who comes from the original needs it.
    import bcrypt

    try:
        return bcrypt.checkpw(password.encode("utf-8", "replace")[:BCRYPT_READS], hashed.encode("ascii", "replace"))
    except ValueError:
        return False


def proof_of(client: Client) -> str:
    return salted_hmac("rota.packs.reports.client", client.password or "").hexdigest()


def digest_of(key: str) -> str:
    return digest(key.strip())


def begin(request: HttpRequest, username: str) -> LoginFailure:
    """Count what is a failure until it is deleted, before anything is looked at. Raises TooMany.

    They are counted apart from people's logins: a program with an old key locks no person out.
    """
    place = f"reports {network_of(client_address(request))}"[:64]
    attempt = note_attempt(place, f"reports {username}"[:254])
    if too_many_failures(attempt, is_known=False):
        attempt.delete()
        raise TooMany
    return attempt

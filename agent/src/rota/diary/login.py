"""Logging in and out, slowed down for who guesses, without closing the diary to whom it knows."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from rota.diary import audit, sessions
from rota.diary.models import LoginFailure, Person
from rota.diary.rights import PROVEN
from rota.diary.visitor import client_address, network_of

WINDOW = timedelta(minutes=15)
MOST_PER_PAIR = 10
"""Failures for one email address from one network address."""
MOST_PER_ADDRESS = 20
MOST_PER_EMAIL = 100
"""Failures for one email address from everywhere; a browser in which its person has logged in before is let through."""
KEPT = timedelta(hours=1)
KNOWN_FOR = timedelta(days=180)


class LoginPage(LoginView):
    template_name = "diary/login.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(oidc=settings.CONFIGURATION.oidc, **kwargs)

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        email = shortened(request.POST.get("username", ""))
        attempt = begin_attempt(request, email)
        if attempt is None:
            return self.refuse(request)
        response = super().post(request, *args, **kwargs)
        if response.status_code == 302:
            attempt.delete()
            remember(response, email)
        else:
            note_refused(email)
        return response

    def refuse(self, request: HttpRequest) -> HttpResponse:
        form: AuthenticationForm = self.get_form_class()(request)
        response = self.render_to_response(self.get_context_data(form=form, refused=True), status=429)
        response["Retry-After"] = str(int(WINDOW.total_seconds()))
        return response


def begin_session(sender: object, request: HttpRequest, user: Person, **_: object) -> None:
    """Write down that somebody has logged in, by whatever means; Django calls it."""
    now = timezone.now()
    sessions.begin(request, now=now)
    request.session[PROVEN] = now.timestamp()
    means = str(request.session[BACKEND_SESSION_KEY]).rpartition(".")[2]
    audit.note(user, "logged in", None, {"by": MEANS[means]})


MEANS = {"ModelBackend": "password", "OidcBackend": "single sign-on", "ProxyBackend": "proxy"}


def note_logout(sender: object, request: HttpRequest, user: Person | None, **_: object) -> None:
    if user is not None:
        audit.note(user, "logged out")


def note_refused(email: str) -> None:
    """Write down a refused login; what is no email address may be a password in the wrong field, and is not kept."""
    known = Person.objects.filter(email=email).first()
    audit.note(None, "login refused", known or (email if "@" in email else "(not an email address)"))


def begin_attempt(request: HttpRequest, email: str) -> LoginFailure | None:
    """Count an attempt before its password is looked at, so that guesses made at one moment do not slip through.

    Returns what is a failure until whoever asked deletes it, or None where there were too many.
    """
    attempt = note_attempt(network_of(client_address(request)), email)
    if too_many_failures(attempt, is_known=is_known(request, email)):
        attempt.delete()
        return None
    return attempt


def note_attempt(address: str, email: str) -> LoginFailure:
    """Write down what is a failure until it turns out to be none."""
    now = timezone.now()
    LoginFailure.objects.filter(at__lt=now - KEPT).delete()
    return LoginFailure.objects.create(address=address, email=email, at=now)


def too_many_failures(attempt: LoginFailure, *, is_known: bool) -> bool:
    recent = LoginFailure.objects.filter(at__gt=attempt.at - WINDOW)
    from_here, for_them = recent.filter(address=attempt.address), recent.filter(email=attempt.email)
    return (
        from_here.filter(email=attempt.email).count() > MOST_PER_PAIR
        or from_here.count() > MOST_PER_ADDRESS
        or (not is_known and for_them.count() > MOST_PER_EMAIL)
    )


def is_known(request: HttpRequest, email: str) -> bool:
    """Whether this browser shows our own word that this person has logged in with it."""
    return bool(request.get_signed_cookie(settings.KNOWN_COOKIE_NAME, "", max_age=KNOWN_FOR) == mark_of(email))


def remember(response: HttpResponse, email: str) -> None:
    """Let the browser show next time that this person has logged in with it; by itself this opens nothing."""
    response.set_signed_cookie(
        settings.KNOWN_COOKIE_NAME,
        mark_of(email),
        max_age=KNOWN_FOR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def mark_of(email: str) -> str:
    return sha256(email.encode("utf-8", "replace")).hexdigest()


def shortened(email: str) -> str:
    return email.strip().lower().replace("\0", "")[:254]

"""Logging in, slowed down for who guesses, without closing the diary to whom it knows."""

from datetime import timedelta
from hashlib import sha256

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from rota.diary.models import LoginFailure

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

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Count the attempt first and its password after: guesses made at the same moment do not slip through."""
        email = shortened(request.POST.get("username", ""))
        attempt = note_attempt(client_address(request), email)
        if too_many_failures(attempt, is_known=is_known(request, email)):
            attempt.delete()
            return self.refuse(request)
        response = super().post(request, *args, **kwargs)
        if response.status_code == 302:
            attempt.delete()
            remember(response, email)
        return response

    def refuse(self, request: HttpRequest) -> HttpResponse:
        form: AuthenticationForm = self.get_form_class()(request)
        response = self.render_to_response(self.get_context_data(form=form, refused=True), status=429)
        response["Retry-After"] = str(int(WINDOW.total_seconds()))
        return response


def client_address(request: HttpRequest) -> str:
    """Return who asks: over the unix socket what nginx appended last, since the client may have made up the rest."""
    peer = request.META.get("REMOTE_ADDR", "")
    if peer:
        return str(peer)
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()[:64]


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

"""Logging in, slowed down for who guesses."""

from datetime import timedelta

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from rota.diary.models import LoginFailure

WINDOW = timedelta(minutes=15)
MOST_PER_ADDRESS = 20
MOST_PER_EMAIL = 10
KEPT = timedelta(hours=1)


class LoginPage(LoginView):
    template_name = "diary/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if too_many_failures(client_address(request), request.POST.get("username", "")):
            response = self.render_to_response(
                self.get_context_data(form=self.get_form_class()(request), refused=True), status=429
            )
            response["Retry-After"] = str(int(WINDOW.total_seconds()))
            return response
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        note_failure(client_address(self.request), form.data.get("username", ""))
        return super().form_invalid(form)


def client_address(request: HttpRequest) -> str:
    """Return who asks: over the unix socket what nginx appended last, since the client may have made up the rest."""
    peer = request.META.get("REMOTE_ADDR", "")
    if peer:
        return str(peer)
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()[:64]


def too_many_failures(address: str, email: str) -> bool:
    recent = LoginFailure.objects.filter(at__gt=timezone.now() - WINDOW)
    return (
        recent.filter(address=address).count() >= MOST_PER_ADDRESS
        or recent.filter(email=shortened(email)).count() >= MOST_PER_EMAIL
    )


def note_failure(address: str, email: str) -> None:
    now = timezone.now()
    LoginFailure.objects.filter(at__lt=now - KEPT).delete()
    LoginFailure.objects.create(address=address, email=shortened(email), at=now)


def shortened(email: str) -> str:
    return email.strip().lower().replace("\0", "")[:254]

"""Who may read by program: whoever bears a person's token, or is logged in."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import translation

from rota.diary.models import Person
from rota.diary.tokens import person_of

CHALLENGE = 'Bearer realm="Rota", Basic realm="Rota"'

Arguments = ParamSpec("Arguments")
View = Callable[Concatenate[HttpRequest, Arguments], HttpResponseBase]


class ByTokenOrSession:
    """For Django Ninja: the person who reads, or None."""

    openapi_security_schema = {"type": "http", "scheme": "bearer"}  # noqa: RUF012 - Ninja reads it from the class

    def __call__(self, request: HttpRequest) -> Person | None:
        return reader(request)


def reader(request: HttpRequest) -> Person | None:
    """A token counts for more than a session: whoever sends a wrong one is not let in by their cookie."""
    if "Authorization" in request.headers:
        return person_of(request)
    return request.user if isinstance(request.user, Person) else None


def for_readers(view: View[Arguments]) -> View[Arguments]:
    """Let programs with a token read this view, and whoever is logged in; others are asked for a token."""

    @login_not_required
    @wraps(view)
    def guarded(request: HttpRequest, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> HttpResponseBase:
        person = reader(request)
        if person is None:
            return HttpResponse(
                "This address wants one of your tokens.\n",
                status=401,
                content_type="text/plain; charset=utf-8",
                headers={"WWW-Authenticate": CHALLENGE},
            )
        with translation.override(person.language or translation.get_language()):
            return view(request, *args, **kwargs)

    return guarded


@login_not_required
def nowhere(request: HttpRequest) -> JsonResponse:
    """What is no address of the API is said as the API says things."""
    return JsonResponse({"error": "there is no such address; /api/v1/openapi.json lists them"}, status=404)


def without_login(patterns: list[Any]) -> list[Any]:
    """These URL patterns, exempt from the login: they ask for a token themselves."""
    for pattern in patterns:
        pattern.callback = login_not_required(pattern.callback)
    return patterns

"""Who may do what: one decorator for each right, and one for what wants a login that is fresh."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from rota.diary.models import Person, Role

FRESH_FOR = timedelta(minutes=30)
PROVEN = "proven"
"""The key in a session under which stands when its person last showed who they are, in seconds since 1970."""

View = Callable[..., HttpResponse]


def person_of(request: HttpRequest) -> Person:
    """Return who is logged in. Raises PermissionDenied where nobody is."""
    if not isinstance(request.user, Person):
        raise PermissionDenied
    return request.user


def at_least(role: Role) -> Callable[[View], View]:
    """Let in people of this role and those who may more; everybody else is told that it is not for them."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
            if not person_of(request).may(role):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    return guard


reviewers_only = at_least(Role.REVIEWER)
operators_only = at_least(Role.OPERATOR)
administrators_only = at_least(Role.ADMINISTRATOR)


def freshly_proven(view: View) -> View:
    """Ask once more who it is, unless they have said so within the last half hour."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if is_fresh(request, now=timezone.now()):
            return view(request, *args, **kwargs)
        back = request.get_full_path() if request.method == "GET" else came_from(request)
        return redirect(f"{reverse('confirm')}?{urlencode({'next': back})}")

    return guarded


def is_fresh(request: HttpRequest, *, now: datetime) -> bool:
    said = request.session.get(PROVEN)
    return isinstance(said, int | float) and now - datetime.fromtimestamp(said, UTC) < FRESH_FOR


def came_from(request: HttpRequest) -> str:
    """The page of ours on which a form was sent, or the overview."""
    return own_address(request, request.headers.get("Referer", "")) or reverse("overview")


def own_address(request: HttpRequest, address: str) -> str:
    """The address where it leads to this diary, else "": nobody is sent elsewhere by a link to here."""
    is_ours = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if is_ours else ""

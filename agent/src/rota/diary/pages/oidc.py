"""The way to the OpenID Connect provider, and back from it."""

import json

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rota.diary import audit, oidc
from rota.diary.configuration import Oidc
from rota.diary.rights import PROVEN, own_address

LASTS = 600
"""Seconds that somebody may take at the provider."""
BACKEND = "rota.diary.oidc.OidcBackend"


@login_not_required
@never_cache
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider; it keeps, signed, what its answer must match."""
    back = own_address(request, request.GET.get("next", "")) or reverse("overview")
    try:
        address, flow = oidc.ask(configured(), redirect_uri(request), back, is_anew="anew" in request.GET)
    except oidc.ProviderFailed as problem:
        return refuse(request, problem, "", status=502)
    response = redirect(address)
    response.set_signed_cookie(
        settings.OIDC_COOKIE_NAME,
        json.dumps(flow.as_json()),
        max_age=LASTS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


@login_not_required
@never_cache
@require_safe
def back(request: HttpRequest) -> HttpResponse:
    """Let in whom the provider vouches for."""
    said, flow = configured(), flow_of(request)
    if flow is None or not constant_time_compare(request.GET.get("state", ""), flow.state):
        return refuse(request, _("This login was begun in another browser, or too long ago."), "", status=400)
    claims: dict[str, object] = {}
    try:
        claims = oidc.answered(
            said, code_of(said, request), flow, redirect_uri(request), now=timezone.now().timestamp()
        )
        person = oidc.admit(said, claims)
    except (oidc.ProviderFailed, oidc.LoginRefused) as problem:
        return refuse(request, problem, str(claims.get("email") or claims.get("sub") or ""), status=403)
    login(request, person, backend=BACKEND)
    if not flow.is_anew:
        # The provider may have asked for nothing: what matters is not to be had by whoever sits at somebody's desk.
        request.session.pop(PROVEN, None)
    response = redirect(flow.next)
    response.delete_cookie(settings.OIDC_COOKIE_NAME, samesite="Lax")
    return response


def configured() -> Oidc:
    if settings.CONFIGURATION.oidc is None:
        raise Http404
    return settings.CONFIGURATION.oidc


def redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("oidc_back"))


def flow_of(request: HttpRequest) -> oidc.Flow | None:
    kept = request.get_signed_cookie(settings.OIDC_COOKIE_NAME, "", max_age=LASTS)
    return oidc.Flow(**json.loads(kept)) if kept else None


def code_of(said: Oidc, request: HttpRequest) -> str:
    """The code in the address. Raises ProviderFailed for an error, or where another provider answers (RFC 9207)."""
    if error := request.GET.get("error"):
        raise oidc.ProviderFailed(f"{error}: {request.GET.get('error_description', '')}".rstrip(": ")[:300])
    if request.GET.get("iss", said.issuer) != said.issuer:
        raise oidc.ProviderFailed("the answer is another provider's")
    return request.GET.get("code", "")


def refuse(request: HttpRequest, problem: object, who: str, *, status: int) -> HttpResponse:
    """Say why nobody was let in, and write it down where the provider has named somebody."""
    if who:
        audit.note(None, "login refused", who, {"by": "single sign-on", "reason": str(problem)[:300]})
    response = render(request, "diary/login_refused.html", {"problem": str(problem)}, status=status)
    response.delete_cookie(settings.OIDC_COOKIE_NAME, samesite="Lax")
    return response

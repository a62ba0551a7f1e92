"""The tokens with which programs ask for runs: made by administrators, shown once, revoked."""

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from rota.diary.rights import freshly_proven, person_of
from rota.packs.reports.diary import tokens as making
from rota.packs.reports.diary.models import ApiToken, Client
from rota.packs.reports.diary.rights import administrators_only


@require_safe
@administrators_only
def tokens(request: HttpRequest) -> HttpResponse:
    """Those that open something."""
    return show(request)


@require_POST
@administrators_only
@freshly_proven
@never_cache
def make_token(request: HttpRequest) -> HttpResponse:
    """Make a token and show it, this once."""
    name = request.POST.get("name", "").replace("\0", "").strip()[:100]
    username = request.POST.get("client", "")
    client = Client.objects.filter(username=username).first()
    if not name:
        return show(request, problem=gettext("Say what the token is for."), status=400)
    if username and client is None:
        return show(request, problem=gettext("There is no such client."), status=400)
    if live().count() >= making.MOST:
        return show(request, problem=gettext("These are enough tokens; revoke one first."), status=409)
    return show(request, made=making.make(name, client, by=person_of(request)))


@require_POST
@administrators_only
def revoke_token(request: HttpRequest, number: int) -> HttpResponse:
    """Let a token open nothing any more."""
    making.revoke(get_object_or_404(live(), pk=number), by=person_of(request))
    return redirect("reports:tokens")


def show(request: HttpRequest, *, made: str = "", problem: str = "", status: int = 200) -> HttpResponse:
    shown = {
        "tokens": live().select_related("client").order_by("-created", "-pk"),
        "clients": Client.objects.order_by("name", "username"),
        "made": made,
        "problem": problem,
        "name": request.POST.get("name", "") if problem else "",
        "chosen": request.POST.get("client", "") if problem else "",
    }
    return render(request, "reports/tokens.html", shown, status=status)


def live() -> "QuerySet[ApiToken]":
    return ApiToken.objects.filter(revoked=None)

"""One's own tokens, with which programs read the diary: made, shown once, revoked."""

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from rota.diary import audit
from rota.diary.models import PersonToken
from rota.diary.rights import person_of
from rota.diary.tokens import MOST, make


@require_safe
def tokens(request: HttpRequest) -> HttpResponse:
    """The tokens of whoever looks that are not revoked."""
    return show(request, "")


@require_POST
@never_cache
def make_one(request: HttpRequest) -> HttpResponse:
    """Make a token and show it, this once."""
    name = request.POST.get("name", "").replace("\0", "").strip()[:100]
    if not name:
        messages.warning(request, gettext("Say what the token is for."))
        return redirect("tokens")
    if live(request).count() >= MOST:
        messages.warning(request, gettext("These are enough tokens; revoke one first."))
        return redirect("tokens")
    made = make(person_of(request), name)
    audit.note(person_of(request), "own token made", name)
    return show(request, made)


@require_POST
def revoke(request: HttpRequest, identifier: int) -> HttpResponse:
    """Let a token open nothing any more."""
    token = get_object_or_404(live(request), pk=identifier)
    token.revoked = timezone.now()
    token.save(update_fields=["revoked"])
    audit.note(person_of(request), "own token revoked", token.name)
    messages.success(request, gettext("The token “%s” opens nothing any more.") % token.name)
    return redirect("tokens")


def show(request: HttpRequest, made: str) -> HttpResponse:
    return render(request, "diary/tokens.html", {"tokens": live(request).order_by("-created"), "made": made})


def live(request: HttpRequest) -> "QuerySet[PersonToken]":
    return PersonToken.objects.filter(person=person_of(request), revoked=None)

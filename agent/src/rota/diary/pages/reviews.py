"""Saying what a run was: of one on its page, of many on the list of runs."""

from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from rota.diary import audit
from rota.diary.models import Run
from rota.diary.reviewing import MOST_AT_ONCE, OPEN, open_like, read_said, say
from rota.diary.rights import person_of, reviewers_only
from rota.diary.searching.keeping import refresh


@require_POST
@reviewers_only
def review(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """Write down what somebody says of a run, and when asked of the same task's earlier open ones on this host."""
    person = person_of(request)
    said = read_said(request.POST)
    with transaction.atomic():
        found = get_object_or_404(Run.objects.select_for_update(), pk=identifier)
        chosen = [found.pk]
        if request.POST.get("all") and found.review in OPEN:
            chosen = list({found.pk, *open_like(found).values_list("pk", flat=True)})
        if said:
            say(person, chosen, said, now=timezone.now())
            audit.note(person, "reviewed", found, {"state": str(said.state), "runs": len(chosen)})
            refresh(chosen)
    return redirect("run", identifier)


@require_POST
@reviewers_only
def review_many(request: HttpRequest) -> HttpResponse:
    """Write down the same of all runs that were ticked on a list, and go back to that list."""
    person = person_of(request)
    said = read_said(request.POST)
    chosen = identifiers(request.POST.getlist("run"))
    if not said or not chosen:
        messages.warning(request, gettext("Tick at least one run, and say what it is."))
    else:
        with transaction.atomic():
            amount = say(person, chosen[:MOST_AT_ONCE], said, now=timezone.now())
            audit.note(person, "reviewed", "many runs", {"state": str(said.state), "runs": amount})
            refresh(chosen[:MOST_AT_ONCE])
        messages.success(request, ngettext("%d run is reviewed.", "%d runs are reviewed.", amount) % amount)
    query = request.POST.get("list", "")
    return redirect(reverse("runs") + (query if query.startswith("?") else ""))


def identifiers(words: list[str]) -> list[UUID]:
    """The ids among these words, each once; what is none was not ticked on a list of ours."""
    found: dict[UUID, None] = {}
    for word in words:
        try:
            found[UUID(word)] = None
        except ValueError:
            continue
    return list(found)

"""Searches that people keep: each has a name, and leads back to its list."""

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from rota.diary import audit
from rota.diary.filters import RunFilter, read_filter
from rota.diary.models import Person, SavedSearch
from rota.diary.rights import person_of

MOST = 50
"""Searches that one person may keep."""


def searches_of(person: object) -> "QuerySet[SavedSearch]":
    """What this person has kept, and what others share."""
    own = Q(person=person) if isinstance(person, Person) else Q(pk=None)
    return SavedSearch.objects.filter(own | Q(is_shared=True)).select_related("person").order_by("name", "pk")


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Keep a search under a name; one of the same name is replaced."""
    person = person_of(request)
    query = read_filter(RunFilter, QueryDict(request.POST.get("query", ""))).address()[:2000]
    name = " ".join(request.POST.get("name", "").replace("\0", "").split())[:60]
    has_room = SavedSearch.objects.filter(person=person).exclude(name=name).count() < MOST
    if name and has_room:
        kept = {"query": query, "is_shared": bool(request.POST.get("share"))}
        with transaction.atomic():
            SavedSearch.objects.update_or_create(person=person, name=name, defaults=kept)
            audit.note(person, "search kept", name, kept)
    return redirect(f"{reverse('runs')}?{query}")


@require_POST
def remove(request: HttpRequest, number: int) -> HttpResponse:
    """Forget a search of one's own."""
    person = person_of(request)
    found = SavedSearch.objects.filter(pk=number, person=person).first()
    if found:
        with transaction.atomic():
            found.delete()
            audit.note(person, "search removed", found.name)
    return redirect("runs")

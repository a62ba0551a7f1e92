"""Who may do what with reports.

Administrators do everything. Who is named as an editor of a client edits its reports, and reads libraries; whatever
their role in the diary is. Nobody else sees anything of reports here: their text is SQL and Python with which one
could learn more than runs tell.
"""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from rota.diary.models import Person
from rota.diary.rights import administrators_only, person_of
from rota.packs.reports.diary.models import Client, Task

__all__ = ["administrators_only", "clients_of", "client_for", "editors_only", "is_editor", "may_enter", "report_for"]

View = Callable[..., HttpResponseBase]


def may_enter(person: AbstractBaseUser | AnonymousUser) -> bool:
    # As the person was loaded, which is once a request.
    return isinstance(person, Person) and (person.may_administer or bool(getattr(person, "is_editor", False)))


def is_editor() -> Exists:
    """Whether a person, in a query for people, is an editor of any client."""
    return Exists(Client.editors.through.objects.filter(person=OuterRef("pk")))


def editors_only(view: View) -> View:
    """Let in administrators, and who is an editor of any client."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not may_enter(person_of(request)):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


def clients_of(person: Person) -> "QuerySet[Client]":
    """Whose reports this person may edit."""
    return Client.objects.all() if person.may_administer else Client.objects.filter(editors=person)


def client_for(request: HttpRequest, username: str) -> Client:
    """Raises PermissionDenied for another's client, be it there or not; Http404 for administrators."""
    person = person_of(request)
    if found := clients_of(person).filter(username=username).first():
        return found
    raise Http404 if person.may_administer else PermissionDenied


def report_for(request: HttpRequest, username: str, file_name: str) -> Task:
    """Raises PermissionDenied, Http404."""
    client = client_for(request, username)
    return get_object_or_404(Task.objects.select_related("client", "script__query"), client=client, file_name=file_name)

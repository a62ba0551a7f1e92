"""The pages on which administrators invite people, give them roles and let them go."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rota.diary import audit, people
from rota.diary.models import Person, Role
from rota.diary.rights import administrators_only, freshly_proven, person_of
from rota.diary.sessions import end_all


class InviteForm(forms.Form):
    name = forms.CharField(max_length=200)
    email = forms.EmailField(max_length=254)
    role = forms.ChoiceField(choices=Role.choices)

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"]).strip().lower()
        if Person.objects.filter(email=email).exists():
            raise forms.ValidationError(_("There is somebody with this email address already."))
        return email


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


@require_safe
@administrators_only
def people_list(request: HttpRequest) -> HttpResponse:
    """Everybody who may log in or once might, with their role and last login."""
    everybody = Person.objects.order_by("-is_active", "name", "email").select_related("invitation")
    return render(request, "diary/people.html", {"people": everybody, "now": timezone.now()})


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
@freshly_proven
def invite(request: HttpRequest) -> HttpResponse:
    """Make a person, and show the link with which they set their password."""
    form = InviteForm(request.POST or None)
    if not form.is_valid():
        return render(request, "diary/invite.html", {"form": form, "roles": Role.choices}, status=200)
    said = form.cleaned_data
    made = Person.objects.create_user(said["email"], None, name=said["name"], role=said["role"])
    return show_link(request, made)


@require_safe
@administrators_only
@freshly_proven
def one_person(request: HttpRequest, number: int) -> HttpResponse:
    """One person: role, sessions, and what was done to them."""
    return show_person(request, get_object_or_404(Person, pk=number))


@require_POST
@administrators_only
@freshly_proven
def new_link(request: HttpRequest, number: int) -> HttpResponse:
    """Show a new link to set the password, for who has lost it or the link before."""
    return show_link(request, get_object_or_404(Person, pk=number, is_active=True))


@require_POST
@administrators_only
@freshly_proven
def change_role(request: HttpRequest, number: int) -> HttpResponse:
    form = RoleForm(request.POST)
    if not form.is_valid():
        return redirect("person", number)
    return done_to(request, number, lambda by, person: people.change_role(by, person, Role(form.cleaned_data["role"])))


@require_POST
@administrators_only
@freshly_proven
def deactivate(request: HttpRequest, number: int) -> HttpResponse:
    return done_to(request, number, people.deactivate)


@require_POST
@administrators_only
@freshly_proven
def activate(request: HttpRequest, number: int) -> HttpResponse:
    return done_to(request, number, people.activate)


@require_POST
@administrators_only
@freshly_proven
def end_sessions(request: HttpRequest, number: int) -> HttpResponse:
    """Log this person out everywhere."""
    person = get_object_or_404(Person, pk=number)
    audit.note(person_of(request), "sessions ended", person, {"sessions": end_all(person)})
    return redirect("person", number)


def done_to(request: HttpRequest, number: int, change: Callable[[Person, Person], None]) -> HttpResponse:
    """Do this to another person; nobody takes their own rights, by mistake or by somebody at their desk."""
    by, person = person_of(request), get_object_or_404(Person, pk=number)
    if person == by:
        raise PermissionDenied
    try:
        change(by, person)
    except people.LastAdministrator as problem:
        return show_person(request, person, problem=str(problem), status=409)
    return redirect("person", number)


def show_person(request: HttpRequest, person: Person, *, status: int = 200, **more: Any) -> HttpResponse:
    shown = {
        "person": person,
        "is_oneself": person == person_of(request),
        "is_configured": people.is_configured(person),
        "roles": Role.choices,
        "sessions": person.sessions.order_by("-seen"),
    }
    return render(request, "diary/person.html", shown | more, status=status)


def show_link(request: HttpRequest, person: Person) -> HttpResponse:
    """The page with the link: nowhere else, and never again, for only its hash is kept."""
    token = people.invite(person_of(request), person, now=timezone.now())
    link = request.build_absolute_uri(reverse("invitation", args=[token]))
    shown = {"person": person, "link": link, "days": people.INVITATION_LASTS.days}
    response = render(request, "diary/invited.html", shown)
    response.headers["Cache-Control"] = "no-store"
    return response

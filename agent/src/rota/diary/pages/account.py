"""One's own page: name, language and zone, password, sessions; and where one says anew who one is."""

from hashlib import sha256
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rota.diary import audit, people
from rota.diary.login import begin_attempt, note_refused
from rota.diary.models import LoginSession, Person
from rota.diary.rights import PROVEN, own_address, person_of
from rota.diary.sessions import end_all

PASSWORDS = "django.contrib.auth.backends.ModelBackend"  # noqa: S105 - a class


class AccountForm(forms.Form):
    name = forms.CharField(max_length=200)
    language = forms.ChoiceField(required=False, choices=lambda: [("", ""), *settings.LANGUAGES])
    time_zone = forms.ChoiceField(required=False, choices=lambda: [("", ""), *((zone, zone) for zone in zones())])


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    return show_account(request)


@require_POST
def change_account(request: HttpRequest) -> HttpResponse:
    """Take over name, language and zone."""
    person, form = person_of(request), AccountForm(request.POST)
    if not form.is_valid():
        return show_account(request, form=form)
    changed = sorted(name for name, value in form.cleaned_data.items() if getattr(person, name) != value)
    with transaction.atomic():
        Person.objects.filter(pk=person.pk).update(**form.cleaned_data)
        audit.note(person, "account changed", person, {"changed": changed})
    return redirect("account")


@sensitive_post_parameters()
@require_POST
def change_password(request: HttpRequest) -> HttpResponse:
    """Give oneself another password; everybody else who is logged in as oneself is so no more."""
    person = person_of(request)
    if not person.has_usable_password():
        raise PermissionDenied
    attempt = begin_attempt(request, person.email)
    if attempt is None:
        return show_account(request, problem=_("Too many refused logins. Wait a quarter of an hour, then try again."))
    form = PasswordChangeForm(person, request.POST)
    if not form.is_valid():
        if "old_password" not in form.errors:
            attempt.delete()
        return show_account(request, password_form=form)
    attempt.delete()
    with transaction.atomic():
        person = form.save()
        update_session_auth_hash(request, person)
        request.session[PROVEN] = timezone.now().timestamp()
        ended = end_all(person, but=request.session.session_key)
        audit.note(person, "password changed", person, {"sessions": ended})
    return redirect("account")


@require_POST
def end_own_session(request: HttpRequest, mark: str) -> HttpResponse:
    """End one of one's own sessions, or with the mark `others` all but this one."""
    person, own = person_of(request), request.session.session_key
    chosen = [
        each.pk
        for each in LoginSession.objects.filter(person=person).exclude(session_key=own or "")
        if mark in ("others", mark_of(each))
    ]
    with transaction.atomic():
        ended = LoginSession.objects.filter(pk__in=chosen, person=person).delete()[0]
        audit.note(person, "sessions ended", person, {"sessions": ended})
    return redirect("account")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask once more for the password before what matters; who has none logs in anew where they did."""
    person = person_of(request)
    back = own_address(request, request.POST.get("next") or request.GET.get("next", "")) or reverse("overview")
    shown = {"next": back, "has_password": person.has_usable_password(), "oidc": settings.CONFIGURATION.oidc}
    if request.method != "POST":
        return render(request, "diary/confirm.html", shown)
    attempt = begin_attempt(request, person.email)
    if attempt is None:
        problem = _("Too many refused logins. Wait a quarter of an hour, then try again.")
        return render(request, "diary/confirm.html", shown | {"problem": problem}, status=429)
    if not person.check_password(request.POST.get("password", "")):
        note_refused(person.email)
        return render(request, "diary/confirm.html", shown | {"problem": _("This is not your password.")})
    attempt.delete()
    request.session.cycle_key()
    request.session[PROVEN] = timezone.now().timestamp()
    return redirect(back)


@login_not_required
@never_cache
@csrf_protect
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Set the password with a link that an administrator handed on, and be logged in."""
    found = people.invitation_of(token, now=timezone.now())
    if found is None:
        return render(request, "diary/invitation_over.html", status=410)
    form = SetPasswordForm(found.person, request.POST or None)
    if not form.is_valid():
        return render(request, "diary/invitation.html", {"person": found.person, "form": form})
    person = people.accept(token, form.cleaned_data["new_password1"], now=timezone.now())
    if person is None:
        return render(request, "diary/invitation_over.html", status=410)
    login(request, person, backend=PASSWORDS)
    return redirect("overview")


def show_account(request: HttpRequest, **more: object) -> HttpResponse:
    person, own = person_of(request), request.session.session_key
    sessions = LoginSession.objects.filter(person=person).order_by("-seen")
    shown: dict[str, object] = {
        "person": person,
        "languages": settings.LANGUAGES,
        "zones": zones(),
        "default_zone": settings.TIME_ZONE,
        "sessions": [(each, mark_of(each), each.session_key == own) for each in sessions],
    }
    return render(request, "diary/account.html", shown | more)


def zones() -> list[str]:
    """The zones one may choose: places, and UTC."""
    return sorted(
        zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/"))
    ) + ["UTC"]


def mark_of(session: LoginSession) -> str:
    """What names a session on a page: its key itself would be enough to be its person."""
    return sha256(session.session_key.encode()).hexdigest()[:32]

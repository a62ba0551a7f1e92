"""What becomes of people: invited, given a role, let go; and how each of them sees the diary."""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext

from rota.core.errors import RotaError
from rota.diary import audit
from rota.diary.models import Invitation, Person, Role
from rota.diary.sessions import end_all

INVITATION_LASTS = timedelta(days=3)


class LastAdministrator(RotaError):
    """Nobody would be left who may do everything."""


def invite(by: Person, person: Person, *, now: datetime) -> str:
    """Return the secret of a link with which this person sets a password, once; it ends an earlier one."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        Invitation.objects.update_or_create(
            person=person,
            defaults={"digest": digest_of(token), "made": now, "expires": now + INVITATION_LASTS},
        )
        audit.note(by, "invited", person, {"role": person.role})
    return token


def invitation_of(token: str, *, now: datetime) -> Invitation | None:
    """Return the invitation that this secret opens, or None where it was used, has expired, or never was."""
    open_ones = Invitation.objects.select_related("person").filter(expires__gt=now, person__is_active=True)
    return open_ones.filter(digest=digest_of(token)).first()


def accept(token: str, password: str, *, now: datetime) -> Person | None:
    """Set the password that somebody has chosen with an invitation, which opens nothing afterwards."""
    with transaction.atomic():
        found = invitation_of(token, now=now)
        # Of two at one moment only one deletes it.
        if found is None or not Invitation.objects.filter(digest=found.digest).delete()[0]:
            return None
        person = found.person
        set_password(person, person, password, means="invitation")
    return person


def set_password(by: Person | None, person: Person, password: str, *, means: str) -> None:
    """Give this person another password; whoever was logged in as them is so no more."""
    person.set_password(password)
    person.save(update_fields=["password"])
    end_all(person)
    audit.note(by, "password changed", person, {"by": means})


def change_role(by: Person, person: Person, role: Role) -> None:
    """Give a person another role. Raises LastAdministrator where no other administrator would be left."""
    with transaction.atomic():
        keep_an_administrator(person)
        Person.objects.filter(pk=person.pk).update(role=role)
        audit.note(by, "role changed", person, {"from": person.role, "to": role})


def deactivate(by: Person, person: Person) -> None:
    """Let nobody in as this person any more, at once; what they did stays. Raises LastAdministrator."""
    with transaction.atomic():
        keep_an_administrator(person)
        Person.objects.filter(pk=person.pk).update(is_active=False)
        Invitation.objects.filter(person=person).delete()
        audit.note(by, "deactivated", person, {"sessions": end_all(person)})


def activate(by: Person, person: Person) -> None:
    with transaction.atomic():
        Person.objects.filter(pk=person.pk).update(is_active=True)
        audit.note(by, "activated", person)


def keep_an_administrator(person: Person) -> None:
    """Wait for whoever changes administrators at this moment; refuse to go on without another than this person."""
    administrators = Person.objects.select_for_update().filter(role=Role.ADMINISTRATOR, is_active=True)
    if {each.pk for each in administrators.order_by("pk")} == {person.pk}:
        raise LastAdministrator(
            gettext("%(person)s is the only one; make another person an administrator first") % {"person": person}
        )


def is_configured(person: Person) -> bool:
    """Whether the configuration says that this person is an administrator, so that `rota-diary sync` sees to it."""
    return person.email in {each.email for each in settings.CONFIGURATION.administrators}


def zone_of(person: Person | None) -> ZoneInfo:
    """The zone in which this person reads times: the diary's, unless they have chosen one that is still known."""
    try:
        return ZoneInfo((person.time_zone if person else "") or settings.TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(settings.TIME_ZONE)


def digest_of(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()

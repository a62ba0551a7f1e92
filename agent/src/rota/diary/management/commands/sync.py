"""Bring hosts, their tokens and the administrators in line with the configuration."""

import os
from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from rota.diary import audit
from rota.diary.configuration import Administrator, read_credential
from rota.diary.models import Host, Person, Role, Token
from rota.diary.sessions import forget_ended

ROTATE = "give it another: fab secrets.rotate agent_diary_tokens all --host={}"


class Command(BaseCommand):
    help = "Bring hosts, their tokens and the administrators in line with the configuration."

    def handle(self, *args: object, **options: object) -> None:
        password = read_credential(os.environ, "diary_admin_password")
        now = timezone.now()
        with transaction.atomic():
            changes = [
                *sync_tokens(settings.CONFIGURATION.host_tokens, now=now),
                *sync_environments(settings.CONFIGURATION.host_environments),
                *sync_administrators(settings.CONFIGURATION.administrators, password),
            ]
        forget_ended(now=now)
        for change in changes or ["nothing to change"]:
            self.stdout.write(change)


def sync_tokens(wanted: Mapping[str, str], *, now: datetime) -> list[str]:
    """Make each configured token valid for its host, and every other one invalid; return what changed."""
    changes = []
    for name, digest in sorted(wanted.items()):
        host, _ = Host.objects.get_or_create(name=name)
        token, is_new = Token.objects.get_or_create(digest=digest, defaults={"host": host})
        if token.revoked_by_id is not None:
            changes.append(f"{name}: its token was revoked in the diary and stays so; {ROTATE.format(name)}")
        elif is_new or token.revoked is not None or token.host_id != host.pk:
            Token.objects.filter(pk=token.pk).update(host=host, revoked=None)
            audit.note(None, "token accepted", host, {"token": token.pk})
            changes.append(f"{name}: token accepted")
    for token in Token.objects.filter(revoked=None).exclude(digest__in=wanted.values()).select_related("host"):
        Token.objects.filter(pk=token.pk).update(revoked=now)
        audit.note(None, "token revoked", token.host, {"token": token.pk})
        changes.append(f"{token.host.name}: an earlier token revoked")
    return changes


def sync_environments(wanted: Mapping[str, str]) -> list[str]:
    """Say of each configured host that exists which environment it is of; records that claim another are refused."""
    changes = []
    for name, environment in sorted(wanted.items()):
        if Host.objects.filter(name=name).exclude(environment=environment).update(environment=environment):
            changes.append(f"{name}: is of {environment}")
    return changes


def sync_administrators(wanted: tuple[Administrator, ...], password: str | None) -> list[str]:
    """Make the configured administrators; a password somebody has chosen since is left alone."""
    changes = []
    for each in wanted:
        person = Person.objects.filter(email=each.email).first()
        if person is None:
            made = Person.objects.create_user(each.email, password, name=each.name, role=Role.ADMINISTRATOR)
            audit.note(None, "person made", made, {"role": made.role})
            changes.append(f"{each.email}: made an administrator{'' if password else ' who has no password yet'}")
        elif not person.has_usable_password() and password:
            person.set_password(password)
            person.save(update_fields=["password"])
            audit.note(None, "password changed", person, {"by": "configuration"})
            changes.append(f"{each.email}: initial password set")
        if person is not None and (person.role != Role.ADMINISTRATOR or not person.is_active):
            Person.objects.filter(pk=person.pk).update(role=Role.ADMINISTRATOR, is_active=True)
            audit.note(None, "role changed", person, {"from": person.role, "to": Role.ADMINISTRATOR})
            changes.append(f"{each.email}: is an administrator again")
    return changes

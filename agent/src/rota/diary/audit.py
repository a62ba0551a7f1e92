"""The audit log: who changed what, when, and from where; also who was refused."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.utils import timezone

from rota.core.record import storable
from rota.diary import visitor
from rota.diary.models import AuditEntry, Person

COMMAND = "rota-diary"
"""Who acts where nobody asked over HTTP: whoever may start the command on the diary's host."""


def note(
    person: Person | None,
    action: str,
    subject: models.Model | str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write down a change, within the transaction that makes it: both are there, or neither is.

    `person` is None where nobody is logged in. `action` says in a few words what was done (`role changed`), `subject`
    on what, as a row or a name; `detail` is what JSON can hold, and no secret.
    """
    asking = visitor.current.get()
    return AuditEntry.objects.create(
        at=timezone.now(),
        person=person,
        who=person.email if person else ("" if asking else COMMAND),
        address=asking.address if asking else "",
        action=action,
        detail=dict(detail or {}),
        **described(subject),
    )


def described(subject: models.Model | str | None) -> dict[str, str]:
    if isinstance(subject, models.Model):
        kind, key, name = str(subject._meta.model_name), str(subject.pk), str(subject)
    else:
        kind, key, name = "", "", subject or ""
    return {"subject_kind": kind, "subject_id": key[:255], "subject_name": storable(name)[:255]}

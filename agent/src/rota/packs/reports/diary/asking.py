"""Asking for runs: of what is saved, or a dry run of what stands in a form; who may see them, and how they stand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from rota.core.errors import RotaError
from rota.diary import audit
from rota.diary.configuration import Form
from rota.diary.models import Person
from rota.diary.rights import person_of
from rota.packs.reports import asking, names
from rota.packs.reports import definitions as values
from rota.packs.reports.asking import Standing, State
from rota.packs.reports.attempt import Trigger
from rota.packs.reports.definitions import Definitions
from rota.packs.reports.dependencies import reachable
from rota.packs.reports.diary import places
from rota.packs.reports.diary.editing import refuse_shared, refuse_taken, with_code
from rota.packs.reports.diary.keeping import definitions_of_database, task_value
from rota.packs.reports.diary.models import ApiToken, Asked, Task
from rota.packs.reports.diary.options import is_busy_now, options
from rota.packs.reports.diary.rights import clients_of

SOON = timedelta(seconds=30)
"""In which a host takes a request up, unless something is wrong there."""
KEPT = timedelta(days=30)
NEWEST = 5
WORKER = ("-m", "rota.diary.manage", "answer_reports")


class BusyNow(RotaError):
    """No report is run by hand at this time."""


class NobodyRuns(RotaError):
    """Reports cannot be run from here."""


@dataclass(frozen=True)
class Seen:
    """A run that was asked for, as pages show it."""

    asked: Asked
    standing: Standing
    is_late: bool

    @property
    def word(self) -> str:
        """How it stands; another word whenever a page has to be made anew."""
        if self.asked.withdrawn:
            return "withdrawn"
        return "late" if self.is_late else str(self.standing.state)

    @property
    def is_open(self) -> bool:
        return self.word in ("waiting", "late", "running")


def is_embedded() -> bool:
    return settings.CONFIGURATION.form is Form.EMBEDDED


def why_nobody_runs() -> str:
    """Why no run can be asked for, in a sentence; "" where it can."""
    if is_embedded():
        if shutil.which("bwrap"):
            return ""
        return _("This machine has no bubblewrap, in whose sandbox scripts run; on Debian: apt-get install bubblewrap")
    folder = places.workplace().asked
    if os.access(folder, os.W_OK | os.X_OK):
        return ""
    return _("The diary cannot write %(folder)s, where the task reports_asked takes up what is asked for.") % {
        "folder": folder
    }


def run_now(task: Task, *, by: Person) -> Asked:
    """Have a report made as it is saved; while the same person's request for just this waits, that one is meant.

    One that waits with what is saved no more is withdrawn. Raises BusyNow, NobodyRuns, NotTaken, NothingToRun,
    BadScript, UnknownImports.
    """
    value = task_value(task)
    definitions = asking.needed(definitions_of_database(), value)
    before = Asked.objects.filter(task=task, person=by, is_dry_run=False, withdrawn=None).order_by("-at").first()
    if before and asking.standing(places.workplace(), str(before.pk)).state is State.WAITING:
        if asking.requested(places.workplace(), str(before.pk)) == (definitions, value):
            return before
        withdraw(before, by=by)
    return ask(Asked(client=task.client, task=task, file_name=task.file_name, is_dry_run=False, person=by), definitions)


def run_for(token: ApiToken, task: Task, *, is_dry_run: bool) -> Asked:
    """For a program. What is wrong with the report is for its host to say, as of every run of a program.

    Raises BusyNow, NobodyRuns, NotTaken.
    """
    defined, value = definitions_of_database(), task_value(task)
    try:
        definitions = asking.needed(defined, value)
    except RotaError:
        definitions = with_libraries(defined, value)
    asked = Asked(client=task.client, task=task, file_name=task.file_name, is_dry_run=is_dry_run, token=token)
    return ask(asked, definitions)


def with_libraries(defined: Definitions, task: values.Task) -> Definitions:
    """A report that cannot run, with what it could have imported."""
    script = defined.script_of(task)
    return Definitions(
        clients=(replace(defined.client_of(task), password="", access_key="", notes=""),),
        tasks=(task,),
        scripts=((script,) if script else ()) + tuple(defined.snippets.values()),
        queries=tuple(reachable(script, defined).values()) if script else (),
    )


def try_out(task: Task, said: Mapping[str, Any], *, script: str, query: str, by: Person, opened: str) -> Asked:
    """Have a dry run made of what stands in a report's form. Raises BadName, and all that `run_now` raises."""
    names.check_file_name(said["file_name"])
    refuse_taken(task, said["file_name"])
    refuse_shared(task, names.code_name(task.client.username, said["file_name"]))
    definitions, tried = with_tried(definitions_of_database(), task, said, script=script, query=query)
    saved = None if task._state.adding else task
    asked = Asked(
        client=task.client, task=saved, file_name=tried.file_name, is_dry_run=True, person=by, opened=opened[:100]
    )
    return ask(asked, asking.needed(definitions, tried))


def with_tried(
    defined: Definitions, task: Task, said: Mapping[str, Any], *, script: str, query: str
) -> tuple[Definitions, values.Task]:
    """What is defined, as if the form had been saved; and the report as it would be then."""
    defined, script_now = with_code(defined, task, said["file_name"], script=script, query=query)
    columns = {each: said[each] for each in said if each != "checks"}
    tried = task_value(Task(id=task.id, client=task.client, checks=said["checks"], **columns))
    tried = replace(tried, id_script=script_now.id, extension=names.extension_of(tried.file_name))
    return replace(defined, tasks=(*(each for each in defined.tasks if each.id != tried.id), tried)), tried


def ask(asked: Asked, definitions: Definitions) -> Asked:
    """Keep who asks for what, and leave it for the host. Raises BusyNow, NobodyRuns, NotTaken."""
    now = timezone.now()
    refuse_busy()
    if reason := why_nobody_runs():
        raise NobodyRuns(reason)
    places.prepare()
    asked.at = now
    action = "report trial asked for" if asked.is_dry_run else "report run asked for"
    with transaction.atomic():
        Asked.objects.filter(at__lt=now - KEPT).delete()
        asked.save(force_insert=True)
        audit.note(asked.person, action, asked.task or str(asked), {"token": str(asked.token)} if asked.token else {})
        (task,) = definitions.tasks
        asking.ask(
            places.workplace(),
            str(asked.pk),
            definitions,
            task=task.id,
            trigger=Trigger.DRY_RUN if asked.is_dry_run else Trigger.RUN_NOW,
            asked_by=asker_of(asked),
        )
    start_worker()
    return asked


def refuse_busy() -> None:
    """Raises BusyNow."""
    said = options()
    if is_busy_now(said):
        until = (datetime.combine(timezone.localdate(), said.busy_start) + timedelta(hours=said.busy_hours)).time()
        raise BusyNow(
            _("from %(start)s to %(end)s the night's reports are made")
            % {"start": f"{said.busy_start:%H:%M}", "end": f"{until:%H:%M}"}
        )


def asker_of(asked: Asked) -> str:
    if asked.person:
        return asked.person.email
    return f"token {asked.token}" if asked.token else ""


def start_worker() -> None:
    """In the embedded form nothing watches the folder, so whoever asks has it answered."""
    if is_embedded():
        subprocess.Popen([sys.executable, *WORKER], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def withdraw(asked: Asked, *, by: Person) -> bool:
    """Whether the host had not taken it up; then it never will."""
    if not asking.withdraw(places.workplace(), str(asked.pk)):
        return False
    with transaction.atomic():
        Asked.objects.filter(pk=asked.pk).update(withdrawn=timezone.now())
        audit.note(by, "report run withdrawn", asked.task or str(asked))
    return True


def seen(asked: Asked) -> Seen:
    standing = asking.standing(places.workplace(), str(asked.pk))
    is_late = standing.state is State.WAITING and timezone.now() - asked.at > SOON
    return Seen(asked, standing, is_late)


def newest_of(person: Person, task: Task) -> list[Seen]:
    """The person's own of this report, newest first."""
    rows = Asked.objects.filter(task=task, person=person).select_related("client").order_by("-at")[:NEWEST]
    return [seen(each) for each in rows]


def asked_for(request: HttpRequest, identifier: UUID) -> Asked:
    """Of whoever asked, while they are an editor of its client, and of administrators.

    Raises PermissionDenied for others, be it there or not; Http404 for administrators.
    """
    person = person_of(request)
    asked = Asked.objects.select_related("client", "task", "person", "token").filter(pk=identifier).first()
    if asked is not None and (person.may_administer or is_own(asked, person)):
        return asked
    raise Http404 if person.may_administer else PermissionDenied


def is_own(asked: Asked, person: Person) -> bool:
    return asked.person_id == person.pk and clients_of(person).filter(pk=asked.client_id).exists()


def tried_values(asked: Asked) -> dict[str, Any] | None:
    """What stood in the form of a dry run, for who goes on writing; None where it is kept no longer."""
    found = asking.requested(places.workplace(), str(asked.pk))
    if found is None:
        return None
    definitions, task = found
    script = definitions.script_of(task)
    query = definitions.query_of(script) if script else None
    said = values.as_mapping(task)
    return {**said, "script": script.body if script else "", "query": query.body if query else ""}

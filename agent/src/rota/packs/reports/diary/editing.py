"""Changes of clients, reports and libraries: each checked by the rules, in one transaction, with history and audit."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils.translation import gettext as _

from rota.core.errors import RotaError
from rota.diary import audit
from rota.diary.models import Person
from rota.packs.reports import definitions as values
from rota.packs.reports import dependencies, guard, names
from rota.packs.reports.definitions import Definitions
from rota.packs.reports.diary.keeping import (
    definitions_of_database,
    history_value,
    keep,
    query_value,
    script_value,
    token_of,
)
from rota.packs.reports.diary.models import Client, History, Query, Script, ScriptType, Task
from rota.packs.reports.names import BadName
from rota.packs.reports.syntax import BadScript

Library = Script | Query
RESTORED = (
    "file_name", "description", "start_date", "frequency", "month_end", "catch_up", "checks", "shrink_percent", "keep",
    "timeout", "memory", "is_active", "is_public", "notes",
)  # fmt: skip
"""A task's columns that people change, and its history can bring back."""
KEY_BYTES = 16
PASSWORD_BYTES = 12


class InUse(RotaError):
    """This is still in use."""


class ChangedMeanwhile(RotaError):
    """Somebody else has changed this since you opened it."""


@dataclass(frozen=True)
class Remark:
    """What an editor is told of a script, and of which line; 0 where it is of the whole."""

    line: int
    column: int
    text: str
    kind: str
    """`error` for what cannot run, `warning` for what the guard finds."""

    def as_json(self) -> dict[str, object]:
        return {"line": self.line, "column": self.column, "text": self.text, "kind": self.kind}


# -- clients


def make_client(username: str, name: str, *, by: Person) -> Client:
    """Raises BadName."""
    names.check_username(username)
    names.check_client_name(name)
    if Client.objects.filter(username__iexact=username).exists():
        raise BadName(_("%(name)s: there is a client of this name already") % {"name": username})
    refuse_hidden(username)
    made = Client(username=username, name=name.strip())
    with transaction.atomic():
        keep(made, by=by)
        audit.note(by, "client made", made)
    return made


def change_client(client: Client, said: Mapping[str, str], *, by: Person) -> None:
    """Its name and notes, and while it has no reports, which are named by it, its user name too. Raises BadName."""
    username = said.get("username", client.username)
    names.check_client_name(said["name"])
    if username != client.username:
        names.check_username(username)
        if client.tasks.exists():
            raise BadName(_("%(name)s has reports, which are named by it") % {"name": client.username})
        if Client.objects.filter(username__iexact=username).exclude(pk=client.pk).exists():
            raise BadName(_("%(name)s: there is a client of this name already") % {"name": username})
        refuse_hidden(username)
    before = history_value(client)
    client.username, client.name, client.notes = username, said["name"].strip(), said.get("notes", client.notes)
    with transaction.atomic():
        keep(client, by=by)
        audit.note(by, "client changed", client, {"changed": changed(before, history_value(client))})


def refuse_hidden(username: str) -> None:
    """A library query of the same name would hide the client's own queries. Raises BadName."""
    for name in Query.objects.filter(is_library=True, name=username.lower()).values_list("name", flat=True):
        names.check_library_query(name, [username])


def delete_client(client: Client, *, by: Person) -> None:
    """Raises InUse while it has reports."""
    with transaction.atomic():
        Client.objects.select_for_update().get(pk=client.pk)
        if client.tasks.exists():
            raise InUse(_("%(client)s has reports; delete these first") % {"client": client})
        audit.note(by, "client deleted", client)
        client.delete()


def new_key(client: Client, *, by: Person) -> str:
    """A key to be shown once; the one before opens nothing any more."""
    key = secrets.token_hex(KEY_BYTES)
    save_secret(client, "access_key", hashlib.sha256(key.encode()).hexdigest(), by, "client's key made")
    return key


def new_password(client: Client, *, by: Person) -> str:
    """A password to be shown once; who was logged in with the one before is so no more."""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    save_secret(client, "password", make_password(password), by, "client's password made")
    return password


def remove_key(client: Client, *, by: Person) -> None:
    save_secret(client, "access_key", None, by, "client's key removed")


def remove_password(client: Client, *, by: Person) -> None:
    save_secret(client, "password", None, by, "client's password removed")


def save_secret(client: Client, column: str, value: str | None, by: Person, action: str) -> None:
    setattr(client, column, value)
    with transaction.atomic():
        keep(client, by=by)
        audit.note(by, action, client)


def set_editors(client: Client, people: Iterable[Person], *, by: Person) -> None:
    with transaction.atomic():
        client.editors.set(people)
        audit.note(by, "editors changed", client, {"people": sorted(each.email for each in client.editors.all())})


# -- reports


def token_of_report(task: Task) -> str:
    return token_of((task, task.script, task.script.query if task.script else None))


def save_report(task: Task, said: Mapping[str, Any], *, script: str, query: str, by: Person, token: str | None) -> None:
    """Save a report with its script and query, or nothing of it.

    `said` are its own columns; the name of script and query follows from that of the file. `token` is what the form
    was opened with, None for what is new. Raises BadName, ChangedMeanwhile, InUse where its name would change and
    others import its query by it.
    """
    is_new = task._state.adding
    names.check_file_name(said["file_name"])
    with transaction.atomic():
        # Two who save at one moment take turns, and the second is told.
        Client.objects.select_for_update().get(pk=task.client_id)
        if not is_new:
            task = Task.objects.select_related("client", "script__query").get(pk=task.pk)
            if token != token_of_report(task):
                raise ChangedMeanwhile(_("what you wrote is still in the form, beside what is there now"))
        before = {} if is_new else texts_of_report(task)
        refuse_taken(task, said["file_name"])
        name = names.code_name(task.client.username, said["file_name"])
        if not is_new and name != names.code_name(task.client.username, task.file_name):
            refuse_imported(task)
        for column, value in said.items():
            setattr(task, column, value)
        task.extension = names.extension_of(task.file_name)
        refuse_shared(task, name)
        save_code(task, name, script=script, query=query, by=by)
        keep(task, by=by)
        audit.note(
            by,
            "report made" if is_new else "report changed",
            task,
            {"changed": changed(before, texts_of_report(task))},
        )


def refuse_taken(task: Task, file_name: str) -> None:
    """Names that differ by case alone are one, for scripts are named by the lower case."""
    others = Task.objects.filter(client=task.client_id, file_name__iexact=file_name).exclude(pk=task.pk)
    if others.exists():
        raise BadName(_("%(name)s: the client has a report of this name already") % {"name": file_name})


def refuse_shared(task: Task, name: str) -> None:
    """`a.b_c` and `a_b.c` are two files, and would be one module."""
    script, query = task.script, task.script.query if task.script else None
    scripts = Script.objects.filter(name=name).exclude(pk=script.pk if script else None)
    queries = Query.objects.filter(name=name).exclude(pk=query.pk if query else None)
    if scripts.exists() or queries.exists():
        raise BadName(_("%(name)s: another report's script or query is called so") % {"name": name})


def save_code(task: Task, name: str, *, script: str, query: str, by: Person) -> None:
    row = task.script or Script(type=ScriptType.MAIN)
    main = row.query or Query()
    if main.is_library:  # of the original: a library may stand where a report's own query should
        main = Query()
    set_code(main, name, query, by=by)
    row.query = main
    set_code(row, name, script, by=by)
    task.script = row


def set_code(row: Library, name: str, body: str, *, by: Person) -> None:
    """Browsers send lines with carriage returns; what is kept has none."""
    row.name, row.body = name, lines_of(body)
    keep(row, by=by)


def lines_of(body: str) -> str:
    return body.replace("\r\n", "\n").replace("\r", "\n")


def delete_report(task: Task, *, by: Person) -> None:
    """With its script and query; its history stays, and what was published stays with the client's files.

    Raises InUse where other reports import its query.
    """
    with transaction.atomic():
        Client.objects.select_for_update().get(pk=task.client_id)
        refuse_imported(task)
        audit.note(by, "report deleted", task)
        script = task.script
        query = script.query if script else None
        task.delete()
        if script and not script.tasks.exists():
            script.delete()
        if query and not query.is_library and not query.scripts.exists():
            query.delete()


def refuse_imported(task: Task) -> None:
    """Raises InUse where other reports of the client import this one's query."""
    query = task.script.query if task.script else None
    if query is None or query.is_library:
        return
    own = f"{task.client.username.lower()}:"
    others = [each for each in where_used(query) if each.pk != task.script_id and each.name.startswith(own)]
    refuse_used(query, others)


def texts_of_report(task: Task) -> dict[str, Any]:
    """All that a report says, as its history shows it."""
    script = task.script
    query = script.query if script else None
    return {
        **history_value(task),
        "script": script.body if script else "",
        "query": query.body if query else "",
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Which fields are another than before; nothing of what they say, for the audit log is no place for that."""
    return sorted(name for name in after if before.get(name) != after[name])


# -- libraries


def save_library(row: Library, *, name: str, body: str, notes: str, by: Person, token: str | None) -> None:
    """Raises BadName, InUse where a name is in use and would change, ChangedMeanwhile."""
    is_new = row._state.adding
    names.check_library_name(name)
    model = type(row)
    if isinstance(row, Query):
        names.check_library_query(name, Client.objects.filter(username__iexact=name).values_list("username", flat=True))
    with transaction.atomic():
        if not is_new:
            row = model.objects.select_for_update().get(pk=row.pk)
            if token != token_of((row,)):
                raise ChangedMeanwhile(_("what you wrote is still in the form, beside what is there now"))
            if name != row.name:
                refuse_in_use(row)
        if model.objects.filter(name=name).exclude(pk=row.pk).exists():
            raise BadName(_("%(name)s: there is one of this name already") % {"name": name})
        before = {} if is_new else history_value(row)
        if isinstance(row, Script):
            row.type = ScriptType.SNIP
        else:
            row.is_library = True
        row.name, row.body, row.notes = name, lines_of(body), notes
        keep(row, by=by)
        action = "library made" if is_new else "library changed"
        audit.note(by, action, row, {"changed": changed(before, history_value(row))})


def delete_library(row: Library, *, by: Person) -> None:
    """Raises InUse."""
    with transaction.atomic():
        refuse_in_use(row)
        audit.note(by, "library deleted", row)
        row.delete()


def refuse_in_use(row: Library) -> None:
    refuse_used(row, where_used(row))


def refuse_used(row: Library, users: Iterable[Script]) -> None:
    """Raises InUse, naming them."""
    if said := ", ".join(map(str, users)):
        raise InUse(_("%(name)s is used by %(users)s") % {"name": row.name, "users": said})


def where_used(row: Library) -> list[Script]:
    """The scripts that import this, by name; a text that is no Python is looked at as the original did."""
    return [each for each in Script.objects.exclude(pk=row.pk).order_by("name") if uses(each, row)]


def uses(script: Script, row: Library) -> bool:
    if isinstance(row, Query) and script.query_id == row.pk:
        return True
    kind = dependencies.Kind.SNIPPET if isinstance(row, Script) else dependencies.Kind.QUERY
    try:
        found = dependencies.imports_of(script.body, script.name, is_library=script.type == ScriptType.SNIP)
    except BadScript:
        return f"import {row.name.rpartition(':')[2]}" in script.body
    return any(each.kind is kind and row.name in (each.name, each.parent) for each in found)


# -- findings


def remarks_on_report(task: Task, file_name: str, *, script: str, query: str) -> list[Remark]:
    """What is wrong with a report's script as it stands in the form, under the file name that stands there."""
    defined, value = with_code(definitions_of_database(), task, file_name, script=script, query=query)
    return remarks_on(value, defined)


def remarks_on_library(name: str, body: str) -> list[Remark]:
    """The same of a library, or of a script that is nobody's yet."""
    value = replace(script_value(Script(name=name, type=ScriptType.SNIP)), body=lines_of(body))
    return remarks_on(value, definitions_of_database())


def remarks_on(script: values.Script, defined: Definitions) -> list[Remark]:
    """Syntax, unknown imports, and what the guard finds."""
    try:
        warned = guard.inspect(script.body, script.name)
    except BadScript as error:
        return [Remark(error.line, error.column, error.reason, "error")]
    found = [Remark(each.line, each.column, each.word, "warning") for each in warned]
    try:
        dependencies.collect(script, defined)
    except dependencies.UnknownImports as error:
        found += [remark_of(each) for each in error.unknown if each.script == script.name]
    except BadScript as error:
        found.append(Remark(0, 0, str(error), "error"))
    return sorted(found, key=lambda each: (each.line, each.column))


def with_code(
    defined: Definitions, task: Task, file_name: str, *, script: str, query: str
) -> tuple[Definitions, values.Script]:
    """What is defined, as if a report had been saved with these under this name; and its script."""
    name = names.code_name(task.client.username, file_name)
    before = task.script or Script()
    main = before.query if before.query and not before.query.is_library else Query()
    query_now = replace(query_value(Query(id=main.id, name=name)), body=lines_of(query))
    script_now = replace(
        script_value(Script(id=before.id, name=name, type=ScriptType.MAIN)), body=lines_of(script), id_query=main.id
    )
    return (
        replace(
            defined,
            scripts=(*(each for each in defined.scripts if each.id != script_now.id), script_now),
            queries=(*(each for each in defined.queries if each.id != query_now.id), query_now),
        ),
        script_now,
    )


def remark_of(unknown: dependencies.Unknown) -> Remark:
    wanted = unknown.wanted
    return Remark(wanted.line, wanted.column, f"{wanted.kind} has no {wanted.name!r}{unknown.hint}", "error")


# -- history


def history_of_report(task: Task) -> list[History]:
    """All that was said of a report, its script and its query, newest first."""
    rows = {"task": task.pk, "script": task.script_id, "query": task.script.query_id if task.script else None}
    found = History.objects.none()
    for what, row in rows.items():
        found = found | History.objects.filter(what=what, row=row)
    return list(found.order_by("-id"))


def restore_report(task: Task, entry: History, *, by: Person) -> str:
    """Make it, or its script or query, what this line of its history says; returns its file name.

    Raises BadName where another report has taken the name meanwhile.
    """
    said = {each: getattr(task, each) for each in RESTORED}
    script = task.script.body if task.script else ""
    query = task.script.query.body if task.script and task.script.query else ""
    if entry.what == "script":
        script = entry.value["body"]
    elif entry.what == "query":
        query = entry.value["body"]
    else:
        said |= {each: entry.value[each] for each in RESTORED if each in entry.value}
        said["start_date"] = date.fromisoformat(entry.value["start_date"])
    with transaction.atomic():
        save_report(task, said, script=script, query=query, by=by, token=token_of_report(task))
        audit.note(by, "report restored", task, {"from": entry.at.isoformat()})
    return str(said["file_name"])


def restore_library(row: Library, entry: History, *, by: Person) -> None:
    """Make its text what this line of its history says; its name stays, for others import it."""
    with transaction.atomic():
        save_library(
            row, name=row.name, body=entry.value["body"], notes=entry.value["notes"], by=by, token=token_of((row,))
        )
        audit.note(by, "library restored", row, {"from": entry.at.isoformat()})

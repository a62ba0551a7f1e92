"""Definitions as values out of the tables and into them, each change with a line in the history."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from rota.diary import audit
from rota.diary.models import Person
from rota.packs.reports import definitions as values
from rota.packs.reports.definitions import BadDefinitions, Definition, Definitions
from rota.packs.reports.diary.models import Client, Edited, History, Query, Script, Task
from rota.packs.reports.names import check_definitions

Row = Client | Query | Script | Task
KINDS: Mapping[type[Definition], type[Row]] = {
    values.Client: Client,
    values.Query: Query,
    values.Script: Script,
    values.Task: Task,
}
COLUMNS = {"id_homedir": "client_id", "id_script": "script_id", "id_query": "query_id"}
"""Fields of values that a model calls otherwise."""
SECRETS = ("password", "access_key")


def definitions_of_database() -> Definitions:
    """All that is defined, as it was at one moment."""
    with one_moment():
        return Definitions(
            clients=tuple(map(client_value, Client.objects.order_by("username"))),
            tasks=tuple(map(task_value, Task.objects.order_by("client__username", "file_name"))),
            scripts=tuple(map(script_value, Script.objects.order_by("name"))),
            queries=tuple(map(query_value, Query.objects.order_by("name"))),
        )


@contextmanager
def one_moment() -> Iterator[None]:
    """Whatever is read within is of the same moment; within a transaction of somebody else, as far as that goes."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def client_value(row: Client) -> values.Client:
    return values.Client(
        id=row.id,
        name=row.name,
        username=row.username,
        password=row.password or "",
        access_key=row.access_key or "",
        is_editable=row.is_editable,
        notes=row.notes,
    )


def query_value(row: Query) -> values.Query:
    return values.Query(
        id=row.id, name=row.name, body=row.body, params=row.params, notes=row.notes, is_library=row.is_library
    )


def script_value(row: Script) -> values.Script:
    return values.Script(
        id=row.id,
        name=row.name,
        type=values.ScriptType(row.type),
        id_query=row.query_id,
        body=row.body,
        params=row.params,
        notes=row.notes,
    )


def task_value(row: Task) -> values.Task:
    return values.Task(
        id=row.id,
        id_homedir=row.client_id,
        id_script=row.script_id,
        file_name=row.file_name,
        extension=row.extension,
        description=row.description,
        start_date=row.start_date,
        frequency=values.Frequency(row.frequency),
        is_active=row.is_active,
        is_public=row.is_public,
        notes=row.notes,
        month_end=values.MonthEnd(row.month_end),
        catch_up=row.catch_up,
        checks=tuple(map(values.Check, row.checks)),
        shrink_percent=row.shrink_percent,
        keep=row.keep,
        timeout=row.timeout,
        memory=row.memory,
    )


def value_of(row: Row) -> Definition:
    if isinstance(row, Client):
        return client_value(row)
    if isinstance(row, Query):
        return query_value(row)
    return script_value(row) if isinstance(row, Script) else task_value(row)


def save_definitions(definitions: Definitions, *, by: Person | None) -> dict[str, int]:
    """Make or change what these define; what they do not name stays. All of it is kept, or nothing.

    Returns how many of each kind were made or changed. Raises BadDefinitions where they do not go with what is there.
    """
    changed: dict[str, int] = {}
    try:
        with transaction.atomic():
            refuse_clashes(definitions)
            # Each kind after those it refers to.
            for kind in ("clients", "queries", "scripts", "tasks"):
                changed[kind] = sum(save_value(each, by=by) for each in getattr(definitions, kind))
            audit.note(by, "reports imported", None, changed)
    except IntegrityError as error:
        raise BadDefinitions(f"the diary has something else by one of these names: {error}") from None
    return changed


def refuse_clashes(definitions: Definitions) -> None:
    """Raises BadDefinitions, telling which names and references are wrong together with what the diary has."""
    there = definitions_of_database()
    wrong = set(check_definitions(there))
    new = [each for each in check_definitions(with_these(there, definitions)) if each not in wrong]
    if new:
        raise BadDefinitions("with what the diary has: " + "; ".join(new))


def with_these(there: Definitions, these: Definitions) -> Definitions:
    """What is there once these are taken. Raises BadDefinitions."""
    kinds = {kind: {each.id: each for each in (*getattr(there, kind), *getattr(these, kind))} for kind in values.KINDS}
    return Definitions(**{kind: tuple(found.values()) for kind, found in kinds.items()})


def save_value(value: Definition, *, by: Person | None) -> bool:
    """Whether that changed anything."""
    model = KINDS[type(value)]
    row: Row | None = model._default_manager.filter(pk=value.id).first()
    if isinstance(row, Client) and isinstance(value, values.Client):
        # Who leaves secrets out of a folder does not take them away from the client.
        value = replace(
            value, password=value.password or row.password or "", access_key=value.access_key or row.access_key or ""
        )
    if row is not None and value_of(row) == value:
        return False
    made = row or model(id=value.id)
    for name, each in columns(value).items():
        setattr(made, name, each)
    keep(made, by=by)
    return True


def columns(value: Definition) -> dict[str, Any]:
    """By the model's names for them; what is unique is None where there is none."""
    said = {COLUMNS.get(name, name): each for name, each in values.as_mapping(value).items() if name != "id"}
    if isinstance(value, values.Task):
        said["start_date"] = value.start_date
    return said | {name: said[name] or None for name in SECRETS if name in said}


def keep(row: Row, *, by: Person | None) -> None:
    """Save a row, and say in the history what it is from now on."""
    row.updated_by = by.email if by else ""
    # What is new is inserted: never is another's row overwritten that has the same id.
    row.save(force_insert=row._state.adding)
    remember(row, by=by)


def remember(row: Row, *, by: Person | None) -> None:
    said = history_value(row)
    newest = history_of(row).first()
    if newest is None or newest.value != said:
        History.objects.create(
            what=kind_of(row), row=row.pk, value=said, who=by.email if by else audit.COMMAND, at=timezone.now()
        )


def history_value(row: Row) -> dict[str, Any]:
    return {name: each for name, each in values.as_mapping(value_of(row)).items() if name not in SECRETS}


def history_of(row: Row) -> "models.QuerySet[History]":
    """Newest first."""
    return History.objects.filter(what=kind_of(row), row=row.pk).order_by("-id")


def kind_of(row: Row) -> str:
    return str(row._meta.model_name)


def token_of(rows: Iterable[Edited | None]) -> str:
    """What changes whenever somebody changes one of these: a form carries it, to see whether it is still current."""
    return "~".join(f"{row.updated_at.timestamp():.6f}" if row else "-" for row in rows)

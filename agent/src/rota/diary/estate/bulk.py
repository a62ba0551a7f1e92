"""Many rows at once, by the quickest way that each database has: COPY, or one statement for many."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BigAutoField, Model

ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def insert(model: type[Model], rows: Iterable[Model]) -> None:
    """Insert these rows, whose ids the database gives where it makes them. Runs within the caller's transaction."""
    names = [field.attname for field in model._meta.concrete_fields if not isinstance(field, BigAutoField)]
    values = ([getattr(row, name) for name in names] for row in rows)
    columns = [field.column for field in model._meta.concrete_fields if not isinstance(field, BigAutoField)]
    write = copy if connection.vendor == "postgresql" else insert_many
    write(model._meta.db_table, columns, values)


def copy(table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f'COPY "{table}" ({quoted(columns)}) FROM STDIN') as sink,
    ):
        for row in rows:
            sink.write("\t".join([as_copied(value) for value in row]) + "\n")


def insert_many(table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    marks = ", ".join("?" * len(columns))
    connection.ensure_connection()
    raw: Any = connection.connection
    raw.executemany(
        f'INSERT INTO "{table}" ({quoted(columns)}) VALUES ({marks})',  # noqa: S608 - the names of our own tables
        ([as_bound(value) for value in row] for row in rows),
    )


def quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def as_copied(value: object) -> str:
    """The value in COPY's text format (PostgreSQL's manual, SQL commands, COPY)."""
    if value is None:
        return "\\N"
    kind = COPIED.get(type(value))
    return kind(value) if kind else str(value).translate(ESCAPES)


def as_bound(value: object) -> object:
    """The value as Django keeps it in SQLite."""
    kind = BOUND.get(type(value))
    return kind(value) if kind else value


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


COPIED: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "t" if value else "f",
    int: str,
    float: repr,
    datetime: datetime.isoformat,
    UUID: str,
    dict: lambda value: as_json(value).translate(ESCAPES),
    list: lambda value: as_json(value).translate(ESCAPES),
}
BOUND: dict[type, Callable[[Any], object]] = {
    datetime: lambda value: str(value.astimezone(UTC).replace(tzinfo=None)),
    UUID: lambda value: value.hex,
    dict: as_json,
    list: as_json,
}

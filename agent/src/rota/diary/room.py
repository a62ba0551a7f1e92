"""The room that the diary takes in its database, and how that gives back to the disk what is free of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper

PAGES = 1000
"""Of SQLite's file, given back at a time: a few mebibytes, so that nobody waits long."""
REWRITTEN = 1024**3
"""Bytes of a table that PostgreSQL may write anew: for those few seconds nobody else reads or writes it."""
WORTH_IT = 2
"""A table is written anew where its files are so many times as large as what is in it, and not small."""
SMALL = 1024**2
PATIENCE = "3s"
"""How long a table is waited for that somebody reads; then it has its turn another night."""
TABLES: Mapping[str, tuple[str, int, float]] = {
    "diary_run": ("parameters", 900, 1),
    "diary_output": ("text", 150, 1),
    "diary_item": ("message", 160, 1),
    "diary_words": ("words", 150, 1.6),
}
"""The tables that grow with the runs, in PostgreSQL: the column that varies most, what a row takes besides with its
place in each index, in bytes, and how much the column takes with its own index; by trial with made-up runs."""


def room_used() -> int:
    """The bytes in use, without what is free in the files: counted by SQLite, estimated by rows in PostgreSQL."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            return (number(cursor, "PRAGMA page_count") - free_pages(cursor)) * number(cursor, "PRAGMA page_size")
        return sum(room_of(cursor, table) for table in TABLES)


def room_of(cursor: "CursorWrapper", table: str) -> int:
    """What the rows of one of TABLES take in PostgreSQL: values that lie apart tell their size unread."""
    column, row, factor = TABLES[table]
    sizes = f"coalesce(sum(pg_column_size({column})), 0) * {factor} + count(*) * {row}"
    return number(cursor, f"SELECT ({sizes})::bigint FROM {table}")  # noqa: S608 - made of constants


def give_back(*, is_urgent: bool = False) -> None:
    """Give room back to the disk, as far as nobody has to wait for that for long; where it is urgent, all there is."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            merge_index(cursor, is_whole=is_urgent)
            give_back_pages(cursor)
        elif not connection.in_atomic_block:  # VACUUM is for outside of transactions
            for table in TABLES:
                give_back_table(cursor, table)


def merge_index(cursor: "CursorWrapper", *, is_whole: bool) -> None:
    """Merge parts of SQLite's index: by that goes what it has of runs that are gone.

    All of it in steps, the first of a negative number, until one changes nothing (https://sqlite.org/fts5.html 6.8).
    """
    pages, changes = -PAGES if is_whole else PAGES, number(cursor, "SELECT total_changes()")
    while True:
        cursor.execute("INSERT INTO diary_fts (diary_fts, rank) VALUES ('merge', %s)", [pages])
        before, changes = changes, number(cursor, "SELECT total_changes()")
        if not is_whole or changes - before < 2:
            return
        pages = PAGES


def give_back_pages(cursor: "CursorWrapper") -> None:
    free = free_pages(cursor)
    while free:
        cursor.execute(f"PRAGMA incremental_vacuum({PAGES})")
        cursor.fetchall()
        before, free = free, free_pages(cursor)
        if free >= before:
            return  # a file from before there was retention: it gives nothing back until VACUUM rewrites it


def give_back_table(cursor: "CursorWrapper", table: str) -> None:
    """Write the table anew where much of it is free; else only let what comes use that."""
    used, files = room_of(cursor, table), number(cursor, f"SELECT pg_total_relation_size('{table}')")
    if used > REWRITTEN or files < used * WORTH_IT or files < SMALL:
        cursor.execute(f"VACUUM ANALYZE {table}")
        return
    with patience(cursor):
        cursor.execute(f"VACUUM (FULL, ANALYZE) {table}")


@contextmanager
def patience(cursor: "CursorWrapper") -> Iterator[None]:
    """Go without a table that is not to be had in time."""
    cursor.execute(f"SET lock_timeout = '{PATIENCE}'")
    try:
        yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "55P03":  # lock_not_available
            raise
    finally:
        cursor.execute("RESET lock_timeout")


def free_pages(cursor: "CursorWrapper") -> int:
    return number(cursor, "PRAGMA freelist_count")


def number(cursor: "CursorWrapper", statement: str) -> int:
    cursor.execute(statement)
    return int(cursor.fetchone()[0])

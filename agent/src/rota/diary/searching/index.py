"""The index that each database keeps of the runs' words, behind one interface: PostgreSQL's GIN, SQLite's FTS5.

A run's place in it is its key: when it started, in microseconds, and eleven bits to tell runs of one moment apart.
So a list in order of the key is a list in order of time, and a span of keys is a span of time.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol
from uuid import UUID

from django.db import OperationalError, connection, transaction

from rota.core.record import EARLIEST, LATEST
from rota.diary.models import Words
from rota.diary.searching.query import Query, Term
from rota.diary.searching.words import EVERYTHING, Document

TIE_BITS = 11
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHIFTS = (46, 49, 52, 55)
"""Of a key, to tell the block of time it lies in: of 10 hours, 3 days, 25 days, 204 days."""
SIBLINGS = 3
"""Of which eight make a block of the next kind."""
WALKED = {"postgresql": 1000, "sqlite": 250}
"""How many of the nearest runs are looked at one by one, before the index is asked: what every run has is found so."""

ENOUGH = 40
"""Of what was found on the walk: it ends there, and may be gone on with."""

Hit = tuple[int, UUID]


QUERY_CANCELED = "57014"


class TookTooLong(Exception):
    """The index did not answer in time."""


@dataclass(frozen=True, slots=True)
class Span:
    """The keys from `low` on and before `high`; `shift` is the kind of the blocks that it is made of, where it is."""

    low: int
    high: int
    shift: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, and the facts that hold for every run it should find."""

    query: Query
    facts: tuple[str, ...] = ()


class Index(Protocol):
    is_bounded: bool
    """Whether it looks for what a span has not in that span alone: then a search goes by spans, the nearest first.

    FTS5 does not: it goes on to the next hit, wherever that is. To ask for all time takes no longer than for an hour.
    """

    def put(self, documents: Mapping[int, tuple[UUID, Document]]) -> None:
        """Add these documents under their keys, which are free."""

    def forget(self, runs: Sequence[UUID]) -> None:
        """Take the documents of these runs out."""

    def walk(self, asked: Asked, span: Span, *, newest_first: bool) -> tuple[list[Hit], int | None]:
        """What the nearest runs of the span have of it, and the key from which on nothing was looked at, or None."""

    def find(self, asked: Asked, span: Span, most: int, *, newest_first: bool, within: float) -> list[Hit]:
        """The first of those in the span that have it. Raises TookTooLong on PostgreSQL after so many seconds.

        SQLite cannot be stopped while it is within FTS5.
        """


def key_of(started: datetime, identifier: UUID) -> int:
    """The key of a run, unless another has it: see `free_keys`."""
    return first_key(started) + (identifier.int & (1 << TIE_BITS) - 1)


def first_key(moment: datetime) -> int:
    """What no run that started at this moment or later is below."""
    bounded = min(max(moment, EARLIEST), LATEST)
    return ((bounded - EPOCH) // timedelta(microseconds=1)) << TIE_BITS


def moment_of(key: int) -> datetime:
    return EPOCH + timedelta(microseconds=key >> TIE_BITS)


WINDOW = 4096
"""Keys that are read at once."""
LOWEST, HIGHEST = first_key(EARLIEST), first_key(LATEST) + (1 << TIE_BITS)


def free_keys(wanted: Mapping[UUID, int]) -> dict[UUID, int]:
    """A key for each run: the wanted one, or the next that no other run has.

    Thousands of runs may have begun at one moment, so keys that are taken are read by windows, and passed over once.
    """
    taken = set(Words.objects.filter(key__in=wanted.values()).values_list("key", flat=True))
    known: set[int] = set()
    beyond: dict[int, int] = {}
    found: dict[UUID, int] = {}
    for run, key in wanted.items():
        passed = []
        while key in taken:
            passed.append(key)
            key = beyond.get(key, key + 1)
            window = key // WINDOW
            if window not in known:
                known.add(window)
                inside = Words.objects.filter(key__gte=window * WINDOW, key__lt=(window + 1) * WINDOW)
                taken.update(inside.values_list("key", flat=True))
        found[run] = key
        taken.add(key)
        beyond |= dict.fromkeys([*passed, key], key + 1)
    return found


class PostgresIndex:
    """Each run's words are a tsvector in its row; blocks of time are words among them, so GIN finds both at once."""

    is_bounded = True

    def put(self, documents: Mapping[int, tuple[UUID, Document]]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO diary_words (key, run_id, words) VALUES (%s, %s, %s::tsvector)",
                [(key, run, as_vector(document, key)) for key, (run, document) in documents.items()],
            )

    def forget(self, runs: Sequence[UUID]) -> None:
        Words.objects.filter(run_id__in=runs).delete()

    def walk(self, asked: Asked, span: Span, *, newest_first: bool) -> tuple[list[Hit], int | None]:
        # What is inside is walked along the primary key; OFFSET 0 keeps the planner from moving the condition into it.
        most, order = WALKED["postgresql"], direction(newest_first)
        nearest = f"FROM diary_words WHERE key >= %s AND key < %s ORDER BY key {order}"
        statement = f"""
            SELECT key, run_id FROM (SELECT key, run_id, words {nearest} LIMIT %s OFFSET 0) nearest
            WHERE words @@ %s::tsquery LIMIT %s"""  # noqa: S608 - made of constants
        with connection.cursor() as cursor:
            cursor.execute(statement, [span.low, span.high, most, as_tsquery(asked), ENOUGH])
            hits: list[Hit] = cursor.fetchall()
            if len(hits) == ENOUGH:
                return hits, hits[-1][0]
            statement = f"SELECT key {nearest} LIMIT 1 OFFSET %s"  # noqa: S608 - made of constants
            cursor.execute(statement, [span.low, span.high, most - 1])
            last = cursor.fetchone()
        return hits, last[0] if last else None

    def find(self, asked: Asked, span: Span, most: int, *, newest_first: bool, within: float) -> list[Hit]:
        # "+ 0" keeps the planner from walking the primary key instead: it cannot know how far that would be.
        statement = f"""
            SELECT key, run_id FROM diary_words WHERE words @@ %s::tsquery AND key + 0 >= %s AND key + 0 < %s
            ORDER BY key + 0 {direction(newest_first)} LIMIT %s"""  # noqa: S608 - made of constants
        with transaction.atomic(), limited_statement(within), connection.cursor() as cursor:
            cursor.execute(statement, [as_tsquery(asked, blocks(span)), span.low, span.high, most])
            hits: list[Hit] = cursor.fetchall()
        return hits


class SqliteIndex:
    """FTS5 without the texts. It forgets a text only when it is told it, so a row keeps it, compressed."""

    is_bounded = False

    def put(self, documents: Mapping[int, tuple[UUID, Document]]) -> None:
        texts = {key: str(document) for key, (_, document) in documents.items()}
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO diary_words (key, run_id, words) VALUES (%s, %s, %s)",
                [(key, run.hex, packed(texts[key])) for key, (run, _) in documents.items()],
            )
            cursor.executemany("INSERT INTO diary_fts (rowid, words) VALUES (%s, %s)", list(texts.items()))

    def forget(self, runs: Sequence[UUID]) -> None:
        rows = Words.objects.filter(run_id__in=runs)
        told = [("delete", key, unpacked(words)) for key, words in rows.values_list("key", "words")]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO diary_fts (diary_fts, rowid, words) VALUES (%s, %s, %s)", told)
        rows.delete()

    def walk(self, asked: Asked, span: Span, *, newest_first: bool) -> tuple[list[Hit], int | None]:
        most, order = WALKED["sqlite"], direction(newest_first)
        if asked.facts:
            nearest = f"""
                SELECT rowid FROM diary_fts WHERE diary_fts MATCH %s AND rowid >= %s AND rowid < %s
                ORDER BY rowid {order} LIMIT %s"""  # noqa: S608 - made of constants
            values: list[str | int] = [as_match(Asked(Query(), asked.facts)), span.low, span.high, most]
        else:
            window = f"WHERE key >= %s AND key < %s ORDER BY key {order} LIMIT %s"
            nearest = f"SELECT key FROM diary_words {window}"  # noqa: S608 - made of constants
            values = [span.low, span.high, most]
        chosen = f"WHERE key IN ({nearest}) ORDER BY key {order}"
        statement = f"SELECT key, run_id, words FROM diary_words {chosen}"  # noqa: S608 - made of constants
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows = cursor.fetchall()
        hits = [(key, UUID(run)) for key, run, words in rows if asked.query.fits(unpacked(words))]
        return hits, rest_after(rows, most)

    def find(self, asked: Asked, span: Span, most: int, *, newest_first: bool, within: float) -> list[Hit]:
        statement = f"""
            SELECT key, run_id FROM diary_fts JOIN diary_words ON key = diary_fts.rowid
            WHERE diary_fts MATCH %s AND diary_fts.rowid >= %s AND diary_fts.rowid < %s
            ORDER BY diary_fts.rowid {direction(newest_first)} LIMIT %s"""  # noqa: S608 - made of constants
        with connection.cursor() as cursor:
            cursor.execute(statement, [as_match(asked), span.low, span.high, most])
            return [(key, UUID(run)) for key, run in islice(cursor, most)]


def index() -> Index:
    """The index of the database in use."""
    return PostgresIndex() if connection.vendor == "postgresql" else SqliteIndex()


@contextmanager
def limited_statement(within: float) -> Iterator[None]:
    """End what takes too long on PostgreSQL, within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {max(1, round(within * 1000))}")
    try:
        yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != QUERY_CANCELED:
            raise
        raise TookTooLong from error


def direction(newest_first: bool) -> str:
    return "DESC" if newest_first else "ASC"


def rest_after(rows: Sequence[tuple[int, object, object]], most: int) -> int | None:
    return rows[-1][0] if len(rows) == most else None


def packed(text: str) -> bytes:
    return zlib.compress(text.encode(), 1)


def unpacked(words: bytes) -> str:
    return zlib.decompress(words).decode()


def as_vector(document: Document, key: int) -> str:
    """The document as PostgreSQL reads a tsvector: each word with its positions, and each fact, and block, without."""
    places: dict[str, list[str]] = {}
    for position, word in enumerate(document.words, 1):
        if word != "=":
            places.setdefault(word, []).append(str(min(position, 16383)))
    vector = [f"'{word}':{','.join(positions[:255])}" for word, positions in places.items()]
    vector += [f"'{fact}'" for fact in document.facts]
    vector += [block(key >> shift, shift) for shift in SHIFTS]
    return " ".join(vector)


def block(number: int, shift: int) -> str:
    return f"'={shift}:{number:x}'"


def blocks(span: Span) -> list[str]:
    if span.shift is None:
        return []
    return [block(number, span.shift) for number in range(span.low >> span.shift, (span.high - 1 >> span.shift) + 1)]


def as_tsquery(asked: Asked, any_of: Sequence[str] = ()) -> str:
    parts = [f"'{fact}'" for fact in asked.facts] + [tsquery_term(term) for term in asked.query.terms]
    if any_of:
        parts.append(f"({' | '.join(any_of)})")
    if all(term.is_excluded for term in asked.query.terms) and not asked.facts:
        parts.insert(0, f"'{EVERYTHING}'")
    return " & ".join(parts)


def tsquery_term(term: Term) -> str:
    words = " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.is_beginning else "")
    return f"!({words})" if term.is_excluded else f"({words})"


def as_match(asked: Asked) -> str:
    """The same as FTS5 reads it (https://sqlite.org/fts5.html, section 3)."""
    wanted = [f'"{fact}"' for fact in asked.facts or (EVERYTHING,)]
    wanted += [match_term(term) for term in asked.query.terms if not term.is_excluded]
    # Every run has it, which costs nothing where it stands alone and something where it does not.
    if len(wanted) > 1 and not asked.facts:
        wanted = wanted[1:]
    excluded = [f" NOT {match_term(term)}" for term in asked.query.terms if term.is_excluded]
    return f"({' AND '.join(wanted)}){''.join(excluded)}"


def match_term(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + (" *" if term.is_beginning else "")

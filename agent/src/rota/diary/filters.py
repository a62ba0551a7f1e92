"""What a list of runs, or of what was caught, may be narrowed to, as it stands in the page's address."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from rota.core.errors import RotaError
from rota.diary.models import Host, Outbound, Run
from rota.diary.reviewing import IS_OPEN

MOST_CHOICES = 500
FACTS = (
    "environment", "host", "task", "status", "review", "assessment", "tag",
    "pack", "reason", "trigger", "release", "asked_by",
)  # fmt: skip

# Walks the index on a column from value to value: as many steps as there are values, not as there are rows.
VALUES = """
WITH RECURSIVE found (value) AS (
    SELECT min({column}) FROM {table}
    UNION ALL
    SELECT (SELECT min({column}) FROM {table} WHERE {column} > found.value) FROM found WHERE found.value IS NOT NULL
)
SELECT value FROM found WHERE value IS NOT NULL AND value <> '' LIMIT %s
"""

Asked = TypeVar("Asked", "RunFilter", "OutboxFilter")


class BadFilter(RotaError):
    """The list cannot be narrowed so."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Each is "" where nothing is asked; a value that does not exist finds nothing.

    `since` and `until` are days, or moments, in the time zone of the pages; a day belongs to them whole.
    `reason` is the whole of it, or what stands before its colon.
    """

    environment: str = ""
    host: str = ""
    task: str = ""
    status: str = ""
    review: str = ""
    assessment: str = ""
    tag: str = ""
    pack: str = ""
    reason: str = ""
    trigger: str = ""
    release: str = ""
    asked_by: str = ""
    since: str = ""
    until: str = ""
    text: str = ""
    sort: str = ""

    @property
    def is_empty(self) -> bool:
        return self == RunFilter(sort=self.sort)

    @property
    def has_more(self) -> bool:
        """Whether something is asked that seldom is."""
        return self != RunFilter(
            environment=self.environment,
            host=self.host,
            task=self.task,
            status=self.status,
            review=self.review,
            text=self.text,
        )

    @property
    def begin(self) -> datetime | None:
        """What is shown began then or later. Raises BadFilter."""
        return read_moment(self.since) if self.since else None

    @property
    def end(self) -> datetime | None:
        """What is shown began before that. Raises BadFilter."""
        if not self.until:
            return None
        moment = read_moment(self.until)
        return moment + (timedelta(days=1) if len(self.until) == len("2026-01-31") else timedelta(minutes=1))

    def check(self) -> None:
        """Raise BadFilter where a time cannot be read."""
        _moments = self.begin, self.end

    def facts(self) -> Iterator[tuple[str, str]]:
        """What is asked of the runs themselves, other than when they began and what they say."""
        for name in FACTS:
            if value := getattr(self, name):
                yield name, plain_tag(value) if name == "tag" else value

    def narrow(self, runs: "QuerySet[Run]") -> "QuerySet[Run]":
        """Narrow these runs to what is asked, the text left out. Raises BadFilter."""
        wanted = Q()
        for name, value in self.facts():
            wanted &= condition(name, value)
        if begin := self.begin:
            wanted &= Q(started__gte=begin)
        if end := self.end:
            wanted &= Q(started__lt=end)
        return runs.filter(wanted)

    def address(self) -> str:
        """What stands behind the question mark for this filter."""
        query = QueryDict(mutable=True)
        query.update({name: value for name, value in asdict(self).items() if value})
        return query.urlencode()


def condition(name: str, value: str) -> Q:
    if name == "host":
        return Q(host_id=host_number(value))
    if name == "review" and value == "open":
        return Q(IS_OPEN)
    if name == "reason":
        return Q(reason=value) | Q(reason__startswith=f"{value}:")
    if name == "tag":
        return Q(tags__name=plain_tag(value))
    return Q(**{name: value})


def plain_tag(text: str) -> str:
    return text.lstrip("#").lower()


def host_number(name: str) -> int:
    """By which rows of a host are asked for; 0, which none has, where there is no such host.

    Joined by its name instead, a database that does not know how few rows the host has walks through all of them.
    """
    return Host.objects.filter(name=name).values_list("pk", flat=True).first() or 0


def read_moment(text: str) -> datetime:
    """A day's beginning, or a minute, in the time zone of the pages. Raises BadFilter."""
    try:
        if day := parse_date(text):
            return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 - made aware here
        if (moment := parse_datetime(text)) and moment.tzinfo is None:
            return timezone.make_aware(moment)
    except (ValueError, OverflowError):
        pass
    raise BadFilter(_("“%(text)s” is no time; one is written 2026-01-31, or 2026-01-31T14:30.") % {"text": text})


@dataclass(frozen=True, slots=True)
class OutboxFilter:
    """The same for what was caught."""

    environment: str = ""
    host: str = ""
    means: str = ""
    task: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        return self == OutboxFilter()

    def facts(self) -> Iterator[tuple[str, str]]:
        """What is asked of them, other than what they say."""
        for name in ("environment", "host", "means", "task"):
            if value := getattr(self, name):
                yield name, value

    def narrow(self, caught: "QuerySet[Outbound]") -> "QuerySet[Outbound]":
        """Narrow these to what is asked, the text left out."""
        wanted = Q()
        for name, value in self.facts():
            wanted &= condition(name, value)
        return caught.filter(wanted)


def read_filter(kind: type[Asked], query: QueryDict) -> Asked:
    return kind(**{each.name: query.get(each.name, "").replace("\0", "").strip() for each in fields(kind)})


def values_of(model: type[Model], column: str) -> list[str]:
    """Return what stands in an indexed column of a table of ours, each value once; the empty one left out."""
    with connection.cursor() as cursor:
        cursor.execute(VALUES.format(table=model._meta.db_table, column=column), [MOST_CHOICES])
        return [row[0] for row in cursor.fetchall()]

"""What a list of runs, or of what was caught, may be narrowed to, as it stands in the page's address."""

from dataclasses import dataclass, fields
from typing import TypeVar

from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict

from rota.diary.models import Outbound, Run
from rota.diary.reviewing import OPEN

MOST_CHOICES = 500

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


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Each is "" where nothing is asked; a value that does not exist finds nothing."""

    environment: str = ""
    host: str = ""
    task: str = ""
    status: str = ""
    review: str = ""
    assessment: str = ""
    tag: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        return self == RunFilter()

    def apply(self, runs: "QuerySet[Run]") -> "QuerySet[Run]":
        exact = {
            "environment": self.environment,
            "host__name": self.host,
            "task": self.task,
            "status": self.status,
            "assessment": self.assessment,
            "tags__name": self.tag.lstrip("#").lower(),
        }
        runs = runs.filter(**{field: value for field, value in exact.items() if value})
        if self.review == "open":
            runs = runs.filter(review__in=OPEN)
        elif self.review:
            runs = runs.filter(review=self.review)
        return runs.filter(contains(self.text)) if self.text else runs


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

    def apply(self, caught: "QuerySet[Outbound]") -> "QuerySet[Outbound]":
        exact = {
            "environment": self.environment,
            "host__name": self.host,
            "means": self.means,
            "task": self.task,
        }
        caught = caught.filter(**{field: value for field, value in exact.items() if value})
        if not self.text:
            return caught
        words = Q(subject__icontains=self.text) | Q(to__icontains=self.text) | Q(text__icontains=self.text)
        return caught.filter(words)


def read_filter(kind: type[Asked], query: QueryDict) -> Asked:
    return kind(**{each.name: query.get(each.name, "").replace("\0", "").strip() for each in fields(kind)})


def contains(text: str) -> Q:
    return Q(task__icontains=text) | Q(reason__icontains=text) | Q(output__text__icontains=text)


def values_of(model: type[Model], column: str) -> list[str]:
    """Return what stands in an indexed column of a table of ours, each value once; the empty one left out."""
    with connection.cursor() as cursor:
        cursor.execute(VALUES.format(table=model._meta.db_table, column=column), [MOST_CHOICES])
        return [row[0] for row in cursor.fetchall()]

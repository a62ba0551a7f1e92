"""What a list of runs may be narrowed to, as it stands in the page's address."""

from dataclasses import dataclass

from django.db import connection
from django.db.models import Q, QuerySet
from django.http import QueryDict

from rota.diary.models import ReviewState, Run

UNHANDLED = (ReviewState.NEEDS_ANALYSIS, ReviewState.ONGOING)
MOST_CHOICES = 500

# Walks the index on task from name to name: as many steps as there are tasks, not as there are runs.
TASK_NAMES = """
WITH RECURSIVE names (task) AS (
    SELECT min(task) FROM diary_run
    UNION ALL
    SELECT (SELECT min(task) FROM diary_run WHERE diary_run.task > names.task) FROM names WHERE names.task IS NOT NULL
)
SELECT task FROM names WHERE task IS NOT NULL LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Each is "" where nothing is asked; a value that does not exist finds nothing."""

    environment: str = ""
    host: str = ""
    task: str = ""
    status: str = ""
    review: str = ""
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
        }
        runs = runs.filter(**{field: value for field, value in exact.items() if value})
        if self.review == "open":
            runs = runs.filter(review__in=UNHANDLED)
        elif self.review:
            runs = runs.filter(review=self.review)
        return runs.filter(contains(self.text)) if self.text else runs


def read_filter(query: QueryDict) -> RunFilter:
    return RunFilter(**{name: query.get(name, "").replace("\0", "").strip() for name in RunFilter.__slots__})


def contains(text: str) -> Q:
    return Q(task__icontains=text) | Q(reason__icontains=text) | Q(output__text__icontains=text)


def task_names() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(TASK_NAMES, [MOST_CHOICES])
        return [row[0] for row in cursor.fetchall()]

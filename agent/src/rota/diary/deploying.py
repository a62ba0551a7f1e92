"""How runs fared after a deploy beside before it: how many failed, and which tasks failed from then on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery

from rota.core.record import LATEST
from rota.diary.comparing import last_good_before
from rota.diary.models import Deploy, DeployStatus, Run, Status

COUNTED = 100
"""How many runs before a deploy, and after it, are looked at."""
SHOWN_TASKS = 5
SHOWN_DEPLOYS = 3
WEIGHT = 1000
"""By which one number says two, so that the runs are read once: a thousand for each, and one for each that failed."""

# A deploy answers for what began after it and before the next one that succeeded.
SHOWN = """
WITH RECURSIVE shown (id, host, began, until) AS MATERIALIZED (
    SELECT id, host_id, started, coalesce(
        (SELECT min(started) FROM diary_deploy later
         WHERE later.host_id = this.host_id AND later.started > this.started AND later.status = 'succeeded'),
        '9999-12-31'
    ) FROM diary_deploy this WHERE id IN ({marks}) AND status = 'succeeded'
)"""
# Attempts that another follows say nothing, and neither do dry runs.
ENDED = """run.status IN ('succeeded', 'failed', 'lost') AND run.retry_at IS NULL AND NOT run.dry_run"""
IS_BAD = "(run.status <> 'succeeded' OR run.failure <> '')"
"""It failed, was lost, or succeeded suspiciously."""
RUN_THERE = f"diary_run run WHERE run.host_id = shown.host AND {ENDED}"
BEFORE = "AND run.started < shown.began ORDER BY run.started DESC, run.id DESC"
AFTER = "AND run.started >= shown.began AND run.started < shown.until ORDER BY run.started, run.id"

# With the host and the moments as they are, not as columns, so that PostgreSQL knows which index is the right one;
# and the end of a deploy's time comes after the limit, lest all of that time be read for its first runs.
COUNT = f"""
SELECT %s, count(*) * {WEIGHT} + sum(CASE WHEN is_bad THEN 1 ELSE 0 END) FROM (
    SELECT run.started, {IS_BAD} AS is_bad FROM {{runs}} LIMIT {COUNTED}
) run WHERE run.started < %s"""  # noqa: S608 - made of constants
RUNS_OF = f"diary_run run WHERE run.host_id = %s AND {ENDED}"
COUNT_BEFORE = COUNT.format(runs=f"{RUNS_OF} AND run.started < %s ORDER BY run.started DESC, run.id DESC")
COUNT_AFTER = COUNT.format(runs=f"{RUNS_OF} AND run.started >= %s ORDER BY run.started, run.id")

# The tasks of each host are found by steps along an index, and of each the first run after the deploy. Whether that is
# bad is asked run by run: for a join SQLite reads all runs, to make a filter of them.
BROKEN = f"""{SHOWN}, tasks (host, task) AS (
    SELECT host, (SELECT min(task) FROM diary_run WHERE host_id = host)
    FROM (SELECT DISTINCT host FROM shown) hosts
    UNION ALL
    SELECT host, (SELECT min(run.task) FROM diary_run run WHERE run.host_id = tasks.host AND run.task > tasks.task)
    FROM tasks WHERE task IS NOT NULL
), firsts (deploy, task, run) AS MATERIALIZED (
    SELECT shown.id, task, (SELECT run.id FROM {RUN_THERE} AND run.task = tasks.task {AFTER} LIMIT 1)
    FROM shown JOIN tasks ON tasks.host = shown.host
), broken (deploy, task, run) AS (
    SELECT deploy, task, run FROM firsts WHERE (SELECT {IS_BAD} FROM diary_run run WHERE run.id = firsts.run)
)
SELECT deploy, broken.run FROM broken JOIN shown ON shown.id = deploy
WHERE NOT (SELECT {IS_BAD} FROM {RUN_THERE} AND run.task = broken.task {BEFORE} LIMIT 1)"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many runs failed, were lost, or succeeded suspiciously."""

    failed: int
    runs: int


@dataclass(frozen=True, slots=True)
class Fared:
    """How a deploy's host fared: its runs before and after, and those with which a task that was good began to fail."""

    before: Share
    after: Share
    broken: list[Run]

    @property
    def shown(self) -> list[Run]:
        return self.broken[:SHOWN_TASKS]

    @property
    def more(self) -> int:
        return len(self.broken) - len(self.shown)


@dataclass(frozen=True, slots=True)
class SinceGood:
    """The last good run before one that is not, and the deploys that came between, the newest first."""

    good: Run
    deploys: list[Deploy]


def fared(deploys: Sequence[Deploy]) -> dict[UUID, Fared]:
    """How runs fared after each of these deploys that succeeded; the others changed nothing."""
    chosen = with_end([each.pk for each in deploys])
    if not chosen:
        return {}
    shares, broken = shares_of(chosen), broken_by(chosen)
    return {each.pk: Fared(*shares[number], broken[each.pk]) for number, each in enumerate(chosen)}


def with_end(deploys: Sequence[UUID]) -> list[Deploy]:
    """Those that succeeded, each with the beginning of the next one: its `until`."""
    later = Deploy.objects.filter(host=OuterRef("host"), status=DeployStatus.SUCCEEDED, started__gt=OuterRef("started"))
    until = Subquery(later.order_by("started").values("started")[:1])
    return list(Deploy.objects.filter(pk__in=deploys, status=DeployStatus.SUCCEEDED).annotate(until=until))


def shares_of(deploys: Sequence[Deploy]) -> list[tuple[Share, Share]]:
    """The runs before and after each of these deploys, in their order."""
    questions: list[str] = []
    values: list[Any] = []
    for number, each in enumerate(deploys):
        began = as_kept(each.started)
        until = as_kept(each.until or LATEST)  # type: ignore[attr-defined]  # an annotation has it
        questions += [COUNT_BEFORE, COUNT_AFTER]
        values += [2 * number, each.host_id, began, began, 2 * number + 1, each.host_id, began, until]
    sums = dict(rows(" UNION ALL ".join(questions), values))
    return [(share(sums[2 * number]), share(sums[2 * number + 1])) for number in range(len(deploys))]


def as_kept(moment: datetime) -> Any:
    """The moment as the database has it."""
    return connection.ops.adapt_datetimefield_value(moment)


def broken_by(deploys: Sequence[Deploy]) -> dict[UUID, list[Run]]:
    """The runs with which tasks began to fail after each deploy, in order of time."""
    key = Deploy._meta.get_field("id")
    keys = [key.get_db_prep_value(each.pk, connection) for each in deploys]
    statement = BROKEN.format(marks=", ".join(["%s"] * len(keys)))
    pairs = {UUID(str(run)): UUID(str(deploy)) for deploy, run in rows(statement, keys)}
    found: dict[UUID, list[Run]] = defaultdict(list)
    for run in Run.objects.filter(pk__in=pairs).only("id", "task", "started", "status").order_by("started", "id"):
        found[pairs[run.pk]].append(run)
    return found


def rows(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def share(sums: int | None) -> Share:
    runs, failed = divmod(int(sums or 0), WEIGHT)
    return Share(failed, runs)


def since_good(run: Run) -> SinceGood | None:
    """What lies between a run that is not good and the last good one; None where there is none, or it is good."""
    is_bad = run.status in (Status.FAILED, Status.LOST) or run.unexpected
    good = last_good_before(run) if is_bad and not run.dry_run else None
    if good is None:
        return None
    between = Deploy.objects.filter(host_id=run.host_id, started__gt=good.started, started__lte=run.started)
    newest = between.filter(status=DeployStatus.SUCCEEDED).order_by("-started", "-id")
    return SinceGood(good, list(newest[:SHOWN_DEPLOYS]))

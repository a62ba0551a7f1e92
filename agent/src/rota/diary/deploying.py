"""How runs fared after a deploy beside before it: how many failed, and which tasks failed from then on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

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
ENDED = """
diary_run run WHERE run.host_id = shown.host AND run.status IN ('succeeded', 'failed', 'lost')
AND run.retry_at IS NULL AND NOT run.dry_run"""
IS_BAD = "(run.status <> 'succeeded' OR run.failure <> '')"
"""It failed, was lost, or succeeded suspiciously."""
BEFORE = "AND run.started < shown.began ORDER BY run.started DESC, run.id DESC"
AFTER = "AND run.started >= shown.began AND run.started < shown.until ORDER BY run.started, run.id"

SUM = f"SELECT count(*) * {WEIGHT} + sum(CASE WHEN is_bad THEN 1 ELSE 0 END)"
FAILED = f"""{SHOWN}
SELECT id,
    ({SUM} FROM (SELECT {IS_BAD} AS is_bad FROM {ENDED} {BEFORE} LIMIT {COUNTED}) before),
    ({SUM} FROM (SELECT {IS_BAD} AS is_bad FROM {ENDED} {AFTER} LIMIT {COUNTED}) after)
FROM shown"""  # noqa: S608 - made of constants

# The tasks of each host are found by steps along an index, and of each the first run after the deploy.
BROKEN = f"""{SHOWN}, tasks (host, task) AS (
    SELECT host, (SELECT min(task) FROM diary_run WHERE host_id = host)
    FROM (SELECT DISTINCT host FROM shown) hosts
    UNION ALL
    SELECT host, (SELECT min(run.task) FROM diary_run run WHERE run.host_id = tasks.host AND run.task > tasks.task)
    FROM tasks WHERE task IS NOT NULL
), firsts (deploy, task, run) AS MATERIALIZED (
    SELECT shown.id, task, (SELECT run.id FROM {ENDED} AND run.task = tasks.task {AFTER} LIMIT 1)
    FROM shown JOIN tasks ON tasks.host = shown.host
), broken (deploy, task, run) AS (
    SELECT deploy, firsts.task, run FROM firsts JOIN diary_run run ON run.id = firsts.run WHERE {IS_BAD}
)
SELECT deploy, broken.run FROM broken JOIN shown ON shown.id = deploy
WHERE NOT (SELECT {IS_BAD} FROM {ENDED} AND run.task = broken.task {BEFORE} LIMIT 1)"""  # noqa: S608 - made of constants


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
    if not deploys:
        return {}
    broken = broken_by(deploys)
    return {
        UUID(str(pk)): Fared(share(before), share(after), broken[UUID(str(pk))])
        for pk, before, after in rows(FAILED, deploys)
    }


def broken_by(deploys: Sequence[Deploy]) -> dict[UUID, list[Run]]:
    """The runs with which tasks began to fail after each deploy, in order of time."""
    pairs = {UUID(str(run)): UUID(str(deploy)) for deploy, run in rows(BROKEN, deploys)}
    found: dict[UUID, list[Run]] = defaultdict(list)
    for run in Run.objects.filter(pk__in=pairs).only("id", "task", "started", "status").order_by("started", "id"):
        found[pairs[run.pk]].append(run)
    return found


def rows(statement: str, deploys: Iterable[Deploy]) -> list[tuple[Any, ...]]:
    key = Deploy._meta.get_field("id")
    values = [key.get_db_prep_value(each.pk, connection) for each in deploys]
    with connection.cursor() as cursor:
        cursor.execute(statement.format(marks=", ".join(["%s"] * len(values))), values)
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

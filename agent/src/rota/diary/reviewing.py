"""What people say of runs: written down, carried to the next run with the same failure, found by tags."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import BooleanField, Func, QuerySet
from django.http import QueryDict

from rota.core.record import RunRecord
from rota.core.review import failure_of
from rota.diary.models import Assessment, Host, Person, Review, ReviewState, Run, RunTag, Status

OPEN = (ReviewState.NEEDS_ANALYSIS, ReviewState.ONGOING)
IS_OPEN = Func(
    "review", template="%(expressions)s IN ('needs_analysis', 'ongoing')", output_field=BooleanField(), arity=1
)
"""That it is one of these, as a condition and word for word as the indexes have it: SQLite finds them by no other."""
TAG = re.compile(r"#([^\W_][\w-]{0,49})")
MOST_TAGS = 20
MOST_SUMMARY = 20_000
MOST_AT_ONCE = 1000
HARMLESS = (Assessment.OK, Assessment.OBSOLETE)


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says of a run; `tags` are words without their `#`, in lower case."""

    state: ReviewState
    assessment: Assessment = Assessment.NONE
    summary: str = ""
    tags: tuple[str, ...] = ()


def read_said(form: QueryDict) -> Said | None:
    """What a form says; None where it is not one of ours."""
    state, assessment = form.get("state", ""), form.get("assessment", "")
    if state not in ReviewState.values or state == ReviewState.NONE or assessment not in Assessment.values:
        return None
    summary = form.get("summary", "").replace("\0", "").replace("\r\n", "\n").strip()[:MOST_SUMMARY]
    words = form.get("tags", "").replace("\0", "").replace(",", " ").split()
    tags = tags_in(" ".join([*(word if word.startswith("#") else f"#{word}" for word in words), summary]))
    return Said(ReviewState(state), Assessment(assessment), summary, tags)


def tags_in(text: str) -> tuple[str, ...]:
    """The words behind a `#`, each once, in the order of the text."""
    return tuple(dict.fromkeys(word.lower() for word in TAG.findall(text)))[:MOST_TAGS]


def shown(tags: Iterable[str]) -> str:
    return " ".join(f"#{tag}" for tag in tags)


def say(person: Person, chosen: Sequence[UUID], said: Said, *, now: datetime) -> int:
    """Write down what is said of these runs. Returns of how many that are there."""
    runs = {run.pk: run for run in Run.objects.select_for_update().filter(pk__in=chosen).only("id", "started")}
    reviews = (
        Review(
            run=run,
            person=person,
            at=now,
            state=said.state,
            assessment=said.assessment,
            summary=said.summary,
            tags=shown(said.tags),
        )
        for run in runs.values()
    )
    apply(runs.values(), said)
    Review.objects.bulk_create(reviews)
    return len(runs)


def apply(runs: Iterable[Run], said: Said) -> None:
    """Make this the state, assessment and tags of the runs."""
    rows = list(runs)
    chosen = [run.pk for run in rows]
    Run.objects.filter(pk__in=chosen).update(review=said.state, assessment=said.assessment)
    RunTag.objects.filter(run__in=chosen).delete()
    RunTag.objects.bulk_create(RunTag(run=run, name=tag, started=run.started) for run in rows for tag in said.tags)


def open_like(found: Run) -> "QuerySet[Run]":
    """The open runs of this run's task on its host up to this run."""
    return Run.objects.filter(IS_OPEN, task=found.task, host_id=found.host_id, started__lte=found.started)


def carry(host: Host, records: Iterable[RunRecord], *, now: datetime) -> None:
    """Carry to these runs, that need analysis, what was said of the run before, where it is the same failure."""
    for record in sorted(records, key=lambda record: (record.started, record.id)):
        before = run_before(host, record)
        if before is None or before.failure != failure_of(record):
            continue
        if latest := before.reviews.order_by("-at", "-id").first():
            carry_one(record, before, latest, now)


def run_before(host: Host, record: RunRecord) -> Run | None:
    """The latest run of the task that came to an end before this one began, retries apart."""
    ended = Run.objects.filter(host=host, task=record.task, started__lt=record.started, retry_at=None)
    newest = ended.exclude(status__in=(Status.RUNNING, Status.SKIPPED)).order_by("-started", "-id")
    return newest.only("id", "failure").first()


def carry_one(record: RunRecord, before: Run, latest: Review, now: datetime) -> None:
    state = carried_state(ReviewState(latest.state), Assessment(latest.assessment))
    said = Said(state, Assessment(latest.assessment), latest.summary, tags_in(latest.tags))
    apply([Run(id=record.id, started=record.started)], said)
    Review.objects.create(
        run_id=record.id,
        person_id=latest.person_id,
        at=now,
        state=state,
        assessment=latest.assessment,
        summary=latest.summary,
        tags=latest.tags,
        carried_from=before,
    )


def carried_state(state: ReviewState, assessment: Assessment) -> ReviewState:
    """What was found harmless stays handled, and a known issue is worked on; what was mended and is back is not."""
    if state is not ReviewState.DONE:
        return state
    if assessment in HARMLESS:
        return ReviewState.DONE
    return ReviewState.ONGOING if assessment is Assessment.ISSUE else ReviewState.NEEDS_ANALYSIS


def is_handled(state: str, assessment: str) -> bool:
    """Whether its host is to be quiet about it: it is done, or a known issue that came back."""
    return state == ReviewState.DONE or (state == ReviewState.ONGOING and assessment == Assessment.ISSUE)


def told_of(host: Host, failures: Sequence[UUID]) -> list[dict[str, object]]:
    """What is said of these runs of a host, as it reads it; of one that is not here, nothing."""
    runs = list(Run.objects.filter(host=host, pk__in=failures).only("id", "review", "assessment"))
    handled = [run.pk for run in runs if is_handled(run.review, run.assessment)]
    reviews = Review.objects.filter(run__in=handled).order_by("at", "id").select_related("person")
    latest = {review.run_id: review for review in reviews.only("run", "at", "state", "assessment", "person__email")}
    return [{"run": str(run.pk), "handled": handling(latest.get(run.pk))} for run in runs]


def handling(review: Review | None) -> dict[str, object] | None:
    """Who handled it, and whether that is carried to the next run with the same failure."""
    if review is None:
        return None
    carried = carried_state(ReviewState(review.state), Assessment(review.assessment))
    holds = is_handled(carried, review.assessment)
    return {"by": review.person.email, "at": review.at.isoformat(), "holds": holds}

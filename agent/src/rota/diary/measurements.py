"""What Prometheus is told of all hosts' runs, from summaries that do not grow with the number of runs."""

from collections.abc import Iterable, Iterator

from django.db.models import Count, F, OuterRef, Subquery, Sum
from django.utils import timezone

from rota.core.exposition import Sample, show_family
from rota.diary.models import Host, Outbound, Quarantine, Run, Status, Tally, TaskDefinition, TaskStanding
from rota.diary.reviewing import IS_OPEN


def measure() -> str:
    """All measurements in Prometheus's text format, version 0.0.4; times are seconds since 1970."""
    return "".join(show_family(*each) for each in families())


def families() -> Iterator[tuple[str, str, str, Iterable[Sample]]]:
    """Name, kind, meaning and samples of each."""
    yield "rota_diary_runs_total", "counter", "Runs that came to an end, by status.", runs()
    yield "rota_diary_running", "gauge", "Runs that are under way.", running()
    yield "rota_diary_unhandled", "gauge", "Runs that nobody has handled yet.", unhandled()
    yield (
        "rota_diary_last_success_timestamp_seconds",
        "gauge",
        "When the latest run that succeeded ended.",
        last_successes(),
    )
    yield (
        "rota_diary_due_timestamp_seconds",
        "gauge",
        "When a run of the task is due: its next slot, or the one of which no run is known yet.",
        due(),
    )
    yield (
        "rota_diary_late",
        "gauge",
        "Whether a run that is due has not begun though it had time to, or the latest slot did not run.",
        late(),
    )
    yield (
        "rota_diary_host_last_contact_timestamp_seconds",
        "gauge",
        "When the host was last heard of.",
        contacts(),
    )
    yield (
        "rota_diary_ingest_lag_seconds",
        "gauge",
        "How long the record of the host's latest run took from its end to here.",
        lags(),
    )
    yield "rota_diary_quarantined", "gauge", "Records that could not be understood.", quarantined()
    yield (
        "rota_diary_caught",
        "gauge",
        "Letters and the like that would have been sent.",
        [({}, Outbound.objects.count())],
    )


def runs() -> Iterator[Sample]:
    sums = Tally.objects.values_list("host__name", "host__environment", "task", "status").annotate(Sum("runs"))
    for host, environment, task, status, amount in sums.order_by("host__name", "task", "status"):
        yield {"host": host, "environment": environment, "task": task, "status": status}, amount


def running() -> Iterator[Sample]:
    found = Run.objects.filter(status=Status.RUNNING).values_list("host__name").annotate(Count("pk"))
    return (({"host": host}, amount) for host, amount in found.order_by("host__name"))


def unhandled() -> Iterator[Sample]:
    found = Run.objects.filter(IS_OPEN).values_list("host__name", "task", "review").annotate(Count("pk"))
    for host, task, review, amount in found.order_by("host__name", "task", "review"):
        yield {"host": host, "task": task, "review": review}, amount


def last_successes() -> Iterator[Sample]:
    """Of the tasks that hosts have."""
    good = Run.objects.filter(host=OuterRef("host"), task=OuterRef("task"), status=Status.SUCCEEDED)
    latest = Subquery(good.order_by("-started", "-id").values("ended")[:1])
    rows = TaskDefinition.objects.filter(until=None).annotate(latest=latest).exclude(latest=None)
    for host, task, ended in rows.order_by("host__name", "task").values_list("host__name", "task", "latest"):
        yield {"host": host, "task": task}, ended.timestamp()


def due() -> Iterator[Sample]:
    rows = TaskStanding.objects.exclude(due=None).order_by("host__name", "task")
    for host, task, moment in rows.values_list("host__name", "task", "due"):
        if moment:
            yield {"host": host, "task": task}, moment.timestamp()


def late() -> Iterator[Sample]:
    now = timezone.now()
    rows = TaskStanding.objects.exclude(late=None, missing=None).order_by("host__name", "task")
    for host, task, moment, missing in rows.values_list("host__name", "task", "late", "missing"):
        yield {"host": host, "task": task}, int(missing is not None or (moment is not None and moment <= now))


def contacts() -> Iterator[Sample]:
    for host, contact in Host.objects.order_by("name").values_list("name", "last_contact"):
        if contact:
            yield {"host": host}, contact.timestamp()


def lags() -> Iterator[Sample]:
    ended = Run.objects.filter(host=OuterRef("pk")).exclude(ended=None).order_by("-started", "-id")
    late = ended.annotate(lag=F("received") - F("ended")).values("lag")[:1]
    for host, lag in Host.objects.annotate(lag=Subquery(late)).order_by("name").values_list("name", "lag"):
        if lag is not None:
            yield {"host": host}, max(0.0, lag.total_seconds())


def quarantined() -> Iterator[Sample]:
    found = Quarantine.objects.values_list("host__name").annotate(Count("pk")).order_by("host__name")
    return (({"host": host}, amount) for host, amount in found)

"""What is measured of a host and its tasks, as Prometheus's text format (version 0.0.4) has it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rota.core.history import Standing, usual
from rota.core.objective import Attainment
from rota.core.status import Status

ENDS = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.LOST)
Labels = Mapping[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, kw_only=True)
class MeasuredTask:
    """One task; what is None has not happened yet, or is not wanted of it."""

    standing: Standing
    is_failing: bool = False
    is_handled: bool = False
    is_paused: bool = False
    next_start: datetime | None = None
    overdue: timedelta | None = None
    attainment: Attainment | None = None

    @property
    def usual_duration(self) -> float | None:
        """The median of what the latest successes took, in seconds; None while there are too few."""
        return usual(self.standing.durations)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one look at the host found. `waiting` is None where there is no diary; `spool_bytes` where nobody counted.

    `oldest_waiting` is when the first run began whose record the diary has not acknowledged.
    """

    at: datetime
    host: str
    environment: str
    release: str
    tasks: Mapping[str, MeasuredTask]
    waiting: int | None = None
    oldest_waiting: datetime | None = None
    quarantined: int = 0
    discarded: int = 0
    spool_bytes: int | None = None
    outbox: int = 0


@dataclass(frozen=True)
class Family:
    """Measurements of one name: what it means, and how it is read off."""

    name: str
    kind: str
    meaning: str
    samples: Callable[[Measured], Iterable[Sample]]


def of_host(name: str, meaning: str, read: Callable[[Measured], float | None], kind: str = "gauge") -> Family:
    """One measurement of the host, which may be absent."""

    def samples(measured: Measured) -> Iterator[Sample]:
        if (value := read(measured)) is not None:
            yield {}, value

    return Family(name, kind, meaning, samples)


def of_tasks(name: str, meaning: str, read: Callable[[MeasuredTask], float | None], kind: str = "gauge") -> Family:
    """One measurement of each task, which may be absent."""

    def samples(measured: Measured) -> Iterator[Sample]:
        for name, task in measured.tasks.items():
            if (value := read(task)) is not None:
                yield {"task": name}, value

    return Family(name, kind, meaning, samples)


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def last_status(measured: Measured) -> Iterator[Sample]:
    for name, task in measured.tasks.items():
        if latest := task.standing.latest:
            for status in (Status.SUCCEEDED, Status.FAILED, Status.LOST):
                yield {"task": name, "status": status}, float(latest.status is status)


def runs_total(measured: Measured) -> Iterator[Sample]:
    for name, task in measured.tasks.items():
        for status in ENDS:
            yield {"task": name, "status": status}, getattr(task.standing.total, status)


def host_info(measured: Measured) -> Iterator[Sample]:
    yield {"host": measured.host, "environment": measured.environment, "release": measured.release}, 1


FAMILIES: tuple[Family, ...] = (
    of_tasks(
        "rota_task_last_run_timestamp_seconds",
        "When the latest run that came to an end began.",
        lambda task: seconds(task.standing.latest.started) if task.standing.latest else None,
    ),
    of_tasks(
        "rota_task_last_success_timestamp_seconds",
        "When the latest run that succeeded ended.",
        lambda task: seconds(task.standing.success.ended) if task.standing.success else None,
    ),
    of_tasks(
        "rota_task_last_run_duration_seconds",
        "How long the latest run took.",
        lambda task: task.standing.latest.duration if task.standing.latest else None,
    ),
    of_tasks(
        "rota_task_usual_duration_seconds",
        "The median of what the latest 50 successes took; there are at least five.",
        lambda task: task.usual_duration,
    ),
    Family("rota_task_last_run_status", "gauge", "1 for the status of the latest run, 0 for the others.", last_status),
    Family("rota_task_runs_total", "counter", "Runs that came to an end, by status.", runs_total),
    of_tasks(
        "rota_task_missed_slots_total",
        "Slots that should have run and did not; they are skipped runs as well.",
        lambda task: task.standing.total.missed,
        "counter",
    ),
    of_tasks(
        "rota_task_incident_open",
        "1 while the task fails: from the first failure to the next success.",
        lambda task: float(task.is_failing),
    ),
    of_tasks(
        "rota_task_incident_handled",
        "1 while the task fails and somebody has handled that in the diary.",
        lambda task: float(task.is_handled),
    ),
    of_tasks("rota_task_paused", "1 while the task is paused.", lambda task: float(task.is_paused)),
    of_tasks(
        "rota_task_next_slot_timestamp_seconds",
        "When the task is to run next.",
        lambda task: seconds(task.next_start),
    ),
    of_tasks(
        "rota_task_overdue_seconds",
        "How long ago the first slot since the latest run was that should have run; 0 when none is missing.",
        lambda task: task.overdue.total_seconds() if task.overdue is not None else 0.0,
    ),
    of_tasks(
        "rota_task_objective_success_ratio",
        "What part of the runs is to succeed.",
        lambda task: task.attainment.objective.success if task.attainment else None,
    ),
    of_tasks(
        "rota_task_success_ratio",
        "What part of the runs succeeded, within the days of the objective.",
        lambda task: task.attainment.rate if task.attainment and task.attainment.budget is not None else None,
    ),
    of_tasks(
        "rota_task_error_budget_remaining_ratio",
        "What part of the error budget is left: 1 before anything failed, 0 or less when it is spent.",
        lambda task: task.attainment.budget if task.attainment else None,
    ),
    of_tasks(
        "rota_task_objective_freshness_seconds",
        "How old the latest success may be.",
        lambda task: (
            task.attainment.objective.fresh.total_seconds()
            if task.attainment and task.attainment.objective.fresh
            else None
        ),
    ),
    of_host(
        "rota_spool_waiting_records",
        "Records that the diary has not acknowledged yet.",
        lambda measured: measured.waiting,
    ),
    of_host(
        "rota_spool_oldest_waiting_timestamp_seconds",
        "When the first run began whose record the diary has not acknowledged yet.",
        lambda measured: seconds(measured.oldest_waiting),
    ),
    of_host(
        "rota_spool_quarantined_records",
        "Records that were put aside, for nothing can be done with them.",
        lambda measured: measured.quarantined,
    ),
    of_host(
        "rota_spool_discarded_records_total",
        "Records that were removed before the diary acknowledged them, for there was no more room.",
        lambda measured: measured.discarded,
        "counter",
    ),
    of_host(
        "rota_spool_size_bytes",
        "What the records and outputs took when they were last reconciled.",
        lambda measured: measured.spool_bytes,
    ),
    of_host(
        "rota_outbox_messages", "Mails and messages that did not leave this host.", lambda measured: measured.outbox
    ),
    Family("rota_host_info", "gauge", "1, with who the host is.", host_info),
    of_host(
        "rota_looked_timestamp_seconds",
        "When these were written.",
        lambda measured: seconds(measured.at),
    ),
)


def render(measured: Measured) -> str:
    """The whole text of `rota.prom`."""
    return "".join(show_family(each.name, each.kind, each.meaning, each.samples(measured)) for each in FAMILIES)


def show_family(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> str:
    """The lines of one name; empty where there are no measurements."""
    lines = [f"{name}{show_labels(labels)} {show(value)}\n" for labels, value in samples]
    return "".join([f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n", *lines]) if lines else ""


def show(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def show_labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""How tasks stand as measurements, in Prometheus's text format (version 0.0.4)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rota.core.history import Standing
from rota.core.status import Status

ENDS = (Status.SUCCEEDED, Status.FAILED, Status.LOST)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one look at the host found: tasks that never ran have no standing. `waiting` None: there is no diary."""

    at: datetime
    tasks: Mapping[str, Standing | None]
    failing: frozenset[str]
    waiting: int | None


def render(measured: Measured) -> str:
    """The whole text of `rota.prom`."""
    ran = {task: each.latest for task, each in measured.tasks.items() if each and each.latest}
    good = {task: each.success for task, each in measured.tasks.items() if each and each.success}
    lines = [
        *gauge("rota_looked_timestamp_seconds", "When these were written.", [("", measured.at.timestamp())]),
        *gauge(
            "rota_task_last_run_timestamp_seconds",
            "When the latest run that came to an end began.",
            [(f'task="{task}"', each.started.timestamp()) for task, each in ran.items()],
        ),
        *gauge(
            "rota_task_last_success_timestamp_seconds",
            "When the latest run that succeeded ended.",
            [(f'task="{task}"', each.ended.timestamp()) for task, each in good.items()],
        ),
        *gauge(
            "rota_task_last_run_duration_seconds",
            "How long the latest run took.",
            [(f'task="{task}"', each.duration) for task, each in ran.items() if each.duration is not None],
        ),
        *gauge(
            "rota_task_last_run_status",
            "1 for the status of the latest run.",
            [
                (f'task="{task}",status="{status}"', each.status is status)
                for task, each in ran.items()
                for status in ENDS
            ],
        ),
        *gauge(
            "rota_task_incident_open",
            "1 while the task fails: from the first failure to the next success.",
            [(f'task="{task}"', task in measured.failing) for task in measured.tasks],
        ),
    ]
    if measured.waiting is not None:
        meaning = "Records that the diary has not acknowledged yet."
        lines += gauge("rota_spool_waiting_records", meaning, [("", measured.waiting)])
    return "\n".join(lines) + "\n"


def gauge(name: str, meaning: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    """One measurement by its labels; the labels' values are names of tasks and statuses, which need no escapes."""
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {float(value):.17g}" if labels else f"{name} {float(value):.17g}"

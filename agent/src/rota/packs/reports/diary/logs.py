"""The original's run logs, taken into ours, each once."""

from collections.abc import Iterable
from uuid import NAMESPACE_OID, UUID, uuid5

from django.db import transaction

from rota.core.record import storable
from rota.diary import audit
from rota.packs.reports.diary.attempts import shortened
from rota.packs.reports.diary.models import Outcome, RunLog, Task
from rota.packs.reports.importing import RunLog as Original


def save_logs(logs: Iterable[Original]) -> tuple[int, int]:
    """How many are new, and how many are of reports that are not there and so are left out."""
    known = set(Task.objects.values_list("pk", flat=True))
    told = list(logs)
    ours = [row_of(log) for log in told if log.id_task in known]
    with transaction.atomic():
        before = RunLog.objects.count()
        RunLog.objects.bulk_create(ours, batch_size=500, ignore_conflicts=True)
        new = RunLog.objects.count() - before
        audit.note(None, "run logs imported", None, {"logs": new})
    return new, len(told) - len(ours)


def row_of(log: Original) -> RunLog:
    return RunLog(
        task_id=log.id_task,
        date=log.date,
        is_success=log.is_success,
        message=shortened(storable(log.message)),
        attempt=identifier(log),
        outcome=Outcome.PUBLISHED if log.is_success else Outcome.FAILED,
    )


def identifier(log: Original) -> UUID:
    """Always the same one, by which it is known when it comes again."""
    return uuid5(NAMESPACE_OID, f"{log.id_task} {log.id} {log.date.isoformat()}")

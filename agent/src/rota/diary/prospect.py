"""What is to come of one task of a host, what of it is late or missed, and what is wanted of it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from rota.core import due
from rota.core.history import Standing
from rota.core.objective import Objective
from rota.core.schedule import schedule_of
from rota.core.task import Task
from rota.diary.models import Host, TaskStanding
from rota.diary.standings import coming_slots, planned_task, standing_of

DAY = timedelta(days=1)
SHOWN = 5
MOST_DAYS = 62
"""For how many days it is worked out whether a slot was missing in them."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """The standing of a task, with the task as it is planned where its host has told that."""

    row: TaskStanding
    task: Task | None

    @property
    def standing(self) -> Standing:
        return standing_of(self.row)

    @property
    def objective(self) -> Objective | None:
        return self.task.objective if self.task else None

    def is_late(self, now: datetime) -> bool:
        return self.row.late is not None and self.row.late <= now

    def coming(self, now: datetime) -> list[datetime]:
        """The next slots."""
        return coming_slots(self.row, now)[:SHOWN]

    def days_missing(self, now: datetime) -> list[date]:
        """The days (UTC) with slots of which no record speaks though they are late, the latest of them."""
        schedule = schedule_of(self.task) if self.task else None
        if self.task is None or schedule is None or self.row.due is None or not self.is_late(now):
            return []
        end = now - due.patience(self.task)
        first = max(self.row.due - timedelta(seconds=1), end - MOST_DAYS * DAY)
        begins = [first, *(day for day in midnights(first, end))]
        spans = zip(begins, [*begins[1:], end], strict=True)
        slots = (next((slot for slot in schedule.slots(*span) if not slot.barred), None) for span in spans)
        return [slot.moment.date() for slot in slots if slot]


def midnights(first: datetime, last: datetime) -> list[datetime]:
    """The last moments of the days (UTC) from the one to the other, so that what comes after is of the next."""
    day = datetime.combine(first.astimezone(UTC).date() + DAY, time(), UTC) - timedelta(seconds=1)
    return [day + number * DAY for number in range(MOST_DAYS + 1) if first < day + number * DAY < last]


def prospect_of(host: Host, task: str) -> Prospect:
    row = TaskStanding.objects.filter(host=host, task=task).first() or TaskStanding(host=host, task=task)
    return Prospect(row, planned_task(row))

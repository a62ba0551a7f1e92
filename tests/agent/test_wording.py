"""A schedule in words says what its expression says; where words fail, it is the expression."""

from datetime import timedelta

import pytest

from rota.core.task import Task
from rota.core.wording import in_words, schedule_in_words


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*-*-* 02:40:00", "every day at 02:40 Europe/Zurich"),
        ("06,18:30", "every day at 06:30 and 18:30 Europe/Zurich"),
        ("hourly", "every hour at :00"),
        ("*:07,37", "every hour at :07 and :37"),
        ("weekly", "every Monday at 00:00 Europe/Zurich"),
        ("Mon..Fri 08:00", "Monday to Friday at 08:00 Europe/Zurich"),
        ("Sat,Sun 10:00", "Saturday and Sunday at 10:00 Europe/Zurich"),
        ("*:0/15", "every 15 minutes"),
        ("Mon..Fri *:0/10", "every 10 minutes, Monday to Friday Europe/Zurich"),
        ("8..17:0/15", "every 15 minutes from 08:00 to 17:59 Europe/Zurich"),
        ("8..17:30", "every hour from 08:30 to 17:30 Europe/Zurich"),
        ("0/6:15", "every 6 hours at :15 Europe/Zurich"),
        ("*:*:0/5", "every 5 seconds"),
        ("minutely", "every minute"),
        ("*-*-01 03:00", "on the 1st of each month at 03:00 Europe/Zurich"),
        ("*-*~01 03:00", "on the last day of each month at 03:00 Europe/Zurich"),
        ("quarterly", "on the 1st of January, April, July and October at 00:00 Europe/Zurich"),
        ("Mon *-*-01..07 04:00", "on the 1st to 7th of each month if Monday at 04:00 Europe/Zurich"),
        ("02:10 UTC", "every day at 02:10 UTC"),
        ("2026-01-01 00:00", "2026-01-01 00:00 Europe/Zurich"),
        ("1..23/2:00", "1..23/2:00 Europe/Zurich"),
        ("*-*-* 01:02:03", "*-*-* 01:02:03 Europe/Zurich"),
        ("1..9/2:0/10", "1..9/2:0/10 Europe/Zurich"),
        ("*:3/10", "*:3/10 Europe/Zurich"),
    ],
)
def test_expressions_in_words(expression: str, words: str) -> None:
    assert in_words(expression, "Europe/Zurich") == words


def make_task(**values: object) -> Task:
    return Task(name="try", description="Try", command=("/bin/true",), **values)  # type: ignore[arg-type] # any field


def test_a_task_without_a_schedule_runs_by_hand() -> None:
    assert schedule_in_words(make_task()) == "by hand"


def test_several_schedules_and_an_interval_are_told_together() -> None:
    assert (
        schedule_in_words(make_task(schedule=("02:10", "*:0/15"), zone="UTC"))
        == "every day at 02:10 UTC; every 15 minutes"
    )
    assert schedule_in_words(make_task(every=timedelta(hours=6))) == "when the last success is 6 hours old"

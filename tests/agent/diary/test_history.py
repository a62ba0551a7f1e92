"""What a task's page says of its past, and what Prometheus is told, are what hosts have shipped."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from rota.core.history import Standing, follow
from rota.core.objective import Objective, attain
from rota.core.record import RunRecord, parse_record
from rota.diary import tokens
from rota.diary.history import history_of
from rota.diary.models import Host, Tally
from rota.diary.prospect import prospect_of
from rota.diary.tallies import recount
from tests.agent.diary.conftest import Cast, Shipper, visitor
from tests.agent.diary.records import catalogue, definition, failed, run, running, timing
from tests.agent.diary.test_pages import text_of

pytestmark = pytest.mark.each_engine

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(days_ago: float, *, before: datetime = NOW) -> str:
    return (before - timedelta(days=days_ago)).isoformat()


def past(production: Shipper, *, before: datetime = NOW) -> None:
    """Forty days of a task: nine successes a day, a failure each tenth day, and a slot that was skipped."""
    for day in range(40):
        records = [
            run(started=at(day + number / 20, before=before), duration=float(10 + number), counts={"rows": 100 + day})
            for number in range(9)
        ]
        if day % 10 == 0:
            records.append(failed(started=at(day + 0.45, before=before), duration=99.0))
        production.ship(*records)
    skipped = {"status": "skipped", "reason": "locked", "exit_code": None, "duration": None}
    production.ship(run(started=at(41, before=before), **skipped), running(started=at(0, before=before)))


def test_a_history_says_how_a_task_did(cast: Cast, production: Shipper) -> None:
    past(production)
    host = Host.objects.get()
    history = history_of(host, "send_reports", prospect_of(host, "send_reports"), now=NOW)
    assert history.summary == "365 runs: 360 succeeded, 1 skipped, 4 failed"
    assert history.rate
    assert 270 / 274 <= history.rate <= 279 / 282
    duration, rows, *_ = history.charts
    assert (duration.name, duration.median, rows.name) == ("duration", "14 s", "rows")
    assert history.year.count('class="day failed"') == 4
    assert history.year.count('class="day skipped"') == 1
    assert duration.drawn.count('class="failed"') > 0


def test_a_task_is_measured_by_its_objective_as_on_its_host(cast: Cast, production: Shipper) -> None:
    now = timezone.now()
    objective = {"success": 0.9, "within": 30 * 86_400, "fresh": 3600}
    told = definition(timing=timing(objective=objective))
    production.ship(catalogue(at=at(3, before=now), tasks={"send_reports": told}))
    beside = [{"dry_run": True}, {"retry_at": at(2, before=now)}]
    skipped = {"status": "skipped", "exit_code": None, "duration": None}
    records = [
        *(run(started=at(2 + number / 100, before=now), ended=at(2, before=now)) for number in range(37)),
        *(failed(started=at(2, before=now), ended=at(2, before=now), **each) for each in beside),
        failed(started=at(2, before=now), ended=at(2, before=now)),
        run(started=at(2, before=now), ended=at(2, before=now), reason="host was down: it booted", **skipped)
        | {"counts": {"slots": 2, "span in seconds": 86_400}},
        run(started=at(2, before=now), ended=at(2, before=now), reason="locked", **skipped),
    ]
    production.ship(*records)
    page = text_of(cast.viewer, "/hosts/production/tasks/send_reports/")
    for said in ("30 days; 90% wanted", "92.5%", "25%", "error budget left", "every 1 h 0 min wanted", "2 d 0 h ago"):
        assert said in page
    host = Host.objects.get()
    here = history_of(host, "send_reports", prospect_of(host, "send_reports"), now=now).attainment
    standing = reduce(lambda standing, record: follow(standing, as_run(record), now=now), records, Standing())
    there = attain(Objective(success=0.9, fresh=timedelta(hours=1)), standing, now)
    assert here
    assert (here.rate, here.budget, here.age) == (there.rate, there.budget, there.age)
    Tally.objects.all().delete()
    recount((now - timedelta(days=2)).date())
    page = text_of(cast.viewer, "/hosts/production/tasks/send_reports/")
    assert "2 missed" in page


def as_run(record: dict[str, Any]) -> RunRecord:
    parsed = parse_record(record)
    assert isinstance(parsed, RunRecord)
    return parsed


def test_days_of_which_no_record_speaks_are_missing_from_the_year(cast: Cast, production: Shipper) -> None:
    now = timezone.now()
    told = definition(timing=timing(schedule=["*:00/10"], excepted=[f"{now - timedelta(days=2):%Y-%m-%d}"]))
    production.ship(catalogue(at=at(4, before=now), tasks={"send_reports": told}))
    page = text_of(cast.viewer, "/hosts/production/tasks/send_reports/")
    missing = re.findall(r"<title>(\S+): no record of a slot</title><rect class=\"day missing\"", page)
    days = [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in (4, 3, 1, 0)]
    assert missing in (days, days[:-1]), "shortly after midnight nothing of today is late yet"
    assert 'class="status late"' in page


def test_a_task_without_runs_says_what_would_appear(cast: Cast, production: Shipper) -> None:
    production.ship(catalogue())
    (task, *_) = catalogue()["tasks"]
    page = cast.viewer.get(reverse("task", args=["production", task])).content.decode()
    assert "Each day of this task appears here as a square." in page


def test_a_tasks_page_shows_its_year_and_leads_to_each_day(cast: Cast, production: Shipper) -> None:
    record = catalogue()
    (task, *_) = record["tasks"]
    yesterday = timezone.now() - timedelta(days=1)
    production.ship(record, *(run(task=task, started=(yesterday - timedelta(minutes=n)).isoformat()) for n in range(3)))
    page = cast.viewer.get(reverse("task", args=["production", task])).content.decode()
    assert '<svg class="year"' in page
    assert '<svg class="over-time"' in page
    assert "<style" not in page
    assert " style=" not in page
    day = page.partition(f'<a href="/runs/?task={task}&amp;')[2].partition('"')[0].replace("&amp;", "&")
    assert "3" in cast.viewer.get(f"/runs/?task={task}&{day}").content.decode()


def test_prometheus_reads_what_there_is(cast: Cast, production: Shipper) -> None:
    past(production, before=timezone.now())
    production.ship(catalogue())
    client = visitor()
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {tokens.make(cast.people['viewer'], 'prometheus')}"
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = response.content.decode()
    of_task = 'host="production",environment="production",task="send_reports"'
    assert f'rota_diary_runs_total{{{of_task},status="succeeded"}} 360\n' in text
    assert 'rota_diary_running{host="production"} 1\n' in text
    assert 'rota_diary_unhandled{host="production",task="send_reports",review="needs_analysis"} 4\n' in text
    assert 'rota_diary_host_last_contact_timestamp_seconds{host="production"}' in text
    checked = subprocess.run(["promtool", "check", "metrics"], input=response.content, capture_output=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")

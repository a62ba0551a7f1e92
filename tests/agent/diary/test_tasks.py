"""What hosts say of their tasks is kept once, with when it was first and last so, and shown with how it changed."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rota.diary.models import Catalogue, Host, TaskDefinition, TaskPause, TaskUnit
from tests.agent.diary.conftest import Cast, Shipper
from tests.agent.diary.records import catalogue, definition, run, unit
from tests.agent.diary.test_ingest import fates
from tests.agent.diary.test_pages import text_of

pytestmark = pytest.mark.each_engine

PAUSE = {"since": "2025-03-01T08:00:00Z", "until": None, "by": "anna", "reason": "moving <b>house</b>"}
TASK = "/hosts/production/tasks/send_reports/"


def day(number: int) -> str:
    return f"2025-03-{number:02}T09:00:00Z"


def everything() -> list[Any]:
    return [list(table.objects.order_by("pk").values()) for table in (Catalogue, TaskDefinition, TaskPause)]


def test_a_catalogue_that_says_the_same_is_kept_once_with_its_first_and_last_moment(production: Shipper) -> None:
    assert fates(production.ship(*(catalogue(at=day(number)) for number in (1, 2, 3)))) == ["accepted"] * 3
    (kept,) = Catalogue.objects.all()
    assert (kept.since.day, kept.last.day, kept.is_asking) == (1, 3, True)
    assert TaskDefinition.objects.count() == 1


def test_the_same_catalogues_again_in_any_order_change_nothing(production: Shipper) -> None:
    changed = {"send_reports": definition(fields={"schedule": "03:00 UTC"})}
    told = [catalogue(at=day(1)), catalogue(at=day(2), tasks=changed), catalogue(at=day(3), tasks=changed)]
    production.ship(*told)
    before = everything()
    for record in (told[2], told[0], told[1]):
        production.ship(record)
    assert everything() == before


def test_a_host_whose_clock_was_ahead_is_heard_again_at_once(production: Shipper) -> None:
    now = timezone.now()
    production.ship(catalogue(at=(now + timedelta(days=1)).isoformat()))
    production.ship(catalogue(at=timezone.now().isoformat(), tasks={"check_host": definition()}))
    assert list(TaskDefinition.objects.filter(until=None).values_list("task", flat=True)) == ["check_host"]
    assert Catalogue.objects.filter(last__gt=timezone.now()).count() == 0


def test_a_change_ends_the_definition_before_and_leaves_the_others_alone(production: Shipper) -> None:
    tasks = {"send_reports": definition(), "check_host": definition(), "gone": definition()}
    production.ship(catalogue(at=day(1), tasks=tasks))
    changed = {"send_reports": definition(fields={"timeout": "1 hour"}), "check_host": definition()}
    production.ship(catalogue(at=day(2), release="20250302T000000Z-ffffffffffff", tasks=changed))
    rows = TaskDefinition.objects.order_by("task", "since").values_list("task", "since__day", "until__day")
    assert list(rows) == [("check_host", 1, None), ("gone", 1, 2), ("send_reports", 1, 2), ("send_reports", 2, None)]
    assert Catalogue.objects.count() == 2


def test_what_is_old_news_changes_nothing(production: Shipper) -> None:
    production.ship(catalogue(at=day(5)))
    before = everything()
    production.ship(catalogue(at=day(4), tasks={}, pauses={"send_reports": PAUSE}))
    assert everything() == before


def test_pauses_are_those_that_the_newest_catalogue_tells(production: Shipper) -> None:
    production.ship(catalogue(at=day(1), pauses={"send_reports": PAUSE}))
    assert TaskPause.objects.get().reason == "moving <b>house</b>"
    production.ship(catalogue(at=day(2)))
    assert not TaskPause.objects.exists()


@pytest.mark.parametrize(
    "bad", [{"tasks": []}, {"tasks": {"x": {}}}, {"host": "staging"}, {"pauses": {"x": 1}}], ids=str
)
def test_a_catalogue_that_breaks_the_format_is_quarantined(production: Shipper, bad: dict[str, Any]) -> None:
    assert fates(production.ship(catalogue(**bad), catalogue())) == ["quarantined", "accepted"]


def test_the_list_names_every_hosts_tasks_and_which_are_paused(cast: Cast, production: Shipper) -> None:
    production.ship(catalogue(pauses={"send_reports": PAUSE}))
    for address in ("/tasks/", "/tasks/?host=production"):
        page = text_of(cast.viewer, address)
        assert f'href="{TASK}"' in page
        assert "every day at 02:30 UTC" in page
        assert 'class="status paused"' in page
    assert "This host has told of no task" in text_of(cast.viewer, "/tasks/?host=staging")


def test_a_tasks_page_tells_its_definition_its_pause_and_how_it_changed(cast: Cast, production: Shipper) -> None:
    production.ship(catalogue(at=day(1)))
    evil = {"schedule": "03:00 <script>UTC", "memory": "512M"}
    release = "20250302T000000Z-ffffffffffff"
    changed = {"send_reports": definition(fields=evil)}
    production.ship(catalogue(at=day(2), release=release, tasks=changed, pauses={"send_reports": PAUSE}))
    page = text_of(cast.viewer, TASK)
    for told in ("<del>02:30 UTC</del>", "<ins>03:00 &lt;script&gt;UTC</ins>", "<ins>512M</ins>", release, "by anna"):
        assert told in page
    assert "moving &lt;b&gt;house&lt;/b&gt;" in page
    production.ship(catalogue(at=day(3), tasks={}))
    assert "has not had this task since" in text_of(cast.viewer, TASK)
    assert TASK not in text_of(cast.viewer, "/tasks/")


def test_a_run_leads_to_its_task_where_the_host_has_told_of_it(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(run())[0]["id"]
    assert TASK not in text_of(cast.viewer, f"/runs/{identifier}/")
    production.ship(catalogue())
    assert TASK in text_of(cast.viewer, f"/runs/{identifier}/")


def test_a_task_that_no_host_told_of_is_not_found(cast: Cast, production: Shipper) -> None:
    Host.objects.create(name="staging")
    production.ship(catalogue())
    for address in ("/hosts/staging/tasks/send_reports/", "/hosts/nowhere/tasks/send_reports/", f"{TASK}x/"):
        assert cast.viewer.get(address).status_code == 404


def test_strangers_learn_of_no_task(cast: Cast, production: Shipper) -> None:
    production.ship(catalogue())
    assert cast.stranger.get(TASK).status_code == 302


def test_a_tasks_pages_cost_the_same_however_many_tasks_and_changes_there_are(
    cast: Cast, production: Shipper, django_assert_max_num_queries: Any
) -> None:
    for number in range(1, 25):
        tasks = {f"task_{each}": definition() for each in range(40)}
        tasks["send_reports"] = definition(fields={"timeout": f"{number} hours"})
        production.ship(catalogue(at=day(number), tasks=tasks))
    viewer = cast.viewer
    for address in ("/tasks/", TASK):
        with django_assert_max_num_queries(11):
            text_of(viewer, address)


def test_a_runs_page_has_the_definition_of_then(cast: Cast, production: Shipper) -> None:
    for number, timeout in ((1, "10 min"), (3, "2 h")):
        production.ship(catalogue(at=day(number), tasks={"send_reports": definition(fields={"timeout": timeout})}))
    early, between = (
        production.ship(run(started=f"2025-{day}T10:00:00Z", ended=f"2025-{day}T10:01:00Z"))[0]["id"]
        for day in ("02-20", "03-02")
    )
    assert "<dt>timeout</dt><dd>10 min</dd>" in text_of(cast.viewer, f"/runs/{between}/")
    assert "<dt>timeout</dt>" not in text_of(cast.viewer, f"/runs/{early}/")


def test_a_runs_page_says_how_the_unit_that_it_ran_under_was_hardened(cast: Cast, production: Shipper) -> None:
    evil = ["ProtectSystem=<b>full</b>", "items=x", "=", "no directive", "ReadWritePaths=/a", "ReadWritePaths=/b"]
    told = [definition(unit=unit()), definition(unit=unit(hash="v" * 12, exposure=4, hardening=evil)), definition()]
    for number, said in enumerate(told, 1):
        assert fates(production.ship(catalogue(at=day(number), tasks={"send_reports": said}))) == ["accepted"]
    pages = [
        text_of(cast.viewer, f"/runs/{production.ship(run(unit_hash=each))[0]['id']}/")
        for each in ("u" * 64, "v" * 12, "w" * 12, "")
    ]
    assert "<dt>ProtectSystem</dt><dd>strict</dd>" in pages[0]
    assert '<dt>CapabilityBoundingSet</dt><dd><span class="soft">none</span></dd>' in pages[0]
    assert "at most 1.5 of 10" in pages[0]
    assert "<dt>ProtectSystem</dt><dd>&lt;b&gt;full&lt;/b&gt;</dd>" in pages[1]
    assert "<dt>ReadWritePaths</dt><dd>/a</dd><dd>/b</dd>" in pages[1]
    assert "at most 4 of 10" in pages[1]
    assert [("Not known. Its host tells" in page, "ProtectSystem" in page) for page in pages[2:]] == [
        (True, False),
        (False, False),
    ]
    assert TaskUnit.objects.count() == 2


def test_what_a_unit_has_is_no_change_of_its_task(cast: Cast, production: Shipper) -> None:
    for number, said in ((1, {}), (2, {"unit": unit()}), (3, {"unit": unit(hash="v" * 12)}), (4, {"unit": None})):
        production.ship(catalogue(at=day(number), tasks={"send_reports": definition(**said)}))
    assert TaskDefinition.objects.count() == 1
    assert Catalogue.objects.count() == 1


@pytest.mark.parametrize(
    "bad", [[], {"hash": ""}, {"hash": "u" * 129}, {"hardening": ["x"] * 501}, {"exposure": "low"}]
)
def test_a_unit_that_breaks_the_format_is_quarantined(production: Shipper, bad: Any) -> None:
    said = definition(unit=unit(**bad) if isinstance(bad, dict) else ["x"])
    assert fates(production.ship(catalogue(tasks={"send_reports": said}))) == ["quarantined"]

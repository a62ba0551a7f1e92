"""A run is followed, and a host asked, in a browser that is left alone: the page changes by itself."""

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.agent.diary.records import catalogue, identifier, run, running
from tests.browser.conftest import PASSWORD, Diary, OpenPage, environment

pytestmark = pytest.mark.browser

OPERATOR = "operator@example.org"
STORE = """
import json, sys
import django
django.setup()
from django.utils import timezone
from rota.diary import asking, following, storing
from rota.diary.models import Host
said = json.load(sys.stdin)
host, now = Host.objects.get(name="production"), timezone.now()
told = storing.store(host, said["records"], now=now)
assert all(each.result != "quarantined" for each in told), told
following.note_news(host, said["live"])
requests = asking.hand_out(host, now)
json.dump(requests, sys.stdout)
"""


def tell(diary: Diary, *records: dict[str, Any], live: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """What production says to the diary; returns what waits for it there."""
    done = subprocess.run(
        [sys.executable, "-c", STORE],
        env=environment(diary.home) | {"DJANGO_SETTINGS_MODULE": "rota.diary.settings"},
        input=json.dumps({"records": list(records), "live": live or []}),
        text=True,
        capture_output=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def started_now(**changes: Any) -> dict[str, Any]:
    return running(id=new_id(), started=datetime.now(UTC).isoformat(), slot=None, **changes)


def new_id() -> str:
    return str(uuid.UUID(int=uuid.UUID(identifier()).int + (0x01A0_0000_0000 << 80)))


@pytest.fixture
def operator(open_page: OpenPage, diary: Diary) -> Page:
    diary.run("createuser", OPERATOR, "--name=Operator", "--role=operator", stdin=PASSWORD + "\n")
    page = open_page("/login/", log=False)
    page.get_by_label("Email address").fill(OPERATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
    return page


def test_a_run_under_way_is_followed_to_its_end(open_page: OpenPage, diary: Diary) -> None:
    complaints: list[str] = []
    record = started_now()
    tell(diary, record)
    page = open_page(f"/runs/{record['id']}/")
    page.on("console", lambda message: complaints.append(message.text))
    expect(page.get_by_text("appears here within seconds")).to_be_visible()
    text = "hello\n<b>not bold</b>\n"
    tell(diary, live=[{"run": record["id"], "output": [0, len(text)], "text": text}])
    expect(page.locator("#live-output .line")).to_have_count(2)
    expect(page.locator("#live-output")).to_contain_text("<b>not bold</b>")
    items = [{"name": "march.pdf", "outcome": "sent", "message": ""}]
    tell(diary, live=[{"run": record["id"], "report": [0, 9], "items": items, "counts": {"reports": 3}}])
    expect(page.locator("#live-report")).to_contain_text("march.pdf")
    assert complaints == []
    tell(diary, run(id=record["id"], started=record["started"], ended=datetime.now(UTC).isoformat(), slot=None))
    expect(page.locator("h1 .status")).to_have_text("succeeded")
    expect(page.locator("[data-events]")).to_have_count(0)


def test_a_run_under_way_is_read_without_javascript(open_page: OpenPage, diary: Diary) -> None:
    record = started_now()
    tell(diary, record)
    page = open_page(f"/runs/{record['id']}/", script=False, width=360)
    tell(diary, live=[{"run": record["id"], "output": [0, 6], "text": "hello\n"}])
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("#live-output .line")).to_have_text(["1hello"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_an_operator_asks_and_the_page_tells_what_came_of_it(operator: Page, diary: Diary) -> None:
    tell(diary, catalogue(id=new_id(), at=datetime.now(UTC).isoformat()))
    operator.goto("/hosts/production/tasks/send_reports/")
    operator.get_by_label("march.pdf").check()
    operator.get_by_role("button", name="Run now").click()
    expect(operator.locator("h1 .status")).to_have_text("waiting")
    (asked,) = tell(diary)
    assert asked["values"] == [["items", "march.pdf"]]
    answer = {"version": 1, "kind": "answer", "id": new_id(), "host": "production", "environment": "production"}
    answer |= {"at": datetime.now(UTC).isoformat(), "request": asked["id"], "is_done": True, "reason": ""}
    tell(diary, answer, started_now() | {"id": asked["id"], "trigger": "manual"})
    operator.get_by_role("link", name="The run", exact=True).click()
    expect(operator.locator("h1 .status")).to_have_text("running")

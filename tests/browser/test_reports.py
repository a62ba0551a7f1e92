"""An editor tries a report in a browser, watches it without touching anything, and goes on writing."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, Diary, environment, log_in
from tests.browser.test_accessibility import AXE

pytestmark = pytest.mark.browser

EMAIL = "editor@example.org"
REPORT = "/reports/clients/library/books.csv/"
FILL = """
import django
django.setup()
from datetime import date
from rota.diary.models import Person
from rota.packs.reports.diary.models import Client, Script, Task
client = Client.objects.create(name="The library", username="library")
client.editors.add(Person.objects.get(email="editor@example.org"))
script = Script.objects.create(name="library:books_csv", body="print(1)")
Task.objects.create(client=client, script=script, file_name="books.csv", extension="csv", start_date=date(2026, 1, 1))
"""
SCRIPT = """\
import sys, time
for number in range(25):
    print(f"{number},<b>not bold</b>", flush=True)
    print("warning", number, file=sys.stderr)
    time.sleep(0.2)  # inside the sandbox, so that there is something to watch
"""


@pytest.fixture(scope="module")
def library(diary: Diary) -> Diary:
    """The diary with a report and its editor."""
    diary.run("createuser", EMAIL, "--name=Editor", stdin=PASSWORD + "\n")
    settings = environment(diary.home) | {"DJANGO_SETTINGS_MODULE": "rota.diary.settings"}
    subprocess.run([sys.executable, "-c", FILL], env=settings, check=True)
    return diary


def opened(chromium: Browser, diary: Diary, *, script: bool) -> Page:
    context = chromium.new_context(base_url=diary.address, java_script_enabled=script)
    page = context.new_page()
    log_in(page, EMAIL)
    page.goto(REPORT)
    page.get_by_role("textbox", name="Script", exact=True).fill(SCRIPT)
    page.get_by_role("button", name="Try it, without saving").click()
    page.wait_for_url("**/reports/asked/**")
    return page


def test_a_report_is_tried_watched_and_written_further(chromium: Browser, library: Diary, npm_packages: Path) -> None:
    complaints: list[str] = []
    axe = (npm_packages / "node_modules" / "axe-core" / "axe.min.js").read_text()

    def check() -> None:
        page.evaluate(axe)
        complaints.extend(f"{page.url}: {each}" for each in page.evaluate(AXE))

    page = opened(chromium, library, script=True)
    page.on("console", lambda message: complaints.append(message.text))
    expect(page.locator("#live-output")).to_contain_text("1,<b>not bold</b>")
    expect(page.locator(".status.running")).to_be_visible()
    expect(page.locator("#live-report")).to_contain_text("warning 2")
    expect(page.locator(".status.succeeded")).to_be_visible()
    expect(page.locator("#live-output")).to_contain_text("24,<b>not bold</b>")
    check()
    page.get_by_role("link", name="beside what is published").click()
    check()
    page.go_back()
    page.get_by_role("link", name="Go on writing what was tried").click()
    expect(page.locator("#script")).to_have_value(SCRIPT)
    check()
    assert complaints == []
    page.context.close()


def test_without_javascript_the_page_is_loaded_again(chromium: Browser, library: Diary) -> None:
    page = opened(chromium, library, script=False)
    for _ in range(100):
        if page.locator(".status.succeeded").is_visible():
            break
        page.get_by_role("link", name="Look again").click()
    expect(page.get_by_text("24,<b>not bold</b>")).to_be_visible()
    page.context.close()

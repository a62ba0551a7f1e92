"""A client fetches its files in a browser: by its password, whole or as a page that may run nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Diary, environment
from tests.browser.test_accessibility import AXE

pytestmark = pytest.mark.browser

FILES = "/reports/files/press/"
PASSWORD = "a drawer of maps"
HOSTILE = "<h1>Titles</h1><script>document.title = 'taken'; fetch('/account/')</script><img src=/reports/ alt=x>"
FILL = """
import django, os, sys
django.setup()
from datetime import date
from pathlib import Path
from django.contrib.auth.hashers import make_password
from rota.packs.reports.diary.models import Client, Task
from rota.packs.reports.publishing import Export
client = Client.objects.create(name="The press", username="press", password=make_password(sys.argv[1]))
export = Export(Path(os.environ["ROTA_HOME"]) / "reports/exports")
export.folder.mkdir(parents=True, exist_ok=True)
for name, extension, texts in (("a.csv", "csv", ["id\\n1\\n", "id\\n1\\n2\\n"]), ("a.html", "html", [sys.argv[2]])):
    Task.objects.create(client=client, file_name=name, extension=extension, start_date=date(2026, 1, 1), is_active=True,
                        description=f"What {name} has")
    for text in texts:
        new = export.open_new("press")
        os.write(new.descriptor, text.encode())
        export.publish(new, f"press/{name}", 3)
"""


@pytest.fixture(scope="module")
def press(diary: Diary) -> Diary:
    """The diary with a client that has two files."""
    settings = environment(diary.home) | {"DJANGO_SETTINGS_MODULE": "rota.diary.settings"}
    subprocess.run([sys.executable, "-c", FILL, PASSWORD, HOSTILE], env=settings, check=True)
    return diary


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
def test_a_client_logs_in_fetches_its_files_and_leaves(
    chromium: Browser, press: Diary, npm_packages: Path, script: bool
) -> None:
    complaints: list[str] = []
    context = chromium.new_context(base_url=press.address, java_script_enabled=script, accept_downloads=True)
    page = context.new_page()

    def check() -> None:
        if script:
            page.evaluate((npm_packages / "node_modules" / "axe-core" / "axe.min.js").read_text())
            complaints.extend(f"{page.url}: {each}" for each in page.evaluate(AXE))

    page.goto(FILES)
    check()
    page.get_by_label("Password").fill("a wrong one")
    page.get_by_role("button", name="Show the files").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Show the files").click()
    expect(page.get_by_role("heading", name="Files for The press")).to_be_visible()
    check()

    with page.expect_download() as fetched:
        page.get_by_role("link", name="Save a.csv").click()
    assert fetched.value.suggested_filename == "a.csv"
    assert Path(fetched.value.path()).read_text() == "id\n1\n2\n"
    row = page.get_by_role("row").filter(has_text="a.csv")
    row.get_by_text("1 previous version").click()
    before = context.request.get(row.get_by_role("listitem").get_by_role("link").get_attribute("href") or "")
    assert before.text() == "id\n1\n"

    page.get_by_role("link", name="a.html", exact=True).click()
    expect(page.get_by_role("heading", name="Titles")).to_be_visible()
    assert page.title() != "taken", "what a script wrote may run nothing"
    page.go_back()
    page.get_by_role("button", name="Log out").first.click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert context.request.get("/reports/file/press/a.csv").status == 401
    assert complaints == []
    context.close()

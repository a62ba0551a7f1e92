"""The walk of docs/diary-in-ten-minutes.md, with its pictures; `./run pictures` puts them where the page shows them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, ROOT, SCREENSHOTS, Diary, log_in, run_diary, serve

pytestmark = pytest.mark.browser

TOLD = (ROOT / "docs" / "diary-in-ten-minutes.md").read_text()
PICTURES = Path(os.environ.get("ROTA_PICTURES", SCREENSHOTS / "walk"))
EMAIL = "operator@example.org"


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Diary]:
    home = tmp_path_factory.mktemp("walk")
    run_diary(home, "migrate", "--verbosity=0")
    run_diary(home, "populate")
    run_diary(home, "createuser", EMAIL, "--name=Operator", "--role=operator", stdin=PASSWORD + "\n")
    with serve(home) as address:
        yield Diary(address, home)


class Walk:
    """One who walks, and takes a picture of each thing to see."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.taken: list[str] = []
        PICTURES.mkdir(parents=True, exist_ok=True)

    def picture(self, name: str, of: str = "") -> None:
        path = PICTURES / f"{name}.png"
        if of:
            self.page.locator(of).first.screenshot(path=path)
        else:
            self.page.screenshot(path=path)
        self.taken.append(name)

    def overview(self) -> None:
        self.page.goto("/")
        expect(self.page.get_by_role("heading", name="Running now")).to_be_visible()
        self.picture("overview")

    def failure(self) -> None:
        row = self.page.locator("tbody tr", has=self.page.locator(".status.failed")).first
        row.locator("th a").click()
        expect(self.page.get_by_role("heading", name="Record")).to_be_visible()
        self.picture("run")

    def review(self) -> None:
        self.page.get_by_label("What was it, and what came of it?").fill("The remote end was being moved.")
        self.page.get_by_label("Tags").fill("#network")
        self.page.get_by_role("button", name="I am on it").click()
        self.page.get_by_role("button", name="Handled").click()
        expect(self.page.locator(".history")).to_contain_text("being moved")
        self.picture("review", "section:has(> #review)")

    def search(self) -> None:
        self.page.goto("/runs/?text=connection*&status=failed")
        expect(self.page.locator("mark").first).to_be_visible()
        self.picture("search")

    def task(self) -> None:
        self.page.goto("/hosts/production/tasks/build_statistics/")
        expect(self.page.locator(".year")).to_be_visible()
        self.picture("task")

    def ask(self) -> None:
        self.page.get_by_role("button", name="Run now").click()
        self.page.wait_for_url("**/asked/*/")
        self.picture("asked", "main")

    def others(self) -> None:
        for name in ("releases", "outbox"):
            self.page.goto(f"/{name}/")
            self.picture(name)


def test_the_walk_goes_as_it_is_told_and_makes_its_pictures(chromium: Browser, estate: Diary) -> None:
    context = chromium.new_context(base_url=estate.address, viewport={"width": 1280, "height": 800})
    walk = Walk(context.new_page())
    log_in(walk.page, EMAIL)
    for step in (walk.overview, walk.failure, walk.review, walk.search, walk.task, walk.ask, walk.others):
        step()
    cookies = context.storage_state()
    context.close()
    phone = chromium.new_context(
        base_url=estate.address, viewport={"width": 360, "height": 740}, color_scheme="dark", storage_state=cookies
    )
    walk.page = phone.new_page()
    walk.page.goto("/")
    walk.picture("phone")
    phone.close()
    assert re.findall(r"\(images/(\w+)\.png\)", TOLD) == walk.taken


def test_every_picture_that_is_kept_is_shown_and_every_one_shown_is_kept() -> None:
    kept = {path.stem for path in (ROOT / "docs" / "images").glob("*.png")}
    assert kept == set(re.findall(r"\(images/(\w+)\.png\)", TOLD))

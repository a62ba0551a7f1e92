"""What axe has to say of every page: with runs and without, in the light on a laptop and in the dark on a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.conftest import PASSWORD, Diary, log_in, run_diary, serve

pytestmark = pytest.mark.browser

EMAIL = "administrator@example.org"
PAGES = ["/", "/runs/", "/tasks/", "/hosts/", "/releases/", "/outbox/", "/people/", "/audit/", "/tokens/", "/account/"]
LISTS = {
    "/runs/?status=failed": "tbody th a",
    "/tasks/": "tbody th a",
    "/outbox/": "tbody th a",
    "/people/": "main tbody a",
}
# Beside a line of output the height of that line constrains its number, which WCAG 2.5.8 allows and axe does not know.
AXE = """
() => axe.run(
    {exclude: [".line > a"]},
    {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
).then(({violations}) => violations.flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html}`)))
"""
VIEWS = {"laptop in the light": ("light", 1366, 768), "phone in the dark": ("dark", 360, 740)}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Diary]:
    """A diary that no host has told anything yet."""
    home = tmp_path_factory.mktemp("empty")
    run_diary(home, "migrate", "--verbosity=0")
    with serve(home) as address:
        yield Diary(address, home)


def contexts(chromium: Browser, diary: Diary) -> Iterator[tuple[str, BrowserContext]]:
    diary.run("createuser", EMAIL, "--name=Administrator", "--role=administrator", stdin=PASSWORD + "\n")
    cookies = None
    for name, (scheme, width, height) in VIEWS.items():
        context = chromium.new_context(
            base_url=diary.address,
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": height},
            storage_state=cookies,
        )
        if cookies is None:
            log_in(context.new_page(), EMAIL)
            cookies = context.storage_state()
        yield name, context
        context.close()


@pytest.mark.parametrize("kind", ["diary", "empty"])
def test_axe_finds_nothing_on_any_page(
    chromium: Browser, npm_packages: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    source = (npm_packages / "node_modules" / "axe-core" / "axe.min.js").read_text()
    complaints = []
    for view, context in contexts(chromium, request.getfixturevalue(kind)):
        page = context.new_page()

        def check() -> None:
            page.evaluate(source)  # noqa: B023 - called in this turn
            complaints.extend(f"{view}, {page.url}: {each}" for each in page.evaluate(AXE))  # noqa: B023 - the same

        for path in PAGES:
            page.goto(path)
            check()
        for path, first in LISTS.items():
            page.goto(path)
            if page.locator(first).count():
                page.locator(first).first.click()
                check()
        context.clear_cookies()
        page.goto("/login/")
        check()
    assert not complaints, "\n".join(complaints)

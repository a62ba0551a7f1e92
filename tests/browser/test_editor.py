"""The editor of scripts: CodeMirror over the text areas, under the diary's own policy, by keyboard, and without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from provision import editor
from tests.browser.conftest import PASSWORD, ROOT, SCREENSHOTS, Diary, log_in, run_diary, serve
from tests.browser.test_accessibility import AXE

pytestmark = pytest.mark.browser

ADMINISTRATOR = "administrator@example.org"
REPORT, LIBRARY = "/reports/clients/press/titles.csv/", "/reports/libraries/script/connect/"
SCRIPT = '''"""The titles of this month."""
from sniplets import connect
from queries.press import titles_csv


def rows(cursor, limit=100):
    # Newest first
    cursor.execute(titles_csv.query)
    for number, row in enumerate(cursor):
        if number < limit and row is not None:
            yield f"{number}\\t{row[0]}"


print(*rows(connect.cursor()), sep="\\n")
'''
QUERY = """-- What is on the shelf
SELECT title, `year`, count(*) AS copies
FROM book JOIN copy USING (book_id)
WHERE year > 1999 AND title LIKE 'E%'
GROUP BY title ORDER BY 3 DESC LIMIT 10;
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Diary]:
    """A diary with one administrator, built with the editor."""
    editor.put_into(ROOT / "agent", ROOT / ".cache")
    home = tmp_path_factory.mktemp("shelf")
    run_diary(home, "migrate", "--verbosity=0")
    run_diary(home, "createuser", ADMINISTRATOR, "--name=Ada", "--role=administrator", stdin=PASSWORD + "\n")
    with serve(home) as address:
        yield Diary(address, home)


@pytest.fixture(scope="module")
def browser(chromium: Browser, shelf: Diary) -> "Iterator[Reader]":
    """Whoever is logged in there. One report and one library are written, without JavaScript."""
    reader = Reader(chromium, shelf)
    page = reader.page("/reports/clients/new", script=False)
    page.get_by_label("User name").fill("press")
    page.locator("input[name=name]").fill("Some Press")
    page.get_by_role("button", name="Make the client").click()
    page.goto("/reports/libraries/script/new")
    page.locator("input[name=name]").fill("connect")
    page.locator("textarea[name=body]").fill("def cursor():\n    return []\n")
    page.get_by_role("button", name="Save").click()
    page.goto("/reports/clients/press/new")
    page.locator("input[name=file_name]").fill("titles.csv")
    page.locator("textarea[name=script]").fill(SCRIPT)
    page.locator("textarea[name=query]").fill(QUERY)
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(f"**{REPORT}")
    yield reader
    reader.close()


class Reader:
    """Opens pages as the administrator, and notes what browsers complain of."""

    def __init__(self, chromium: Browser, diary: Diary) -> None:
        self.chromium, self.diary = chromium, diary
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        context = chromium.new_context(base_url=diary.address)
        log_in(context.new_page(), ADMINISTRATOR)
        self.cookies = context.storage_state()
        context.close()

    def page(
        self, path: str = REPORT, *, width: int = 1280, dark: bool = False, script: bool = True, language: str = "en"
    ) -> Page:
        context = self.chromium.new_context(
            base_url=self.diary.address,
            viewport={"width": width, "height": 1000},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            storage_state=self.cookies,
            locale=language,
        )
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(path)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def script_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Script", exact=True)


def style(locator: Locator, name: str) -> str:
    return str(locator.evaluate("(element, name) => getComputedStyle(element)[name]", name))


def write_at_the_end(page: Page, text: str) -> None:
    script_of(page).click()
    page.keyboard.press("Control+End")
    page.keyboard.type(text)


def test_python_and_sql_are_coloured_under_the_diary_s_own_policy(browser: Reader) -> None:
    page = browser.page()
    expect(script_of(page)).to_be_visible()
    text = style(script_of(page), "color")
    for word in ("def", "enumerate", "# Newest first", "SELECT", "'E%'"):
        assert style(page.locator(".cm-line span").get_by_text(word, exact=True).first, "color") != text, word
    assert page.locator(".cm-lineNumbers .cm-gutterElement").get_by_text("5", exact=True).count() == 2
    assert style(page.locator(".cm-scroller").first, "fontFamily").startswith("ui-monospace")
    policy = page.request.get(REPORT).headers["content-security-policy"]
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    page.keyboard.press("Control+f")
    assert browser.complaints == []


def test_what_is_found_stands_in_the_margin_and_below_while_one_writes(browser: Reader) -> None:
    page = browser.page()
    expect(page.locator("#remarks")).to_have_text("Nothing is found in the script.")
    write_at_the_end(page, "open('x')\nfrom sniplets import shelf")
    expect(page.locator(".cm-lint-marker-warning")).to_have_count(1)
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    expect(page.locator("#remarks")).to_contain_text("line 15, column 1: open()")
    expect(page.locator("#remarks")).to_contain_text("sniplets has no 'shelf'")
    page.locator(".cm-lint-marker-error").hover()
    expect(page.locator(".cm-tooltip")).to_contain_text("sniplets has no 'shelf'")
    page.keyboard.type("\nopen(")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    expect(page.locator(".cm-lint-marker-warning")).to_have_count(0)
    expect(page.locator("#remarks li")).to_have_count(1)
    page.keyboard.press("F8")
    expect(page.locator(".cm-tooltip")).to_contain_text("was never closed")
    expect(script_of(page)).to_be_focused()


def test_a_new_script_finds_its_query_once_the_file_has_its_name(browser: Reader) -> None:
    page = browser.page("/reports/clients/press/new")
    write_at_the_end(page, "from queries.press import volumes_csv")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    page.locator("input[name=file_name]").fill("volumes.csv")
    script_of(page).click()
    expect(page.locator(".cm-lint-marker-error")).to_have_count(0)
    expect(page.locator("#remarks")).to_have_text("Nothing is found in the script.")


def test_what_was_written_is_what_is_saved(browser: Reader) -> None:
    page = browser.page("/reports/libraries/script/new")
    page.locator("input[name=name]").fill("indented")
    script_of(page).click()
    page.keyboard.type("def first():\nreturn 1\n")
    page.keyboard.press("Tab")
    page.keyboard.type("# <&> ünï")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/reports/libraries/script/indented/")
    kept = browser.page("/reports/libraries/script/indented/", script=False).locator("textarea[name=body]")
    expect(kept).to_have_value("def first():\n    return 1\n        # <&> ünï")


def test_the_keyboard_leads_in_and_out(browser: Reader) -> None:
    page = browser.page()
    page.locator("textarea[name=description]").focus()
    page.keyboard.press("Tab")
    expect(script_of(page)).to_be_focused()
    hint = page.locator("#editor-hint")
    expect(hint).to_be_visible()
    described = "element => element.ariaDescribedByElements.map(each => each.id)"
    assert script_of(page).evaluate(described) == ["remarks", "editor-hint"]
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_role("textbox", name="Query")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    expect(script_of(page)).to_be_focused()
    page.locator("label", has_text="Query").click()
    expect(page.get_by_role("textbox", name="Query")).to_be_focused()


def test_one_searches_and_steps_back(browser: Reader) -> None:
    page = browser.page()
    script_of(page).click()
    page.keyboard.press("Control+f")
    page.keyboard.type("number")
    expect(page.locator(".cm-searchMatch")).to_have_count(3)
    page.keyboard.press("Escape")
    write_at_the_end(page, "spare")
    page.keyboard.press("Control+z")
    assert page.locator("textarea[name=script]").input_value() == SCRIPT


def test_its_words_are_in_the_reader_s_language(browser: Reader) -> None:
    page = browser.page(language="de")
    page.locator(".cm-content").first.click()
    page.keyboard.press("Control+f")
    expect(page.get_by_role("button", name="alle ersetzen")).to_be_visible()


def test_without_javascript_the_text_area_is_there_and_saves(browser: Reader) -> None:
    page = browser.page(LIBRARY, script=False)
    expect(page.locator("#editor-hint")).to_be_hidden()
    page.get_by_label("Script").fill("def cursor():\n    return [1]\n")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Script")).to_have_value("def cursor():\n    return [1]\n")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_legible_in_the_light_and_in_the_dark_and_on_a_phone(
    browser: Reader, npm_packages: Path, width: int, dark: bool
) -> None:
    page = browser.page(width=width, dark=dark)
    write_at_the_end(page, "open('x')\nfrom sniplets import shelf")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    page.keyboard.press("Control+f")
    page.keyboard.type("row")
    expect(page.locator(".cm-panel.cm-search")).to_be_visible()
    lightness = "element => getComputedStyle(element).backgroundColor.match(/\\d+/g).reduce((a, b) => +a + +b, 0)"
    assert (page.locator(".cm-editor").first.evaluate(lightness) < 384) == dark
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((npm_packages / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate(AXE)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.locator(".cm-editor").last.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / f"editor-{'dark' if dark else 'light'}-{width}.png")
    assert found == []
    assert browser.complaints == []

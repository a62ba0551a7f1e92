"""The diary as people meet it: in a browser, by keyboard, on a phone, in the dark, on paper."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import EMAIL, PASSWORD, SCREENSHOTS, OpenPage

pytestmark = pytest.mark.browser

PAGES = {
    "overview": "/",
    "runs": "/runs/",
    "tasks": "/tasks/",
    "hosts": "/hosts/",
    "releases": "/releases/",
    "outbox": "/outbox/",
}
VIEWS = {"wide": (1440, 900), "laptop": (1366, 768), "phone": (360, 740)}


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def open_first_failure(page: Page) -> None:
    page.goto("/runs/?status=failed")
    page.locator("tbody th a").first.click()
    page.wait_for_url("**/runs/*/")


def open_first_letter(page: Page) -> None:
    page.goto("/outbox/")
    page.locator("tbody th a").first.click()
    page.wait_for_url("**/outbox/*/")


def open_suspicious(page: Page) -> None:
    page.goto("/runs/?status=succeeded&review=open")
    page.locator("tbody th a").first.click()
    page.wait_for_url("**/runs/*/")


OPENERS = {"run": open_first_failure, "suspicious": open_suspicious, "letter": open_first_letter}


def test_a_reader_logs_in_by_keyboard_alone_and_reaches_a_run(open_page: OpenPage) -> None:
    page = open_page("/runs/", log=False)
    expect(page).to_have_url(re.compile("/login/"))
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.locator("tbody th a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Record")).to_be_visible()


def test_a_wrong_password_is_told_and_the_address_kept(open_page: OpenPage) -> None:
    page = open_page("/login/", log=False)
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("Email address")).to_have_value(EMAIL)


def test_runs_are_narrowed_without_javascript(open_page: OpenPage) -> None:
    page = open_page("/runs/", script=False)
    page.get_by_label("Status").select_option("failed")
    page.locator("select[name=host]").select_option("production")
    page.get_by_role("button", name="Show").click()
    statuses = page.locator("tbody .status").all_inner_texts()
    assert statuses
    assert set(statuses) == {"failed"}
    expect(page.get_by_label("Status")).to_have_value("failed")


def test_a_failure_is_read_and_handled(open_page: OpenPage) -> None:
    page = open_page("/")
    row = page.locator("tbody tr", has=page.locator(".status.failed")).first
    address = row.locator("th a").get_attribute("href")
    row.locator("th a").click()
    page.get_by_label("What was it, and what came of it?").fill("The remote end was being moved. #network")
    page.get_by_role("button", name="Handled").click()
    expect(page.locator(".history")).to_contain_text("being moved")
    page.goto("/")
    expect(page.locator(f'a[href="{address}"]')).to_have_count(0)


def test_what_would_have_been_sent_leads_to_its_run_and_back(open_page: OpenPage) -> None:
    page = open_page("/", script=False)
    page.get_by_role("link", name="Outbox").click()
    page.get_by_label("Means").select_option("mail")
    page.locator("select[name=host]").select_option("staging")
    page.get_by_role("button", name="Show").click()
    assert set(page.locator("tbody td:first-child").all_inner_texts()) == {"mail"}
    page.locator("tbody th a").first.click()
    expect(page.get_by_text("operators@example.org")).to_be_visible()
    subject = page.get_by_role("heading", level=1).inner_text()
    page.locator(".record a code").click()
    page.wait_for_url("**/runs/*/")
    page.get_by_role("link", name=subject).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(subject)


def test_a_suspicious_success_is_told_by_word_and_shape(open_page: OpenPage) -> None:
    page = open_page()
    open_suspicious(page)
    expect(page.locator("h1 .status")).to_have_text("succeeded")
    shape = "element => getComputedStyle(element, '::before').content"
    assert "!" in page.locator("h1 .status").evaluate(shape)
    expect(page.locator(".doubtful")).to_contain_text("suspicious: ")
    expect(page.locator("#review ~ p .review")).to_have_text("needs analysis")
    assert "!" in page.locator("#review ~ p .review").evaluate(shape)


def test_a_line_of_the_output_has_an_address_and_is_marked(open_page: OpenPage) -> None:
    page = open_page()
    open_first_failure(page)
    page.locator("#L2 > a").click()
    expect(page).to_have_url(re.compile("#L2$"))
    background = "element => getComputedStyle(element).backgroundColor"
    assert page.locator("#L2").evaluate(background) != page.locator("#L1").evaluate(background)


def test_no_page_loads_anything_it_may_not(open_page: OpenPage) -> None:
    complaints: list[str] = []
    page = open_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("response", lambda response: complaints.append(response.url) if response.status >= 400 else None)
    for path in PAGES.values():
        page.goto(path)
    for opener in OPENERS.values():
        opener(page)
    assert complaints == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_scrolls_sideways(open_page: OpenPage, width: int) -> None:
    page = open_page("/login/", width=width, log=False)
    assert overflow(page) <= 0
    page = open_page("/", width=width)
    for path in PAGES.values():
        page.goto(path)
        assert overflow(page) <= 0, path
    for name, opener in OPENERS.items():
        opener(page)
        assert overflow(page) <= 0, name


def test_the_overview_fits_the_screen_of_a_laptop(open_page: OpenPage) -> None:
    page = open_page("/", width=1366, height=768)
    assert page.evaluate("document.documentElement.scrollHeight") <= 768
    expect(page.get_by_role("link", name=re.compile(r"All \d+ that are not yet handled"))).to_be_visible()


BROKEN = """
() => [...document.querySelectorAll("tbody td, tbody th")].filter(cell => {
  const words = document.createRange();
  for (const text of cell.querySelectorAll("code, time, a, .status")) {
    words.selectNodeContents(text);
    if (new Set([...words.getClientRects()].map(box => Math.round(box.top))).size > 1) return true;
  }
  return cell.getBoundingClientRect().width < 40;
}).map(cell => cell.textContent)
"""


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_no_column_of_a_list_breaks_a_word_on_a_laptop(open_page: OpenPage, path: str) -> None:
    page = open_page(path, width=1366, height=768)
    assert page.evaluate(BROKEN) == []


def test_a_long_word_scrolls_nothing_either(open_page: OpenPage) -> None:
    page = open_page("/runs/?text=" + "x" * 200, width=360)
    assert overflow(page) <= 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_pictured(open_page: OpenPage, view: str, dark: bool) -> None:
    width, height = VIEWS[view]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = open_page("/login/", width=width, height=height, dark=dark, log=False)

    def picture(name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}-{view}-{'dark' if dark else 'light'}.png")

    picture("login")
    page = open_page("/", width=width, height=height, dark=dark)
    for name, path in PAGES.items():
        page.goto(path)
        picture(name)
    for name, opener in OPENERS.items():
        opener(page)
        picture(name)
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    brightness = sum(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(","))
    assert (brightness < 200) is dark


def test_paper_carries_the_record_and_leaves_the_controls_out(open_page: OpenPage) -> None:
    page = open_page()
    open_first_failure(page)
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="Record")).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()
    expect(page.locator("body > header nav")).to_be_hidden()

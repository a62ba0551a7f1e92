"""People write reports in forms: checked by the rules, saved as one, with a history, and nothing of it lost."""

from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from rota.diary.models import AuditEntry, Person
from rota.packs.reports.diary.keeping import definitions_of_database
from rota.packs.reports.diary.models import Client, History, Query, RunLog, Script, Task
from rota.packs.reports.names import check_definitions
from tests.agent.diary.conftest import Cast, undone, visitor
from tests.agent.reports.diary.conftest import Publish

REPORT = "/reports/clients/library/books.csv/"
NEW = "/reports/clients/library/new"


def form_of(browser: Browser, address: str, **changed: Any) -> dict[str, Any]:
    """What a browser would send from the page's form, with these changes."""
    context = browser.get(address).context
    values = {name: value for name, value in context["values"].items() if value is not None and value is not False}
    return {**values, "token": context["token"], **changed}


def actions() -> list[str]:
    """What was done, oldest first, but for logging in."""
    done = AuditEntry.objects.exclude(action="logged in").order_by("id")
    return list(done.values_list("action", flat=True))


@pytest.mark.each_engine
def test_a_report_is_made_with_its_script_and_query_named_by_the_rules(cast: Cast, shelf: Task) -> None:
    said = form_of(cast.administrator, NEW, file_name="New.v2.XML", script="print(2)\r\n", query="SELECT 2")
    assert cast.administrator.post(NEW, said)["Location"] == "/reports/clients/library/New.v2.XML/"
    task = Task.objects.get(file_name="New.v2.XML")
    assert task.script
    assert task.script.query
    assert (task.extension, task.is_active, task.is_public, task.frequency) == ("XML", False, False, "M")
    assert task.script.name == task.script.query.name == "library:new_v2_xml"
    assert task.script.body == "print(2)\n"
    assert check_definitions(definitions_of_database()) == ()
    assert actions() == ["report made"]
    assert {each.what for each in History.objects.exclude(who="rota-diary")} == {"task", "script", "query"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"file_name": "../../x.csv"},
        {"file_name": "noext"},
        {"file_name": "BOOKS.csv"},
        {"file_name": "books_csv.x", "script": "x" * 200_001},
        {"start_date": "31.02.2026"},
        {"frequency": "H"},
        {"checks": ["yaml"]},
        {"keep": "-1"},
    ],
)
def test_what_breaks_a_rule_is_not_saved_and_stays_in_the_form(cast: Cast, shelf: Task, wrong: dict[str, Any]) -> None:
    said = form_of(cast.administrator, NEW, file_name="other.csv", script="print('kept')", query="SELECT 3") | wrong
    response = cast.administrator.post(NEW, said)
    page = response.content.decode()
    assert response.status_code == 200
    assert 'role="alert"' in page
    assert said["query"] in page
    assert (Task.objects.count(), Script.objects.count(), Query.objects.count()) == (1, 1, 1)


def test_two_files_that_would_be_one_module_are_refused(cast: Cast, shelf: Task) -> None:
    response = cast.administrator.post(NEW, form_of(cast.administrator, NEW, file_name="books_csv.a"))
    assert response.status_code == 302
    said = form_of(cast.administrator, NEW, file_name="books.csv_a")
    assert "library:books_csv_a" in cast.administrator.post(NEW, said).content.decode()
    assert Task.objects.count() == 2


@pytest.mark.each_engine
def test_an_editor_changes_all_of_a_report_at_once(editor: Person, shelf: Task) -> None:
    browser = visitor(editor)
    changed = {"file_name": "volumes.csv", "script": "print(9)", "query": "SELECT 9", "checks": ["csv", "not_empty"]}
    said = form_of(browser, REPORT, frequency="W", shrink_percent=20, **changed)
    response = browser.post(REPORT, said)
    assert response.status_code == 302, response.context["form"].errors
    task = Task.objects.get()
    assert task.script
    assert task.script.query
    assert (task.script.name, task.script.body, task.script.query.body) == (
        "library:volumes_csv",
        "print(9)",
        "SELECT 9",
    )
    assert (task.frequency, task.shrink_percent, task.checks) == ("W", 20, ["csv", "not_empty"])
    assert (task.updated_by, task.is_active) == ("editor@example.org", True)
    entry = AuditEntry.objects.exclude(action="logged in").get()
    assert set(entry.detail["changed"]) >= {"script", "query", "frequency", "file_name"}
    assert "SELECT" not in str(entry.detail)


def test_of_two_who_save_the_second_is_told_and_loses_nothing(cast: Cast, editor: Person, shelf: Task) -> None:
    first, second = visitor(editor), cast.administrator
    theirs, mine = form_of(first, REPORT, query="SELECT 'theirs'"), form_of(second, REPORT, script="print('mine')")
    assert first.post(REPORT, theirs).status_code == 302
    response = second.post(REPORT, mine)
    page = response.content.decode()
    assert response.status_code == 409
    assert "print(&#x27;mine&#x27;)" in page
    assert "SELECT &#x27;theirs&#x27;" in page
    assert Query.objects.get().body == "SELECT 'theirs'"
    again = mine | {"token": response.context["token"]}
    assert second.post(REPORT, again).status_code == 302
    assert Script.objects.get().body == "print('mine')"
    assert {each.value["body"] for each in History.objects.filter(what="query")} == {"SELECT 'theirs'", "SELECT 1"}


@pytest.mark.each_engine
def test_what_was_once_is_restored_as_a_change_like_any_other(cast: Cast, shelf: Task) -> None:
    browser = cast.administrator
    for body in ("print('first')", "print('second')"):
        assert browser.post(REPORT, form_of(browser, REPORT, script=body)).status_code == 302
    assert browser.post(REPORT, form_of(browser, REPORT, frequency="D")).status_code == 302
    page = browser.get(f"{REPORT}history/").content.decode()
    assert '<del class="line">− print(&#x27;first&#x27;)' in page
    first = History.objects.filter(what="script").order_by("id").first()
    assert first
    assert browser.post(f"{REPORT}history/{first.pk}/restore").status_code == 302
    assert Script.objects.get().body == "print('first')"
    assert Task.objects.get().frequency == "D"
    monthly = History.objects.filter(what="task", value__frequency="M").order_by("id").first()
    assert monthly
    assert browser.post(f"{REPORT}history/{monthly.pk}/restore").status_code == 302
    assert (Task.objects.get().frequency, Task.objects.get().start_date) == ("M", date(2026, 1, 31))
    assert Script.objects.get().body == "print('first')"
    assert actions()[-2:] == ["report changed", "report restored"]


def test_findings_are_listed_with_their_lines_and_told_while_writing(cast: Cast, shelf: Task) -> None:
    script = "import os\nfrom sniplets import nothing\nfrom queries.library import books_csv\n"
    browser = cast.administrator
    browser.post(REPORT, form_of(browser, REPORT, script=script))
    page = browser.get(REPORT).content.decode()
    assert "line 1, column" in page
    assert "os.[any method]" in page
    said = {"script": script, "client": "library", "report": "books.csv", "file_name": "books.csv"}
    answer = browser.post("/reports/lint", said).json()
    found = answer["findings"]
    assert "line 1, column 1" in answer["html"]
    assert [(each["line"], each["kind"]) for each in found] == [(1, "warning"), (2, "error")]
    (error,) = browser.post("/reports/lint", {"script": "a = 1\nI am wrong"}).json()["findings"]
    assert (error["line"], error["kind"]) == (2, "error")


@pytest.mark.parametrize(
    ("file_name", "script", "wrong"),
    [
        ("New.v2.csv", "from queries.library import new_v2_csv", 0),
        ("new.csv", "from queries.library import other_csv", 1),
        ("books.csv", "from queries.library import books_csv", 0),
    ],
)
@pytest.mark.parametrize("address", [NEW, REPORT])
def test_a_script_knows_its_query_by_the_name_in_the_form(
    cast: Cast, shelf: Task, address: str, file_name: str, script: str, wrong: int
) -> None:
    """Of what is not saved yet, and while a file is renamed, by the page and while one writes."""
    browser = cast.administrator
    said = form_of(browser, address, file_name=file_name, script=script, query="SELECT 2", start_date="no day")
    assert len(browser.post(address, said).context["remarks"]) == wrong
    said |= {"client": "library", "report": "books.csv" if address == REPORT else ""}
    assert len(browser.post("/reports/lint", said).json()["findings"]) == wrong


def test_a_file_that_is_renamed_in_the_form_leaves_its_old_name(cast: Cast, shelf: Task) -> None:
    said = {"client": "library", "report": "books.csv", "script": "from queries.library import books_csv"}
    assert cast.administrator.post("/reports/lint", said | {"file_name": "books.csv"}).json()["findings"] == []
    assert len(cast.administrator.post("/reports/lint", said | {"file_name": "new.csv"}).json()["findings"]) == 1


def test_nobody_is_told_of_scripts_in_another_clients_name(cast: Cast, editor: Person) -> None:
    Client.objects.create(name="The press", username="press")
    Query.objects.create(name="press:titles_xml", body="SELECT 1")
    browser, script = visitor(editor), "from queries.press import titles_xm"
    assert browser.post("/reports/lint", {"client": "press", "script": script}).status_code == 403
    for said in ({"name": "press:a_xml"}, {"client": "library", "file_name": "press:a.xml"}):
        (found,) = browser.post("/reports/lint", {"script": script, **said}).json()["findings"]
        assert "titles_xml" not in found["text"]


def test_a_deleted_report_takes_its_script_query_and_log_with_it(editor: Person, shelf: Task, publish: Publish) -> None:
    publish(shelf, b"x")
    assert visitor(editor).post(f"{REPORT}delete").status_code == 302
    assert [model.objects.count() for model in (Task, Script, Query, RunLog)] == [0, 0, 0, 0]


@pytest.mark.parametrize("importing", ["from queries.library import books_csv", "import books_csv, wrong("])
def test_a_report_whose_query_others_import_keeps_its_name_and_stays(
    cast: Cast, shelf: Task, editor: Person, importing: str
) -> None:
    Script.objects.create(name="press:a_csv", body=importing)
    browser = visitor(editor)
    with undone():
        assert browser.post(f"{REPORT}delete").status_code == 302, "another client's script is no reason"
    assert browser.post(NEW, form_of(browser, NEW, file_name="other.csv", script=importing)).status_code == 302
    deleted = browser.post(f"{REPORT}delete")
    renamed = browser.post(REPORT, form_of(browser, REPORT, file_name="volumes.csv", script="print('kept')"))
    for response in (deleted, renamed):
        page = response.content.decode()
        assert "library:books_csv is used by library:other_csv<" in page
    assert deleted.status_code == 409
    assert "print(&#x27;kept&#x27;)" in page
    assert browser.post(REPORT, form_of(browser, REPORT, file_name="BOOKS.csv")).status_code == 302, "of one name"
    Script.objects.filter(name="library:other_csv").update(body="")
    assert browser.post(f"{REPORT.replace('books', 'BOOKS')}delete").status_code == 302


def test_the_newest_ten_runs_are_shown_with_what_they_said(cast: Cast, shelf: Task) -> None:
    for day in range(1, 13):
        RunLog.objects.create(
            task=shelf, date=f"2026-01-{day:02}T02:00:00Z", is_success=day % 2 == 0, message=f"<b>day {day}</b>"
        )
    page = cast.administrator.get(REPORT).content.decode()
    assert "&lt;b&gt;day 12&lt;/b&gt;" in page
    assert "day 3&lt;" in page
    assert "day 2&lt;" not in page


# -- clients


@pytest.mark.each_engine
def test_clients_are_listed_with_how_their_reports_stand(cast: Cast, shelf: Task) -> None:
    for day, good in ((1, False), (2, True)):
        RunLog.objects.create(task=shelf, date=f"2026-01-0{day}T02:00:00Z", is_success=good)
    Task.objects.create(client=shelf.client, file_name="empty.csv", extension="csv", start_date=shelf.start_date)
    Client.objects.create(name="Nobody yet", username="nobody")
    rows = {client.username: count for client, count in cast.administrator.get("/reports/").context["clients"]}
    assert {key: rows["library"][key] for key in ("tasks", "good", "failed", "empty")} == {
        "tasks": 2,
        "good": 1,
        "failed": 0,
        "empty": 1,
    }
    assert rows["nobody"] == {}


def test_a_client_is_made_by_the_rules_and_deleted_only_without_reports(cast: Cast, shelf: Task) -> None:
    browser = cast.administrator
    for wrong in ("tmp", "a", "a/b", "LIBRARY"):
        response = browser.post("/reports/clients/new", {"username": wrong, "name": "Wrong"})
        assert 'role="alert"' in response.content.decode()
    assert browser.post("/reports/clients/new", {"username": "museum", "name": "The museum"}).status_code == 302
    assert browser.post("/reports/clients/museum/delete").status_code == 302
    assert browser.post("/reports/clients/library/delete").status_code == 409
    renamed = {"username": "archive", "name": "The archive"}
    assert browser.post("/reports/clients/library/change", renamed).status_code == 409
    assert browser.post("/reports/clients/library/change", renamed | {"username": "library"}).status_code == 302
    assert Client.objects.get().name == "The archive"
    assert actions() == ["client made", "client deleted", "client changed"]


def test_a_new_key_is_shown_once_and_opens_the_file(cast: Cast, shelf: Task, publish: Publish) -> None:
    publish(shelf, b"x")
    response = cast.administrator.post("/reports/clients/library/key")
    key = response.context["key"]
    assert response["Cache-Control"] == "no-store"
    assert len(key) == 32
    assert key not in cast.administrator.get("/reports/clients/library/").content.decode()
    file = "/reports/file/library/books.csv"
    assert visitor().get(file, HTTP_AUTHORIZATION=f"Bearer {key}").status_code == 200
    cast.administrator.post("/reports/clients/library/key", {"remove": "yes"})
    assert visitor().get(file, HTTP_AUTHORIZATION=f"Bearer {key}").status_code == 401
    password = cast.administrator.post("/reports/clients/library/password").context["password"]
    assert visitor().post("/reports/files/library/", {"password": password}).status_code == 302
    for secret in (key, password, Client.objects.get().password):
        assert secret not in str([*History.objects.values(), *AuditEntry.objects.values()])


def test_editors_are_named_by_administrators(cast: Cast, shelf: Task) -> None:
    viewer = cast.people["viewer"]
    assert cast.viewer.get(REPORT).status_code == 403
    cast.administrator.post("/reports/clients/library/editors", {"person": [viewer.pk, "x", "9" * 30]})
    assert cast.viewer.get(REPORT).status_code == 200
    assert AuditEntry.objects.exclude(action="logged in").get().detail == {"people": ["viewer@example.org"]}
    cast.administrator.post("/reports/clients/library/editors")
    assert cast.viewer.get(REPORT).status_code == 403


# -- libraries


@pytest.mark.each_engine
def test_a_library_in_use_is_neither_renamed_nor_deleted(cast: Cast, shelf: Task) -> None:
    browser = cast.administrator
    for kind, text in (("script", "print(1)\n"), ("query", "SELECT 1")):
        new = reverse("reports:new_library", args=[kind])
        assert 'role="alert"' in browser.post(new, {"name": "Wrong-name", "body": text}).content.decode()
        assert browser.post(new, {"name": "shared", "body": text}).status_code == 302
    Script.objects.filter(pk=shelf.script_id).update(
        body="from sniplets import (shared)\nfrom queries import shared as q"
    )
    for kind in ("script", "query"):
        page = f"/reports/libraries/{kind}/shared/"
        assert "library:books_csv" in browser.get(page).content.decode()
        assert browser.post(f"{page}delete").status_code == 409
        renamed = browser.post(f"{page}save", form_of(browser, page, name="other"))
        assert "library:books_csv" in renamed.content.decode()
        assert browser.post(f"{page}save", form_of(browser, page, body="# new")).status_code == 302
    Script.objects.filter(pk=shelf.script_id).update(body="")
    for kind in ("script", "query"):
        assert browser.post(f"/reports/libraries/{kind}/shared/delete").status_code == 302
    assert (Script.objects.count(), Query.objects.count()) == (1, 1)


def test_a_library_query_and_a_client_share_no_name(cast: Cast, shelf: Task) -> None:
    browser = cast.administrator
    new = reverse("reports:new_library", args=["query"])
    refused = browser.post(new, {"name": "library", "body": "SELECT 'kept'", "notes": ""})
    assert "queries.library" in refused.content.decode()
    assert "SELECT &#x27;kept&#x27;" in refused.content.decode()
    assert browser.post(new.replace("query", "script"), {"name": "library"}).status_code == 302
    assert browser.post(new, {"name": "museum", "body": "SELECT 2"}).status_code == 302
    assert (
        "queries.museum"
        in browser.post("/reports/clients/new", {"username": "Museum", "name": "The museum"}).content.decode()
    )
    assert Client.objects.count() == Query.objects.filter(is_library=True).count() == 1


def test_an_old_text_of_a_library_is_restored(cast: Cast, shelf: Task) -> None:
    browser, page = cast.administrator, "/reports/libraries/script/shared/"
    browser.post("/reports/libraries/script/new", {"name": "shared", "body": "a = 1\n"})
    old = form_of(browser, page, body="a = 3\n")
    browser.post(f"{page}save", form_of(browser, page, body="a = 2\n"))
    assert browser.post(f"{page}save", old).status_code == 409
    first = History.objects.filter(what="script").order_by("id").first()
    assert first
    assert browser.post(f"{page}history/{first.pk}/restore").status_code == 302
    assert Script.objects.get(name="shared").body == "a = 1\n"


def test_editors_read_libraries_and_have_no_form(editor: Person) -> None:
    Script.objects.create(name="shared", type="SNIP", body="a = '<b>'")
    page = visitor(editor).get("/reports/libraries/script/shared/").content.decode()
    assert "a = &#x27;&lt;b&gt;&#x27;" in page
    assert "<textarea" not in page


# -- every page


class Page(HTMLParser):
    """Collects what a page does that a reader who sees nothing could not follow."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.unlabelled: list[dict[str, str | None]] = []
        self.headings: list[int] = []
        self.inline: list[str] = []
        self.buttons: list[str] = []
        self.inside: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.inside.append(tag)
        if said.get("id"):
            self.ids.append(str(said["id"]))
        if tag == "label" and said.get("for"):
            self.labelled.add(str(said["for"]))
        is_shown = tag in ("input", "select", "textarea") and said.get("type") != "hidden"
        if is_shown and "label" not in self.inside and said.get("id") not in self.labelled:
            self.unlabelled.append(said)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        is_code = tag == "style" or (tag == "script" and not said.get("src"))
        if is_code or "style" in said or any(name.startswith("on") for name in said):
            self.inline.append(tag)
        if tag in ("input", "meta", "link", "br"):
            self.inside.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.inside
        assert self.inside[-1] == tag, f"</{tag}> closes {self.inside[-1]}"
        self.inside.pop()


ADDRESSES = [
    "/reports/",
    "/reports/clients/new",
    "/reports/clients/library/",
    NEW,
    REPORT,
    f"{REPORT}history/",
    "/reports/libraries/",
    "/reports/libraries/script/new",
    "/reports/libraries/query/new",
    "/reports/libraries/script/shared/",
    "/reports/libraries/script/shared/history/",
    "/reports/files/library/",
    "/reports/files/nobody/",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_are_whole_labelled_and_without_inline_code(
    cast: Cast, shelf: Task, publish: Publish, address: str
) -> None:
    browser = cast.administrator
    publish(shelf, b"x")
    browser.post("/reports/libraries/script/new", {"name": "shared", "body": "import os\n"})
    browser.post(REPORT, form_of(browser, REPORT, script="open('x')\nimport os"))
    response = browser.get(address)
    assert response.status_code == 200
    page = Page(response.content.decode())
    assert page.inside == []
    assert page.inline == []
    assert page.unlabelled == []
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))

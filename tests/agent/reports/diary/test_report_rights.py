"""Who may do what with reports: one law over every address of the pack."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client as Browser
from django.urls import URLResolver, get_resolver, reverse
from django.utils import timezone

from rota.diary.models import Person, Role
from rota.diary.packs import entries
from rota.packs.reports.diary import editing
from rota.packs.reports.diary.models import Asked, Client, History, Query, Script, Task
from tests.agent.diary.conftest import TOKEN, Cast, Shipper, undone, visitor
from tests.agent.reports.diary.rights import ADMINISTRATOR, ASKER, CLIENT, EDITOR, HOST, PROGRAM, RIGHTS

PAGES = [name for name, right in RIGHTS.items() if right in (ADMINISTRATOR, EDITOR, ASKER)]
OWN = [name for name in PAGES if RIGHTS[name] == EDITOR]
SPACES = {HOST: "reports_api", PROGRAM: "reports_root"}


@pytest.fixture
def other(shelf: Task) -> Task:
    """A report of another client, named alike."""
    client = Client.objects.create(name="The museum", username="museum")
    return Task.objects.create(client=client, file_name="books.csv", extension="csv", start_date=shelf.start_date)


def address_of(name: str, username: str) -> str:
    Script.objects.get_or_create(name="shared", type="SNIP")
    Query.objects.get_or_create(name="shared", is_library=True)
    values = {"username": username, "file_name": "books.csv", "kind": "script", "name": "shared", "number": 0}
    values["identifier"] = asked_of(username) if RIGHTS[name] == ASKER else uuid4()
    (pattern,) = (
        inner
        for each in get_resolver().url_patterns
        if isinstance(each, URLResolver) and str(each.pattern) in ("reports/", "api/v1/reports/", "")
        for inner in each.url_patterns
        if inner.name == name
    )
    space = SPACES.get(RIGHTS[name], "reports")
    return reverse(f"{space}:{name}", kwargs={key: values[key] for key in pattern.pattern.converters})


def asked_of(username: str) -> UUID:
    """What the editor asked for, of this client."""
    client, person = Client.objects.get(username=username), Person.objects.filter(name="Editor").first()
    said = {"is_dry_run": True, "at": timezone.now()}
    return Asked.objects.get_or_create(client=client, person=person, file_name="books.csv", defaults=said)[0].pk


def statuses(browser: Browser, address: str) -> tuple[int, int]:
    with undone():
        return browser.get(address).status_code, browser.post(address).status_code


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_for_administrators_and_for_editors_of_the_client(
    cast: Cast, shelf: Task, other: Task, editor: Person, name: str
) -> None:
    address = address_of(name, "library")
    assert visitor().get(address).headers.get("Location", "").startswith("/login/") or "POST" in visitor().options(
        address
    ).headers.get("Allow", "")
    for role in (Role.VIEWER, Role.REVIEWER, Role.OPERATOR):
        assert set(statuses(getattr(cast, role), address)) <= {403, 405}, role
    assert 403 not in statuses(cast.administrator, address)
    assert (403 in statuses(visitor(editor), address)) is (RIGHTS[name] == ADMINISTRATOR)
    another = address_of(name, "museum")
    if another != address:
        assert set(statuses(visitor(editor), another)) <= {403, 405}


@pytest.mark.parametrize("name", PAGES)
def test_nobody_who_is_not_logged_in_reads_or_changes_anything(shelf: Task, name: str) -> None:
    address = address_of(name, "library")
    for method in ("get", "post"):
        for headers in ({}, {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}):
            response = getattr(visitor(), method)(address, **headers)
            assert response.status_code in (302, 405)
            assert response.headers.get("Location", "/login/").startswith("/login/")
    assert Task.objects.count() == 1


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("clients", "client", "libraries", "library")])
def test_a_form_from_another_site_is_refused(cast: Cast, shelf: Task, name: str) -> None:
    browser = Browser(HTTP_X_FORWARDED_PROTO="https", HTTP_HOST="localhost", enforce_csrf_checks=True)
    browser.force_login(cast.people["administrator"])
    assert browser.post(address_of(name, "library")).status_code in (403, 405)
    assert Task.objects.count() == 1


@pytest.mark.parametrize("name", [name for name, right in RIGHTS.items() if right == HOST])
def test_what_hosts_are_told_is_for_hosts(cast: Cast, maker: Shipper, name: str) -> None:
    address = address_of(name, "library")
    assert set(statuses(cast.administrator, address)) <= {401, 405}
    answers = (
        visitor().get(address, HTTP_AUTHORIZATION=f"Bearer {TOKEN}"),
        visitor().post(address, HTTP_AUTHORIZATION=f"Bearer {TOKEN}"),
    )
    assert {each.status_code for each in answers} <= {200, 400, 405}


@pytest.mark.each_engine
def test_every_address_answers_on_each_engine(cast: Cast, shelf: Task) -> None:
    for name in RIGHTS:
        assert max(statuses(cast.administrator, address_of(name, "library"))) < 500, name


def test_unknown_clients_are_as_forbidden_as_others(cast: Cast, editor: Person, other: Task) -> None:
    for name in OWN:
        address = address_of(name, "nobody")
        if "nobody" in address:
            assert set(statuses(visitor(editor), address)) <= {403, 405}
            assert set(statuses(cast.administrator, address)) <= {404, 405}


def test_a_line_of_anothers_history_cannot_be_restored(cast: Cast, editor: Person, shelf: Task, other: Task) -> None:
    entry = History.objects.create(what="task", row=other.pk, value={"file_name": "x.csv"}, at=shelf.updated_at)
    address = reverse("reports:restore_report", args=["library", "books.csv", entry.pk])
    assert visitor(editor).post(address).status_code == 404


def test_the_navigation_leads_to_reports_for_who_may_edit_them(cast: Cast, editor: Person) -> None:
    def shows(browser: Browser) -> bool:
        return 'href="/reports/"' in browser.get("/hosts/").content.decode()

    assert [shows(each) for each in (cast.administrator, visitor(editor), cast.operator)] == [True, True, False]


@pytest.mark.each_engine
def test_the_navigation_follows_at_once_who_edits_what_and_asks_nothing_for_it(
    cast: Cast, shelf: Task, django_assert_num_queries: Any
) -> None:
    person, browser = cast.people["viewer"], cast.viewer

    def sees() -> tuple[bool, int]:
        return 'href="/reports/"' in browser.get("/account/").content.decode(), browser.get("/reports/").status_code

    assert sees() == (False, 403)
    editing.set_editors(shelf.client, [person], by=cast.people["administrator"])
    assert sees() == (True, 200)
    editing.set_editors(shelf.client, [], by=cast.people["administrator"])
    assert sees() == (False, 403)
    Person.objects.filter(pk=person.pk).update(role="administrator")
    assert sees() == (True, 200)
    for each in Person.objects.filter(role__in=("viewer", "operator")):
        with django_assert_num_queries(0):
            list(entries(each))


def test_each_address_is_somebodys() -> None:
    assert set(RIGHTS.values()) == {ADMINISTRATOR, EDITOR, HOST, CLIENT, ASKER, PROGRAM}


@pytest.mark.parametrize("name", [name for name, right in RIGHTS.items() if right == ASKER])
def test_what_somebody_asked_for_is_theirs_and_administrators(
    cast: Cast, shelf: Task, other: Task, editor: Person, name: str
) -> None:
    address = address_of(name, "library")
    colleague = Person.objects.create_user("colleague@example.org", None, name="Colleague")
    shelf.client.editors.add(colleague)
    other.client.editors.add(editor)
    assert 403 not in statuses(visitor(editor), address)
    assert set(statuses(visitor(colleague), address)) <= {403, 405}
    shelf.client.editors.remove(editor)
    assert set(statuses(visitor(editor), address)) <= {403, 405}, "who edits it no more sees nothing of it"
    unknown = address.replace(str(Asked.objects.get().pk), str(uuid4()))
    assert set(statuses(visitor(editor), unknown)) <= {403, 405}
    assert set(statuses(cast.administrator, unknown)) <= {404, 405}


@pytest.mark.parametrize("name", [name for name, right in RIGHTS.items() if right == PROGRAM])
def test_programs_need_a_token_of_the_reports(cast: Cast, shelf: Task, maker: Shipper, name: str) -> None:
    address = address_of(name, "library")
    assert set(statuses(cast.administrator, address)) <= {401, 405}
    assert visitor().post(address, HTTP_AUTHORIZATION=f"Bearer {TOKEN}").status_code == 401

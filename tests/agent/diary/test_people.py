"""People are invited, given roles and let go; each sees the diary in their own way; every change is written down."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import hashers
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rota.diary import audit, people
from rota.diary.configuration import Administrator
from rota.diary.models import AuditEntry, Host, Invitation, LoginSession, Person, Role, Token
from rota.diary.paging import PAGE
from rota.diary.sessions import forget_ended
from tests.agent.diary.conftest import PASSWORD, Cast, Shipper, visitor
from tests.agent.diary.records import failed, run

CHOSEN = "an inkwell of green glass"


def actions() -> list[tuple[str, str, str]]:
    """Who did what on what, oldest first."""
    return list(AuditEntry.objects.order_by("id").values_list("who", "action", "subject_name"))


def link_in(response: Any) -> str:
    assert response.status_code == 200, response
    return re.findall(r"https://localhost(/invitation/[\w-]+/)", response.content.decode())[0]


def invited(cast: Cast, email: str = "new@example.org") -> str:
    said = {"name": "Newcomer", "email": email, "role": "operator"}
    return link_in(cast.administrator.post(reverse("invite"), said))


def log_in(email: str = "viewer@example.org", password: str = PASSWORD, **more: str) -> Client:
    client = visitor()
    assert client.post("/login/", {"username": email, "password": password}, **more).status_code == 302
    return client


# -- invitations


@pytest.mark.each_engine
def test_an_invitation_lets_somebody_set_a_password_once(cast: Cast) -> None:
    link = invited(cast)
    guest = visitor()
    assert "Welcome, Newcomer" in guest.get(link).content.decode()
    assert guest.post(link, {"new_password1": CHOSEN, "new_password2": CHOSEN}).headers["Location"] == "/"
    assert guest.get("/").status_code == 200
    assert visitor().get(link).status_code == 410
    assert visitor().post(link, {"new_password1": PASSWORD, "new_password2": PASSWORD}).status_code == 410
    person = Person.objects.get(email="new@example.org")
    assert (person.role, person.check_password(CHOSEN)) == ("operator", True)
    log_in("new@example.org", CHOSEN)


def test_only_the_hash_of_an_invitation_is_kept_and_its_page_by_nobody(cast: Cast) -> None:
    said = {"name": "Newcomer", "email": "new@example.org", "role": "viewer"}
    response = cast.administrator.post(reverse("invite"), said)
    token = link_in(response).split("/")[2]
    assert response.headers["Cache-Control"] == "no-store"
    assert len(token) >= 43
    assert Invitation.objects.get().digest == people.digest_of(token)
    assert token not in str(list(AuditEntry.objects.values()))


def test_an_invitation_ends_by_time_by_another_and_with_its_person(cast: Cast) -> None:
    first = invited(cast)
    person = Person.objects.get(email="new@example.org")
    second = link_in(cast.administrator.post(reverse("new_link", args=[person.pk])))
    assert visitor().get(first).status_code == 410
    assert visitor().get(second).status_code == 200
    Invitation.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert visitor().get(second).status_code == 410
    third = link_in(cast.administrator.post(reverse("new_link", args=[person.pk])))
    cast.administrator.post(reverse("deactivate", args=[person.pk]))
    assert visitor().get(third).status_code == 410
    assert cast.administrator.post(reverse("new_link", args=[person.pk])).status_code == 404


@pytest.mark.parametrize("password", ["short", "123456789012", "password1234", "new@example.org"])
def test_a_weak_password_is_refused_and_the_invitation_stays_open(cast: Cast, password: str) -> None:
    link = invited(cast)
    response = visitor().post(link, {"new_password1": password, "new_password2": password})
    assert 'role="alert"' in response.content.decode()
    assert Invitation.objects.exists()


def test_nobody_is_invited_twice(cast: Cast) -> None:
    response = cast.administrator.post(
        reverse("invite"), {"name": "V", "email": "Viewer@example.org", "role": "viewer"}
    )
    assert "already" in response.content.decode()
    assert not Invitation.objects.exists()


# -- roles, and letting go


def test_a_role_counts_from_the_next_request_on(cast: Cast) -> None:
    viewer = cast.viewer
    assert viewer.get("/people/").status_code == 403
    cast.administrator.post(reverse("change_role", args=[cast.people["viewer"].pk]), {"role": "administrator"})
    assert viewer.get("/people/").status_code == 200
    assert actions()[-1] == ("administrator@example.org", "role changed", "Viewer")
    assert AuditEntry.objects.latest("id").detail == {"from": "viewer", "to": "administrator"}


def test_somebody_who_is_let_go_is_out_at_once_and_stays_so(cast: Cast) -> None:
    viewer, number = log_in(), cast.people["viewer"].pk
    assert viewer.get("/").status_code == 200
    cast.administrator.post(reverse("deactivate", args=[number]))
    assert viewer.get("/").status_code == 302
    assert not LoginSession.objects.filter(person=number).exists()
    assert visitor().post("/login/", {"username": "viewer@example.org", "password": PASSWORD}).status_code == 200
    cast.administrator.post(reverse("activate", args=[number]))
    assert viewer.get("/").status_code == 302, "a session that was ended stays so"
    log_in()


def test_nobody_takes_their_own_rights_and_one_administrator_stays(cast: Cast) -> None:
    administrator = cast.people["administrator"]
    for name in ("change_role", "deactivate"):
        assert cast.administrator.post(reverse(name, args=[administrator.pk]), {"role": "viewer"}).status_code == 403
    other = Person.objects.create_user("other@example.org", PASSWORD, name="Other", role=Role.ADMINISTRATOR)
    browser = visitor(other)
    Person.objects.filter(pk=other.pk).update(role=Role.VIEWER)
    with pytest.raises(people.LastAdministrator, match="make another person an administrator first"):
        people.deactivate(other, administrator)
    Person.objects.filter(pk=other.pk).update(role=Role.ADMINISTRATOR)
    assert browser.post(reverse("deactivate", args=[administrator.pk])).status_code == 302


@pytest.mark.each_engine
def test_the_list_of_people_shows_roles_last_logins_and_invitations(cast: Cast) -> None:
    invited(cast)
    log_in()
    page = cast.administrator.get("/people/").content.decode()
    for shown in ("Newcomer", "invited", "operator@example.org", "never", "0 s ago"):
        assert shown in page


def test_a_configured_administrator_is_shown_as_such(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = (Administrator(name="Operator", email="operator@example.org"),)
    monkeypatch.setattr(settings, "CONFIGURATION", replace(settings.CONFIGURATION, administrators=configured))
    page = cast.administrator.get(reverse("person", args=[cast.people["operator"].pk])).content.decode()
    assert "makes them one again" in page


# -- one's own page


def test_times_are_in_the_readers_zone_with_utc_on_hover(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(run())[0]["id"]
    viewer = cast.viewer
    said = {"name": "Vera", "language": "en", "time_zone": "Asia/Kathmandu"}
    assert viewer.post(reverse("change_account"), said).status_code == 302
    page = viewer.get(reverse("run", args=[identifier])).content.decode()
    assert 'title="2025-03-01 02:30:00.250000 UTC">2025-03-01 08:15:00</time>' in page
    assert "Times are in Asia/Kathmandu" in page
    assert "Vera" in page
    assert "Times are in UTC" in cast.reviewer.get("/").content.decode(), "another reader's zone is their own"


@pytest.mark.parametrize(
    "said", [{"name": ""}, {"language": "tlh"}, {"time_zone": "Mars/Olympus"}, {"time_zone": "../../etc/passwd"}]
)
def test_what_there_is_not_cannot_be_chosen(cast: Cast, said: dict[str, str]) -> None:
    page = cast.viewer.post(reverse("change_account"), {"name": "Vera"} | said).content.decode()
    assert 'role="alert"' in page
    assert Person.objects.get(email="viewer@example.org").name == "Viewer"


def test_a_zone_that_is_no_more_is_read_as_the_diarys(cast: Cast) -> None:
    Person.objects.update(time_zone="Europe/Atlantis")
    assert "Times are in UTC" in cast.viewer.get("/").content.decode()


def test_a_changed_password_ends_every_other_session(cast: Cast) -> None:
    here, there = log_in(), log_in()
    before = here.cookies[settings.SESSION_COOKIE_NAME].value
    said = {"old_password": PASSWORD, "new_password1": CHOSEN, "new_password2": CHOSEN}
    assert here.post(reverse("change_password"), said).status_code == 302
    assert here.cookies[settings.SESSION_COOKIE_NAME].value != before
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert LoginSession.objects.filter(person=cast.people["viewer"]).count() == 1
    log_in(password=CHOSEN)


def test_guessing_the_old_password_is_slowed_down(cast: Cast) -> None:
    here = log_in()
    said = {"old_password": "guess", "new_password1": CHOSEN, "new_password2": CHOSEN}
    pages = [here.post(reverse("change_password"), said).content.decode() for _ in range(11)]
    assert ["Too many refused logins" in page for page in pages] == [False] * 10 + [True]
    assert here.post(reverse("confirm"), {"password": PASSWORD}).status_code == 429


def test_ones_sessions_are_listed_and_ended_but_nobody_elses(cast: Cast) -> None:
    here = log_in(HTTP_USER_AGENT="Here/1", REMOTE_ADDR="192.0.2.1")
    there = log_in(HTTP_USER_AGENT="There/2", REMOTE_ADDR="192.0.2.2")
    other = log_in("reviewer@example.org")
    page = here.get("/account/").content.decode()
    for shown in ("Here/1", "192.0.2.2", "this one"):
        assert shown in page
    keys = LoginSession.objects.values_list("session_key", flat=True)
    assert not any(key in page for key in keys), "a key on a page would be enough to be its person"
    (mark,) = re.findall(r"/account/sessions/(\w{32})/end", page)
    assert other.post(reverse("end_own_session", args=[mark])).status_code == 302
    assert there.get("/").status_code == 200
    here.post(reverse("end_own_session", args=[mark]))
    assert (here.get("/").status_code, there.get("/").status_code) == (200, 302)
    again = log_in()
    here.post(reverse("end_own_session", args=["others"]))
    assert (here.get("/").status_code, again.get("/").status_code, other.get("/").status_code) == (200, 302, 200)


# -- sessions


def test_a_login_gives_the_browser_another_key(cast: Cast) -> None:
    client = visitor()
    session = client.session
    session["planted"] = "by somebody else"
    session.save()
    planted = session.session_key
    client.cookies[settings.SESSION_COOKIE_NAME] = str(planted)
    client.post("/login/", {"username": "viewer@example.org", "password": PASSWORD})
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != planted
    thief = visitor()
    thief.cookies[settings.SESSION_COOKIE_NAME] = str(planted)
    assert thief.get("/").status_code == 302


def test_a_session_ends_when_it_is_unused_for_long(cast: Cast) -> None:
    client = log_in()
    idle = settings.SESSION_ENDS_UNUSED_AFTER
    LoginSession.objects.update(seen=timezone.now() - idle + timedelta(minutes=1))
    assert client.get("/").status_code == 200
    assert timezone.now() - LoginSession.objects.get().seen < timedelta(minutes=1), "its use was noted"
    LoginSession.objects.update(seen=timezone.now() - idle - timedelta(seconds=1))
    assert client.get("/").status_code == 302
    forget_ended(now=timezone.now())
    assert not LoginSession.objects.exists()


def test_a_session_ends_so_long_after_its_login_however_it_is_used(cast: Cast) -> None:
    client = log_in()
    began = LoginSession.objects.get().expire_date - settings.SESSION_ENDS_AFTER
    client.post(reverse("confirm"), {"password": PASSWORD})
    assert LoginSession.objects.get().expire_date - settings.SESSION_ENDS_AFTER == began, (
        "saving it anew changes nothing"
    )
    LoginSession.objects.update(expire_date=timezone.now())
    assert client.get("/").status_code == 302


def test_logging_out_ends_the_session_in_the_database_too(cast: Cast) -> None:
    client = log_in()
    stolen = client.cookies[settings.SESSION_COOKIE_NAME].value
    client.post("/logout/")
    client.cookies[settings.SESSION_COOKIE_NAME] = stolen
    assert client.get("/").status_code == 302


def test_a_refused_login_costs_as_much_whoever_is_named(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time would tell who is known here."""
    Person.objects.create_user("nopassword@example.org", None, name="No password")
    Person.objects.create_user("left@example.org", PASSWORD, name="Left", role="viewer")
    Person.objects.filter(email="left@example.org").update(is_active=False)
    hashed: list[str] = []
    hasher = hashers.get_hasher()
    encode = type(hasher).encode
    monkeypatch.setattr(type(hasher), "encode", lambda self, *args: (hashed.append(args[0]), encode(self, *args))[1])
    costs = []
    for name in ("viewer", "nobody", "nopassword", "left"):
        hashed.clear()
        visitor().post("/login/", {"username": f"{name}@example.org", "password": "guess"}, REMOTE_ADDR="192.0.2.9")
        costs.append(len(hashed))
    assert costs == [1, 1, 1, 1]


# -- the audit log


def test_what_people_do_is_written_down_with_who_from_where_and_on_what(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(failed())[0]["id"]
    client = log_in("reviewer@example.org", REMOTE_ADDR="192.0.2.7")
    client.post(
        reverse("review", args=[identifier]), {"state": "done", "summary": "disk full"}, REMOTE_ADDR="192.0.2.7"
    )
    client.post("/logout/", REMOTE_ADDR="192.0.2.7")
    assert actions() == [
        ("reviewer@example.org", "logged in", ""),
        ("reviewer@example.org", "reviewed", "send_reports on production"),
        ("reviewer@example.org", "logged out", ""),
    ]
    entry = AuditEntry.objects.get(action="reviewed")
    assert (entry.address, entry.subject_kind, entry.subject_id) == ("192.0.2.7", "run", identifier)
    assert entry.detail == {"state": "done", "runs": 1}


def test_a_refused_login_is_written_down_but_never_what_was_typed_as_a_password(cast: Cast) -> None:
    for name, password in (("viewer@example.org", "guessed-secret"), ("who@example.org", "x"), ("typed-secret", "x")):
        visitor().post("/login/", {"username": name, "password": password})
    assert actions() == [
        ("", "login refused", "Viewer"),
        ("", "login refused", "who@example.org"),
        ("", "login refused", "(not an email address)"),
    ]
    assert "secret" not in str(list(AuditEntry.objects.values()))


@pytest.mark.each_engine
def test_a_change_that_fails_leaves_no_entry(cast: Cast, production: Shipper, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = production.ship(failed())[0]["id"]
    cast.reviewer.post(reverse("review", args=[identifier]), {"state": "nonsense"})
    assert not AuditEntry.objects.filter(action="reviewed").exists()


@pytest.mark.each_engine
def test_the_page_of_the_log_shows_each_entry_once_newest_first(cast: Cast) -> None:
    amount = 2 * PAGE + 3
    AuditEntry.objects.all().delete()
    for number in range(amount):
        audit.note(None, "tried", f"subject {number}", {"<b>": number})
    administrator = cast.administrator
    AuditEntry.objects.exclude(action="tried").delete()
    seen, address = [], "?action=tried"
    while address:
        page = administrator.get(f"/audit/{address}")
        seen.append([entry.subject_name for entry in page.context["entries"]])
        last, address = page, page.context["page"]["older"]
    assert sum(seen, []) == [f"subject {number}" for number in reversed(range(amount))]
    back = administrator.get(f"/audit/{last.context['page']['newer']}")
    assert [entry.subject_name for entry in back.context["entries"]] == seen[1]
    assert "<b>" not in page.content.decode().split("<main")[1].split("</main")[0].replace("<br>", "")


NARROWED = {
    "": 3,
    "action=invited": 1,
    "who=operator@example.org": 1,
    "kind=person&subject={viewer}": 1,
    "action=nothing": 0,
    "before=9999999999999999999": 3,
    "after=x": 3,
    "who=%00": 3,
}


@pytest.mark.each_engine
def test_the_log_is_narrowed_by_its_address(cast: Cast) -> None:
    administrator, viewer = cast.administrator, cast.people["viewer"]
    AuditEntry.objects.all().delete()
    audit.note(cast.people["operator"], "reviewed", "a run")
    audit.note(cast.people["administrator"], "invited", viewer)
    audit.note(None, "person made", "somebody")

    def found(query: str) -> int:
        return len(administrator.get(f"/audit/?{query.format(viewer=viewer.pk)}").context["entries"])

    assert {query: found(query) for query in NARROWED} == NARROWED


# -- all these pages


EVIL = "<script>alert('x')</script>"


def pages_of(person: Person) -> list[str]:
    return ["/people/", "/people/invite", f"/people/{person.pk}/", "/account/", "/audit/", "/confirm/", "/hosts/"]


def test_no_page_shows_what_somebody_calls_themselves_as_anything_but_text(cast: Cast) -> None:
    administrator, other = cast.administrator, cast.people["viewer"]
    Person.objects.update(name=EVIL)
    LoginSession.objects.update(agent=EVIL)
    visitor(other)
    LoginSession.objects.update(agent=EVIL)
    audit.note(other, EVIL, EVIL, {EVIL: EVIL})
    for address in pages_of(other):
        response = administrator.get(address)
        page = response.content.decode()
        assert response.status_code == 200, address
        assert "<script" not in page
        assert "<style" not in page
        assert " style=" not in page
        assert "`" not in page
        assert EVIL not in page


@pytest.mark.each_engine
def test_these_pages_cost_the_same_however_much_there_is(cast: Cast, django_assert_max_num_queries: Any) -> None:
    administrator, other = cast.administrator, cast.people["viewer"]

    def counted(address: str) -> int:
        with django_assert_max_num_queries(12) as queries:
            assert administrator.get(address).status_code == 200
        return len(queries)

    visitor(other)
    few = {address: counted(address) for address in pages_of(other)}
    for number in range(30):
        Person.objects.create(email=f"p{number}@example.org", name=f"P{number}", role="viewer")
        visitor(other)
        audit.note(other, f"action {number}", other)
        host = Host.objects.create(name=f"host-{number}")
        Token.objects.create(host=host, digest=f"{number:064}")
    assert {address: counted(address) for address in pages_of(other)} == few


# -- the hosts' tokens


def test_a_token_shows_its_age_and_use_and_is_revoked_by_an_administrator(cast: Cast, production: Shipper) -> None:
    token = Token.objects.get()
    assert "Revoke" in cast.administrator.get("/hosts/").content.decode()
    assert "Revoke" not in cast.operator.get("/hosts/").content.decode()
    assert token.used is None
    production.ship(run())
    used = Token.objects.get().used
    assert used is not None
    production.ship(run())
    assert Token.objects.get().used == used, "a few times an hour is enough"
    cast.administrator.post(reverse("revoke_host_token", args=[token.pk]))
    assert production.post({"version": 1, "records": []}).status_code == 401
    assert actions()[-1] == ("administrator@example.org", "token revoked", "production")
    page = cast.viewer.get("/hosts/").content.decode()
    assert "nothing: revoked" in page
    assert "by Administrator" in page

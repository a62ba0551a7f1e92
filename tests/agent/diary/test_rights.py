"""Who may do what: one law over every address of the diary."""

import importlib
import re
import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from rota.diary import packs
from rota.diary.configuration import ROLES
from rota.diary.models import LoginSession, Person, Role, Token
from tests.agent.diary.conftest import PASSWORD, TOKEN, Cast, Shipper, undone, visitor
from tests.agent.diary.records import failed

STRANGER, HOST, READER = "stranger", "host", "reader"


@dataclass(frozen=True)
class Right:
    """Who may use an address: whoever has this role or a higher one, everybody (STRANGER), a host's token (HOST),
    or whoever is logged in or bears a token of their own (READER)."""

    get: str | None = None
    post: str | None = None


READ = Right(get=Role.VIEWER)
EVERYBODY = Right(get=STRANGER)

# Each address has a line here, by its name: who adds one says whose it is.
RIGHTS = {
    "overview": READ,
    "runs": READ,
    "run": READ,
    "runs_csv": READ,
    "runs_json": READ,
    "save_search": Right(post=Role.VIEWER),
    "remove_search": Right(post=Role.VIEWER),
    "output_text": READ,
    "difference": READ,
    "live": READ,
    "tasks": READ,
    "task": READ,
    "ask": Right(post=Role.OPERATOR),
    "ask_again": Right(post=Role.OPERATOR),
    "asked": READ,
    "asked_live": READ,
    "review": Right(post=Role.REVIEWER),
    "hosts": READ,
    "releases": READ,
    "outbox": READ,
    "caught": READ,
    "review_many": Right(post=Role.REVIEWER),
    "failures_feed": Right(get=READER),
    "slots_calendar": Right(get=READER),
    "metrics": Right(get=READER),
    "tokens": READ,
    "make_token": Right(post=Role.VIEWER),
    "revoke_token": Right(post=Role.VIEWER),
    "nowhere": Right(get=STRANGER, post=STRANGER),
    "login": Right(get=STRANGER, post=STRANGER),
    "logout": Right(post=STRANGER),
    "oidc_start": EVERYBODY,
    "oidc_back": EVERYBODY,
    "confirm": Right(get=Role.VIEWER, post=Role.VIEWER),
    "invitation": Right(get=STRANGER, post=STRANGER),
    "account": READ,
    "change_account": Right(post=Role.VIEWER),
    "change_password": Right(post=Role.VIEWER),
    "end_own_session": Right(post=Role.VIEWER),
    "people": Right(get=Role.ADMINISTRATOR),
    "invite": Right(get=Role.ADMINISTRATOR, post=Role.ADMINISTRATOR),
    "person": Right(get=Role.ADMINISTRATOR),
    "new_link": Right(post=Role.ADMINISTRATOR),
    "change_role": Right(post=Role.ADMINISTRATOR),
    "deactivate": Right(post=Role.ADMINISTRATOR),
    "activate": Right(post=Role.ADMINISTRATOR),
    "end_sessions": Right(post=Role.ADMINISTRATOR),
    "revoke_host_token": Right(post=Role.ADMINISTRATOR),
    "audit": Right(get=Role.ADMINISTRATOR),
    "records": Right(post=HOST),
    "listen": Right(get=HOST, post=HOST),
    "healthz": Right(get=STRANGER, post=STRANGER),
    "readyz": Right(get=STRANGER, post=STRANGER),
    "static": EVERYBODY,
}
FRESH = ("invite", "person", "new_link", "change_role", "deactivate", "activate", "end_sessions", "revoke_host_token")


def test_the_configuration_knows_the_roles() -> None:
    assert tuple(Role) == ROLES


def patterns() -> dict[str, URLPattern]:
    """Each address by its name, or by itself where it has none; those of the read API begin with `api:`."""
    found = {}
    for each in get_resolver().url_patterns:
        if isinstance(each, URLResolver) and str(each.pattern) == "api/v1/":
            found |= {f"api:{inner.pattern}": inner for inner in each.url_patterns}
        elif isinstance(each, URLPattern):
            found[each.name or str(each.pattern)] = each
    return found


def address_of(name: str, production: Shipper, person: Person) -> str:
    """An address of this name that leads to something."""
    numbers = {"revoke_host_token": Token.objects.get().pk}
    values = {
        "identifier": 1 if name == "revoke_token" else uuid.UUID(production.ship(failed())[0]["id"]),
        "number": numbers.get(name, person.pk),
        "mark": "others",
        "token": "none",
        "path": "diary/diary.css",
        "host": "production",
        "name": "send_reports",
    }
    return reverse(name, kwargs={key: values[key] for key in patterns()[name].pattern.converters})


def test_every_address_has_a_line_in_the_law() -> None:
    assert {name for name in patterns() if not name.startswith("api:")} == set(RIGHTS)
    resolvers = {str(each.pattern) for each in get_resolver().url_patterns if isinstance(each, URLResolver)}
    of_packs = {f"{start}{pack}/" for pack in packs.names() for start in ("", "api/v1/")}
    assert {"api/v1/"} <= resolvers <= {"", "api/v1/"} | of_packs


def test_no_pack_takes_an_address_at_the_root_from_the_diary() -> None:
    found, at_root = get_resolver().url_patterns, packs.root_addresses()
    assert at_root
    assert [each.urlconf_name for each in found[-len(at_root) :]] == [each.urlconf_name for each in at_root]
    firsts = {str(inner.pattern).partition("/")[0] for each in at_root for inner in each.url_patterns}
    assert not firsts & {str(each.pattern).partition("/")[0] for each in found if str(each.pattern)}


@pytest.mark.parametrize("pack", packs.names())
def test_every_address_of_a_pack_has_a_line_in_the_packs_own_law(pack: str) -> None:
    law = importlib.import_module(f"tests.agent.{pack}.diary.rights").RIGHTS
    resolvers = [each for each in get_resolver().url_patterns if isinstance(each, URLResolver)]
    of_pack = [each for each in resolvers if getattr(each.urlconf_name, "__package__", "") == packs.package(pack)]
    assert of_pack
    own = {inner.name for each in of_pack for inner in each.url_patterns}
    assert own == set(law)


def test_the_read_api_answers_nobody_without_a_name(cast: Cast, production: Shipper) -> None:
    addresses = [each.pattern for name, each in patterns().items() if name.startswith("api:") and "openapi" not in name]
    assert addresses
    for pattern in addresses:
        address = "/api/v1/" + re.sub(r"<[^>]*>", str(uuid.uuid4()), str(pattern))
        for method in ("get", "post"):
            assert getattr(cast.stranger, method)(address).status_code in (401, 404, 405), (method, address)
            assert getattr(visitor(), method)(address, HTTP_AUTHORIZATION=f"Bearer {TOKEN}").status_code != 200


@pytest.mark.each_engine
def test_every_address_answers_on_each_engine(cast: Cast, production: Shipper) -> None:
    target = Person.objects.create_user("target@example.org", PASSWORD, name="Target")
    for name in RIGHTS:
        with undone():
            address, client = address_of(name, production, target), cast.administrator
            answers = [client.get(address).status_code, client.post(address).status_code]
            assert max(answers) < 500, (name, answers)


@pytest.mark.parametrize("name", RIGHTS)
def test_everybody_may_do_what_their_role_may_and_nothing_else(cast: Cast, production: Shipper, name: str) -> None:
    target = Person.objects.create_user("target@example.org", PASSWORD, name="Target", role=Role.ADMINISTRATOR)
    right = RIGHTS[name]
    address = address_of(name, production, target)
    for who in (STRANGER, *Role.values):
        client: Client = getattr(cast, who)
        for method, lowest in (("get", right.get), ("post", right.post)):
            response = getattr(client, method)(address)
            status, told = response.status_code, (name, method, who, response.status_code)
            is_asked_to_log_in = response.headers.get("Location", "").startswith("/login/?next=")
            if lowest is None and not is_asked_to_log_in:
                assert status in (401, 403, 405), told
            elif lowest == HOST or (lowest == READER and who == STRANGER):
                assert status == 401, told
            elif who == STRANGER and lowest != STRANGER:
                assert is_asked_to_log_in, told
            elif lowest is not None:
                is_allowed = lowest in (STRANGER, READER) or cast.people[who].may(Role(lowest))
                assert (status == 403) is not is_allowed, told
                assert status < 500, told


def test_a_hosts_token_opens_nothing_but_its_own_addresses(
    cast: Cast, production: Shipper, subtests: pytest.Subtests
) -> None:
    closed = {name: right for name, right in RIGHTS.items() if STRANGER not in (right.get, right.post)}
    for name, right in closed.items():
        address = address_of(name, production, cast.people["viewer"])
        for method in ("get", "post"):
            with subtests.test(name, method=method):
                response = getattr(visitor(), method)(address, HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
                if HOST in (right.get, right.post):
                    assert response.status_code in (200, 400, 405)
                elif READER in (right.get, right.post):
                    assert response.status_code in (401, 405)
                else:
                    assert response.headers["Location"].startswith("/login/")


@pytest.mark.parametrize("name", FRESH)
def test_what_matters_asks_for_the_password_anew_after_a_while(cast: Cast, production: Shipper, name: str) -> None:
    administrator = cast.administrator
    session = administrator.session
    session["proven"] = (timezone.now() - timedelta(minutes=31)).timestamp()
    session.save()
    target = Person.objects.create_user("target@example.org", PASSWORD, name="Target")
    method = "get" if RIGHTS[name].get else "post"
    response = getattr(administrator, method)(address_of(name, production, target))
    assert response.headers["Location"].startswith("/confirm/?next=")
    assert Person.objects.get(pk=target.pk).is_active
    back = response.headers["Location"]
    assert administrator.post(back, {"password": "wrong"}).status_code == 200
    key = session.session_key
    assert administrator.post(back, {"password": PASSWORD}).status_code == 302
    assert not LoginSession.objects.filter(pk=key).exists(), "the session has another key after it"
    response = getattr(administrator, method)(address_of(name, production, target))
    assert not response.headers.get("Location", "").startswith("/confirm/")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_no_login_and_no_confirmation_leads_to_another_site(cast: Cast, elsewhere: str) -> None:
    said = {"username": "viewer@example.org", "password": PASSWORD, "next": elsewhere}
    assert cast.stranger.post("/login/", said).headers["Location"] == "/"
    assert cast.viewer.post("/confirm/", {"password": PASSWORD, "next": elsewhere}).headers["Location"] == "/"
    assert "evil" not in cast.viewer.get("/confirm/", {"next": elsewhere}).content.decode()
    assert cast.viewer.post("/logout/", {"next": elsewhere}).headers["Location"] == reverse(
        settings.LOGOUT_REDIRECT_URL
    )

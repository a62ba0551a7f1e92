"""What a proxy says of who somebody is counts from those who are trusted with it, and from nobody else."""

from dataclasses import replace
from typing import Any

import pytest

from rota.diary.models import AuditEntry, Person
from tests.agent.diary.conftest import Cast, visitor


@pytest.fixture(autouse=True)
def proxied(settings: Any) -> None:
    networks = ("unix", "192.0.2.0/24", "2001:db8::/32")
    settings.CONFIGURATION = replace(settings.CONFIGURATION, trusted_proxies=networks)
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "rota.diary.proxy.ProxyBackend"]


def status(peer: str, named: str) -> int:
    return int(visitor().get("/", REMOTE_ADDR=peer, HTTP_X_ROTA_PERSON=named).status_code)


@pytest.mark.parametrize(
    ("peer", "named", "answer"),
    [
        ("", "viewer@example.org", 200),
        ("192.0.2.9", " Viewer@Example.org ", 200),
        ("2001:db8::1", "viewer@example.org", 200),
        ("198.51.100.1", "viewer@example.org", 302),
        ("127.0.0.1", "viewer@example.org", 302),
        ("192.0.2.9", "nobody@example.org", 302),
        ("192.0.2.9", "", 302),
    ],
)
def test_the_header_counts_from_trusted_peers_for_known_people(cast: Cast, peer: str, named: str, answer: int) -> None:
    assert status(peer, named) == answer


def test_who_was_let_go_is_not_let_in_by_the_header(cast: Cast) -> None:
    Person.objects.update(is_active=False)
    assert status("", "viewer@example.org") == 302


def test_such_a_session_lasts_as_long_as_the_proxy_names_its_person(cast: Cast) -> None:
    client = visitor()
    named = {"REMOTE_ADDR": "192.0.2.9", "HTTP_X_ROTA_PERSON": "viewer@example.org"}
    assert client.get("/", **named).status_code == 200
    assert client.get("/", **named).status_code == 200
    assert AuditEntry.objects.get(action="logged in").detail == {"by": "proxy"}, "once for both requests"
    assert client.get("/", REMOTE_ADDR="198.51.100.1").status_code == 302, "its cookie alone opens nothing"
    client.get("/", **named)
    page = client.get("/", REMOTE_ADDR="192.0.2.9", HTTP_X_ROTA_PERSON="reviewer@example.org").content.decode()
    assert "Reviewer" in page


def test_without_trusted_proxies_the_header_says_nothing(cast: Cast, settings: Any) -> None:
    settings.CONFIGURATION = replace(settings.CONFIGURATION, trusted_proxies=())
    assert status("", "viewer@example.org") == 302

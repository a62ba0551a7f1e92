"""Logging in at an OpenID Connect provider: what it must prove, and who is let in by it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from rota.diary import oidc
from rota.diary.configuration import Administrator, Oidc
from rota.diary.models import AuditEntry, Person, Role
from tests.agent.diary.conftest import PASSWORD, Cast, visitor

CLIENT = "rota"
KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})
OTHER_KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})


@dataclass
class Provider:
    """A provider on loopback that says what a test wants, also what none should."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: KEY)
    algorithm: str = "RS256"
    nonce: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def id_token(self) -> str:
        now = int(time.time())
        said = {"iss": self.issuer, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 60, "nonce": self.nonce}
        claims = {name: value for name, value in (said | self.claims).items() if value is not None}
        return jwt.encode({"alg": self.algorithm, "kid": "one"}, claims, self.key, algorithms=[self.algorithm])

    def answer(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/me",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                **self.metadata,
            }
        if path == "/keys":
            return {"keys": [KEY.as_dict(private=False)]}
        if path == "/me":
            return {"sub": "u-1"} | self.userinfo
        self.asked.append(form)
        return {"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "id_token": self.id_token()}


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = {name: value[0] for name, value in parse_qs(self.rfile.read(length).decode()).items()}
            body = json.dumps(provider.answer(self.path, form)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the name that the base class calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the inherited signature
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    with serving(Provider()) as found:
        configure(found, settings)
        settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "rota.diary.oidc.OidcBackend"]
        yield found
    oidc.client_of.cache_clear()


def configure(provider: Provider, settings: Any, **said: Any) -> None:
    settings.CONFIGURATION = replace(settings.CONFIGURATION, oidc=Oidc(issuer=provider.issuer, client=CLIENT, **said))


def begin(client: Client, provider: Provider, query: str = "") -> dict[str, str]:
    """Begin a login; returns what the provider is asked."""
    response = client.get(f"/login/oidc/?{query}")
    assert response.status_code == 302, response.content.decode()
    address = urlsplit(response.headers["Location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{provider.issuer}/authorize"
    asked = {name: value[0] for name, value in parse_qs(address.query).items()}
    provider.nonce = asked["nonce"]
    return asked


def come_back(client: Client, asked: dict[str, str], **more: str) -> Any:
    return client.get("/login/oidc/back", {"state": asked["state"], "code": "c-1"} | more)


def log_in(provider: Provider, client: Client | None = None, query: str = "") -> Any:
    client = client or visitor()
    return come_back(client, begin(client, provider, query))


VERA = {"email": "Viewer@example.org", "email_verified": True}


def test_somebody_whom_the_provider_vouches_for_is_logged_in(cast: Cast, provider: Provider, settings: Any) -> None:
    provider.userinfo = VERA
    client = visitor()
    assert "Log in with single sign-on" in client.get("/login/").content.decode()
    asked = begin(client, provider, "next=/runs/")
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["redirect_uri"] == "https://localhost/login/oidc/back"
    cookie = client.cookies[settings.OIDC_COOKIE_NAME]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert come_back(client, asked).headers["Location"] == "/runs/"
    assert provider.asked[0]["code"] == "c-1"
    assert len(provider.asked[0]["code_verifier"]) >= 43
    assert "Viewer" in client.get("/").content.decode()
    assert list(AuditEntry.objects.values_list("who", "action", "detail")) == [
        ("viewer@example.org", "logged in", {"by": "single sign-on"})
    ]


def test_an_answer_serves_once_and_in_the_browser_that_asked(cast: Cast, provider: Provider) -> None:
    provider.userinfo = VERA
    client = visitor()
    asked = begin(client, provider)
    assert come_back(visitor(), asked).status_code == 400
    assert come_back(client, asked | {"state": "another"}).status_code == 400
    asked = begin(client, provider)
    assert come_back(client, asked).status_code == 302
    client.post("/logout/")
    assert come_back(client, asked).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"claims": {"nonce": "another"}}, "nonce"),
        ({"claims": {"nonce": None}}, "nonce"),
        ({"claims": {"aud": "another"}}, "aud"),
        ({"claims": {"aud": None}}, "aud"),
        ({"claims": {"iss": "https://evil.example"}}, "iss"),
        ({"claims": {"exp": 1_000_000_000}}, "expired"),
        ({"claims": {"exp": None}}, "exp"),
        ({"claims": {"sub": None}}, "sub"),
        ({"key": OTHER_KEY}, ""),
        ({"key": OctKey.import_key("a shared secret of enough bytes, forty"), "algorithm": "HS256"}, ""),
        ({"userinfo": VERA | {"sub": "u-2"}}, "somebody else"),
        ({"metadata": {"issuer": "https://evil.example"}}, "calls itself"),
    ],
)
def test_an_answer_that_proves_nothing_lets_nobody_in(
    cast: Cast, provider: Provider, wrong: dict[str, Any], said: str
) -> None:
    provider.userinfo = VERA
    for name, value in wrong.items():
        setattr(provider, name, value)
    client = visitor()
    response = client.get("/login/oidc/")
    if response.status_code == 302:
        provider.nonce = parse_qs(urlsplit(response.headers["Location"]).query)["nonce"][0]
        response = come_back(client, {"state": parse_qs(urlsplit(response.headers["Location"]).query)["state"][0]})
    assert response.status_code in (403, 502)
    assert said in response.content.decode()
    assert client.get("/").status_code == 302


def test_an_unsigned_answer_lets_nobody_in(cast: Cast, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.userinfo = VERA
    signed = provider.id_token

    def unsigned() -> str:
        header = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
        return f"{header}.{signed().split('.')[1]}."

    monkeypatch.setattr(provider, "id_token", unsigned)
    assert log_in(provider).status_code == 403


def test_an_error_of_the_provider_is_shown_as_text(cast: Cast, provider: Provider) -> None:
    client = visitor()
    asked = begin(client, provider)
    response = come_back(client, asked, error="access_denied", error_description="<script>no</script>")
    assert response.status_code == 403
    assert "access_denied: &lt;script&gt;" in response.content.decode()
    asked = begin(client, provider)
    assert come_back(client, asked, iss="https://evil.example").status_code == 403


def test_a_provider_that_does_not_answer_is_told_and_passwords_work_on(
    cast: Cast, provider: Provider, settings: Any
) -> None:
    silent = Provider(issuer="http://127.0.0.1:1")
    configure(silent, settings)
    client = visitor()
    assert client.get("/login/oidc/").status_code == 502
    said = {"username": "viewer@example.org", "password": PASSWORD}
    assert client.post("/login/", said).status_code == 302


def test_without_a_provider_there_is_no_way_to_it(cast: Cast) -> None:
    assert visitor().get("/login/oidc/").status_code == 404
    assert visitor().get("/login/oidc/back").status_code == 404


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example"])
def test_no_login_there_leads_to_another_site(cast: Cast, provider: Provider, elsewhere: str) -> None:
    provider.userinfo = VERA
    assert log_in(provider, query=f"next={elsewhere}").headers["Location"] == "/"


# -- who is let in


@pytest.mark.parametrize("claims", [{}, {"email": "viewer@example.org"}, VERA | {"email_verified": "true"}])
def test_an_email_address_that_nobody_vouches_for_is_nobodys(
    cast: Cast, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.userinfo = claims
    assert log_in(provider).status_code == 403


def test_an_account_is_known_by_its_subject_from_then_on(cast: Cast, provider: Provider) -> None:
    provider.userinfo = VERA
    assert log_in(provider).status_code == 302
    provider.userinfo = {"email": "renamed@example.org", "email_verified": True}
    client = visitor()
    assert log_in(provider, client).status_code == 302
    assert "Viewer" in client.get("/").content.decode()
    provider.claims, provider.userinfo = {"sub": "u-2"}, VERA | {"sub": "u-2"}
    response = log_in(provider)
    assert response.status_code == 403
    assert "belongs to another account" in response.content.decode()


def test_who_was_let_go_is_not_let_in_again_by_the_provider(cast: Cast, provider: Provider) -> None:
    provider.userinfo = VERA
    Person.objects.update(is_active=False)
    assert log_in(provider).status_code == 403
    assert AuditEntry.objects.get(action="login refused").detail["by"] == "single sign-on"


@pytest.mark.parametrize(
    ("said", "claims", "role"),
    [
        ({}, {}, None),
        ({"domains": ("example.com",)}, {}, None),
        ({"domains": ("example.net",)}, {}, "viewer"),
        ({"domains": ("example.net",), "default_role": "reviewer"}, {}, "reviewer"),
        ({"groups": ("staff",)}, {"groups": ["staff"]}, "viewer"),
        ({"groups": ("staff",)}, {"groups": ["guests"]}, None),
        ({"groups": ("staff",), "groups_claim": "teams"}, {"teams": "staff"}, "viewer"),
        ({"roles": {"ops": "operator", "admins": "administrator"}}, {"groups": ["ops"]}, "operator"),
        ({"roles": {"ops": "operator", "admins": "administrator"}}, {"groups": ["ops", "admins"]}, "administrator"),
        ({"roles": {"ops": "operator"}}, {"groups": []}, None),
    ],
)
def test_somebody_new_is_admitted_by_domain_or_group_alone(
    cast: Cast,
    provider: Provider,
    settings: Any,
    said: dict[str, Any],
    claims: dict[str, Any],
    role: str | None,
) -> None:
    configure(provider, settings, **said)
    provider.userinfo = {"email": "new@example.net", "email_verified": True, "name": "New", **claims}
    response = log_in(provider)
    assert response.status_code == (302 if role else 403)
    assert list(Person.objects.filter(email="new@example.net").values_list("role", flat=True)) == [role] * bool(role)


def test_a_role_follows_the_providers_groups_but_one_administrator_stays(
    cast: Cast, provider: Provider, settings: Any
) -> None:
    configure(provider, settings, roles={"ops": "operator"})
    provider.userinfo = VERA | {"groups": ["ops"]}
    log_in(provider)
    assert Person.objects.get(email="viewer@example.org").role == "operator"
    provider.claims = {"sub": "u-3"}
    provider.userinfo = {"sub": "u-3", "email": "administrator@example.org", "email_verified": True}
    log_in(provider)
    assert Person.objects.get(email="administrator@example.org").role == "administrator", "the only one"
    Person.objects.create_user("other@example.org", PASSWORD, name="Other", role=Role.ADMINISTRATOR)
    administrators = (Administrator(name="A", email="administrator@example.org"),)
    settings.CONFIGURATION = replace(settings.CONFIGURATION, administrators=administrators)
    log_in(provider)
    assert Person.objects.get(email="administrator@example.org").role == "administrator", "a configured one"
    settings.CONFIGURATION = replace(settings.CONFIGURATION, administrators=())
    log_in(provider)
    assert Person.objects.get(email="administrator@example.org").role == "viewer"


def test_who_is_to_log_in_anew_has_done_so(cast: Cast, provider: Provider) -> None:
    provider.userinfo = VERA
    client = visitor()
    assert log_in(provider, client).status_code == 302
    assert "proven" not in client.session, "the provider may have asked for nothing"
    asked = begin(client, provider, "anew=yes&next=/account/")
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    provider.claims = {"auth_time": int(time.time()) - 3600}
    assert come_back(client, asked).status_code == 403
    provider.claims = {"auth_time": int(time.time())}
    assert log_in(provider, client, "anew=yes&next=/account/").headers["Location"] == "/account/"
    assert "proven" in client.session

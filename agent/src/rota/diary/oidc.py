"""Logging in at an OpenID Connect provider: what is asked of it, what it must answer, and who is let in by that.

The protocol is Authlib's (code flow with PKCE, state and nonce; OpenID Connect Core 1.0, RFC 7636, RFC 9207).
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core import checks
from django.db import transaction
from django.http import HttpRequest

from rota.core.errors import RotaError
from rota.diary import audit
from rota.diary.configuration import Oidc, read_credential
from rota.diary.models import Person, Role
from rota.diary.people import LastAdministrator, is_configured, keep_an_administrator

if TYPE_CHECKING:
    from authlib.integrations.django_client import DjangoOAuth2App

TIMEOUT = 10
"""Seconds that the provider has for each answer."""
ANSWERED_WITHIN = 300
"""Seconds ago at most that somebody who was asked to log in anew has done so."""
SIGNATURES = ("RS", "PS", "ES", "Ed")
"""Beginnings of the algorithms with a public key; `none` and shared secrets prove nothing here."""


MISSING = "this release lacks the extra 'oidc': name it in agent_extras, and deploy"


class ProviderFailed(RotaError):
    """The provider did not answer as it should."""


class LoginRefused(RotaError):
    """The provider's word opens nothing here."""


class OidcBackend(ModelBackend):
    """Whose sessions began at the provider; there is no password to look at."""

    def authenticate(self, request: HttpRequest | None) -> None:  # type: ignore[override]  # takes no credentials
        return None


@dataclass(frozen=True, slots=True)
class Flow:
    """What a browser keeps while its person is at the provider."""

    state: str
    nonce: str
    code_verifier: str
    next: str
    is_anew: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=4)
def client_of(issuer: str, client: str, scopes: tuple[str, ...]) -> "DjangoOAuth2App":
    # Imported here because only an installation with a provider has it.
    from authlib.integrations.django_client import DjangoOAuth2App

    secret = read_credential(os.environ, "diary_oidc_secret") or None
    return DjangoOAuth2App(
        None,
        name="oidc",
        client_id=client,
        client_secret=secret,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": " ".join(scopes),
            "code_challenge_method": "S256",
            "default_timeout": TIMEOUT,
            **({} if secret else {"token_endpoint_auth_method": "none"}),
        },
    )


def provider(said: Oidc) -> "DjangoOAuth2App":
    """The client with what the provider says of itself. Raises ProviderFailed where that is another's word."""
    client = client_of(said.issuer, said.client, said.scopes)
    metadata = client.load_server_metadata()
    if metadata.get("issuer") != said.issuer:
        client_of.cache_clear()
        raise ProviderFailed(f"it calls itself {metadata.get('issuer')!r}, and diary.oidc.issuer is {said.issuer!r}")
    supported = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = [each for each in supported if each.startswith(SIGNATURES)]
    return client


@contextmanager
def failures_told() -> Iterator[None]:
    """Make one error of all that a provider, or the way to it, can do wrong."""
    if not is_installed():
        raise ProviderFailed(MISSING)
    from authlib.common.errors import AuthlibBaseError
    from joserfc.errors import JoseError
    from requests import RequestException

    try:
        yield
    except (AuthlibBaseError, JoseError, RequestException, ValueError, KeyError) as error:
        raise ProviderFailed(str(error) or type(error).__name__) from error


def is_installed() -> bool:
    return find_spec("authlib") is not None


@checks.register(deploy=True)
def check_installed(**_: object) -> list[checks.CheckMessage]:
    """Let a deploy say that the library is missing: passwords work without it, so the diary itself starts."""
    is_fine = settings.CONFIGURATION.oidc is None or is_installed()
    return [] if is_fine else [checks.Warning(MISSING, id="diary.W001")]


def ask(said: Oidc, redirect_uri: str, back: str, *, is_anew: bool) -> tuple[str, Flow]:
    """Return the address at the provider to send somebody to, and what their browser keeps meanwhile."""
    anew = {"prompt": "login", "max_age": "0"} if is_anew else {}
    with failures_told():
        asked = provider(said).create_authorization_url(redirect_uri, **anew)
    return asked["url"], Flow(asked["state"], asked["nonce"], asked["code_verifier"], back, is_anew)


def answered(said: Oidc, code: str, flow: Flow, redirect_uri: str, *, now: float) -> dict[str, Any]:
    """Return what the provider says of somebody, proven to be its word, for us, and about this one login.

    Raises ProviderFailed.
    """
    options = {
        "iss": {"essential": True, "values": [said.issuer]},
        "aud": {"essential": True, "values": [said.client]},
    }
    with failures_told():
        client = provider(said)
        token = client.fetch_access_token(redirect_uri, code=code, code_verifier=flow.code_verifier)
        proven = client.parse_id_token(token, nonce=flow.nonce, claims_options=options)
        if not proven or not isinstance(proven.get("sub"), str):
            raise ProviderFailed("its answer has no id_token")
        if flow.is_anew and now - float(proven.get("auth_time", 0)) > ANSWERED_WITHIN:
            raise ProviderFailed("it was to ask for the password anew, and did not")
        more = client.userinfo(token=token) if client.server_metadata.get("userinfo_endpoint") else {}
        if more and more.get("sub") != proven["sub"]:
            raise ProviderFailed("its userinfo speaks of somebody else than its id_token")
    return {**more, **proven}


def admit(said: Oidc, claims: Mapping[str, Any]) -> Person:
    """Return whom these claims are about: known, or admitted by domain or group. Raises LoginRefused."""
    subject = sha256(f"{said.issuer}\0{claims['sub']}".encode()).hexdigest()
    groups = groups_in(said, claims)
    with transaction.atomic():
        person = Person.objects.filter(subject=subject).first() or meet(said, claims, subject, groups)
        if not person.is_active:
            raise LoginRefused(f"{person.email} has been deactivated in the diary")
        if said.roles:
            follow_role(person, role_by(said, groups))
    return person


def meet(said: Oidc, claims: Mapping[str, Any], subject: str, groups: Collection[str]) -> Person:
    """Recognise somebody by their email address, at their first login there; or make them."""
    email = str(claims.get("email") or "").strip().lower()
    if not email or claims.get("email_verified") is not True:
        raise LoginRefused("the provider does not vouch for an email address (email, email_verified)")
    known = Person.objects.filter(email=email).first()
    if known is None:
        if not is_admitted(said, email, groups):
            raise LoginRefused(f"the diary does not know {email}; an administrator can invite them")
        name = str(claims.get("name") or email)[:200].replace("\0", "")
        made = Person.objects.create_user(email, None, name=name, role=role_by(said, groups))
        Person.objects.filter(pk=made.pk).update(subject=subject)
        audit.note(None, "person made", made, {"by": "single sign-on", "role": made.role})
        return made
    if known.subject is not None:
        raise LoginRefused(f"{email} belongs to another account at the provider")
    Person.objects.filter(pk=known.pk).update(subject=subject)
    return known


def is_admitted(said: Oidc, email: str, groups: Collection[str]) -> bool:
    return email.rpartition("@")[2] in said.domains or bool({*said.groups, *said.roles} & set(groups))


def groups_in(said: Oidc, claims: Mapping[str, Any]) -> list[str]:
    stated = claims.get(said.groups_claim) or []
    return [stated] if isinstance(stated, str) else [str(each) for each in stated]


def role_by(said: Oidc, groups: Collection[str]) -> Role:
    """The highest role that one of the groups gives, or the default one."""
    given = [Role(role) for group, role in said.roles.items() if group in groups]
    return max(given, key=list(Role).index, default=Role(said.default_role))


def follow_role(person: Person, role: Role) -> None:
    """Give the role that the provider's groups say; the configured and the last administrator stay what they are."""
    if person.role == role or is_configured(person):
        return
    try:
        keep_an_administrator(person)
    except LastAdministrator:
        return
    Person.objects.filter(pk=person.pk).update(role=role)
    audit.note(None, "role changed", person, {"by": "single sign-on", "from": person.role, "to": role})

"""What an installation says of its diary: the `diary` key of its configuration files, and its secrets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rota.adapters.yaml_files import BadYaml, read_yaml
from rota.core.errors import RotaError
from rota.core.fields import read_keys
from rota.core.retention import GIB, READERS, Keep, age
from rota.core.status import Environment

FOLDER = Path("/etc/rota")
UNIX = "unix"
ROLES = ("viewer", "reviewer", "operator", "administrator")
LOOPBACK = (("http", "127.0.0.1"), ("http", "localhost"), ("http", "::1"))


class ConfigurationError(RotaError):
    """The diary's configuration cannot be used."""


class Engine(StrEnum):
    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


class Form(StrEnum):
    """Where this diary runs, and so which promises it can make."""

    HOST = "host"  # behind nginx with TLS
    EMBEDDED = "embedded"  # on 127.0.0.1, for one person on one machine
    NONE = "none"  # nothing is configured: tests, and tools that only read the code


@dataclass(frozen=True, kw_only=True)
class Database:
    engine: Engine = Engine.SQLITE
    name: str = ":memory:"
    host: str | None = None
    user: str | None = None


@dataclass(frozen=True, kw_only=True)
class Administrator:
    name: str
    email: str


@dataclass(frozen=True, kw_only=True)
class Oidc:
    """Logging in at an OpenID Connect provider; docs/diary.md says what each means."""

    issuer: str
    client: str
    name: str = "single sign-on"
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    groups_claim: str = "groups"
    roles: Mapping[str, str] = field(default_factory=dict)
    default_role: str = "viewer"


@dataclass(frozen=True, kw_only=True)
class DiaryKeep(Keep):
    """How long and how much the diary keeps: `size` is for all its tables, in bytes; `audit` for the audit log."""

    size: int = 20 * GIB
    audit: timedelta = timedelta(days=730)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    form: Form = Form.NONE
    home: Path | None = None
    """The folder of the embedded form; None elsewhere."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    database: Database = field(default_factory=Database)
    media: Path | None = None
    environment: str = "development"
    time_zone: str = "UTC"
    host_tokens: Mapping[str, str] = field(default_factory=dict)
    host_environments: Mapping[str, str] = field(default_factory=dict)
    administrators: tuple[Administrator, ...] = ()
    session_hours: int = 14 * 24
    session_idle_hours: int = 3 * 24
    oidc: Oidc | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Networks, and `unix` for the socket, from which the header X-Rota-Person is believed."""
    keep: DiaryKeep = field(default_factory=DiaryKeep)
    packs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of packs that have pages, by their names; each pack reads its own."""


def load(environ: Mapping[str, str]) -> Configuration:
    """Return the configuration of this machine: embedded when ROTA_HOME is set, else the host's when it has one.

    The host's lies in /etc/rota, or in the folder ROTA_CONFIGURATION names.
    Raises ConfigurationError when a file cannot be read as YAML or says something the diary does not know.
    """
    if home := environ.get("ROTA_HOME"):
        return embedded(Path(home))
    folder = Path(environ.get("ROTA_CONFIGURATION") or FOLDER)
    section = read_section(sorted(folder.glob("*.yml")))
    return parse(section, form=Form.HOST) if section else Configuration()


def embedded(home: Path) -> Configuration:
    section = {
        "hosts": ["localhost", "127.0.0.1"],
        "database": {"engine": "sqlite", "name": str(home / "diary.sqlite3")},
        "media": str(home / "media"),
    } | read_section(sorted(home.glob("*.yml")))
    return replace(parse(section, form=Form.EMBEDDED), home=home)


def read_section(files: Iterable[Path]) -> dict[str, Any]:
    """Return the merged `diary` sections of these files; one that this user may not read can be another part's."""
    merged: dict[str, Any] = {}
    unreadable: list[str] = []
    for file in files:
        try:
            content = read_yaml(file)
        except PermissionError:
            unreadable.append(str(file))
            continue
        except BadYaml as error:
            raise ConfigurationError(f"{file} is not YAML: {error}") from None
        section = content.get("diary") if isinstance(content, dict) else None
        if section is not None:
            merged |= mapping("diary", section)
    if unreadable and not merged:
        raise ConfigurationError(f"no file says anything of the diary, and {', '.join(unreadable)} may not be read")
    return merged


def parse(section: Mapping[str, Any], *, form: Form) -> Configuration:
    known = {each.name for each in fields(Configuration)} - {"form", "home"}
    refuse_unknown("diary", section, known)
    values: dict[str, Any] = dict(section)
    if "hosts" in values:
        values["hosts"] = tuple(strings("diary.hosts", values["hosts"]))
    if "database" in values:
        values["database"] = parse_database(mapping("diary.database", values["database"]))
    if values.get("media") is not None:
        values["media"] = Path(values["media"])
    if "host_tokens" in values:
        values["host_tokens"] = parse_tokens(mapping("diary.host_tokens", values["host_tokens"] or {}))
    if "host_environments" in values:
        environments = mapping("diary.host_environments", values["host_environments"] or {})
        for host, environment in environments.items():
            check_environment(f"diary.host_environments.{host}", environment)
        values["host_environments"] = environments
    if "administrators" in values:
        values["administrators"] = tuple(parse_administrator(each) for each in values["administrators"] or ())
    for name in ("session_hours", "session_idle_hours"):
        if not isinstance(values.get(name, 1), int) or values.get(name, 1) < 1:
            raise ConfigurationError(f"diary.{name} is {values[name]!r}; it is a whole number of hours, at least 1")
    if values.get("oidc") is not None:
        values["oidc"] = parse_oidc(mapping("diary.oidc", values["oidc"])) if values["oidc"] else None
    if "trusted_proxies" in values:
        values["trusted_proxies"] = parse_proxies(strings("diary.trusted_proxies", values["trusted_proxies"] or []))
    if "keep" in values:
        values["keep"] = read_keep(mapping("diary.keep", values["keep"] or {}))
    if "packs" in values:
        packs = mapping("diary.packs", values["packs"] or {})
        values["packs"] = {name: mapping(f"diary.packs.{name}", said or {}) for name, said in packs.items()}
    check_environment("diary.environment", values.get("environment", Environment.DEVELOPMENT))
    check_time_zone(values.get("time_zone", "UTC"))
    return Configuration(form=form, **values)


def parse_database(section: Mapping[str, Any]) -> Database:
    refuse_unknown("diary.database", section, {each.name for each in fields(Database)})
    try:
        engine = Engine(section.get("engine", Engine.SQLITE))
    except ValueError as error:
        raise ConfigurationError(f"diary.database.engine: {error}; it is one of {', '.join(Engine)}") from error
    if not section.get("name"):
        raise ConfigurationError("diary.database.name is missing: the database's name, or for sqlite the file's path")
    return Database(
        engine=engine, name=str(section["name"]), host=section.get("host") or None, user=section.get("user") or None
    )


def read_keep(section: Mapping[str, Any]) -> DiaryKeep:
    refuse_unknown("diary.keep", section, {"age", "failures", "size", "audit"})
    try:
        return DiaryKeep(**read_keys(section, {**READERS, "audit": age}))  # type: ignore[arg-type]  # as in parse_keep
    except ValueError as error:
        raise ConfigurationError(f"diary.keep: {error}") from error


def parse_tokens(section: Mapping[str, Any]) -> dict[str, str]:
    tokens = {str(host): str(digest).lower() for host, digest in section.items()}
    for host, digest in tokens.items():
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ConfigurationError(f"diary.host_tokens.{host} is not a SHA-256 in 64 hexadecimal digits")
    return tokens


def parse_administrator(section: object) -> Administrator:
    entry = mapping("diary.administrators", section)
    refuse_unknown("diary.administrators", entry, {"name", "email"})
    if "@" not in str(entry.get("email", "")):
        raise ConfigurationError(f"diary.administrators: {entry.get('name')!r} has no email address")
    email = str(entry["email"]).strip().lower()
    return Administrator(name=str(entry.get("name") or email), email=email)


def parse_oidc(section: Mapping[str, Any]) -> Oidc:
    refuse_unknown("diary.oidc", section, {each.name for each in fields(Oidc)})
    values: dict[str, Any] = dict(section)
    for name in ("issuer", "client"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise ConfigurationError(f"diary.oidc.{name} is missing; the provider gives it")
    check_issuer(values["issuer"])
    for name in ("scopes", "domains", "groups"):
        if name in values:
            values[name] = tuple(strings(f"diary.oidc.{name}", values[name] or []))
    values["domains"] = tuple(each.lower().removeprefix("@") for each in values.get("domains", ()))
    if "openid" not in values.get("scopes", ("openid",)):
        raise ConfigurationError("diary.oidc.scopes has no 'openid', without which no provider says who somebody is")
    values["roles"] = {str(key): value for key, value in mapping("diary.oidc.roles", values.get("roles") or {}).items()}
    for role in (*values["roles"].values(), values.get("default_role", "viewer")):
        if role not in ROLES:
            raise ConfigurationError(f"diary.oidc names the role {role!r}; there are: {', '.join(ROLES)}")
    return Oidc(**values)


def check_issuer(issuer: str) -> None:
    """Let nobody on the way be the provider: TLS, or this machine itself."""
    address = urlsplit(issuer)
    if address.scheme != "https" and (address.scheme, address.hostname) not in LOOPBACK:
        raise ConfigurationError(f"diary.oidc.issuer is {issuer!r}; it begins with https://")


def parse_proxies(proxies: list[str]) -> tuple[str, ...]:
    for each in proxies:
        try:
            _ = each == UNIX or ip_network(each)
        except ValueError as error:
            raise ConfigurationError(
                f"diary.trusted_proxies: {error}; it is '{UNIX}' or an address or network"
            ) from error
    return tuple(proxies)


def check_environment(where: str, name: object) -> None:
    if name not in list(Environment):
        raise ConfigurationError(f"{where} is {name!r}; it is one of {', '.join(Environment)}")


def check_time_zone(name: object) -> None:
    try:
        ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(f"diary.time_zone is {name!r}, which this machine does not know") from error


def refuse_unknown(where: str, section: Mapping[str, Any], known: Iterable[str]) -> None:
    if unknown := sorted(set(map(str, section)) - set(known)):
        raise ConfigurationError(f"{where} has no setting {', '.join(unknown)}; there are: {', '.join(sorted(known))}")


def mapping(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is {value!r}; it is a mapping of settings")
    return value


def strings(where: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigurationError(f"{where} is {value!r}; it is a list of names")
    return value


def read_credential(environ: Mapping[str, str], name: str) -> str | None:
    """Return the secret systemd put into this unit's credentials, or None where there is none."""
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        file = Path(folder) / name
        if file.is_file():
            return file.read_text(encoding="utf-8").strip()
    return None

"""What a host's configuration says of the mirror: the `mirror` key of /etc/rota/*.yml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from rota.adapters.postgres import Server
from rota.adapters.yaml_files import BadYaml, read_yaml
from rota.core.errors import RotaError
from rota.core.masking import Rules

FILE = Path("/etc/rota/mirror.yml")
Built = TypeVar("Built")
COMPRESSIONS = ("none", "zstd")


class MirrorNotConfigured(RotaError):
    """The mirror's configuration cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the mirror copies from, and the key that opens the one command there."""

    host: str
    address: str
    port: int = 22
    user: str = "rota-mirror"
    key: Path = Path("/etc/rota/keys/mirror")
    known_hosts: Path = Path("/etc/rota/known_hosts")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What this host lets itself be asked for by the mirror's key; nothing else is readable with it."""

    database: str
    media: Path
    release: Path = Path("/opt/rota")
    server: Server = field(default_factory=Server)


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Where the restored service says that it is ready."""

    socket: Path
    path: str = "/readyz"
    seconds: float = 60


@dataclass(frozen=True, kw_only=True)
class Destination:
    """What becomes production's likeness on this host."""

    source: Source
    database: str
    owner: str
    media: Path
    rules: Rules
    work: Path = Path("/var/lib/rota/mirror")
    release: Path = Path("/opt/rota")
    server: Server = field(default_factory=Server)
    scratch_role: str = "rota-scratch"  # a system user and PostgreSQL role that owns nothing but what is not masked yet
    compression: str = "none"
    jobs: int = 2
    service: str = ""
    readiness: Readiness | None = None
    release_program: tuple[str, ...] = ("/usr/local/sbin/rota-release",)
    after: tuple[tuple[str, ...], ...] = ()  # commands that give the copy what is this host's own


def load_serving(file: Path = FILE) -> Serving:
    """Raises `MirrorNotConfigured`."""
    section = dict(subsection(file, "serve"))
    return build(Serving, section, media=Path, release=Path, server=server)


def load_destination(file: Path = FILE) -> Destination:
    """Raises `MirrorNotConfigured`."""
    section = dict(subsection(file, "destination"))
    found = build(
        Destination,
        section,
        source=lambda values: build(Source, values, key=Path, known_hosts=Path),
        media=Path,
        work=Path,
        release=Path,
        server=server,
        readiness=lambda values: build(Readiness, values, socket=Path),
        release_program=tuple,
        after=lambda commands: tuple(tuple(str(word) for word in command) for command in commands),
    )
    if found.compression not in COMPRESSIONS:
        raise MirrorNotConfigured(f"compression is {found.compression!r}; it is one of {', '.join(COMPRESSIONS)}")
    return found


def subsection(file: Path, name: str) -> Mapping[str, Any]:
    try:
        content = read_yaml(file)
    except FileNotFoundError as error:
        raise MirrorNotConfigured(f"there is no {file}; provisioning writes it") from error
    except BadYaml as error:
        raise MirrorNotConfigured(f"{file} is not YAML: {error}") from None
    section = content.get("mirror") if isinstance(content, Mapping) else None
    found = section.get(name) if isinstance(section, Mapping) else None
    if not isinstance(found, Mapping):
        raise MirrorNotConfigured(f"{file} has no mirror.{name}, so this host has no such part in a mirror")
    return found


def server(values: Mapping[str, Any]) -> Server:
    return build(Server, values)


def build(kind: type[Built], values: Mapping[str, Any], **made: Callable[[Any], Any]) -> Built:
    """A dataclass from a mapping, each named value through its function; unknown and missing keys are named."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # typeshed has no public name for a dataclass
    if unknown := sorted(set(values) - known):
        raise MirrorNotConfigured(f"unknown: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    try:
        return kind(**{name: made.get(name, lambda given: given)(value) for name, value in values.items()})
    except TypeError as error:
        raise MirrorNotConfigured(str(error).split("__init__() ")[-1]) from error

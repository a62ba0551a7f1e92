"""Inventories: which hosts an estate has, and to which environment each belongs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.errors import OperatorError

ENVIRONMENTS = ("development", "staging", "production", "backup")
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class UnknownInventory(OperatorError):
    """There is no inventory of this name."""


class BrokenInventory(OperatorError):
    """The inventory cannot be used."""


class UnknownEnvironment(OperatorError):
    """The inventory has no such environment."""


class UnknownHost(OperatorError):
    """The inventory has no such host."""


@dataclass(frozen=True)
class Inventory:
    """One estate: the folder that describes it, and its hosts by environment, in the order of the file."""

    name: str
    folder: Path
    hosts_by_environment: Mapping[str, tuple[str, ...]]

    @property
    def environments(self) -> tuple[str, ...]:
        return tuple(self.hosts_by_environment)

    @property
    def all_hosts(self) -> tuple[str, ...]:
        return tuple(host for hosts in self.hosts_by_environment.values() for host in hosts)

    @property
    def is_lab(self) -> bool:
        """Whether this is a lab of this checkout (`lab`, `lab-…`): made and thrown away by commands."""
        return self.name.split("-")[0] == "lab"

    @property
    def hosts_file(self) -> Path:
        return self.folder / "hosts.yml"

    @property
    def known_hosts(self) -> Path:
        """Where the estate's host keys are pinned."""
        return self.folder / "known_hosts"

    def hosts(self, environment: str) -> tuple[str, ...]:
        """The hosts of one environment. Raises UnknownEnvironment, naming the known ones."""
        if environment not in self.hosts_by_environment:
            known = ", ".join(self.environments) or "none"
            raise UnknownEnvironment(f"{environment!r}; {self.name} has: {known}")
        return self.hosts_by_environment[environment]

    def environment_of(self, host: str) -> str:
        """The environment of one host. Raises UnknownHost, naming the known ones."""
        for environment, hosts in self.hosts_by_environment.items():
            if host in hosts:
                return environment
        raise UnknownHost(f"{host!r}; {self.name} has: {', '.join(self.all_hosts) or 'none'}")


def inventories(root: Path) -> tuple[str, ...]:
    """The names of the inventories of this checkout."""
    return tuple(sorted(path.parent.name for path in (root / "provision" / "inventories").glob("*/hosts.yml")))


def load(name: str, root: Path) -> Inventory:
    """Read `provision/inventories/NAME/hosts.yml`.

    Raises UnknownInventory, naming the known ones, and BrokenInventory for a file that does not describe an estate:
    groups that are no environments, a host in two of them, a name that is no host name, no host for the diary.
    """
    known = inventories(root)
    if name not in known:
        advice = "; `fab lab.up` makes the lab's" if name == "lab" else ""
        raise UnknownInventory(f"{name!r}; there are: {', '.join(known) or 'none'}{advice}")
    folder = root / "provision" / "inventories" / name
    return Inventory(name, folder, parse(read_yaml(folder / "hosts.yml"), folder / "hosts.yml"))


def parse(document: Any, path: Path) -> dict[str, tuple[str, ...]]:
    """The hosts by environment that a parsed hosts.yml names, in the order of ENVIRONMENTS."""
    found: dict[str, tuple[str, ...]] = {}
    for group, body in _groups(document, path):
        if group not in ENVIRONMENTS:
            raise BrokenInventory(f"{path} has a group {group!r}; groups are environments: {', '.join(ENVIRONMENTS)}")
        found[group] = (*found.get(group, ()), *_hosts(group, body, path))
    _refuse_doubles(found, path)
    if not found.keys() - {"backup"}:
        raise BrokenInventory(f"{path} has backup hosts alone; the diary needs one of {', '.join(ENVIRONMENTS[:3])}")
    return {environment: found[environment] for environment in ENVIRONMENTS if environment in found}


def read_yaml(path: Path) -> Any:
    """The document of a YAML file. Raises BrokenInventory with the parser's own words and place."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BrokenInventory(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def render_hosts(hosts_by_environment: Mapping[str, tuple[str, ...]]) -> str:
    """The text of a hosts.yml that names these hosts and nothing else."""
    lines = [
        "# Made from ssh_connections by `fab secrets.make`: add a host there (`fab secrets.edit all`), not here.",
        "---",
    ]
    for environment in ENVIRONMENTS:
        if hosts := hosts_by_environment.get(environment):
            lines += [f"{environment}:", "  hosts:", *(f"    {host}:" for host in hosts)]
    return "\n".join(lines) + "\n"


def _groups(document: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Top-level groups, and those that stand below `all: children:`."""
    if not isinstance(document, dict) or not document:
        raise BrokenInventory(f"{path} names no groups; it should look like provision/inventories/example/hosts.yml")
    for group, body in document.items():
        if group == "all":
            yield from ((body or {}).get("children") or {}).items()
        else:
            yield str(group), body


def _hosts(group: str, body: Any, path: Path) -> tuple[str, ...]:
    hosts = body.get("hosts") if isinstance(body, dict) else None
    if not isinstance(hosts, dict):
        raise BrokenInventory(f"{path}: group {group!r} has no `hosts:` with names below it")
    for host in hosts:
        if not HOST_NAME.fullmatch(str(host)):
            raise BrokenInventory(f"{path}: {host!r} is no host name; lower-case letters, digits, '-' and '.' are")
    return tuple(str(host) for host in hosts)


def _refuse_doubles(found: Mapping[str, tuple[str, ...]], path: Path) -> None:
    first: dict[str, str] = {}
    for environment, hosts in found.items():
        for host in hosts:
            if host in first:
                raise BrokenInventory(f"{path}: {host!r} is in {first[host]} and in {environment}; it can be in one")
            first[host] = environment

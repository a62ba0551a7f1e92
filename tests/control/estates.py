"""Estates for tests of secrets and SSH trust: a checkout of its own with an inventory and a vault password."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.inventory import ENVIRONMENTS, Inventory, load
from provision.vault import value_as_yaml

PASSWORD = b"correct horse battery staple"
CONNECTIONS: Mapping[str, Mapping[str, Any]] = {
    "development": {"address": "192.0.2.10", "port": 22, "user": "admin"},
    "staging": {"address": "192.0.2.20", "port": 22, "user": "admin"},
    "production": {"address": "www.example.org", "port": 22, "user": "admin"},
    "backup": {"address": "192.0.2.40", "port": 2222, "user": "admin"},
}


def make_estate(root: Path, connections: Mapping[str, Mapping[str, Any]] = CONNECTIONS) -> Inventory:
    """An inventory `acme` like a copy of the example: connections in the open, group_vars shared, no vault yet."""
    folder = root / "provision" / "inventories" / "acme"
    folder.mkdir(parents=True)
    for group in ("all", *ENVIRONMENTS):
        (root / "group_vars" / group).mkdir(parents=True)
    (folder / "group_vars").symlink_to("../../../group_vars")
    hosts: dict[str, Any] = {"vars": {"ssh_connections": {name: dict(one) for name, one in connections.items()}}}
    hosts["children"] = {
        environment: {"hosts": {name: None for name, one in connections.items() if _home(name, one) == environment}}
        for environment in ENVIRONMENTS
        if environment in {_home(name, one) for name, one in connections.items()}
    }
    (folder / "hosts.yml").write_text(value_as_yaml("all", hosts))
    key = root / ".rota" / "acme" / "vault_password"
    key.parent.mkdir(mode=0o700, parents=True)
    key.touch(mode=0o600)
    key.write_bytes(PASSWORD + b"\n")
    return load("acme", root)


def _home(name: str, connection: Mapping[str, Any]) -> str:
    return str(connection.get("environment", name))

"""What a lab writes into its checkout: keys, vault password and the inventory that every command uses."""

import os
import secrets
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from provision import vault
from provision.inventory import ENVIRONMENTS, render_hosts
from provision.lab import hosts
from provision.lab.plan import HOSTS, OPERATOR, Plan, address
from provision.lab.programs import call
from provision.ssh import CONNECTIONS


def ensure_operator_key(plan: Plan) -> str:
    """The checkout's own key pair for its lab, made once; returns the public line."""
    key = plan.private_folder / "id_ed25519"
    plan.private_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not key.exists():
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{OPERATOR}@{plan.inventory}", "-f", str(key)])
    return Path(f"{key}.pub").read_text()


def ensure_vault_password(plan: Plan) -> bytes:
    path = plan.private_folder / "vault_password"
    if not path.exists():
        vault.write_private(path, secrets.token_urlsafe(32) + "\n")
    return vault.read_password(path)


def write(plan: Plan, network: IPv4Network) -> None:
    """Write the inventory; secrets that are in its vaults already stay."""
    folder = plan.inventory_folder
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "hosts.yml", render_hosts({name: (name,) for name in HOSTS}))
    replace(folder / "known_hosts", hosts.known_hosts(plan, network))
    for group in ("all", *ENVIRONMENTS):
        link_main(plan, folder / "group_vars" / group)
    write_connections(folder / "group_vars/all/vault.yml", network, ensure_vault_password(plan))


def connections(network: IPv4Network, names: Iterable[str] = HOSTS) -> dict[str, dict[str, str | int]]:
    return {name: {"address": str(address(network, name)), "port": 22, "user": OPERATOR} for name in names}


def write_connections(path: Path, network: IPv4Network, password: bytes) -> None:
    text = vault.decrypt(path, password) if path.exists() else ""
    if vault.parse(text, path).get(CONNECTIONS) != connections(network):
        vault.replace(path, vault.with_values(text, {CONNECTIONS: connections(network)}), password)


def link_main(plan: Plan, folder: Path) -> None:
    """The environment's settings are the repository's; only the secrets are the lab's own."""
    folder.mkdir(parents=True, exist_ok=True)
    link, target = folder / "main.yml", plan.root / "group_vars" / folder.name / "main.yml"
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(target, folder))


def replace(path: Path, text: str) -> None:
    """Write beside and rename; a file that says so already keeps its time."""
    if path.exists() and path.read_text() == text:
        return
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)

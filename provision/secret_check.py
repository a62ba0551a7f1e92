"""Findings: what is wrong with the secrets of an estate."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from provision import secrets, ssh, vault
from provision.inventory import Inventory
from provision.secret_table import ALL, TABLE, Circumstances, declared, groups, is_placeholder

EXPIRES_SOON = timedelta(days=60)
_MAKE = "`fab secrets.make` puts it right"


class Problem(StrEnum):
    """What can be wrong with a secret or with the file that holds it."""

    NO_PASSWORD = "no password"  # noqa: S105 - what is wrong, not a password
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - what is wrong, not a password
    DAMAGED = "damaged"
    PLAIN = "not encrypted"
    MISSING = "missing"
    PLACEHOLDER = "to be supplied"
    READABLE = "readable by others"
    IN_REPOSITORY = "in the repository"
    UNDECLARED = "undeclared"
    UNFIT = "unfit"


@dataclass(frozen=True)
class Finding:
    """One thing to be put right: where, what, and how."""

    problem: Problem
    place: str
    advice: str

    def __str__(self) -> str:
        return f"{self.problem}: {self.place}; {self.advice}"


def check(inventory: Inventory, root: Path, now: datetime) -> list[Finding]:
    """Everything that is wrong with the secrets of an estate; no finding holds a value."""
    findings = _check_files(inventory, root)
    try:
        password = vault.read_password(vault.vault_password_file(inventory, root))
    except vault.NoVaultPassword as error:
        return [*findings, Finding(Problem.NO_PASSWORD, inventory.name, str(error))]
    values: dict[str, dict[str, Any]] = {}
    closed: list[str] = []
    for group in groups(inventory):
        path = vault.vault_path(inventory, group)
        try:
            values[group] = vault.read(path, password)
        except vault.WrongVaultPassword:
            closed.append(group)
        except vault.PlainVault as error:
            findings.append(Finding(Problem.PLAIN, _shown(path, root), str(error)))
        except vault.BrokenVault as error:
            findings.append(Finding(Problem.DAMAGED, _shown(path, root), str(error)))
    findings += [_closed_vault(inventory, root, group, any(values.values())) for group in closed]
    for group, held in values.items():
        findings += _check_values(group, held)
    return [*findings, *_check_estate(inventory, values, now)]


def _closed_vault(inventory: Inventory, root: Path, group: str, another_opens: bool) -> Finding:
    path = _shown(vault.vault_path(inventory, group), root)
    if another_opens:
        advice = "the password opens other vaults; the file was changed, or encrypted with another password"
        return Finding(Problem.DAMAGED, path, advice)
    source = vault.vault_password_file(inventory, root)
    return Finding(Problem.WRONG_PASSWORD, path, f"{source} does not hold the password it was encrypted with")


def _check_files(inventory: Inventory, root: Path) -> list[Finding]:
    findings = []
    for path in vault.secret_files(inventory, root):
        if path.stat().st_mode & 0o077:
            findings.append(Finding(Problem.READABLE, _shown(path, root), f"chmod 600 {_shown(path, root)}"))
    try:
        key = vault.vault_password_file(inventory, root).resolve()
    except vault.NoVaultPassword:
        return findings
    is_script = os.access(key, os.X_OK)
    if not is_script and key.stat().st_mode & 0o077 and key not in vault.secret_files(inventory, root):
        findings.append(Finding(Problem.READABLE, str(key), f"chmod 600 {key}"))
    inside = key.is_relative_to(root.resolve()) and not key.is_relative_to((root / ".rota").resolve())
    if inside and not is_script:
        findings.append(Finding(Problem.IN_REPOSITORY, _shown(key, root), "keep the password elsewhere, and change it"))
    return findings


def _check_values(group: str, held: Mapping[str, Any]) -> Iterator[Finding]:
    variables = {secret.variable: secret for secret in declared(group)}
    for variable, secret in variables.items():
        if held.get(variable) is None:
            yield Finding(Problem.MISSING, f"{group}: {variable}", f"{secret.meaning}; `fab secrets.make` makes it")
        elif is_placeholder(held[variable]):
            yield Finding(Problem.PLACEHOLDER, f"{group}: {variable}", f"`fab secrets.edit {group}`")
    for variable in held:
        if variable not in variables:
            homes = [one.groups for one in TABLE if one.variable == variable]
            advice = f"it belongs into: {', '.join(homes[0])}" if homes else "no secret of this name is declared"
            yield Finding(Problem.UNDECLARED, f"{group}: {variable}", f"{advice}; provision/secret_table.py lists all")


def _check_estate(inventory: Inventory, values: Mapping[str, Mapping[str, Any]], now: datetime) -> Iterator[Finding]:
    """What only shows when vaults, hosts and time are seen together."""
    everything = values.get(ALL, {})
    yield from _check_connections(inventory, everything.get(ssh.CONNECTIONS))
    tokens = everything.get("agent_diary_tokens")
    if isinstance(tokens, dict) and set(tokens) != set(inventory.all_hosts):
        odd = ", ".join(sorted(set(tokens) ^ set(inventory.all_hosts)))
        yield Finding(Problem.UNFIT, f"{ALL}: agent_diary_tokens", f"hosts and tokens differ in {odd}; {_MAKE}")
    for secret in TABLE:
        held = {
            repr(values[group][secret.variable]) for group in secret.groups if secret.variable in values.get(group, {})
        }
        if secret.shared and len(held) > 1:
            places = " and ".join(secret.groups)
            yield Finding(Problem.UNFIT, f"{places}: {secret.variable}", "the values differ, and should be one")
    for group in values:
        circumstances = Circumstances(inventory, group, everything.get(ssh.CONNECTIONS) or {}, values[group], now)
        if "web_certificate" in values[group]:
            yield from _check_certificate(circumstances)


def _check_connections(inventory: Inventory, connections: Any) -> Iterator[Finding]:
    place = f"{ALL}: {ssh.CONNECTIONS}"
    if connections is None:
        return
    try:
        ssh.parse_connections(
            {host: entry for host, entry in connections.items() if not is_placeholder(entry)}
            if isinstance(connections, dict)
            else connections
        )
        if secrets.group_hosts(connections, inventory) != inventory.hosts_by_environment:
            yield Finding(Problem.UNFIT, place, f"hosts.yml names other hosts; {_MAKE}")
    except ssh.BrokenConnection as error:
        yield Finding(Problem.UNFIT, place, f"{error}; `fab secrets.edit {ALL}`")


def _check_certificate(circumstances: Circumstances) -> Iterator[Finding]:
    from provision.certificate import belong_together, inspect

    place = f"{circumstances.group}: web_certificate"
    replace_it = f"`fab secrets.edit {circumstances.group}`"
    try:
        certificate = inspect(str(circumstances.present["web_certificate"]))
        if not belong_together(
            str(circumstances.present["web_certificate"]), str(circumstances.present.get("web_key"))
        ):
            yield Finding(Problem.UNFIT, place, f"it is not one of the key in web_key; {replace_it}")
    except ValueError:
        yield Finding(Problem.UNFIT, place, f"it, or web_key, is no PEM; {replace_it}")
        return
    if certificate.ends < circumstances.now + EXPIRES_SOON:
        yield Finding(Problem.UNFIT, place, f"it ends on {certificate.ends:%Y-%m-%d}; {replace_it}")
    wanted = circumstances.names if certificate.ours else circumstances.canonical_names
    if missing := ", ".join(name for name in wanted if not certificate.is_good_for(name)):
        advice = _MAKE if certificate.ours else f"{replace_it}, or set web_public_names to what it names"
        yield Finding(Problem.UNFIT, place, f"it does not name {missing}; {advice}")


def _shown(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)

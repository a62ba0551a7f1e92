"""Secrets in vaults: made, edited and replaced, never shown."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision import ssh, vault
from provision.errors import OperatorError
from provision.inventory import ENVIRONMENTS, Inventory, UnknownEnvironment, load, render_hosts
from provision.secret_table import (
    ALL,
    Circumstances,
    Secret,
    declared,
    form_to_fill_in,
    groups,
    is_placeholder,
)
from provision.vault import vault_password_file as vault_password_file  # asked for here by provision/ansible.py


class ExampleOnly(OperatorError):
    """The example is there to be copied."""


class VaultBusy(OperatorError):
    """Somebody is changing these vaults."""


class BadEdit(OperatorError):
    """What was written cannot be used, so the vault is as it was."""


class NotRotated(OperatorError):
    """The secret was not replaced."""


@dataclass(frozen=True)
class Change:
    """One variable of one vault that was made or brought up to the hosts there are; never its value."""

    group: str
    variable: str
    made: bool

    def __str__(self) -> str:
        return f"{self.group}: {self.variable} {'made' if self.made else 'brought up to date'}"


# -- making


def make(inventory: Inventory, root: Path, now: datetime) -> tuple[Inventory, list[Change]]:
    """Write what the vaults lack, and bring hosts.yml in line with the connections.

    An existing value stays, with three exceptions that follow the hosts there are: connections still in the open in
    hosts.yml move into the vault, every host has a token and no other name has, and a certificate that we signed
    names every host (its key stays). Returns the inventory as it is afterwards.
    """
    _refuse_the_example(inventory)
    with locked(inventory, root):
        password = vault.read_password(vault_password_file(inventory, root))
        texts = {group: _text(inventory, group, password) for group in (ALL, *ENVIRONMENTS)}
        values = {group: vault.parse(text, vault.vault_path(inventory, group)) for group, text in texts.items()}
        gathered = gather_connections(inventory, values[ALL])
        inventory = replace(inventory, hosts_by_environment=group_hosts(gathered, inventory))
        changes = []
        for group in groups(inventory):
            circumstances = Circumstances(inventory, group, gathered, values[group], now)
            updates = updates_of(circumstances, values)
            if updates:
                path = vault.vault_path(inventory, group)
                vault.replace(path, vault.with_values(texts[group], updates), password)
            changes += [Change(group, variable, variable not in values[group]) for variable in updates]
            values[group] = {**values[group], **updates}
        _close_files(inventory)
        _write_hosts(inventory)
        return inventory, changes


def updates_of(circumstances: Circumstances, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What one vault lacks, or holds in a form that no longer fits the hosts."""
    updates: dict[str, Any] = {}
    for secret in declared(circumstances.group):
        present = {**circumstances.present, **updates}
        value = _value(secret, replace(circumstances, present=present), values)
        if value != circumstances.present.get(secret.variable):
            updates[secret.variable] = value
    return updates


def _value(secret: Secret, circumstances: Circumstances, values: Mapping[str, Mapping[str, Any]]) -> Any:
    if circumstances.present.get(secret.variable) is not None:
        return secret.keep_up(circumstances) if secret.keep_up else circumstances.present[secret.variable]
    if secret.shared:
        for group in secret.groups:
            if values[group].get(secret.variable) is not None:
                return values[group][secret.variable]
    return secret.make(circumstances)


def gather_connections(inventory: Inventory, values: Mapping[str, Any]) -> dict[str, Any]:
    """The connections of the vault, then those still in hosts.yml, then a form for each host that only has a name.

    Once the vault has connections, a bare name in hosts.yml is no host: it may be one that was taken out of them.
    """
    vaulted = values.get(ssh.CONNECTIONS)
    if vaulted is not None and not isinstance(vaulted, dict):
        raise ssh.BrokenConnection(f"{ssh.CONNECTIONS} should be a dictionary of hosts")
    gathered = {**ssh.plain_connections(inventory), **(vaulted or {})}
    if not vaulted:
        for host in inventory.all_hosts:
            gathered.setdefault(host, form_to_fill_in(host, inventory.environment_of(host)))
    return gathered


def group_hosts(connections: Mapping[str, Any], inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """The hosts by environment: what `environment` says, or the host's own name, or hosts.yml so far."""
    grouped: dict[str, tuple[str, ...]] = dict.fromkeys(ENVIRONMENTS, ())
    for host, entry in connections.items():
        named = entry.get("environment") if isinstance(entry, dict) else None
        if named is None and host not in ENVIRONMENTS and host in inventory.all_hosts:
            named = inventory.environment_of(host)
        environment = host if named is None else named
        if environment not in grouped:
            raise ssh.BrokenConnection(
                f"{ssh.CONNECTIONS}.{host} needs an `environment`, one of: {', '.join(ENVIRONMENTS)}"
            )
        grouped[environment] = (*grouped[environment], host)
    return {environment: hosts for environment, hosts in grouped.items() if hosts}


def _write_hosts(inventory: Inventory) -> None:
    """Only names stay in hosts.yml, the names that have a connection."""
    on_disk = load(inventory.name, inventory.folder.parents[2])
    if on_disk.hosts_by_environment != inventory.hosts_by_environment or ssh.plain_connections(inventory):
        path = inventory.hosts_file
        mode = path.stat().st_mode & 0o777
        vault.write_private(path, render_hosts(inventory.hosts_by_environment))
        path.chmod(mode)


def make_lab(
    root: Path, connections: Mapping[str, Mapping[str, Any]], now: datetime | None = None, *, name: str = "lab"
) -> Inventory:
    """A lab's inventory: hosts, a vault password of its own, its own vaults beside links to the group_vars.

    `connections` is {host: {address, port, user}} and replaces what was there. Host keys are pinned with `ssh.pin`;
    the lab's own key is `.rota/NAME/id_ed25519`, if there is one.
    """
    folder = root / "provision" / "inventories" / name
    for group in (ALL, *ENVIRONMENTS):
        _link_group_vars(root / "group_vars" / group, folder / "group_vars" / group)
    inventory = Inventory(name, folder, {})
    inventory = replace(inventory, hosts_by_environment=group_hosts(connections, inventory))
    (folder / "hosts.yml").write_text(render_hosts(inventory.hosts_by_environment), encoding="utf-8")
    password = _lab_password(root, inventory)
    path = vault.vault_path(inventory, ALL)
    wanted = {host: dict(entry) for host, entry in connections.items()}
    text = _text(inventory, ALL, password)
    if vault.parse(text, path).get(ssh.CONNECTIONS) != wanted:
        vault.replace(path, vault.with_values(text, {ssh.CONNECTIONS: wanted}), password)
    return make(inventory, root, now or datetime.now(UTC))[0]


def _lab_password(root: Path, inventory: Inventory) -> bytes:
    """The lab's vault password; when it is lost, so is what it opened, and the lab starts with new vaults."""
    path = root / ".rota" / inventory.name / "vault_password"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for group in (ALL, *ENVIRONMENTS):
            vault.vault_path(inventory, group).unlink(missing_ok=True)
        vault.write_private(path, os.urandom(32).hex() + "\n")
    return vault.read_password(path)


def _link_group_vars(source: Path, folder: Path) -> None:
    """Links to every file of a group but its vault; links to what is no more go."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in sorted(source.glob("*.yml")) if path.name != "vault.yml"}
    for link in folder.iterdir():
        if link.is_symlink() and link.name not in wanted:
            link.unlink()
    for name, path in wanted.items():
        target = os.path.relpath(path, folder)
        if not (folder / name).is_symlink() or str((folder / name).readlink()) != target:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(target)


# -- editing


def edit(inventory: Inventory, root: Path, group: str) -> list[Change]:
    """Open one vault in $EDITOR; what was written is checked before it takes the vault's place, then `make` follows.

    The editor works on a copy in .rota: ansible-vault overwrites its file in place, which a crash would not survive.
    Raises BadEdit, keeping the copy for the next `edit`, when the text is no list of variables.
    """
    _refuse_the_example(inventory)
    path = _existing_vault(inventory, root, group)
    with locked(inventory, root):
        key = vault_password_file(inventory, root)
        password = vault.read_password(key)
        before = vault.decrypt(path, password)
        copy = _copy_of(path, root / ".rota" / inventory.name / "edit" / group)
        if not copy.exists():
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            vault.write_private(copy, vault.encrypt(before, password))
        _open_editor(copy, key)
        after = vault.decrypt(copy, password)
        _check_edit(after, copy, inventory, group)
        if after != before:
            vault.replace(path, after, password)
        shutil.rmtree(copy.parent)
    after_edit, changes = make(inventory, root, datetime.now(UTC))
    if group == ALL and after != before:
        _bring_pins_up_to_date(after_edit, vault.parse(after, path))
    return changes


def _bring_pins_up_to_date(inventory: Inventory, values: Mapping[str, Any]) -> None:
    """A host that moved keeps its key under its new address; one that went takes its key with it."""
    entries = values.get(ssh.CONNECTIONS) or {}
    filled_in = {host: entry for host, entry in entries.items() if not is_placeholder(entry)}
    ssh.pin(inventory, ssh.parse_connections(filled_in), {})


def editor_command(path: Path, password_file: Path) -> list[str]:
    """The argument list that opens a vault file in $EDITOR."""
    return ["ansible-vault", "edit", "--vault-password-file", str(password_file), str(path)]


def _copy_of(path: Path, folder: Path) -> Path:
    """Where the copy of this state of the vault is edited: text kept from an older state must not undo a newer."""
    return folder / f"{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}.yml"


def _open_editor(copy: Path, key: Path) -> None:
    code = subprocess.run(editor_command(copy, key), check=False).returncode
    if code != 0:
        raise BadEdit(f"ansible-vault ended with exit code {code}")


def _existing_vault(inventory: Inventory, root: Path, group: str) -> Path:
    if group not in groups(inventory):
        raise UnknownEnvironment(f"{group!r}; {inventory.name} has vaults for: {', '.join(groups(inventory))}")
    path = vault.vault_path(inventory, group)
    if not path.exists():
        make(inventory, root, datetime.now(UTC))
    return path


def _check_edit(text: str, copy: Path, inventory: Inventory, group: str) -> None:
    try:
        values = vault.parse(text, copy)
        if group == ALL:
            gathered = gather_connections(inventory, values)
            group_hosts(gathered, inventory)
            ssh.parse_connections({host: entry for host, entry in gathered.items() if not is_placeholder(entry)})
    except (vault.BrokenVault, ssh.BrokenConnection) as error:
        raise BadEdit(f"{error}; it is kept, encrypted: `fab secrets.edit {group}` opens it again") from None


# -- replacing


def rotate(
    inventory: Inventory, root: Path, variable: str, group: str, now: datetime, *, host: str | None = None
) -> Path | None:
    """Replace one secret by a new one; the old one is in the numbered file this returns.

    With `host` only that host's entry of a secret per host. A key takes its certificate with it.
    Raises NotRotated for a secret that is bound to something outside the vault.
    """
    _refuse_rotation(variable, group)
    with locked(inventory, root):
        password = vault.read_password(vault_password_file(inventory, root))
        text = _text(inventory, group, password)
        path = vault.vault_path(inventory, group)
        values = vault.parse(text, path)
        gathered = gather_connections(inventory, vault.read(vault.vault_path(inventory, ALL), password))
        present = without(values, variable, host)
        updates: dict[str, Any] = {}
        for secret in declared(group):
            if secret.variable in (variable, secret_follows(variable)):
                circumstances = Circumstances(inventory, group, gathered, {**present, **updates}, now)
                updates[secret.variable] = secret.make(circumstances)
        return vault.replace(path, vault.with_values(text, updates), password)


def without(values: Mapping[str, Any], variable: str, host: str | None) -> dict[str, Any]:
    """The values less one variable, or less one host's entry in it. Raises NotRotated when there is no such entry."""
    rest = {name: value for name, value in values.items() if name != variable}
    if host is None:
        return rest
    entries = values.get(variable)
    if not isinstance(entries, dict) or host not in entries:
        raise NotRotated(f"{variable} has no entry for {host!r}")
    return {**rest, variable: {name: value for name, value in entries.items() if name != host}}


def secret_follows(variable: str) -> str | None:
    """The secret that has to be made anew after another: a certificate is one of a key."""
    return "web_certificate" if variable == "web_key" else None


def _refuse_rotation(variable: str, group: str) -> None:
    secret = next((one for one in declared(group) if one.variable == variable), None)
    if secret is None:
        known = ", ".join(one.variable for one in declared(group)) or "none"
        raise NotRotated(f"{group} has no {variable!r}; it has: {known}")
    if secret.fixed:
        raise NotRotated(f"{variable}: {secret.fixed}")


def rekey(inventory: Inventory, root: Path, new_password: bytes) -> list[Path]:
    """Encrypt every vault with a new password; returns those done now.

    Killed in the middle it is run again: vaults that the new password opens already are passed over.
    The numbered older states keep the old password.
    """
    with locked(inventory, root):
        old = vault.read_password(vault_password_file(inventory, root))
        paths = [path for group in (ALL, *ENVIRONMENTS) if (path := vault.vault_path(inventory, group)).exists()]
        texts = {path: vault.decrypt(path, old) for path in paths if not _opens(path, new_password)}
        for path, text in texts.items():
            vault.replace(path, text, new_password)
    if is_ours_to_change(vault_password_file(inventory, root), inventory, root):
        vault.write_private(vault_password_file(inventory, root), new_password.decode() + "\n")
    return list(texts)


def is_ours_to_change(password_file: Path, inventory: Inventory, root: Path) -> bool:
    """Whether the password itself is in the file of this checkout, and not a script there that prints it."""
    return password_file == root / ".rota" / inventory.name / "vault_password" and not os.access(password_file, os.X_OK)


def _opens(path: Path, password: bytes) -> bool:
    try:
        vault.decrypt(path, password)
    except vault.WrongVaultPassword:
        return False
    return True


# -- commands


def make_command(inventory: Inventory, root: Path) -> None:
    """Make what is missing, and say which variables of which vaults that were."""
    after, changes = make(inventory, root, datetime.now(UTC))
    for change in changes:
        print(change)
    if not changes:
        print("Every secret is there; nothing was changed.")
    _say_hosts(inventory, after)


def edit_command(inventory: Inventory, root: Path, group: str) -> None:
    """Open one vault in $EDITOR, and say what followed from the edit."""
    for change in edit(inventory, root, group):
        print(change)
    _say_hosts(inventory, load(inventory.name, root))


def _say_hosts(before: Inventory, after: Inventory) -> None:
    for host in after.all_hosts:
        if host not in before.all_hosts:
            print(f"{host}: new in {after.environment_of(host)}; go on with `fab secrets.trust --host={host}`")
    for host in before.all_hosts:
        if host not in after.all_hosts:
            print(f"{host}: no longer a host")


def check_command(inventory: Inventory, root: Path) -> int:
    """Print every finding; 0 when there is none, 1 otherwise."""
    from provision.secret_check import check

    findings = check(inventory, root, datetime.now(UTC))
    for finding in findings:
        print(finding)
    if not findings:
        print(f"{inventory.name}: every secret is in place.")
    return 1 if findings else 0


def rotate_command(inventory: Inventory, root: Path, variable: str, group: str, host: str | None = None) -> None:
    """Replace one secret, and say where the old one is and what brings the new one to the hosts."""
    older = rotate(inventory, root, variable, group, datetime.now(UTC), host=host)
    where = f"; the value before is in {os.path.relpath(older, root)}" if older else ""
    print(f"{group}: {variable} replaced{where}")
    print("`fab ENV provision` brings it to the hosts.")


def rekey_command(inventory: Inventory, root: Path, new_password_file: Path) -> None:
    """Encrypt every vault with the password of another file or script."""
    for path in rekey(inventory, root, vault.read_password(new_password_file)):
        print(f"{os.path.relpath(path, root)}: encrypted anew")
    now = vault_password_file(inventory, root)
    if not is_ours_to_change(now, inventory, root):
        print(f"Now let {now} give the password of {new_password_file}, or let {vault.PASSWORD_VARIABLE} name that.")


def _refuse_the_example(inventory: Inventory) -> None:
    if inventory.name == "example":
        raise ExampleOnly(f"`cp -a {inventory.folder} {inventory.folder.parent}/NAME`, and name your own hosts there")


def _text(inventory: Inventory, group: str, password: bytes) -> str:
    path = vault.vault_path(inventory, group)
    return vault.decrypt(path, password) if path.exists() else ""


def _close_files(inventory: Inventory) -> None:
    """Git knows no mode 0600, so a fresh clone's vaults are readable until here."""
    for path in vault.secret_files(inventory, inventory.folder.parents[2]):
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


@contextmanager
def locked(inventory: Inventory, root: Path) -> Iterator[None]:
    """One change at a time: two would each write back what it read. The lock dies with its holder."""
    folder = root / ".rota" / inventory.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "vault.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VaultBusy(f"{folder / 'vault.lock'} is held by another `fab secrets` command") from None
        yield

"""SSH trust: from the estate's connections to ssh configuration and to pinned host keys."""

import hashlib
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from provision.errors import OperatorError
from provision.inventory import HOST_NAME, Inventory, read_yaml
from provision.vault import read, read_password, vault_password_file, vault_path, write_private

CONNECTIONS = "ssh_connections"
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
SCAN_SECONDS = 5
HOSTS_FILE = Path("/etc/hosts")
SOCKET_PATH_LIMIT = 108 - 18  # sun_path, less what ssh appends while it makes the socket
RENDERING = 1  # counted up when the text below changes, so that cached renderings are made anew

_ADDRESS = re.compile(r"[0-9A-Za-z][0-9A-Za-z.:-]{0,254}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


class NoConnection(OperatorError):
    """A host's connection is not known."""


class BrokenConnection(OperatorError):
    """The connections cannot be used."""


class HostSilent(OperatorError):
    """A host shows no SSH key."""


class HostKeyChanged(OperatorError):
    """A host shows another SSH key than the pinned one."""


class NotTrusted(OperatorError):
    """The host key was not confirmed, so it was not pinned."""


class NotForgotten(OperatorError):
    """The pinned key was kept."""


class NameTaken(OperatorError):
    """Another inventory already gives this name to `ssh`."""


class HostsFileClosed(OperatorError):
    """The hosts file belongs to root"""


@dataclass(frozen=True)
class Connection:
    """How one host is reached."""

    host: str
    address: str
    port: int
    user: str


@dataclass(frozen=True)
class HostKey:
    """A host's public key, as in a line of known_hosts."""

    kind: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` writes it."""
        digest = hashlib.sha256(b64decode(self.blob)).digest()
        return "SHA256:" + b64encode(digest).decode().rstrip("=")


# -- connections


def connections(inventory: Inventory, root: Path) -> dict[str, Connection]:
    """Every host's connection, from the vault; before there is a vault, from `all: vars:` of hosts.yml.

    Raises NoConnection for a host without one, and what reading the vault raises.
    """
    vault = vault_path(inventory, "all")
    if vault.exists():
        values = read(vault, read_password(vault_password_file(inventory, root)))
        found = parse_connections(values.get(CONNECTIONS, {}))
    else:
        found = parse_connections(plain_connections(inventory))
    for host in inventory.all_hosts:
        if host not in found:
            raise NoConnection(f"{host}: add it to {CONNECTIONS} with `fab secrets.edit all`")
    return {host: found[host] for host in inventory.all_hosts}


def plain_connections(inventory: Inventory) -> dict[str, Any]:
    """The connections that hosts.yml still holds in the open, as the example's does, in their YAML form."""
    everything = (read_yaml(inventory.hosts_file) or {}).get("all") or {}
    return (everything.get("vars") or {}).get(CONNECTIONS) or {}


def parse_connections(value: Any) -> dict[str, Connection]:
    """Connections from their YAML form. Raises BrokenConnection, which names the place and not the value."""
    if not isinstance(value, dict):
        raise BrokenConnection(f"{CONNECTIONS} should be a dictionary of hosts")
    return {str(host): _connection(str(host), entry) for host, entry in value.items()}


def _connection(host: str, entry: Any) -> Connection:
    if not HOST_NAME.fullmatch(host):
        raise BrokenConnection(f"{CONNECTIONS} has {host!r}; a host's name has lower-case letters, digits, '-' and '.'")
    if not isinstance(entry, dict):
        raise BrokenConnection(f"{CONNECTIONS}.{host} should have `address`, `port` and `user`")
    if unknown := set(entry) - {"address", "port", "user", "environment"}:
        raise BrokenConnection(f"{CONNECTIONS}.{host} has an unknown entry {sorted(map(str, unknown))[0]!r}")
    address, port, user = str(entry.get("address", "")), entry.get("port", 22), str(entry.get("user", ""))
    if not _ADDRESS.fullmatch(address):
        raise BrokenConnection(f"{CONNECTIONS}.{host}.address should be an address or a name")
    if not isinstance(port, int) or not 0 < port < 65536:
        raise BrokenConnection(f"{CONNECTIONS}.{host}.port should be a number from 1 to 65535")
    if not _USER.fullmatch(user):
        raise BrokenConnection(f"{CONNECTIONS}.{host}.user should be the name of a user")
    return Connection(host, address, port, user)


# -- ssh configuration


def render_ssh_config(
    found: Sequence[Connection], *, known_hosts: Path, control_folder: Path | None, identity: Path | None
) -> str:
    """The text of an ssh configuration for these hosts and no others, so that it can be included anywhere.

    The common part matches names and addresses: Ansible connects to addresses.
    """
    blocks = [
        f"Host {one.host}\n"
        f"    HostName {one.address}\n"
        f"    Port {one.port}\n"
        f"    User {one.user}\n"
        f"    HostKeyAlias {one.host}\n"
        for one in found
    ]
    names = dict.fromkeys(name for one in found for name in (one.host, one.address))
    common = [f"Host {' '.join(names)}", *_common_options(known_hosts, control_folder, identity)]
    return "\n".join([*blocks, "\n    ".join(common)]) + "\n" if found else ""


def _common_options(known_hosts: Path, control_folder: Path | None, identity: Path | None) -> list[str]:
    options = [
        f'UserKnownHostsFile "{known_hosts}"',
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
        "UpdateHostKeys no",
        "CheckHostIP no",
        "ServerAliveInterval 15",
        "ServerAliveCountMax 4",
    ]
    if control_folder is not None:
        options += ["ControlMaster auto", "ControlPersist 60s", f'ControlPath "{control_folder}/%C"']
    if identity is not None:
        options += [f'IdentityFile "{identity}"', "IdentitiesOnly yes"]
    return options


def ensure_ssh_config(inventory: Inventory, root: Path) -> Path:
    """`.rota/INVENTORY/ssh_config`, rendered anew only when the vault, the hosts or the key's presence changed.

    So the usual call reads two small files and needs no password.
    """
    folder = root / ".rota" / inventory.name
    path = folder / "ssh_config"
    made_from = f"# Made by Rota from {_fingerprint_of_sources(inventory, root)}; any change here is lost.\n"
    if path.exists() and path.read_text(encoding="utf-8").startswith(made_from):
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = render_ssh_config(
        list(connections(inventory, root).values()),
        known_hosts=inventory.known_hosts,
        control_folder=control_folder(folder),
        identity=identity(inventory, root),
    )
    write_private(path, made_from + "\n" + text)
    return path


def identity(inventory: Inventory, root: Path) -> Path | None:
    """The key of this checkout for this inventory, when there is one; otherwise the operator's own keys serve."""
    path = root / ".rota" / inventory.name / "id_ed25519"
    return path if path.exists() else None


def control_folder(folder: Path, home: Path | None = None) -> Path:
    """Where shared connections have their sockets: below `folder`, or in ~/.ssh when that path grows too long."""
    if len(str(folder)) + 1 + 40 < SOCKET_PATH_LIMIT:
        return folder
    short = (home or Path.home()) / ".ssh"
    short.mkdir(mode=0o700, exist_ok=True)
    return short


def _fingerprint_of_sources(inventory: Inventory, root: Path) -> str:
    digest = hashlib.sha256(f"{RENDERING} {root} {identity(inventory, root)}".encode())
    for path in (inventory.hosts_file, vault_path(inventory, "all")):
        digest.update(b"\0" + (path.read_bytes() if path.exists() else b"absent"))
    return digest.hexdigest()


# -- pinned host keys


def parse_known_hosts(text: str) -> dict[str, HostKey]:
    """The pinned key of each host; a line's first name is the host's."""
    pinned = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            names, kind, blob, *_comment = line.split()
            pinned[names.split(",")[0]] = HostKey(kind, blob)
    return pinned


def render_known_hosts(pinned: Mapping[str, HostKey], found: Mapping[str, Connection]) -> str:
    """The text of a known_hosts file: one line per host that still exists, under all names it is reached by."""
    lines = [
        f"{','.join(_names(found[host]))} {key.kind} {key.blob}\n"
        for host, key in sorted(pinned.items())
        if host in found
    ]
    return "".join(lines)


def _names(connection: Connection) -> list[str]:
    names = [connection.host, connection.address]
    if connection.port != 22:
        names += [f"[{name}]:{connection.port}" for name in names]
    return list(dict.fromkeys(names))


def pinned_keys(inventory: Inventory) -> dict[str, HostKey]:
    """The host keys pinned so far."""
    path = inventory.known_hosts
    return parse_known_hosts(path.read_text(encoding="utf-8")) if path.exists() else {}


def pin(inventory: Inventory, found: Mapping[str, Connection], keys: Mapping[str, HostKey]) -> None:
    """Pin keys that somebody has confirmed; lines of hosts that are gone are dropped.

    Raises HostKeyChanged, and pins nothing, when one of them differs from what is pinned.
    """
    pinned = pinned_keys(inventory)
    for host, key in keys.items():
        if pinned.get(host, key) != key:
            raise HostKeyChanged(_what_to_do(host, pinned[host], key))
    text = render_known_hosts({**pinned, **keys}, found)
    if not (pinned or keys):
        return
    if not inventory.known_hosts.exists() or inventory.known_hosts.read_text(encoding="utf-8") != text:
        write_private(inventory.known_hosts, text)


def _what_to_do(host: str, pinned: HostKey, shown: HostKey | None) -> str:
    now = shown.fingerprint if shown else "none of that kind"
    return (
        f"{host}: pinned {pinned.kind} {pinned.fingerprint}, shown {now}"
        f". Somebody may stand between; if you know that the host was installed anew, `fab secrets.forget {host}`"
        " and then trust it again"
    )


def scan_command(connection: Connection) -> list[str]:
    """The argument list that asks a host for its public keys."""
    kinds = "ed25519,ecdsa,rsa"
    return ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-t", kinds, "-p", str(connection.port), connection.address]


def parse_scan(text: str) -> tuple[HostKey, ...]:
    """The keys in ssh-keyscan's output, strongest kind first."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    keys = [HostKey(kind, blob) for _name, kind, blob, *_comment in lines if kind in KEY_TYPES]
    return tuple(sorted(keys, key=lambda key: KEY_TYPES.index(key.kind)))


def scan(connection: Connection) -> tuple[HostKey, ...]:
    """The keys a host shows, strongest kind first; none when it is silent."""
    done = subprocess.run(
        scan_command(connection), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return parse_scan(done.stdout)


def trust(
    inventory: Inventory,
    found: Mapping[str, Connection],
    hosts: Sequence[str],
    confirm: Callable[[str, HostKey], bool],
) -> dict[str, bool]:
    """Fetch the keys of `hosts`; pin each new one that `confirm` accepts; True for those pinned now.

    A host whose key is pinned is only compared; one that shows no key is left out of the answer.
    Raises HostKeyChanged before anything is asked or pinned, and NotTrusted at the first key that is not confirmed.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        answers = zip(hosts, pool.map(lambda host: scan(found[host]), hosts), strict=True)
        shown = {host: keys for host, keys in answers if keys}
    pinned = pinned_keys(inventory)
    for host in shown.keys() & pinned.keys():
        _refuse_changed(host, pinned[host], shown[host])
    pin(inventory, found, {})
    for host in [host for host in shown if host not in pinned]:
        if not confirm(host, shown[host][0]):
            raise NotTrusted(f"{host}; compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there")
        pin(inventory, found, {host: shown[host][0]})
    return {host: host not in pinned for host in shown}


def _refuse_changed(host: str, pinned: HostKey, shown: Sequence[HostKey]) -> None:
    if pinned not in shown:
        same_kind = [key for key in shown if key.kind == pinned.kind]
        raise HostKeyChanged(_what_to_do(host, pinned, same_kind[0] if same_kind else None))


def forget(inventory: Inventory, found: Mapping[str, Connection], host: str, typed: str) -> None:
    """Drop the pinned key of a host, when its name was typed again."""
    pinned = pinned_keys(inventory)
    if host not in pinned:
        raise NotForgotten(f"no key of {host!r} is pinned; pinned are: {', '.join(sorted(pinned)) or 'none'}")
    if typed != host:
        raise NotForgotten(f"the name {host!r} was not typed")
    del pinned[host]
    write_private(inventory.known_hosts, render_known_hosts(pinned, found))


# -- the operator's own ~/.ssh


def include_line(home: Path) -> str:
    """The one line in ~/.ssh/config that brings in the files of all inventories."""
    return f'Include "{home}/.ssh/config.d/rota-*"'


def install(inventory: Inventory, root: Path, home: Path) -> Path:
    """Make plain `ssh HOST` work for the operator: a link in ~/.ssh/config.d, and one Include line.

    Being a link it follows every new rendering. Raises NameTaken when another inventory gives one of the names.
    """
    folder = home / ".ssh" / "config.d"
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"rota-{inventory.name}"
    _refuse_taken_names(inventory, folder, path)
    rendered = ensure_ssh_config(inventory, root).resolve()
    if not path.is_symlink() or path.readlink() != rendered:
        path.unlink(missing_ok=True)
        path.symlink_to(rendered)
    config = (home / ".ssh" / "config").resolve()  # often a link into a folder of settings
    lines = config.read_text(encoding="utf-8") if config.exists() else ""
    if include_line(home) not in lines.splitlines():
        # First, because an Include after a Host line belongs to that host.
        write_private(config, f"{include_line(home)}\n{lines}")
    return path


def uninstall(inventory: Inventory, home: Path) -> bool:
    """Take the inventory's names out of ~/.ssh; the Include line goes with the last one. True if there were any."""
    folder = home / ".ssh" / "config.d"
    path = folder / f"rota-{inventory.name}"
    found = path.is_symlink()
    path.unlink(missing_ok=True)
    config = (home / ".ssh" / "config").resolve()
    if config.exists() and not list(folder.glob("rota-*")):
        lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.rstrip("\n") != include_line(home)]
        if kept != lines:
            write_private(config, "".join(kept))
    return found


def _refuse_taken_names(inventory: Inventory, folder: Path, own: Path) -> None:
    for other in folder.glob("rota-*"):
        text = other.read_text(encoding="utf-8") if other.exists() else ""  # its checkout may be gone
        both = sorted(set(re.findall(r"^Host (\S+)$", text, re.MULTILINE)) & set(inventory.all_hosts))
        if other != own and both:
            raise NameTaken(f"{both[0]!r}, in {other}; remove that file first if its estate is no longer yours")


# -- the operator's own /etc/hosts


def name_hosts(file: Path, inventory: Inventory, found: Mapping[str, Connection]) -> bool:
    """Give the inventory's section of a hosts file these lines, none where nothing is found; True if that changed it.

    A host whose address is a name already is left out. Raises HostsFileClosed.
    """
    begin, end = f"# rota {inventory.name}", f"# end of rota {inventory.name}"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    others = re.sub(rf"^{re.escape(begin)}\n.*?^{re.escape(end)}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [f"{each.address} {each.host}" for each in found.values() if is_address(each.address)]
    own = "".join(f"{line}\n" for line in (begin, *lines, end)) if lines else ""
    gap = "\n" if own and others and not others.endswith("\n") else ""
    whole = f"{others}{gap}{own}"
    if whole == text:
        return False
    try:
        file.write_text(whole, encoding="utf-8")  # in place: containers mount it, and a rename is refused there
    except PermissionError as error:
        raise HostsFileClosed(f"{file}: as root, add\n{own}") from error
    return True


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


# -- commands


def trust_command(inventory: Inventory, root: Path, host: str | None, *, hosts_file: bool = False) -> None:
    """Fetch, show and pin the keys of one host or of all, then let plain `ssh HOST` work for the operator.

    With `hosts_file` this machine's /etc/hosts gets the names as well, and loses those that left the estate.
    """
    found = connections(inventory, root)
    if host is not None:
        inventory.environment_of(host)
    hosts = [host] if host else list(inventory.all_hosts)
    answers = trust(inventory, found, hosts, _ask)
    for name, is_new in answers.items():
        print(f"{name}: {'pinned' if is_new else 'shows the pinned key'}")
    if answers and not inventory.is_lab:  # a lab's names are those of the real estate, and come and go
        print(f"`ssh HOST` works through {install(inventory, root, Path.home())}")
    if hosts_file and name_hosts(HOSTS_FILE, inventory, found):
        print(f"{HOSTS_FILE} names the hosts of {inventory.name}.")
    if silent := [f"{name} (port {found[name].port})" for name in hosts if name not in answers]:
        raise HostSilent(f"{', '.join(silent)}; is it up, and does its firewall let you in?")


def remove_command(inventory: Inventory) -> None:
    """Take the inventory's names out of the operator's ~/.ssh and /etc/hosts; the pinned keys stay."""
    name_hosts(HOSTS_FILE, inventory, {})
    found = uninstall(inventory, Path.home())
    print(f"~/.ssh {'no longer names' if found else 'did not name'} the hosts of {inventory.name}.")


def forget_command(inventory: Inventory, root: Path, host: str) -> None:
    """Drop the pinned key of a host that was installed anew."""
    typed = _typed(f"Type {host} to forget its key: ")
    if typed is None:
        raise NotForgotten(f"there is no terminal on which the name {host!r} could be typed")
    forget(inventory, connections(inventory, root), host, typed)
    print(f"{host}: forgotten; `fab secrets.trust --host={host}` pins the new key")


def _ask(host: str, key: HostKey) -> bool:
    typed = _typed(f"{host} shows {key.kind} {key.fingerprint}\nIs it right? Type yes: ")
    if typed is None:
        raise NotTrusted(f"{host} shows {key.fingerprint}, and there is no terminal to confirm it on")
    return typed == "yes"


def _typed(question: str) -> str | None:
    """What somebody typed, nothing at Ctrl-D; None where there is no terminal to type on."""
    if not sys.stdin.isatty():
        return None
    try:
        return input(question).strip()
    except EOFError:
        return ""

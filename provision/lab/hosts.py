"""One host of a lab: its root over the base tree, its boot, its end."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

from provision.lab import clock, groups, kernel, network
from provision.lab.base import CONTAINER
from provision.lab.errors import LabDown, LabFailed
from provision.lab.plan import HOSTS, OPERATOR, Plan, PlannedHost, address, gateway
from provision.lab.programs import call, start, wait_until

BOOT_SECONDS = 90
MOUNTS = Path("/proc/self/mounts")


def mount_command(base: Path, host: PlannedHost) -> list[str]:
    """The overlay skips syncs: its files survive the host's power cut, not this machine's."""
    options = f"lowerdir={base},upperdir={host.folder}/upper,workdir={host.folder}/work,volatile"
    return ["mount", "-t", "overlay", "-o", options, host.group, str(host.tree)]


def boot_command(host: PlannedHost) -> list[str]:
    return [
        *(sys.executable, "-m", "provision.lab.supervise", host.group),
        "systemd-nspawn",
        f"--directory={host.tree}",
        f"--machine={host.machine}",
        f"--hostname={host.name}",
        f"--uuid={host.machine_id}",
        f"--network-bridge={host.plan.bridge}",
        *("--boot", "--quiet", "--register=no", "--keep-unit", "--settings=no"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
    ]


def enter_command(first_process: int, argv: Sequence[str], variables: Mapping[str, str] | None = None) -> list[str]:
    """Run a program as root inside a host, without SSH, in a clean environment."""
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    more = [f"{name}={value}" for name, value in (variables or {}).items()]
    environment = ["env", "-i", path, "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", *more]
    spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
    return ["nsenter", f"--target={first_process}", *spaces, "--", *environment, *argv]


def ensure_root(host: PlannedHost, net: IPv4Network, base: Path, operator_key: str) -> None:
    """Make the host's root, unless a whole one of this base and of this machine's present boot is there.

    Overlays skip syncs, so one that was there when this machine went down is not to be trusted.
    """
    whole = f"{base} {kernel.boot_id()}\n"
    if is_mounted(host) and host.made.exists() and host.made.read_text() == whole:
        return
    remove_root(host)
    for name in ("upper", "work", "root"):
        (host.folder / name).mkdir(parents=True)
    call(mount_command(base, host))
    write_identity(host, net, operator_key)
    host.made.write_text(whole)


def remove_root(host: PlannedHost) -> None:
    """Unmount and delete the host's root. Nothing there is fine."""
    for mounted in reversed([m for m in mounts() if m.is_relative_to(host.folder)]):
        call(["umount", "--lazy", str(mounted)])
    if host.folder.exists():
        shutil.rmtree(host.folder)


def mounts() -> list[Path]:
    """Every mount point that this process sees, in the order they were mounted."""
    return [Path(line.split()[1].encode().decode("unicode_escape")) for line in MOUNTS.read_text().splitlines()]


def is_mounted(host: PlannedHost) -> bool:
    return host.tree in mounts()


def identity(host: PlannedHost, net: IPv4Network) -> dict[str, str]:
    """The files that make a host itself, by path."""
    names = [f"{address(net, name)} {name}" for name in HOSTS]
    static = network.parse_static_names(Path("/etc/hosts").read_text().splitlines())
    local = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    return {
        "etc/hostname": f"{host.name}\n",
        "etc/machine-id": f"{host.machine_id}\n",
        "etc/hosts": "\n".join([*local, *names, *static]) + "\n",
        "etc/resolv.conf": "".join(f"nameserver {server}\n" for server in network.resolvers()),
        "etc/systemd/network/10-host0.network": (
            "[Match]\nName=host0\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
            f"Address={address(net, host.name)}/{net.prefixlen}\nGateway={gateway(net)}\n"
        ),
    }


def write_identity(host: PlannedHost, net: IPv4Network, operator_key: str) -> None:
    for name, text in identity(host, net).items():
        (host.tree / name).write_text(text)
    ensure_host_key(host)
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        key = host.tree / f"etc/ssh/ssh_host_ed25519_key{suffix}"
        shutil.copyfile(f"{host.host_key}{suffix}", key)
        key.chmod(mode)
    home = host.tree / "home" / OPERATOR
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text(operator_key)
    for path in (folder, folder / "authorized_keys"):
        shutil.chown(path, home.stat().st_uid, home.stat().st_gid)


def ensure_host_key(host: PlannedHost) -> None:
    """A host keeps its key as long as its lab is up, also when it is reset: what is pinned stays true."""
    if not host.host_key.exists():
        host.host_key.parent.mkdir(parents=True, exist_ok=True)
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{host.name}", "-f", str(host.host_key)])


def known_hosts(plan: Plan, net: IPv4Network) -> str:
    """One pinned key per host, under its name and its address."""
    lines = []
    for host in plan.hosts():
        kind, key = Path(f"{host.host_key}.pub").read_text().split()[:2]
        lines.append(f"{host.name},{address(net, host.name)} {kind} {key}\n")
    return "".join(lines)


def boot(host: PlannedHost) -> None:
    """Start the host's first process; returns when it exists, long before the host is ready."""
    groups.end(host.group)
    host.clock.unlink(missing_ok=True)
    start(boot_command(host), host.console, groups.make(host.group), CONTAINER)
    wait_until(lambda: is_running(host), 10, f"{host.name} does not start; see {host.console}", LabFailed)


def is_running(host: PlannedHost) -> bool:
    return groups.first_process(host.group) is not None


def first_process(host: PlannedHost) -> int:
    """The process that all others of the host descend from. Raises LabDown."""
    pid = groups.first_process(host.group)
    if pid is None:
        raise LabDown(f"{host.name} is off; `fab lab.up` boots it")
    return pid


def set_clock(host: PlannedHost, offset: timedelta) -> None:
    """Move the clock of what the host's systemd starts from now on, and of `run`. Raises LabDown."""
    words = [f"{name}={value}" for name, value in clock.variables(host.tree, offset).items()]
    argv = ["systemctl", "set-environment", *words] if words else ["systemctl", "unset-environment", *clock.NAMES]
    call(enter_command(first_process(host), argv))
    host.clock.write_text(str(offset.total_seconds()))


def read_clock(host: PlannedHost) -> timedelta:
    """How far ahead of the machine's the host's clock is; a host that boots begins with none."""
    return timedelta(seconds=float(host.clock.read_text())) if host.clock.exists() else timedelta(0)


def run_command(host: PlannedHost, argv: Sequence[str]) -> list[str]:
    """Run a program as root inside a host that is up, by the host's clock. Raises LabDown."""
    return enter_command(first_process(host), argv, clock.variables(host.tree, read_clock(host)))


def kill(host: PlannedHost) -> None:
    """As if the host lost power: every process of it ends at once, files stay. Not running is fine."""
    groups.end(host.group)


def wait_until_ready(host: PlannedHost, net: IPv4Network) -> None:
    """Until systemd has started everything and sshd answers."""
    reason = f"{host.name} does not become ready; see {host.console}"
    wait_until(lambda: system_state(host) in {"running", "degraded"}, BOOT_SECONDS, reason, LabFailed)
    wait_until(lambda: answers_ssh(str(address(net, host.name))), BOOT_SECONDS, reason, LabFailed)


def system_state(host: PlannedHost) -> str:
    """What systemd says of the whole host (`running`, `degraded`, `starting`, …), or `off`."""
    pid = groups.first_process(host.group)
    if pid is None:
        return "off"
    # `is-system-running` exits 1 for every answer but `running`; `show` gives the same word and exits 0.
    argv = enter_command(pid, ["systemctl", "show", "--property=SystemState", "--value"])
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip() or "starting"


def answers_ssh(host_address: str) -> bool:
    try:
        with socket.create_connection((host_address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False

"""The commands of the lab, up to down, status, cut and clock, and what a test does with hosts that are up."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import IPv4Network
from pathlib import Path

from provision.lab import base, clock, groups, hosts, inventory, mail, network, state
from provision.lab.errors import LabUnavailable
from provision.lab.plan import HOSTS, OPERATOR, Plan, PlannedHost, address, choose_network, gateway
from provision.lab.programs import locked
from provision.lab.progress import say, stage
from provision.lab.state import State

PROGRAMS = {
    "apt-get": "apt",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ssh-keygen": "openssh-client",
    "systemctl": "systemd",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


@dataclass(frozen=True)
class Host:
    """One host that is up: its name, its address, and its root as a folder of this machine."""

    name: str
    address: str
    root: Path


@dataclass(frozen=True)
class Status:
    """What of a lab is there; as text, what `fab lab.status` prints."""

    inventory: str
    states: Mapping[str, str]
    addresses: Mapping[str, str]
    cuts: tuple[tuple[str, str], ...]
    clocks: Mapping[str, timedelta]
    mail: str

    @property
    def is_up(self) -> bool:
        return all(word in ("running", "degraded") for word in self.states.values())

    def __str__(self) -> str:
        lines = [f"{name:<12} {self.addresses.get(name, '-'):<15} {word}" for name, word in self.states.items()]
        lines += [f"cut: {a} and {b}" for a, b in self.cuts]
        lines += [f"clock: {name} is {clock.describe(offset)}" for name, offset in self.clocks.items()]
        return "\n".join([*lines, f"mail sink: {self.mail}"])


@dataclass(frozen=True)
class Lab:
    """A lab that is up."""

    plan: Plan
    hosts: Mapping[str, Host]
    gateway: str

    @property
    def inventory_folder(self) -> Path:
        return self.plan.inventory_folder

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - the word of subprocess.run
        check: bool = True,
        timeout: float | None = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as root inside a host, without SSH, and wait for it.

        Raises LabDown when the host is off, subprocess.CalledProcessError when `check` and it failed.
        """
        command = hosts.run_command(self.plan.host(name), argv)
        done = subprocess.run(command, input=input or "", capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(f"{name} said: {done.stdout}{done.stderr}".rstrip())
            raise error
        return done

    def ssh_command(self, name: str, argv: Sequence[str], *options: str) -> list[str]:
        """The argument list that runs `argv` on a host over SSH as the operator, with the pinned key; `options` win."""
        own = [
            *("-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.inventory_folder / 'known_hosts'}"),
            *("-i", str(self.plan.private_folder / "id_ed25519"), "-o", "IdentitiesOnly=yes"),
        ]
        return ["ssh", *options, *own, f"{OPERATOR}@{self.hosts[name].address}", *argv]

    def mails(self) -> list[EmailMessage]:
        """Every mail that the sink has caught, oldest first; its envelope is in X-MailFrom and X-RcptTo."""
        return mail.read(self.plan.mails)

    def kill(self, name: str) -> None:
        kill(self.plan.root, name, self.plan.inventory)

    def boot(self, name: str) -> None:
        boot(self.plan.root, name, self.plan.inventory)

    def reset(self, name: str = "all") -> None:
        reset(self.plan.root, name, self.plan.inventory)

    def cut(self, a: str, b: str) -> None:
        cut(self.plan.root, a, b, self.plan.inventory)

    def set_clock(self, name: str, moment: datetime | None) -> None:
        set_clock(self.plan.root, name, moment, self.plan.inventory)

    def heal(self) -> None:
        heal(self.plan.root, self.plan.inventory)

    def status(self) -> Status:
        return status(self.plan.root, self.plan.inventory)


def up(root: Path, inventory_name: str = "lab") -> Lab:
    """Boot every host that does not run, and return when all of them answer.

    `inventory_name` tells several labs of one checkout apart. Raises LabUnavailable where no lab can run.
    """
    plan = plan_of(root, inventory_name)
    with locked(plan.lock, say):
        tree = base.ensure()
        net = ensure_network(plan)
        key = inventory.ensure_operator_key(plan)
        boot_missing(plan, net, tree, key)
        mail.up(plan, str(gateway(net)))
        inventory.write(plan, net)
    return as_lab(plan, net)


def opened(root: Path, inventory_name: str = "lab") -> Lab:
    """The lab that an earlier command has brought up. Raises LabDown."""
    plan = plan_of(root, inventory_name)
    return as_lab(plan, state.read(plan).network)


def down(root: Path, inventory_name: str = "lab") -> None:
    """Take everything of a lab away, whatever state a crash left it in. Nothing there is fine."""
    plan = plan_of(root, inventory_name)
    with locked(plan.lock, say):
        if not is_left(plan):
            say(f"nothing of {plan.inventory} is up")
            return
        with stage(f"take {plan.inventory} down"):
            close_connections(plan)
            for host in plan.hosts():
                hosts.kill(host)
            mail.down(plan)
            network.down(plan)
            for host in plan.hosts():
                hosts.remove_root(host)
            if plan.folder.exists():
                shutil.rmtree(plan.folder)


def status(root: Path, inventory_name: str = "lab") -> Status:
    """What is there; changes nothing."""
    plan = plan_of(root, inventory_name)
    states = {host.name: hosts.system_state(host) for host in plan.hosts()}
    if not plan.state.exists():
        return Status(plan.inventory, states, {}, (), {}, "off")
    net = state.read(plan).network
    sink = f"{gateway(net)}:{mail.PORT}" if mail.answers(str(gateway(net))) else "off"
    return Status(plan.inventory, states, addresses(net), network.cuts(plan), clocks(plan), sink)


def reset(root: Path, name: str = "all", inventory_name: str = "lab") -> None:
    """Make a host, or all, as fresh as at its first boot. It keeps its address and its SSH host key."""
    plan = plan_of(root, inventory_name)
    chosen = plan.hosts() if name == "all" else (plan.host(name),)
    with locked(plan.lock, say):
        net = state.read(plan).network
        for host in chosen:
            hosts.kill(host)
            hosts.remove_root(host)
        boot_missing(plan, net, base.ensure(), inventory.ensure_operator_key(plan), chosen)


def kill(root: Path, name: str, inventory_name: str = "lab") -> None:
    """Cut a host's power: all of its processes end at once, its files stay."""
    plan = plan_of(root, inventory_name)
    with locked(plan.lock, say):
        state.read(plan)
        hosts.kill(plan.host(name))


def boot(root: Path, name: str, inventory_name: str = "lab") -> None:
    """Boot one host that is off, with the files it had; returns when it is ready."""
    plan = plan_of(root, inventory_name)
    with locked(plan.lock, say):
        net = state.read(plan).network
        boot_missing(plan, net, base.ensure(), inventory.ensure_operator_key(plan), (plan.host(name),))


def cut(root: Path, a: str, b: str, inventory_name: str = "lab") -> None:
    """Drop everything that two hosts, or a host and `machine`, send each other."""
    plan = plan_of(root, inventory_name)
    with locked(plan.lock, say):
        state.read(plan)
        network.cut(plan, a, b)


def heal(root: Path, inventory_name: str = "lab") -> None:
    """Let all hosts reach each other again."""
    plan = plan_of(root, inventory_name)
    with locked(plan.lock, say):
        state.read(plan)
        network.heal(plan)


def set_clock(root: Path, name: str, moment: datetime | None, inventory_name: str = "lab") -> None:
    """Give a host a clock that shows this moment now and goes on from there; None gives it the machine's again.

    What runs already, systemd's timers and SSH sessions keep the machine's clock.
    """
    plan = plan_of(root, inventory_name)
    offset = moment - datetime.now(UTC) if moment else timedelta(0)
    with locked(plan.lock, say):
        state.read(plan)
        hosts.set_clock(plan.host(name), offset)


def clocks(plan: Plan) -> dict[str, timedelta]:
    """The hosts whose clock is not the machine's, and how far ahead it is."""
    offsets = {host.name: hosts.read_clock(host) for host in plan.hosts()}
    return {name: offset for name, offset in offsets.items() if offset}


def require_machine() -> None:
    """Raises LabUnavailable with everything that this machine lacks."""
    if sys.platform != "linux":
        raise LabUnavailable(f"it needs Linux, and this is {sys.platform}")
    if os.geteuid() != 0:
        raise LabUnavailable("it needs root: run it with sudo")
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        raise LabUnavailable(f"programs are missing; apt-get install {' '.join(missing)}")


def plan_of(root: Path, inventory_name: str) -> Plan:
    """The plan of a checkout's lab. Raises LabUnavailable where no lab can run."""
    require_machine()
    return Plan(root.resolve(), inventory_name)


def as_lab(plan: Plan, net: IPv4Network) -> Lab:
    known = addresses(net)
    return Lab(plan, {h.name: Host(h.name, known[h.name], h.tree) for h in plan.hosts()}, str(gateway(net)))


def addresses(net: IPv4Network) -> dict[str, str]:
    return {name: str(address(net, name)) for name in HOSTS}


def ensure_network(plan: Plan) -> IPv4Network:
    """The network this lab has, or a free one, written down before anything is made in it."""
    if plan.state.exists():
        net = state.read(plan).network
    else:
        net = choose_network(plan.id, network.taken_networks())
        state.write(plan, State(net))
    network.up(plan, net)
    return net


def boot_missing(
    plan: Plan, net: IPv4Network, tree: Path, key: str, chosen: Sequence[PlannedHost] | None = None
) -> None:
    """Boot those of the chosen hosts that are off, side by side."""
    asked = plan.hosts() if chosen is None else chosen
    off = [host for host in asked if not hosts.is_running(host)]
    if not off:
        say(f"already up: {', '.join(host.name for host in asked)}")
    else:
        with stage(f"boot {', '.join(host.name for host in off)}"):
            for host in off:
                hosts.ensure_root(host, net, tree, key)
                hosts.boot(host)
            for host in off:
                hosts.wait_until_ready(host, net)


def close_connections(plan: Plan) -> None:
    """End the shared SSH connections that commands of this checkout keep open for a minute."""
    for path in plan.private_folder.glob("*"):
        if path.is_socket():
            argv = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={path}", "-O", "exit", "lab"]
            subprocess.run(argv, capture_output=True, check=False)


def is_left(plan: Plan) -> bool:
    """Whether anything of the lab is there, be it only a piece after a crash."""
    processes = any(groups.exists(group) for group in [plan.mail_group, *(h.group for h in plan.hosts())])
    return processes or plan.folder.exists() or network.has_bridge(plan) or bool(network.families(plan))

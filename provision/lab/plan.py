"""Names, paths and addresses of one checkout's lab, all derived from where the checkout lies."""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from provision.lab.errors import LabUnavailable, UnknownHost

STORE = Path("/var/lib/rota-lab")
HOSTS = ("development", "staging", "production", "backup")
OPERATOR = "operator"
MACHINE = "machine"  # in cuts: this machine, with all that lies beyond it
ADDRESSES = IPv4Network("10.208.0.0/12")
FIRST_HOST = 11


@dataclass(frozen=True)
class Plan:
    """One lab: that of one inventory of one checkout. Interface names stay within the kernel's 15 characters."""

    root: Path
    inventory: str = "lab"

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.root}\n{self.inventory}".encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        return STORE / self.id

    @property
    def lock(self) -> Path:
        return STORE / f"{self.id}.lock"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def mails(self) -> Path:
        return self.folder / "mails"

    @property
    def bridge(self) -> str:
        return f"rl-{self.id}"

    @property
    def table(self) -> str:
        return f"rota_lab_{self.id}"

    @property
    def mail_group(self) -> str:
        return f"rota-lab-{self.id}-mail"

    @property
    def private_folder(self) -> Path:
        """What belongs to the checkout and stays secret: key pair and vault password."""
        return self.root / ".rota" / self.inventory

    @property
    def inventory_folder(self) -> Path:
        return self.root / "provision" / "inventories" / self.inventory

    def hosts(self) -> tuple["PlannedHost", ...]:
        return tuple(PlannedHost(self, name) for name in HOSTS)

    def host(self, name: str) -> "PlannedHost":
        """Raises UnknownHost."""
        if name not in HOSTS:
            raise UnknownHost(f"{name!r}; there are: {', '.join(HOSTS)}")
        return PlannedHost(self, name)


@dataclass(frozen=True)
class PlannedHost:
    """Where one host of a lab lives on this machine, whether it exists or not."""

    plan: Plan
    name: str

    @property
    def machine(self) -> str:
        return f"{self.plan.id}-{HOSTS.index(self.name) + 1}"

    @property
    def port(self) -> str:
        """The machine's end of the cable to the host; systemd-nspawn gives it this name."""
        return f"vb-{self.machine}"

    @property
    def group(self) -> str:
        """The control group that holds every process of the host, and nothing else."""
        return f"rota-lab-{self.machine}"

    @property
    def machine_id(self) -> str:
        return uuid.uuid5(uuid.NAMESPACE_OID, self.machine).hex

    @property
    def folder(self) -> Path:
        return self.plan.folder / "hosts" / self.name

    @property
    def tree(self) -> Path:
        """The host's root as seen from this machine."""
        return self.folder / "root"

    @property
    def made(self) -> Path:
        """Exists once the root is complete."""
        return self.folder / "made"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    @property
    def host_key(self) -> Path:
        return self.plan.folder / "host_keys" / self.name


def choose_network(lab_id: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first /24 at or after the place that the lab's id points to, that overlaps no network in `taken`."""
    taken = tuple(taken)
    count = 2 ** (24 - ADDRESSES.prefixlen)
    for number in range(int(lab_id, 16), int(lab_id, 16) + count):
        network = IPv4Network((int(ADDRESSES.network_address) + number % count * 256, 24))
        if not any(network.overlaps(other) for other in taken):
            return network
    raise LabUnavailable(f"no free network in {ADDRESSES}")


def gateway(network: IPv4Network) -> IPv4Address:
    """This machine's own address in the lab; the mail sink listens there."""
    return network[1]


def address(network: IPv4Network, name: str) -> IPv4Address:
    return network[FIRST_HOST + HOSTS.index(name)]

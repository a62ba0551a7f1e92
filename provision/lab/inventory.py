"""What a lab writes into its checkout: its key pair, and the inventory with the vaults that every command uses."""

from ipaddress import IPv4Network
from pathlib import Path

from provision import secrets
from provision.lab import hosts
from provision.lab.plan import HOSTS, OPERATOR, Plan, address, gateway
from provision.lab.programs import call


def ensure_operator_key(plan: Plan) -> str:
    """The checkout's own key pair for its lab, made once; returns the public line."""
    key = plan.private_folder / "id_ed25519"
    plan.private_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not key.exists():
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{OPERATOR}@{plan.inventory}", "-f", str(key)])
    return Path(f"{key}.pub").read_text()


# What a lab sets otherwise than an estate: nobody waits a quarter of an hour there to see a timer at work, its own
# sink takes the mails, and production makes an example's reports.
SETTINGS = """\
---
agent_check_schedule: "*-*-* *:*:00"
agent_alert_to: [operator@example.org]
agent_alert_server: {sink}
reports_enabled: "{{{{ inventory_hostname == 'production' }}}}"
reports_database: library
reports_database_owner: librarian
"""


def write(plan: Plan, network: IPv4Network) -> None:
    """Write the inventory; secrets that are in its vaults already stay."""
    secrets.make_lab(plan.root, connections(network), name=plan.inventory)
    replace(plan.inventory_folder / "group_vars" / "all" / "lab.yml", SETTINGS.format(sink=gateway(network)))
    replace(plan.inventory_folder / "known_hosts", hosts.known_hosts(plan, network))


def connections(network: IPv4Network) -> dict[str, dict[str, str | int]]:
    return {name: {"address": str(address(network, name)), "port": 22, "user": OPERATOR} for name in HOSTS}


def replace(path: Path, text: str) -> None:
    """Write beside and rename; a file that says so already keeps its time."""
    if path.exists() and path.read_text() == text:
        return
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)

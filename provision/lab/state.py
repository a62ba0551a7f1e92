"""What a lab writes down about itself, so that any later process can find and clean up all of it."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.lab.errors import LabDown
from provision.lab.inventory import replace
from provision.lab.plan import Plan


@dataclass(frozen=True)
class State:
    """The one thing that does not follow from the checkout's place: the network that was free."""

    network: IPv4Network


def read(plan: Plan) -> State:
    """Raises LabDown when there is none."""
    if not plan.state.exists():
        raise LabDown(f"`fab lab.up` boots it (inventory {plan.inventory})")
    return State(IPv4Network(json.loads(plan.state.read_text())["network"]))


def write(plan: Plan, state: State) -> None:
    plan.folder.mkdir(parents=True, exist_ok=True)
    document = {"root": str(plan.root), "inventory": plan.inventory, "network": str(state.network)}
    replace(plan.state, json.dumps(document, indent=2) + "\n")

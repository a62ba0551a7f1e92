"""The cables of a lab: one bridge, a way out through this machine, and cuts between hosts."""

import json
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

from provision.lab import kernel
from provision.lab.errors import ProgramFailed
from provision.lab.plan import MACHINE, STORE, Plan, PlannedHost, gateway
from provision.lab.programs import call, locked

NETWORK_LOCK = STORE / "network.lock"
INTERFACES = Path("/sys/class/net")
CHAINS = ("forward", "input", "output")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def bridge_commands(plan: Plan, network: IPv4Network) -> list[list[str]]:
    """Each may be said again: an earlier `up` may have been killed between any two of them."""
    return [
        ["ip", "address", "replace", f"{gateway(network)}/{network.prefixlen}", "dev", plan.bridge],
        ["ip", "link", "set", plan.bridge, "up"],
        *(["ip", "link", "set", host.port, "master", plan.bridge, "up"] for host in plan.hosts() if has_port(host)),
    ]


def tables(plan: Plan, network: IPv4Network) -> str:
    """The nftables text of a lab: two tables of its own, which `nft` adds to whatever the machine has."""
    return f"""\
table ip {plan.table} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {network} ip daddr != {network} masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{plan.bridge}" tcp flags syn tcp option maxseg size set rt mtu
        oifname "{plan.bridge}" tcp flags syn tcp option maxseg size set rt mtu
    }}
}}
table bridge {plan.table} {{
    chain forward {{ type filter hook forward priority filter; policy accept; }}
    chain input {{ type filter hook input priority filter; policy accept; }}
    chain output {{ type filter hook output priority filter; policy accept; }}
}}
"""


def cut_rules(plan: Plan, a: PlannedHost, b: PlannedHost) -> str:
    """The nftables text that drops every frame between two hosts, both ways."""
    rule = f"add rule bridge {plan.table} forward"
    return "".join(
        f'{rule} iifname "{x.port}" oifname "{y.port}" drop comment "{x.name} {y.name}"\n' for x, y in ((a, b), (b, a))
    )


def cut_off_rules(plan: Plan, host: PlannedHost) -> str:
    """The nftables text that drops every frame between a host and this machine, and so all beyond it."""
    comment = f'drop comment "{host.name} {MACHINE}"\n'
    return (
        f'add rule bridge {plan.table} input iifname "{host.port}" {comment}'
        f'add rule bridge {plan.table} output oifname "{host.port}" {comment}'
    )


def parse_cuts(ruleset: str) -> tuple[tuple[str, str], ...]:
    """The pairs of hosts that a listed bridge table keeps apart, each once."""
    pairs = (tuple(sorted(words.split())) for words in re.findall(r'comment "(\w+ \w+)"', ruleset))
    return tuple(sorted({(a, b) for a, b in pairs}))


def up(plan: Plan, network: IPv4Network) -> None:
    """Make what is missing of bridge and tables, and have the kernel forward."""
    with locked(NETWORK_LOCK):
        if not has_bridge(plan):
            call(["ip", "link", "add", "name", plan.bridge, "type", "bridge"])
        for argv in bridge_commands(plan, network):
            call(argv)
        if not has_tables(plan):
            delete_tables(plan)
            call(["nft", "-f", "-"], stdin=tables(plan, network))
        kernel.lift()


def down(plan: Plan) -> None:
    """Take bridge and tables away, and what was lifted in the kernel with this machine's last lab."""
    with locked(NETWORK_LOCK):
        for interface in (*(host.port for host in plan.hosts()), plan.bridge):
            delete_interface(interface)
        delete_tables(plan)
        if not other_bridges(plan):
            kernel.restore()


def delete_interface(name: str) -> None:
    """Not there is fine: the kernel takes a host's port away by itself, some time after the host's end."""
    try:
        call(["ip", "link", "delete", name])
    except ProgramFailed:
        if (INTERFACES / name).exists():
            raise


def has_bridge(plan: Plan) -> bool:
    return (INTERFACES / plan.bridge).exists()


def has_port(host: PlannedHost) -> bool:
    return (INTERFACES / host.port).exists()


def families(plan: Plan) -> list[str]:
    """The families in which this lab's table exists."""
    listed = json.loads(call(["nft", "--json", "list", "tables"]))["nftables"]
    named = [entry["table"] for entry in listed if "table" in entry]
    return [table["family"] for table in named if table["name"] == plan.table]


def delete_tables(plan: Plan) -> None:
    for family in families(plan):
        call(["nft", "delete", "table", family, plan.table])


def has_tables(plan: Plan) -> bool:
    return len(families(plan)) == 2


def other_bridges(plan: Plan) -> list[str]:
    """The bridges of other labs, known by their state folders, that are up."""
    bridges = (f"rl-{state.parent.name}" for state in STORE.glob("*/state.json"))
    return [bridge for bridge in bridges if bridge != plan.bridge and (INTERFACES / bridge).exists()]


def cut(plan: Plan, a: str, b: str) -> None:
    """Raises UnknownHost."""
    if MACHINE in (a, b):
        text = cut_off_rules(plan, plan.host(b if a == MACHINE else a))
    else:
        text = cut_rules(plan, plan.host(a), plan.host(b))
    call(["nft", "-f", "-"], stdin=text)


def heal(plan: Plan) -> None:
    for chain in CHAINS:
        call(["nft", "flush", "chain", "bridge", plan.table, chain])


def cuts(plan: Plan) -> tuple[tuple[str, str], ...]:
    if not has_tables(plan):
        return ()
    return parse_cuts(call(["nft", "list", "table", "bridge", plan.table]))


def taken_networks() -> list[IPv4Network]:
    """Everything this machine already reaches by a route or an address of its own, its resolvers, and other labs."""
    routes = json.loads(call(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]")
    interfaces = json.loads(call(["ip", "-json", "-4", "address", "show"]) or "[]")
    words = [route["dst"] for route in routes if route["dst"] != "default"]
    words += [f"{a['local']}/{a['prefixlen']}" for entry in interfaces for a in entry.get("addr_info", [])]
    words += [json.loads(state.read_text())["network"] for state in STORE.glob("*/state.json")]
    return [IPv4Network(word, strict=False) for word in [*words, *resolvers()]]


def resolvers() -> list[str]:
    """The IPv4 name servers of this machine that hosts can reach as well: none of its loopback."""
    for path in RESOLVERS:
        if path.exists() and (found := parse_resolvers(path.read_text())):
            return found
    return []


def parse_resolvers(text: str) -> list[str]:
    words = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver ") and len(line.split()) > 1]
    addresses = (ip_address(word.split("%")[0]) for word in words)
    return [str(a) for a in addresses if isinstance(a, IPv4Address) and not a.is_loopback]


def parse_static_names(lines: Iterable[str]) -> list[str]:
    """The lines of this machine's /etc/hosts that mean something on another machine as well."""
    kept = (line.split("#")[0].split() for line in lines)
    return [" ".join(words) for words in kept if len(words) > 1 and means_the_same_elsewhere(words[0])]


def means_the_same_elsewhere(word: str) -> bool:
    known = ip_address(word.split("%")[0])
    return not (known.is_loopback or known.is_link_local or known.is_multicast)

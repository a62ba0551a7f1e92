"""Times provisioning beside the same work done by Ansible's own modules and by pyinfra, on the lab's hosts.

    python -m tests.bench.provision_bench [--rounds 5] [--pyinfra PROGRAM] [--thorough]

What the roles have the hosts do is written down once, in check mode, and becomes a playbook of one step per thing and
a pyinfra deploy. Neither renders templates nor restarts services, which favours them. `--pyinfra` names the program
of an environment made from requirements/bench.txt. Rounds go through all candidates in turn, so that a busy moment
of the machine falls on all of them.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provision import lab as labs
from provision.ansible import environment, playbook_command
from provision.inventory import load
from provision.ssh import connections, ensure_ssh_config

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/bench/provision"
INVENTORY = "lab-bench"
SCOPES = {"four hosts": ["development", "staging", "production", "backup"], "one host": ["production"]}

Entry = dict[str, Any]
Command = tuple[list[str], dict[str, str]]


@dataclass(frozen=True)
class Candidate:
    """One way to provision; `command` takes the hosts."""

    name: str
    command: Callable[[list[str]], Command]
    is_slow: bool = False


def main() -> None:
    options = arguments()
    labs.down(ROOT, INVENTORY)
    lab = labs.up(ROOT, INVENTORY)
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench(lab, Path(folder), options)
    finally:
        labs.down(ROOT, INVENTORY)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pyinfra", default="pyinfra")
    parser.add_argument("--thorough", action="store_true", help="first runs and all rounds of the slow ones, too")
    return parser.parse_args()


def bench(lab: labs.Lab, folder: Path, options: argparse.Namespace) -> None:
    write_down(folder)
    found = candidates(folder, options.pyinfra)
    print(f"machine: {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    for scope, hosts in SCOPES.items():
        for candidate in reversed(found):
            timed(candidate.command(hosts))  # so that nothing is left to be changed for any of them
        again: dict[str, list[float]] = {}
        for number in range(options.rounds):
            for candidate in found:
                if number == 0 or not candidate.is_slow or options.thorough:
                    note(again, candidate, hosts)
        show(f"run that changes nothing, {scope}", again)
    for scope, hosts in SCOPES.items():
        first: dict[str, list[float]] = {}
        for candidate in found:
            if not candidate.is_slow or options.thorough:
                for host in hosts:
                    lab.reset(host)
                note(first, candidate, hosts)
        show(f"first run, {scope}", first)


def note(taken: dict[str, list[float]], candidate: Candidate, hosts: list[str]) -> None:
    seconds = timed(candidate.command(hosts))
    taken.setdefault(candidate.name, []).append(seconds)
    print(f"{candidate.name}, {len(hosts)}: {seconds:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)


def show(title: str, taken: Mapping[str, list[float]]) -> None:
    ours = statistics.median(next(iter(taken.values())))
    print(f"\n| {title} | s | beside ours |\n|---|---|---|")
    for name, times in taken.items():
        median = statistics.median(times)
        spread = f" ({min(times):.1f}–{max(times):.1f})" if len(times) > 1 else ""
        print(f"| {name} | {median:.1f}{spread} | {median / ours:.2f} |", flush=True)


def timed(command: Command) -> float:
    """Wall seconds of one run, which has to succeed."""
    argv, settings = command
    began = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    taken = time.monotonic() - began
    if done.returncode:
        sys.exit(f"{' '.join(argv)}\n{done.stdout[-40000:]}{done.stderr[-4000:]}")
    return taken


# -- what the roles do, as plain entries


def ansible_environment(folder: Path, **settings: str) -> dict[str, str]:
    inventory = load(INVENTORY, ROOT)
    own = environment(inventory, ensure_ssh_config(inventory, ROOT), folder / "log")
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**own, "PATH": programs, "ANSIBLE_STDOUT_CALLBACK": "default", **settings}


def write_down(folder: Path) -> None:
    """Have the roles describe their work in check mode, and turn it into entries and files."""
    record = folder / "record"
    settings = {"ANSIBLE_ACTION_PLUGINS": str(HERE / "action"), "ROTA_BENCH_RECORD": str(record)}
    timed((ours(SCOPES["four hosts"], "--check"), ansible_environment(folder, **settings)))
    shared: dict[str, Entry] = {}
    for host in SCOPES["four hosts"]:
        files = folder / "work" / host
        files.mkdir(parents=True)
        for path in sorted((record / host).iterdir()):
            for entry in entries_of(json.loads(path.read_text())["described"], files):
                shared.setdefault(json.dumps(entry), {**entry, "hosts": []})["hosts"].append(host)
    (folder / "work.json").write_text(json.dumps(list(shared.values())))


def entries_of(described: Mapping[str, Any], files: Path) -> Iterator[Entry]:
    if described["packages"]:
        yield {"kind": "packages", "values": described["packages"]}
    for user in described["users"]:
        for group in user["groups"]:
            yield {"kind": "group", "values": group}
        yield {"kind": "user", "values": {name: user[name] for name in ("name", "system", "home", "shell", "groups")}}
    for file in described["files"]:
        values = {name: file[name] for name in ("path", "mode", "owner", "group", "target")}
        folder = Path(file["path"]).parent
        if folder.name.endswith(".conf.d"):  # converge makes what is on the way
            yield {"kind": "directory", "values": {**values, "path": str(folder), "mode": "0755"}}
        if file["state"] == "file":
            source = files / file["path"].strip("/").replace("/", "_")
            source.write_bytes(base64.b64decode(described["contents"][file["path"]]))
            values["source"] = source.name
        yield {"kind": file["state"], "values": values}
    for key in described["keys"]:
        yield {"kind": "key", "values": {"path": key["path"]}}
    if any(file["path"].startswith("/etc/systemd/system/") for file in described["files"]):
        yield {"kind": "reload", "values": {}}
    for unit in described["units"]:
        if unit["enabled"] is not None or unit["state"] == "started":
            yield {"kind": "unit", "values": {name: unit[name] for name in ("name", "enabled", "state")}}
    postgres = described["postgres"] or {}
    for role in postgres.get("roles") or []:
        yield {"kind": "role", "values": {"name": role["name"]}}
    for database in postgres.get("databases") or []:
        yield {"kind": "database", "values": {"name": database["name"], "owner": database["owner"]}}


# -- the candidates


def candidates(folder: Path, pyinfra: str) -> list[Candidate]:
    playbook = folder / "stock.yml"
    playbook.write_text(yaml.safe_dump(stock_play(folder), sort_keys=False))
    (folder / "inventory.py").write_text(pyinfra_inventory(folder))
    mine = ansible_environment(folder)
    inventory = load(INVENTORY, ROOT)

    def stock(hosts: list[str]) -> list[str]:
        return ["ansible-playbook", "-i", str(inventory.folder), "--limit", ",".join(hosts), str(playbook)]

    def plain(hosts: list[str]) -> list[str]:
        limits = [word for host in hosts for word in ("--limit", host)]
        return [pyinfra, "-y", *limits, str(folder / "inventory.py"), str(HERE / "deploy.py")]

    return [
        Candidate("Rota: roles of one step", lambda hosts: (ours(hosts), mine)),
        Candidate("pyinfra", lambda hosts: (plain(hosts), dict(os.environ))),
        Candidate("Ansible's modules, our settings", lambda hosts: (stock(hosts), mine), True),
        Candidate(
            "Ansible's modules, its defaults", lambda hosts: (stock(hosts), default_settings(folder, mine)), True
        ),
    ]


def ours(hosts: list[str], *words: str) -> list[str]:
    return [*playbook_command(load(INVENTORY, ROOT), "site", hosts), *words]


def default_settings(folder: Path, mine: Mapping[str, str]) -> dict[str, str]:
    """Ansible's own defaults, with nothing but the way to the hosts and the vault's key."""
    config = folder / "default.cfg"
    config.write_text("[defaults]\n")
    default_arguments = "-C -o ControlMaster=auto -o ControlPersist=60s"
    return {
        **mine,
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_SSH_ARGS": f"{mine['ANSIBLE_SSH_ARGS']} {default_arguments}",
    }


def stock_play(folder: Path) -> list[dict[str, Any]]:
    """One step per thing; hosts that share a thing share the step, as in roles."""
    wanted = []
    for entry in json.loads((folder / "work.json").read_text()):
        for step in stock_steps(entry, folder):
            if entry["hosts"] != SCOPES["four hosts"]:
                step["when"] = both(step.get("when"), f"inventory_hostname in {entry['hosts']}")
            wanted.append(step)
    return [{"hosts": "all", "become": True, "gather_facts": True, "tasks": wanted}]


def both(one: str | None, other: str) -> str:
    return f"({one}) and {other}" if one else other


def stock_steps(entry: Entry, folder: Path) -> list[dict[str, Any]]:
    kind, values = entry["kind"], entry["values"]
    attributes = {name: values[name] for name in ("mode", "owner", "group") if kind in ATTRIBUTED and values[name]}
    if kind == "file":
        source = f"{folder}/work/{{{{ inventory_hostname }}}}/{values['source']}"
        return [{"ansible.builtin.copy": {"src": source, "dest": values["path"], **attributes}}]
    if kind == "directory":
        return [{"ansible.builtin.file": {"path": values["path"], "state": "directory", **attributes}}]
    if kind == "link":
        return [
            {"ansible.builtin.file": {"path": values["path"], "src": values["target"], "state": "link", "force": True}}
        ]
    if kind == "absent":
        return [{"ansible.builtin.file": {"path": values["path"], "state": "absent"}}]
    if kind in ("role", "database"):
        return postgres_steps(kind, values)
    return [STOCK[kind](values)]


ATTRIBUTED = ("file", "directory")
STOCK: dict[str, Callable[[Any], dict[str, Any]]] = {
    "packages": lambda names: {
        "ansible.builtin.apt": {
            "name": names,
            "install_recommends": False,
            "update_cache": True,
            "cache_valid_time": 86400,
        }
    },
    "group": lambda name: {"ansible.builtin.group": {"name": name, "system": True}},
    "user": lambda user: {
        "ansible.builtin.user": {
            **{name: value for name, value in user.items() if value},
            "append": True,
            "create_home": False,
        }
    },
    "key": lambda key: {
        "ansible.builtin.command": {
            "argv": ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key["path"]],
            "creates": key["path"],
        }
    },
    "reload": lambda _: {"ansible.builtin.systemd_service": {"daemon_reload": True}},
    "unit": lambda unit: {
        "ansible.builtin.systemd_service": {name: value for name, value in unit.items() if value is not None}
    },
}


def postgres_steps(kind: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Ask, then make what is missing: Ansible's own collection has no module for it."""
    name = values["name"]
    table, column = ("pg_roles", "rolname") if kind == "role" else ("pg_database", "datname")
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtc"]
    asking = {"argv": [*psql, f"select 1 from {table} where {column} = '{name}'"]}  # noqa: S608 - names of our own
    owner = f' owner "{values["owner"]}"' if kind == "database" else " login"
    making = {"argv": [*psql, f'create {kind} "{name}"{owner}']}
    return [
        {"ansible.builtin.command": asking, "register": "asked", "changed_when": False},
        {"ansible.builtin.command": making, "when": "asked.stdout | default('there') == ''"},
    ]


def pyinfra_inventory(folder: Path) -> str:
    inventory = load(INVENTORY, ROOT)
    hosts = [
        (
            one.host,
            {
                "ssh_hostname": one.address,
                "ssh_port": one.port,
                "ssh_user": one.user,
                "ssh_key": str(ROOT / ".rota" / INVENTORY / "id_ed25519"),
                "ssh_known_hosts_file": str(inventory.known_hosts),
                "ssh_strict_host_key_checking": "yes",
                "_sudo": True,
                "bench_folder": str(folder),
            },
        )
        for one in connections(inventory, ROOT).values()
    ]
    return f'"""The lab."""\n\nhosts = {hosts!r}\n'


if __name__ == "__main__":
    main()

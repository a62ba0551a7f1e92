"""`python -m provision.vagrant`: what the Vagrantfile's provisioner does on the operator's machine."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from provision import inventory, secrets, ssh
from provision.errors import OperatorError

ROOT = Path(__file__).resolve().parents[1]
NAME = "lab-vagrant"


def operator_key(root: Path) -> str:
    """The public line of this checkout's key for its boxes, made once."""
    key = root / ".rota" / NAME / "id_ed25519"
    key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not key.exists():
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"operator@{NAME}", "-f", str(key)]
        subprocess.run(argv, check=True)
    return Path(f"{key}.pub").read_text().strip()


def add(root: Path, host: str, connection: dict[str, str | int], host_key: str) -> None:
    """Put a box into the inventory of boxes, with the host key that it has now: a box made anew has another.

    The other boxes stand in it as they are known, or as planned in provision/vagrant.yml: roles name them all.
    """
    known = {name: as_entry(one) for name, one in known_connections(root).items()}
    made = secrets.make_lab(root, {**planned_connections(root), **known, host: connection}, name=NAME)
    keys = {**ssh.pinned_keys(made), host: ssh.HostKey(*host_key.split())}
    made.known_hosts.write_text(ssh.render_known_hosts(keys, ssh.connections(made, root)))


def planned_connections(root: Path) -> dict[str, dict[str, str | int]]:
    planned: dict[str, dict[str, str | int]] = inventory.read_yaml(root / "provision/vagrant.yml")[ssh.CONNECTIONS]
    return planned


def known_connections(root: Path) -> dict[str, ssh.Connection]:
    if NAME not in inventory.inventories(root):
        return {}
    return ssh.connections(inventory.load(NAME, root), root)


def as_entry(one: ssh.Connection) -> dict[str, str | int]:
    return {"address": one.address, "port": one.port, "user": one.user}


def provision(root: Path, host: str, address: str, user: str, host_key: str) -> int:
    """Add the box and run `fab HOST provision` on it; returns fab's exit code."""
    add(root, host, {"address": address, "port": 22, "user": user}, host_key)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "FABRIC_ROTA_INVENTORY": NAME}
    return subprocess.run(["fab", host, "provision"], cwd=root, env=environment, check=False).returncode


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m provision.vagrant", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True)
    commands.add_parser("key", help="print the key that boxes should accept")
    added = commands.add_parser("provision", help="add a box to the inventory and provision it")
    for word in ("host", "address", "user", "host_key"):
        added.add_argument(word)
    return whole


def main() -> int:
    words = vars(parser().parse_args())
    command = words.pop("command")
    try:
        if command == "key":
            print(operator_key(ROOT))
            return 0
        return provision(ROOT, **words)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

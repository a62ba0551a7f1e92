"""Provisioning: the site playbook and, on development hosts, the working tree installed afterwards."""

from collections.abc import Sequence

from provision.ansible import run_playbook
from provision.inventory import Inventory


def provision_hosts(
    inventory: Inventory, environment: str, hosts: Sequence[str], *, check: bool, diff: bool, tags: Sequence[str] = ()
) -> int:
    """Bring hosts to the state that roles/ and group_vars/ describe; returns the playbook's exit code."""
    code = run_playbook(inventory, "site", hosts, check=check, diff=diff, tags=tags)
    if code or check or environment != "development":
        return code
    from provision import deploying

    return deploying.install_working_tree(inventory)

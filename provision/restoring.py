"""Restores, seen from the operator's side: no deploy meanwhile, and the release in use gets what it needs."""

from collections.abc import Sequence

from provision import deploying, estate
from provision.ansible import run_playbook
from provision.inventory import Inventory


def restore_db(inventory: Inventory, hosts: Sequence[str], at: str, *, confirmed: bool, check: bool) -> int:
    """Put a backup in place on each host; with `check` only find it. Returns the playbook's exit code.

    Holds every host's lock of deploys: one between its migration and its switch would migrate the database that is
    swapped out. Raises DeployUnderWay, HostNotReady.
    """
    if check:
        return run_playbook(inventory, "restore_db", hosts, extra={"restore_at": at}, check=True)
    with deploying.locked(estate.ssh_config_of(inventory), hosts, deploying.whoami(), 0) as token:
        extra = {"restore_at": at, "confirmed": confirmed, "deploy_token": token}
        return run_playbook(inventory, "restore_db", hosts, extra=extra)

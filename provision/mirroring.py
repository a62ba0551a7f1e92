"""The mirror, seen from the operator's side: both hosts are brought up to date, then staging takes production's data.

The release that production runs comes along from production itself, and is taken into use together with the data: a
deploy beforehand would change staging even where the mirror then fails.
"""

from provision import estate
from provision.ansible import run_playbook
from provision.inventory import Inventory

MIRROR = ["sudo", "rota", "run", "restore_staging"]
CHECK = ["sudo", "rota", "mirror", "check"]


def restore_staging(inventory: Inventory, *, check: bool = False, diff: bool = False) -> int:
    """Mirror production onto each host of staging; returns the first exit code that is not 0.

    With `check` nothing is changed: staging asks production for its columns and shows the rule of each.
    The mirror is a task of the host: it goes on, and is recorded, should the connection be lost meanwhile.
    """
    staging, production = inventory.hosts("staging"), inventory.hosts("production")
    if code := run_playbook(inventory, "restore_staging", (*staging, *production), check=check, diff=diff):
        return code
    config = estate.ssh_config_of(inventory)
    for host in staging:
        if code := estate.put(config, [host], CHECK if check else MIRROR):
            return code
    return 0

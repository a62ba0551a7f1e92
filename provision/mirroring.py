"""The mirror, seen from the operator's side: staging first runs production's release, then takes its data."""

import json

from provision import deploying, estate
from provision.ansible import run_playbook
from provision.errors import OperatorError
from provision.inventory import Inventory


class NothingToMirror(OperatorError):
    """Production cannot be mirrored."""


def restore_staging(inventory: Inventory) -> int:
    """Mirror production onto staging; returns the first exit code that is not 0."""
    source = inventory.hosts("production")[0]
    commit = running_commit(inventory, source)
    if code := deploying.deploy(inventory, "staging", commit, dirty=False):
        return code
    return run_playbook(inventory, "restore_staging", inventory.hosts("staging"))


def running_commit(inventory: Inventory, host: str) -> str:
    """The commit that a host runs. Raises NothingToMirror when it does not answer or runs no release."""
    answer = estate.ask(estate.ssh_config_of(inventory), host, ["sudo", "rota-release", "status", "--json"])
    if answer.exit_code:
        raise NothingToMirror(f"{host}: {answer.output.strip() or 'no answer'}")
    current = json.loads(answer.output).get("current")
    if not current:
        raise NothingToMirror(f"{host} runs no release; `fab production deploy` installs one")
    return str(current["commit"])

"""A host that the operator cannot reach: every command names it, the exit code says so, and the others are served."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from provision import deploying
from provision.ansible import run_playbook
from provision.estate import UNREACHABLE, HostUnreachable
from provision.inventory import Inventory
from provision.lab import Lab
from provision.lab.lab import close_connections
from tests.lab.conftest import Fab

pytestmark = pytest.mark.lab


@pytest.fixture
def cut_off(provisioned: Lab) -> Iterator[Lab]:
    """The lab while nothing goes between this machine and staging, and no connection of before is left."""
    close_connections(provisioned.plan)
    provisioned.cut("machine", "staging")
    try:
        yield provisioned
    finally:
        provisioned.heal()


def test_the_hosts_that_answer_are_provisioned_and_the_silent_one_is_named(
    cut_off: Lab, inventory: Inventory, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = "/etc/nftables.d/metrics.nft"
    before = cut_off.run("production", ["cat", rules]).stdout
    cut_off.run("production", ["rm", rules])
    assert run_playbook(inventory, "site", ["staging", "production"], tags=["metrics"]) == UNREACHABLE
    assert "UNREACHABLE staging: " in capfd.readouterr().out
    assert cut_off.run("production", ["cat", rules]).stdout == before


def test_nothing_is_deployed_to_an_environment_of_which_one_host_is_silent(cut_off: Lab, inventory: Inventory) -> None:
    both = replace(inventory, hosts_by_environment={"staging": ("backup", "staging")})
    status = ["rota-release", "--json", "status"]
    before = cut_off.run("backup", status).stdout
    with pytest.raises(HostUnreachable, match="A host does not answer: staging: ssh: connect to host"):
        deploying.deploy(both, "staging", "HEAD", dirty=True)
    assert cut_off.run("backup", status).stdout == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("staging", "deploy", "--dirty"), "A host does not answer: staging: "),
        (("staging", "start", "check_host"), "does not answer: ssh: connect to host"),
        (("restore_staging",), "UNREACHABLE staging: "),
    ],
)
def test_no_command_to_a_silent_host_ends_as_if_all_were_well(
    cut_off: Lab, fab: Fab, words: tuple[str, ...], sentence: str
) -> None:
    done = fab(*words, check=False)
    assert done.returncode == UNREACHABLE, done.stdout
    assert sentence in done.stdout

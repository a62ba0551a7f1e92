"""The lab that all tests share, apart from the one that a developer may have up."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from provision import lab as labs
from provision.ansible import run_playbook
from provision.deploying import install_working_tree
from provision.inventory import Inventory, load
from provision.lab import hosts

ROOT = Path(__file__).resolve().parents[2]

# Ansible's programs lie beside the interpreter, whether or not the environment was activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

Ssh = Callable[..., subprocess.CompletedProcess[str]]


def inventory_name(purpose: str) -> str:
    """Parallel workers of one test run have labs of their own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return f"lab-{purpose}-{worker}" if worker else f"lab-{purpose}"


@pytest.fixture(scope="session")
def lab() -> Iterator[labs.Lab]:
    """Four hosts that are up; their inventory is provision/inventories/lab-tests.

    With ROTA_KEEP_LAB set it stays up between runs; `python -m provision.lab --inventory lab-tests down` ends it.
    """
    name = inventory_name("tests")
    keep = bool(os.environ.get("ROTA_KEEP_LAB"))
    if not keep:
        labs.down(ROOT, name)
    try:
        yield labs.up(ROOT, name)
    finally:
        if not keep:
            labs.down(ROOT, name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Function) -> None:
    """A test that fails while it has a host switched off leaves it on for those after it, and for its own cleaning."""
    lab = item.funcargs.get("lab")
    if isinstance(lab, labs.Lab) and not all(hosts.is_running(host) for host in lab.plan.hosts()):
        labs.up(ROOT, lab.plan.inventory)


@pytest.fixture(scope="session")
def lab_environment(lab: labs.Lab) -> dict[str, str]:
    """The environment in which `fab` works on the tests' lab."""
    return {**os.environ, "FABRIC_ROTA_INVENTORY": lab.plan.inventory}


@pytest.fixture(scope="session")
def ssh(lab: labs.Lab) -> Ssh:
    """Runs a command on a host over SSH, as the operator, with the pinned key."""

    def run(name: str, argv: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(lab.ssh_command(name, argv), capture_output=True, text=True, timeout=120, check=check)

    return run


@pytest.fixture(scope="session")
def inventory(lab: labs.Lab) -> Inventory:
    return load(lab.plan.inventory, ROOT)


Fab = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def fab(lab_environment: dict[str, str]) -> Fab:
    """Gives a command as an operator would, on the tests' lab; output is shown where it fails."""

    def run(*words: str, check: bool = True, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "fabric", *words],
            cwd=ROOT,
            env=lab_environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"fab {' '.join(words)}: exit {done.returncode}\n{done.stdout[-6000:]}")
        return done

    return run


@pytest.fixture(scope="session")
def provisioned(lab: labs.Lab, inventory: Inventory) -> labs.Lab:
    """All four hosts, provisioned by the site playbook in one run."""
    assert run_playbook(inventory, "site", inventory.all_hosts) == 0
    return lab


@pytest.fixture(scope="session")
def deployed(provisioned: labs.Lab, inventory: Inventory, fab: Fab) -> labs.Lab:
    """All four hosts with the working tree's code in use: the state that most tests start from."""
    for environment in ("staging", "production", "backup"):
        fab(environment, "deploy", *([] if environment == "production" else ["--dirty"]))
    assert install_working_tree(inventory) == 0
    return provisioned

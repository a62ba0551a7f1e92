"""The lab that all tests share, apart from the one that a developer may have up."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from provision import lab as labs

ROOT = Path(__file__).resolve().parents[2]

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

"""The Vagrantfile, as far as it can be tried without a provider."""

import os
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision import ssh, vagrant
from provision.inventory import ENVIRONMENTS, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_vagrant(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What `vagrant validate` says, with a home and a state folder of its own."""
    own = {
        "HOME": str(tmp_path),
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
    }
    argv = ["vagrant", "validate", "--ignore-provider"]
    return subprocess.run(argv, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=False)


def test_vagrant_accepts_the_vagrantfile_with_a_box_per_environment(
    run_vagrant: subprocess.CompletedProcess[str],
) -> None:
    assert run_vagrant.returncode == 0, run_vagrant.stderr
    assert "Vagrantfile validated successfully" in run_vagrant.stdout
    assert [name for name in ENVIRONMENTS if f"==> {name}:" not in run_vagrant.stdout + run_vagrant.stderr] == []


def test_every_environment_has_one_box_with_an_address_of_its_own() -> None:
    connections = vagrant.planned_connections(ROOT)
    assert tuple(connections) == ENVIRONMENTS
    assert len({IPv4Address(str(one["address"])) for one in connections.values()}) == len(ENVIRONMENTS)


def test_a_box_made_anew_replaces_its_pinned_key_and_leaves_the_others(tmp_path: Path) -> None:
    for group in ("all", *ENVIRONMENTS):
        (tmp_path / "group_vars" / group).mkdir(parents=True)
    (tmp_path / "provision/inventories").mkdir(parents=True)
    shutil.copy(ROOT / "provision/vagrant.yml", tmp_path / "provision")
    one: dict[str, str | int] = {"address": "192.0.2.7", "port": 22, "user": "vagrant"}
    vagrant.add(tmp_path, "development", one, "ssh-ed25519 QUFB")
    vagrant.add(tmp_path, "staging", {**one, "address": "192.0.2.8"}, "ssh-ed25519 QkJC")
    vagrant.add(tmp_path, "development", {**one, "address": "192.0.2.9"}, "ssh-ed25519 Q0ND")
    made = load(vagrant.NAME, tmp_path)
    planned = vagrant.planned_connections(tmp_path)
    assert {host: one.address for host, one in ssh.connections(made, tmp_path).items()} == {
        "development": "192.0.2.9",
        "staging": "192.0.2.8",
        "production": planned["production"]["address"],
        "backup": planned["backup"]["address"],
    }
    assert {host: key.blob for host, key in ssh.pinned_keys(made).items()} == {"development": "Q0ND", "staging": "QkJC"}

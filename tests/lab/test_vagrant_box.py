"""`vagrant up` for real: a box packed from the lab's base tree, run by LXC, on the lab's network."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from provision import lab as labs
from provision import vagrant
from provision.lab import base, network, state
from provision.lab.plan import gateway
from provision.lab.programs import call
from tests.lab.conftest import ROOT

pytestmark = pytest.mark.lab

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Vagrant:
    """Vagrant with a home, a state folder and an inventory that end with the test."""

    environment: dict[str, str]

    def run(self, *words: str) -> str:
        argv = ["vagrant", *words]
        done = subprocess.run(argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def pack(tree: Path, work: Path, settings: dict[str, str]) -> Path:
    """A box as vagrant-lxc wants it: the base tree with Vagrant's user, and the container's settings."""
    for name in ("upper", "work", "root", "box"):
        (work / name).mkdir(parents=True)
    root, box = work / "root", work / "box"
    options = f"lowerdir={tree},upperdir={work}/upper,workdir={work}/work"
    call(["mount", "-t", "overlay", "-o", options, "box", str(root)])
    try:
        fit_out(root)
        call(["tar", "-C", str(root), "--use-compress-program=gzip -1", "-cf", str(box / "rootfs.tar.gz"), "."])
    finally:
        call(["umount", str(root)])
    template = {"--strip-components": "1"}
    (box / "metadata.json").write_text(json.dumps({"provider": "lxc", "version": "1.0.0", "template-opts": template}))
    (box / "lxc-config").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    call(["tar", "-C", str(box), "-cf", str(work / "base.box"), "."])
    return work / "base.box"


def fit_out(root: Path) -> None:
    """What Vagrant expects of a box: its user, with sudo, and the well-known key that it replaces at the first `up`."""
    call(["chroot", str(root), "useradd", "--create-home", "--shell=/bin/bash", "vagrant"])
    (root / "etc/sudoers.d/vagrant").write_text("vagrant ALL=(ALL) NOPASSWD: ALL\n")
    (root / "home/vagrant/.ssh").mkdir(mode=0o700)
    (key,) = Path("/usr/share/rubygems-integration/all/gems").glob("vagrant-[0-9]*/keys/vagrant.pub")
    shutil.copy(key, root / "home/vagrant/.ssh/authorized_keys")
    call(["chroot", str(root), "chown", "-R", "vagrant:", "/home/vagrant/.ssh"])
    call(["ssh-keygen", "-A", "-f", str(root)])
    # Without a machine-id systemd takes this for a first boot and enables what the base has disabled.
    (root / "etc/machine-id").touch()
    (root / "etc/resolv.conf").write_text("".join(f"nameserver {server}\n" for server in network.resolvers()))


def container_settings(bridge: str, net: IPv4Network) -> dict[str, str]:
    return {
        # Without its /dev/ptmx systemd starts no service that asks for PrivateDevices=.
        "lxc.include": "/usr/share/lxc/config/common.conf",
        "lxc.apparmor.profile": "unconfined",
        "lxc.net.0.type": "veth",
        "lxc.net.0.link": bridge,
        "lxc.net.0.flags": "up",
        "lxc.net.0.ipv4.address": f"{net[50]}/{net.prefixlen}",
        "lxc.net.0.ipv4.gateway": str(gateway(net)),
    }


@pytest.fixture
def box(lab: labs.Lab) -> Iterator[Vagrant]:
    """Vagrant that brings up boxes packed from the lab's base tree; they are destroyed afterwards."""
    work = lab.plan.folder / "vagrant"
    packed = pack(base.ensure(), work, container_settings(lab.plan.bridge, state.read(lab.plan).network))
    own = {"HOME": work, "VAGRANT_HOME": work / "home", "VAGRANT_DOTFILE_PATH": work / "state"}
    chosen = {"ROTA_VAGRANT_BOX": str(packed), "VAGRANT_DEFAULT_PROVIDER": "lxc"}
    ours = Vagrant({**os.environ, **{name: str(path) for name, path in own.items()}, **chosen})
    try:
        yield ours
    finally:
        subprocess.run(["vagrant", "destroy", "--force"], cwd=ROOT, env=ours.environment, check=True)
        remove_traces(work)


def remove_traces(work: Path) -> None:
    shutil.rmtree(work)
    for folder in (ROOT / ".rota" / vagrant.NAME, ROOT / "provision/inventories" / vagrant.NAME):
        shutil.rmtree(folder, ignore_errors=True)
    for left in CGROUPS.glob("*/lxc.pivot"):  # LXC leaves these empty groups behind
        with suppress(OSError):  # another container of this machine may use it
            left.rmdir()


def test_vagrant_up_gives_a_provisioned_development_box(box: Vagrant) -> None:
    said = box.run("up", "development")
    assert "development: inventory lab-vagrant, host development" in said
    asked = box.run("ssh", "development", "--no-tty", "--command", "hostname; cat /etc/rota/environment")
    assert asked.split() == ["development", "development"]
    states = box.run("status", "--no-tty").splitlines()
    assert [line.split()[:2] for line in states if "(lxc)" in line and "not created" not in line] == [
        ["development", "running"]
    ]
    box.run("destroy", "--force", "development")
    assert call(["lxc-ls", "--running"]).split() == []

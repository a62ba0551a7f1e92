"""The tree that all hosts of all labs on this machine begin with, built once from the machine's own package sources."""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provision.lab import groups
from provision.lab.errors import LabUnavailable
from provision.lab.plan import OPERATOR, STORE
from provision.lab.programs import call, locked
from provision.lab.progress import say, stage

# Counted up when what `finish` does changes, so that machines build anew.
RECIPE = 1

INCLUDED = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "libfaketime",
    "nftables",
    "openssh-server",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)

# What roles and tests install, fetched beforehand so that hosts need next to no network.
FETCHED = (
    "bash-completion",
    "borgbackup",
    "bubblewrap",
    "certbot",
    "libnss-systemd",
    "mariadb-client",
    "mariadb-server",
    "nginx",
    "openssl",
    "pebble",
    "postgresql",
    "prometheus-node-exporter",
    "python3-venv",
    "rsync",
    "sqlite3",
    "systemd-timesyncd",
    "tzdata",
    "unattended-upgrades",
    "zstd",
)

KEPT_APT_OPTIONS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries")


@dataclass(frozen=True)
class Source:
    """One package source of this machine."""

    uri: str
    release: str
    component: str
    signed_by: str


@dataclass(frozen=True)
class Recipe:
    """All that decides what a base tree holds; its text's hash names the tree."""

    release: str
    architecture: str
    sources: tuple[Source, ...]
    apt_options: tuple[str, ...]

    @property
    def text(self) -> str:
        return repr((RECIPE, INCLUDED, FETCHED, self))

    @property
    def key(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def tree(self) -> Path:
        return STORE / f"base-{self.key}"

    @property
    def mirror(self) -> Source:
        return next(source for source in self.sources if source.release == self.release)


def read_recipe() -> Recipe:
    """This machine's own release and package sources. Raises LabUnavailable when there are none to build from."""
    release = platform.freedesktop_os_release()
    codename, maker = release.get("VERSION_CODENAME", ""), release.get("ID", "")
    sources = read_sources(codename, maker)
    if not sources:
        call(["apt-get", "update", "-q"])  # lists that were never fetched, or deleted to save space, name no origin
        sources = read_sources(codename, maker)
    if not sources:
        raise LabUnavailable(f"apt has no source of {maker} {codename}; `apt-cache policy` shows those it has")
    options = parse_apt_options(call(["apt-config", "dump"]))
    return Recipe(codename, call(["dpkg", "--print-architecture"]).strip(), sources, options)


def read_sources(codename: str, maker: str) -> tuple[Source, ...]:
    """The maker's sources, if the system's own release is among them."""
    sources = parse_sources(call(["apt-get", "indextargets"]), maker)
    return sources if any(source.release == codename for source in sources) else ()


def parse_sources(targets: str, maker: str) -> tuple[Source, ...]:
    """The sources in the output of `apt-get indextargets` that come from the maker of this machine's system."""
    stanzas = (
        dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line) for stanza in targets.split("\n\n")
    )
    return tuple(
        dict.fromkeys(
            Source(s["Repo-URI"], s["Release"], s["Component"], s.get("Signed-By", ""))
            for s in stanzas
            if s.get("Created-By") == "Packages" and s.get("Origin", "").lower() == maker
        )
    )


def parse_apt_options(dump: str) -> tuple[str, ...]:
    """The machine's settings without which its sources might not serve: proxies, clocks, retries."""
    return tuple(line for line in dump.splitlines() if line.startswith(KEPT_APT_OPTIONS) and not line.endswith('"";'))


def sources_list(sources: Iterable[Source]) -> str:
    """The text of a one-line-style sources.list."""
    lines = []
    for source in sources:
        option = f"[signed-by={source.signed_by}] " if source.signed_by.startswith("/") else ""
        lines.append(f"deb {option}{source.uri} {source.release} {source.component}\n")
    return "".join(lines)


def debootstrap_command(recipe: Recipe, tree: Path) -> list[str]:
    """In a mount namespace of its own, so that an interrupted build leaves no mount behind."""
    components = ",".join(sorted({s.component for s in recipe.sources if s.release == recipe.release}))
    keyring = [f"--keyring={recipe.mirror.signed_by}"] if recipe.mirror.signed_by.startswith("/") else []
    return [
        *("unshare", "--mount", "--propagation=private", "--"),
        *("debootstrap", "--variant=minbase", f"--components={components}", *keyring),
        *(f"--include={','.join(INCLUDED)}", recipe.release, str(tree), recipe.mirror.uri),
    ]


def inside_command(tree: Path, argv: Iterable[str]) -> list[str]:
    """Run a program inside the tree, with this machine's network and names, and processes of its own."""
    options = ["--quiet", "--as-pid2", "--register=no", "--keep-unit", "--settings=no", "--timezone=off"]
    names = ["--resolv-conf=copy-host", "--bind-ro=/etc/hosts"]
    environment = ["--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8"]
    return ["systemd-nspawn", f"--directory={tree}", *options, *names, *environment, "--", *argv]


def apt_commands() -> list[list[str]]:
    """What brings a fresh tree up to date and fetches the packages that roles install."""
    fetch = ["apt-get", "install", "-q", "-y", "--download-only", *FETCHED]
    return [["apt-get", "update", "-q"], ["apt-get", "dist-upgrade", "-q", "-y"], fetch]


def ensure() -> Path:
    """The base tree, built if this machine does not have it yet. Only one builds; others wait for it."""
    recipe = read_recipe()
    if recipe.tree.exists():
        return recipe.tree
    with locked(STORE / f"base-{recipe.key}.lock", say):
        if not recipe.tree.exists():
            with stage(f"build the base tree {recipe.tree} ({recipe.release}, once per machine)"):
                build(recipe)
    return recipe.tree


def build(recipe: Recipe) -> None:
    """Build beside and rename, so that an interrupted build is never taken for a whole one."""
    part = STORE / f"base-{recipe.key}.part"
    log = STORE / f"base-{recipe.key}.log"
    group = f"rota-lab-base-{recipe.key}"
    groups.end(group)
    if part.exists():
        call(["rm", "-rf", "--one-file-system", str(part)])
    log.write_text("")
    call(debootstrap_command(recipe, part), log=log)
    prepare_apt(recipe, part)
    try:
        for argv in apt_commands():
            call(inside_command(part, argv), log=log, enter=groups.make(group), environment=CONTAINER)
    finally:
        groups.end(group)
    finish(part)
    part.rename(recipe.tree)


# The machine's seccomp may forbid what systemd-nspawn wants to add to it.
CONTAINER = {"SYSTEMD_SECCOMP": "0"}


def prepare_apt(recipe: Recipe, tree: Path) -> None:
    apt = tree / "etc/apt"
    (apt / "sources.list").write_text(sources_list(recipe.sources))
    for keyring in {s.signed_by for s in recipe.sources if s.signed_by.startswith("/")}:
        inside = tree / keyring.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(keyring, inside)
    lines = ['Acquire::Languages "none";', 'APT::Keep-Downloaded-Packages "true";', *recipe.apt_options]
    (apt / "apt.conf.d/80rota-lab").write_text("\n".join(lines) + "\n")
    # A lab's disk need not survive this machine's power cut: packages install several times faster.
    (tree / "etc/dpkg/dpkg.cfg.d/rota-lab").write_text("force-unsafe-io\n")
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def finish(tree: Path) -> None:
    """What makes the tree a host's: an operator, an address, and nothing that two hosts must not share."""
    inside = ["chroot", str(tree)]
    call([*inside, "useradd", "--create-home", "--shell=/bin/bash", "--no-user-group", OPERATOR])
    call(["systemctl", f"--root={tree}", "--quiet", "enable", "systemd-networkd.service"])
    # Waiting for the network belongs to those who need it; a lab host's address is there at once.
    call(["systemctl", f"--root={tree}", "--quiet", "disable", "systemd-networkd-wait-online.service"])
    sudoers = tree / "etc/sudoers.d/operator"
    sudoers.write_text(f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    unwanted = [*(tree / "etc/ssh").glob("ssh_host_*"), tree / "usr/sbin/policy-rc.d", tree / "etc/resolv.conf"]
    for path in [*unwanted, tree / "etc/hostname", tree / "etc/machine-id", tree / "var/lib/dbus/machine-id"]:
        with suppress(FileNotFoundError):
            path.unlink()
    os.sync()

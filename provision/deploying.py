"""Deploys, seen from the operator's side: what is to be done, the locks meanwhile, the playbook that does it."""

import getpass
import json
import secrets
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision import estate, release
from provision.ansible import ROOT, run_playbook
from provision.errors import OperatorError
from provision.inventory import Inventory
from provision.preview import library_changes, preview
from provision.release import Platform, Source

LOCKED_EXIT = 75
# How long a host waits for the confirmation of a switch, and how long we look for health before that.
CONFIRM_SECONDS = 240
HEALTH_SECONDS = 60


class CleanProduction(OperatorError):
    """Production runs commits only"""


class DeployUnderWay(OperatorError):
    """Another deploy is under way"""


class HostNotReady(OperatorError):
    """A host cannot be deployed to"""


class UnknownRelease(OperatorError):
    """The hosts have no such release"""


@dataclass(frozen=True)
class Report:
    """What rota-release says of a host before a deploy."""

    host: str
    current: str | None
    previous: str | None
    unconfirmed: bool
    platform: Platform
    extras: tuple[str, ...]
    scripts: str
    """The lock of what report scripts may import on this host, or ""."""
    diary: bool
    serving: str | None
    installed: Mapping[str, tuple[tuple[str, ...], str]]
    """The extras and the lock that each release was made with."""

    def has(self, wanted: str) -> bool:
        """Whether the release is installed with all that this host needs."""
        return self.installed.get(wanted) == (self.extras, self.scripts)

    def lock_of(self, installed: str | None) -> str:
        """The lock of what report scripts import under a release of this host, or ""."""
        return self.installed[installed][1] if installed and installed in self.installed else ""

    def runs(self, wanted: str) -> bool:
        """Whether the release is in use and nothing of a deploy is left to be done."""
        in_use = self.current == wanted and self.has(wanted) and not self.unconfirmed
        return in_use and (not self.diary or self.serving == wanted)


def parse_report(host: str, answer: Mapping[str, Any]) -> Report:
    return Report(
        host=host,
        current=(answer["current"] or {}).get("id"),
        previous=(answer["previous"] or {}).get("id"),
        unconfirmed=answer["armed"] is not None,
        platform=Platform(answer["python"], answer["machine"]),
        extras=tuple(answer["extras"]),
        scripts=answer.get("script_requirements", ""),  # a host that was provisioned before does not say
        diary=answer["diary"],
        serving=answer["serving"],
        installed={one["id"]: (tuple(one["extras"]), one.get("script_requirements", "")) for one in answer["releases"]},
    )


# -- the commands ----------------------------------------------------------------------------------------------


def deploy(
    inventory: Inventory, environment: str, ref: str, *, dirty: bool = False, wait: float = 0, who: str | None = None
) -> int:
    """Bring a commit into use on all hosts of an environment; returns the playbook's exit code.

    Raises CleanProduction, DeployUnderWay, HostNotReady, HostUnreachable, and what building a release raises.
    """
    source = wanted_source(environment, ref, dirty=dirty)
    return bring(inventory, environment, source, wait=wait, who=who or whoami())


def preview_deploy(
    inventory: Inventory, environment: str, ref: str, *, dirty: bool = False, diff: bool = False
) -> None:
    """Say what a deploy would change, and change nothing. Raises what a deploy raises before it begins."""
    source = wanted_source(environment, ref, dirty=dirty)
    reports = answers_of(inventory, environment)
    if not is_done(environment, source, reports):
        show_preview(reports, {report.host: (source.id, report.scripts) for report in reports}, diff=diff)


def preview_rollback(inventory: Inventory, environment: str, to: str | None = None, *, diff: bool = False) -> None:
    """Say where a rollback would go back to, and change nothing. Raises UnknownRelease, HostNotReady."""
    reports = answers_of(inventory, environment)
    targets = {report.host: target_of(report, to) for report in reports}
    show_preview(reports, {one.host: (targets[one.host], one.lock_of(targets[one.host])) for one in reports}, diff=diff)


def install_working_tree(inventory: Inventory) -> int:
    """Bring the working tree, committed or not, into use on the development hosts."""
    if "development" not in inventory.hosts_by_environment:
        return 0
    source = release.resolve(ROOT, "HEAD", dirty=True)
    return bring(inventory, "development", source, wait=0, who=whoami())


def rollback(inventory: Inventory, environment: str, to: str | None = None, *, who: str | None = None) -> int:
    """Bring the previous release, or the one named, back into use; returns the playbook's exit code.

    Raises UnknownRelease, DeployUnderWay, HostNotReady.
    """
    hosts = inventory.hosts(environment)
    ssh_config = estate.ssh_config_of(inventory)
    who = who or whoami()
    with locked(ssh_config, hosts, who, 0) as token:
        reports = ask(ssh_config, hosts)
        targets = {report.host: target_of(report, to) for report in reports}
        waiting = [report.host for report in reports if not report.runs(targets[report.host])]
        if not waiting:
            print(f"{environment} already runs {', '.join(sorted(set(targets.values())))}; nothing to do")
            return 0
        extra = {**shared(token, who, reports), "deploy_releases": targets}
        return run_playbook(inventory, "rollback", waiting, extra=extra)


def wanted_source(environment: str, ref: str, *, dirty: bool) -> Source:
    """What is to be built from. Raises CleanProduction, and what resolving a ref raises."""
    if dirty and environment == "production":
        raise CleanProduction("commit first, or try --dirty on staging")
    return release.resolve(ROOT, ref, dirty=dirty)


def answers_of(inventory: Inventory, environment: str) -> list[Report]:
    return ask(estate.ssh_config_of(inventory), inventory.hosts(environment))


def show_preview(reports: Sequence[Report], wanted: Mapping[str, tuple[str, str]], *, diff: bool) -> None:
    """`wanted` is by host the release that is to come, and its lock of what scripts import."""
    current = {report.host: report.current for report in reports}
    for line in preview(ROOT, current, {host: each[0] for host, each in wanted.items()}, diff=diff):
        print(line, flush=True)
    steps = {((one.current, one.lock_of(one.current)), wanted[one.host], one.platform) for one in reports}
    for old, new, platform in sorted(steps, key=str):
        for line in library_changes(ROOT, old, new, platform):
            print(line, flush=True)


# -- one deploy -------------------------------------------------------------------------------------------------


def bring(inventory: Inventory, environment: str, source: Source, *, wait: float, who: str) -> int:
    """Ask, build, lock, ask again (another deploy may have done it meanwhile), and let the playbook do the rest."""
    hosts = inventory.hosts(environment)
    ssh_config = estate.ssh_config_of(inventory)
    reports = ask(ssh_config, hosts)
    if is_done(environment, source, reports):
        return 0
    bundles = build(source, reports, who)
    with locked(ssh_config, hosts, who, wait) as token:
        reports = ask(ssh_config, hosts)
        if is_done(environment, source, reports):
            return 0
        waiting = [report for report in reports if not report.runs(source.id)]
        return run_playbook(
            inventory,
            "deploy",
            [report.host for report in waiting],
            extra={
                **shared(token, who, reports),
                "deploy_release": source.id,
                "deploy_ref": source.ref,
                "deploy_bundles": {one.host: str(bundles[one.host]) for one in waiting if not one.has(source.id)},
            },
        )


def is_done(environment: str, source: Source, reports: Sequence[Report]) -> bool:
    done = all(report.runs(source.id) for report in reports)
    if done:
        print(f"{environment} already runs {source.id} ({source.ref}); nothing to do")
    return done


def shared(token: str, who: str, reports: Sequence[Report]) -> dict[str, Any]:
    """What both playbooks are told."""
    return {
        "deploy_token": token,
        "deploy_who": who,
        "deploy_started": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "deploy_web": [report.host for report in reports if report.diary],
        "deploy_confirm_seconds": CONFIRM_SECONDS,
        "deploy_health_seconds": HEALTH_SECONDS,
    }


def build(source: Source, reports: Sequence[Report], who: str) -> dict[str, Path]:
    """The bundle for each host; hosts of one kind share one."""
    made: dict[tuple[tuple[str, ...], str, Platform], Path] = {}
    for extras, scripts, platform in dict.fromkeys((one.extras, one.scripts, one.platform) for one in reports):
        parts = ", ".join((*extras, *([scripts] if scripts else [])))
        print(f"Building {source.id} for {platform}{' with ' if parts else ''}{parts}", flush=True)
        made[extras, scripts, platform] = release.bundle(
            *(ROOT, source, extras, platform),
            cache=ROOT / ".cache",
            now=datetime.now(UTC),
            who=who,
            scripts=scripts,
        )
    return {one.host: made[one.extras, one.scripts, one.platform] for one in reports}


def target_of(report: Report, to: str | None) -> str:
    """The release that a host is to go back to."""
    target = to or report.previous
    if target is None:
        raise UnknownRelease(f"{report.host} has no previous one; --to names one of: {', '.join(report.installed)}")
    if target not in report.installed:
        raise UnknownRelease(f"{report.host}: {target}; there are: {', '.join(report.installed)}")
    return target


def whoami() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


# -- asking hosts -----------------------------------------------------------------------------------------------


def host_command(*words: str, token: str | None = None) -> list[str]:
    """A call of rota-release as it is typed on a host."""
    return ["sudo", "-n", "rota-release", "--json", *(["--token", token] if token else []), *words]


def ask(ssh_config: Path, hosts: Sequence[str]) -> list[Report]:
    return [parse_report(host, answer) for host, answer in answers(ssh_config, hosts).items()]


def answers(ssh_config: Path, hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every host's own word on its releases. Raises HostUnreachable or HostNotReady when one has none."""
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        return dict(zip(hosts, pool.map(lambda host: status_of(ssh_config, host), hosts), strict=True))


def status_of(ssh_config: Path, host: str) -> dict[str, Any]:
    done = subprocess.run(
        estate.ssh_command(ssh_config, host, host_command("status")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == estate.SSH_FAILED:
        raise estate.HostUnreachable(f"{host}: {last_line(done.stderr)}")
    if done.returncode:
        said = last_line(done.stderr or done.stdout)
        hint = "; `fab ENV provision` comes before the first deploy" if "not found" in said else ""
        raise HostNotReady(f"{host}: {said}{hint}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


# -- locks ------------------------------------------------------------------------------------------------------


def lock_command(ssh_config: Path, host: str, token: str, who: str, wait: float) -> list[str]:
    """Hold a host's lock for as long as this very session lives; it shares no connection with anything else."""
    words = host_command("lock", "--who", who, "--wait", str(wait), token=token)
    # Without a shared connection this process is the session: its death is what frees the lock.
    options = ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "BatchMode=yes"]
    return ["ssh", "-F", str(ssh_config), *options, host, shlex.join(words)]


@contextmanager
def locked(ssh_config: Path, hosts: Sequence[str], who: str, wait: float) -> Iterator[str]:
    """Hold the lock of every host, in one order everywhere so that two deploys cannot wait for each other.

    Yields the token that shows our right to the hosts. Raises DeployUnderWay.
    """
    token = secrets.token_hex(8)
    with ExitStack() as sessions:
        for host in sorted(hosts):
            sessions.enter_context(lock_session(ssh_config, host, token, who, wait))
        yield token


@contextmanager
def lock_session(ssh_config: Path, host: str, token: str, who: str, wait: float) -> Iterator[None]:
    process = open_session(ssh_config, host, token, who, 0)
    answer = first_answer(process, host)
    if not answer.get("locked") and wait:
        print(f"{host}: {answer['message']}. Waiting up to {wait:g} s", flush=True)
        process = open_session(ssh_config, host, token, who, wait)
        answer = first_answer(process, host)
    if not answer.get("locked"):
        raise DeployUnderWay(f"{host}: {answer['message'].partition(': ')[2]}; --wait SECONDS waits for it")
    try:
        yield
    finally:
        end_session(process)


def open_session(ssh_config: Path, host: str, token: str, who: str, wait: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        lock_command(ssh_config, host, token, who, wait),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal is for us: the lock is kept while we clean up
    )


def first_answer(process: "subprocess.Popen[str]", host: str) -> dict[str, Any]:
    """What the lock says: held (the session stays open) or refused (it has ended). Raises HostNotReady."""
    line = process.stdout.readline() if process.stdout else ""
    try:
        answer: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        said = last_line(process.communicate()[1])
        kind = estate.HostUnreachable if process.returncode == estate.SSH_FAILED else HostNotReady
        raise kind(f"{host}: {said}") from None
    if not answer.get("locked"):
        process.communicate()
        if process.returncode != LOCKED_EXIT:
            raise HostNotReady(f"{host}: {answer.get('message')}")
    return answer


def end_session(process: "subprocess.Popen[str]") -> None:
    """Close the session's input, which frees the lock, and wait for its end; a dead network is not waited for."""
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()

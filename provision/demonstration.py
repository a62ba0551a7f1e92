"""`./run demo`: the main job from bare hosts to a mirrored estate, a progress line per stage."""

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import yaml

from provision import checks, estate
from provision.errors import OperatorError
from provision.inventory import Inventory

DEADLINE_SECONDS = 180


class StageFailed(OperatorError):
    """The demonstration stopped"""


@dataclass(frozen=True)
class Stage:
    """One line of the demonstration: what it does, and the function that does it and returns an exit code."""

    title: str
    work: Callable[[], int | None]


def run(root: Path) -> int:
    """Show the whole estate in the lab, or where the lab cannot run, the embedded form on this machine."""
    if not checks.lab_can_run():
        from provision import embedded

        print("The lab needs root on Linux; this is the embedded form: the same tasks, once, on this machine.")
        return embedded.run(root)
    began = time.monotonic()
    log = root / ".rota" / "demo.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    stages = list(lab_stages(root))
    print(f"Ten minutes or less; every word of it goes to {os.path.relpath(log)}", flush=True)
    with log.open("w") as whole:
        for number, stage in enumerate(stages, 1):
            perform(stage, f"[{number}/{len(stages)}]", whole.fileno())
    print(f"Done in {time.monotonic() - began:.0f} s.\n")
    print(farewell(root))
    return 0


def perform(stage: Stage, number: str, log: int) -> None:
    """Run one stage with its output in the log; one line says what and how long. Raises StageFailed."""
    began = time.monotonic()
    print(f"{number} {stage.title:<58}", end="", flush=True)
    with output_to(log):
        code = stage.work()
    print(f"{time.monotonic() - began:6.1f} s", flush=True)
    if code:
        raise StageFailed(f"{stage.title}: exit {code}; the reason is at the end of .rota/demo.log")


class output_to:  # noqa: N801 - reads as a word of the language where it is used
    """Sends what this process and its children print to a file descriptor, and puts the terminal back afterwards."""

    def __init__(self, log: int) -> None:
        self._log = log

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._kept = os.dup(1), os.dup(2)
        os.dup2(self._log, 1)
        os.dup2(self._log, 2)

    def __exit__(self, *exc: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for kept, original in zip(self._kept, (1, 2), strict=True):
            os.dup2(kept, original)
            os.close(kept)


def lab_stages(root: Path) -> Iterable[Stage]:
    """The stages in order; each loads the inventory for itself, because the first one makes it."""
    from provision import deploying, lab, mirroring
    from provision.ansible import run_playbook
    from provision.provisioning import provision_hosts

    def inventory() -> Inventory:
        from provision.inventory import load

        return load("lab", root)

    def every_host() -> tuple[str, ...]:
        return inventory().all_hosts

    def boot() -> None:
        lab.up(root)

    def provision() -> int:
        return run_playbook(inventory(), "site", every_host())

    def deploy(environment: str) -> Callable[[], int]:
        return lambda: deploying.deploy(inventory(), environment, "HEAD", dirty=environment != "production")

    yield Stage("Boot four hosts with systemd and SSH", boot)
    yield Stage("Provision them: base, SSH, firewall, databases, web, agent", provision)
    yield Stage("Deploy to staging", deploy("staging"))
    yield Stage("Deploy to production", deploy("production"))
    yield Stage("Deploy the agent to backup", deploy("backup"))
    yield Stage(
        "Install the working tree on development",
        lambda: provision_hosts(inventory(), "development", ("development",), check=False, diff=False),
    )
    yield Stage("Make the reports of an example organisation", lambda: make_reports(inventory(), root))
    yield Stage("Wait until timers have run tasks on every host", lambda: wait_for_timers(inventory(), every_host()))
    yield Stage("Back production up onto the backup host", lambda: run_playbook(inventory(), "backup", ("production",)))
    yield Stage("Mirror production onto staging", lambda: mirroring.restore_staging(inventory()))
    yield Stage(
        "Verify on every host what provisioning promises", lambda: run_playbook(inventory(), "verify", every_host())
    )
    yield Stage("Send every record to the diary", lambda: ship(inventory(), every_host()))


EXAMPLE = "/srv/rota-example"
MADE, SOME_FAILED = 0, 1


def make_reports(inventory: Inventory, root: Path) -> int:
    """Bring the example's database and reports to production and make what is due; one is meant to fail."""
    config = estate.ssh_config_of(inventory)
    unpack = ["sudo", "sh", "-c", 'mkdir -p "$1" && tar --extract --gzip --directory "$1"', "sh", EXAMPLE]
    command = estate.ssh_command(config, "production", unpack)
    if code := subprocess.run(command, input=packed(root / "provision" / "example"), check=False).returncode:
        return code
    psql = ["psql", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=library", "--command=SET ROLE librarian"]
    for argv in (
        ["sudo", "--user=postgres", *psql, f"--file={EXAMPLE}/library.sql"],
        ["sudo", "--user=rota-diary", "rota-diary", "import_reports", f"{EXAMPLE}/reports"],
    ):
        if code := estate.put(config, ["production"], argv):
            return code
    code = estate.put(config, ["production"], ["sudo", "rota", "run", "reports_nightly"])
    return MADE if code == SOME_FAILED else code


def packed(folder: Path) -> bytes:
    """The folder as a compressed archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as writing:
        writing.add(folder, arcname=".")
    return archive.getvalue()


def wait_for_timers(inventory: Inventory, hosts: tuple[str, ...]) -> int:
    """Wait until each host's spool holds a finished run that a timer started."""
    question = ["sudo", "rota", "runs", "--trigger", "timer", "--status", "succeeded", "--json"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    waiting = set(hosts)
    while waiting and time.monotonic() < deadline:
        answers = estate.ask_all(estate.ssh_config_of(inventory), sorted(waiting), question)
        waiting = {answer.host for answer in answers if answer.exit_code or '"timer"' not in answer.output}
        if waiting:
            time.sleep(2)  # a poll over SSH, bounded by the deadline
    for host in sorted(waiting):
        print(f"{host}: no timer has run a task within {DEADLINE_SECONDS} s")
    return 1 if waiting else 0


def ship(inventory: Inventory, hosts: tuple[str, ...]) -> int:
    """Have every host send what it still keeps, so that the diary shows all of it."""
    return estate.put(estate.ssh_config_of(inventory), hosts, ["sudo", "rota", "ship"])


def farewell(root: Path) -> str:
    """Where to look, with which login, and how to end it."""
    from provision.ssh import connections
    from provision.vault import read, read_password, vault_password_file, vault_path

    with redirect_stdout(sys.stderr):
        from provision.inventory import load

        inventory = load("lab", root)
        address = connections(inventory, root)["production"].address
        vault = read(vault_path(inventory, "production"), read_password(vault_password_file(inventory, root)))
        password = vault["diary_admin_password"]
        person = yaml.safe_load((root / "group_vars" / "all" / "main.yml").read_text())["diary_administrators"][0]
    return "\n".join(
        [
            f"The diary:  https://{address}/   (its certificate is its own: the browser will ask)",
            f"Login:      {person['email']}   {password}",
            f"A report:   https://{address}/reports/file/press/titles.xml   (public; the diary has the others)",
            "Look:       ./run production status      ./run staging runs      ./run production logs check_host",
            "Go on:      ./run production deploy      ./run restore_staging   ./run production shell",
            "End:        ./run lab.down",
        ]
    )

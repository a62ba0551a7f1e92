"""Deploys on real hosts: nobody outside notices one, and wherever one stops, the host serves a whole release."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from provision.lab import Lab
from tests.lab.agent_host import AgentHost

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
HOST = "staging"
CONFIRM_SECONDS = 20

# What an operator's command does, with shorter patience for hosts that nobody confirms.
DEPLOY = f"""
import sys
from dataclasses import replace
from provision import deploying
from provision.errors import OperatorError
from provision.inventory import load
deploying.CONFIRM_SECONDS, deploying.HEALTH_SECONDS = {CONFIRM_SECONDS}, 5
inventory = load(sys.argv[1], deploying.ROOT)
hosts = tuple(sys.argv[3].split(","))
inventory = replace(inventory, hosts_by_environment={{**inventory.hosts_by_environment, "staging": hosts}})
try:
    sys.exit(deploying.deploy(inventory, "staging", sys.argv[2], wait=float(sys.argv[4])))
except OperatorError as error:
    sys.exit(str(error))
"""

# A release that shows its illness only where the web server asks it, not on its second socket.
ILL_IN_USE = """
import os
from rota.diary import health
_find_problem = health.find_problem
def find_problem():
    if "probe" not in os.environ.get("LISTEN_FDNAMES", ""):
        return "ill in use"
    return _find_problem()
health.find_problem = find_problem
"""
ILL = """
from rota.diary import health
health.find_problem = lambda: "ill from the start"
"""
BAD_MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("diary", "{latest}")]
    operations = [
        migrations.RunSQL("CREATE TABLE half_done (id integer)"),
        migrations.RunSQL("SELECT no_such_column FROM half_done"),
    ]
"""


# -- commits that differ from the working tree ------------------------------------------------------------------


def git(*words: str, text: str | None = None, **environment: str) -> str:
    identity = {f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", "-C", str(ROOT), *words],
        input=text,
        env={**os.environ, **identity, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def commit(tmp_path: Path) -> Callable[..., str]:
    """Makes a commit of the working tree with other contents in some files of the diary; no branch knows it."""
    index = {"GIT_INDEX_FILE": str(tmp_path / "index")}

    def make(message: str, files: Mapping[str, str] | None = None) -> str:
        git("read-tree", "HEAD", **index)
        git("add", "--all", **index)
        for name, text in {"variant.py": f'"""{message}"""\n', **(files or {})}.items():
            blob = git("hash-object", "-w", "--stdin", text=text)
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},agent/src/rota/diary/{name}", **index)
        return git("commit-tree", git("write-tree", **index), "-p", "HEAD", "-m", message)

    return make


def with_wsgi(addition: str) -> dict[str, str]:
    return {"wsgi.py": (ROOT / "agent/src/rota/diary/wsgi.py").read_text() + addition}


def with_bad_migration() -> dict[str, str]:
    folder = ROOT / "agent/src/rota/diary/migrations"
    latest = max(path.stem for path in folder.glob("[0-9]*.py"))
    return {"migrations/9999_half.py": BAD_MIGRATION.format(latest=latest)}


LONG = (
    "import pathlib, select; print('begun', flush=True); "
    "[select.select([], [], [], 0.1) for _ in iter(pathlib.Path('/tmp/go').exists, True)]; "
    "import rota.diary.variant; print(rota.diary.variant.__doc__)"
)


# -- deploys ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estate:
    """The lab's hosts, deployed to as an operator does."""

    lab: Lab

    def command(self, ref: str, *, wait: float = 0, hosts: str = HOST) -> list[str]:
        return [sys.executable, "-c", DEPLOY, self.lab.plan.inventory, ref, hosts, str(wait)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def start(self, ref: str, **more: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(ref, **more),
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def deploy(self, ref: str, expect: int = 0, **more: Any) -> str:
        process = self.start(ref, **more)
        output = process.communicate(timeout=300)[0]
        assert process.returncode == expect, output
        return output

    def status(self, host: str = HOST) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.run("rota-release", "status", "--json", host=host)))

    def run(self, *argv: str, host: str = HOST) -> str:
        return self.lab.run(host, list(argv)).stdout

    def current(self, host: str = HOST) -> str:
        return str(self.status(host)["current"]["commit"])

    def records(self, commit: str) -> list[dict[str, Any]]:
        """The deploy records of a commit that the host has kept, oldest first."""
        found = []
        for folder in ("done", "sent"):
            for path in (self.lab.hosts[HOST].root / "var/lib/rota/spool" / folder).glob("*.json"):
                record = json.loads(path.read_text())
                if record["kind"] == "deploy" and record["release"].endswith(commit[:12]):
                    found.append(record)
        return sorted(found, key=lambda record: str(record["id"]))

    def steps(self) -> str:
        """What the newest deploy has logged so far."""
        logs = sorted((ROOT / ".rota" / self.lab.plan.inventory / "log").glob("*-deploy.log"))
        return logs[-1].read_text() if logs else ""


@pytest.fixture
def estate(deployed: Lab) -> Estate:
    return Estate(deployed)


@pytest.fixture
def confirmed(estate: Estate, commit: Callable[..., str]) -> str:
    """The commit of a healthy, confirmed release that the host runs when a test begins."""
    made = commit("healthy")
    estate.deploy(made)
    return made


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)  # a host's own doings are seen only by looking


@contextmanager
def load(estate: Estate, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Requests go on meanwhile; afterwards the dictionary holds what came of them."""
    host = estate.lab.hosts[HOST]
    certificate = tmp_path / "certificate.pem"
    certificate.write_text((host.root / "etc/nginx/tls/certificate.pem").read_text())
    argv = [sys.executable, str(ROOT / "tests/lab/load.py"), host.address, HOST, str(certificate), "300"]
    found: dict[str, Any] = {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "requesting\n"
        try:
            yield found
        finally:
            found.update(json.loads(client.communicate(timeout=120)[0]))


# -- laws -------------------------------------------------------------------------------------------------------


def test_a_deploy_is_in_use_confirmed_and_written_down(estate: Estate, commit: Callable[..., str]) -> None:
    before = estate.current()
    made = commit("new")

    estate.deploy(made)

    found = estate.status()
    assert found["current"]["commit"] == made
    assert found["previous"]["commit"] == before
    assert found["serving"] == found["current"]["id"]
    assert found["armed"] is None
    assert found["lock"] is None
    [record] = estate.records(made)
    assert (record["action"], record["status"], record["ref"]) == ("deploy", "succeeded", made)
    assert "@" in record["who"]
    dumps = estate.run("ls", "/var/lib/rota/predeploy").split()
    assert f"{found['current']['id']}.dump" in dumps
    assert len(dumps) <= 5


def test_a_run_that_began_before_a_deploy_and_a_rollback_ends_under_its_release(
    estate: Estate, fab: Callable[..., Any], confirmed: str, commit: Callable[..., str]
) -> None:
    """a deploy and a rollback during a run | `succeeded`, under the release and from the code it began with"""
    host = AgentHost(estate.lab, HOST)
    python = "/opt/rota/current/venv/bin/python"
    try:
        host.declare(long={"description": "Take long", "command": [python, "-I", "-c", LONG]})
        host.start("long")
        began = estate.status()["current"]["id"]
        newer = commit("newer than the run")
        estate.deploy(newer)
        assert estate.current() == newer
        fab(HOST, "rollback")
        estate.deploy(commit("newest of all"))
        process = host.do("systemctl", "show", "--property=MainPID", "--value", "rota-task-long.service").stdout.strip()
        host.do("nsenter", f"--target={process}", "--mount", "touch", "/tmp/go")  # noqa: S108 - the run's own
        host.wait(lambda: host.runs("long")[0]["status"] != "running")
        run = host.runs("long")[0]
        assert (run["status"], run["release"]) == ("succeeded", began)
        assert host.do("rota", "show", run["id"], "--log").stdout == "begun\nhealthy\n"
    finally:
        host.clear()


def test_a_second_deploy_of_a_commit_changes_nothing_and_says_so(estate: Estate, confirmed: str) -> None:
    began = time.monotonic()

    output = estate.deploy(confirmed)

    assert "staging already runs" in output
    assert "PLAY" not in output
    assert time.monotonic() - began < 10


def test_a_check_tells_what_would_come_and_go_and_changes_nothing(
    estate: Estate, commit: Callable[..., str], confirmed: str, fab: Callable[..., Any]
) -> None:
    before = estate.status()
    made = commit("a title to be told")

    shown = fab(HOST, "deploy", "--ref", made, "--check", "--diff").stdout
    back = fab(HOST, "rollback", "--check").stdout

    assert f"{HOST}: {before['current']['id']} → " in shown
    assert f"{made[:7]} a title to be told" in shown
    assert f"{HOST}: {before['current']['id']} → {before['previous']['id']}" in back
    assert estate.status() == before


def test_a_full_disk_leaves_the_old_release_serving(estate: Estate, commit: Callable[..., str]) -> None:
    """A file system of its own takes the place of the releases: too small for the bundle, then for what it holds."""
    before, made = estate.current(), commit("too much")
    estate.run("mkdir", "-p", "/mnt/small")
    estate.run("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "tmpfs", "/mnt/small")
    try:
        estate.run("cp", "-a", "/opt/rota/.", "/mnt/small/")
        used = int(estate.run("df", "--output=used", "/mnt/small").split()[-1]) // 1024 + 1
        estate.run("mount", "--bind", "/mnt/small", "/opt/rota")
        listed = estate.run("find", "/opt/rota", "-maxdepth", "2")
        for room in (1, 30):
            estate.run("mount", "-o", f"remount,size={used + room}m", "/mnt/small")

            failed = estate.deploy(made, expect=2)

            assert "isk is full" in failed or "No space left on device" in failed
            assert estate.current() == before
            assert estate.status()["serving"] == estate.status()["current"]["id"]
            assert estate.run("find", "/opt/rota", "-maxdepth", "2") == listed
    finally:
        estate.run("umount", "--lazy", "/opt/rota")
        estate.run("umount", "--lazy", "/mnt/small")
    estate.deploy(made)


def test_nobody_notices_a_deploy_a_rollback_or_a_release_that_is_ill(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path, fab: Callable[..., Any]
) -> None:
    """A client keeps requesting through the web server meanwhile: not one request fails."""
    new, ill = commit("new"), commit("ill in use", with_wsgi(ILL_IN_USE))
    with load(estate, tmp_path) as found:
        estate.deploy(new)
        fab(HOST, "rollback")
        assert estate.current() == confirmed
        failed = estate.deploy(ill, expect=2)
        assert "ill in use" in failed
        assert estate.current() == confirmed
        estate.deploy(new)

    print(found)
    # The ill release says so itself on /readyz, which is not a request that failed.
    unexpected = [
        failure for failure in found["failures"] if not ("/readyz 503" in failure and "ill in use" in failure)
    ]
    assert unexpected == []
    assert found["served"] > 10_000
    assert {one[-12:] for one in found["releases"]} == {new[:12], confirmed[:12]}
    assert [record["status"] for record in estate.records(ill)] == ["returned"]


def test_a_release_that_is_ill_from_the_start_never_sees_traffic(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    ill = commit("ill", with_wsgi(ILL))
    with load(estate, tmp_path) as found:
        output = estate.deploy(ill, expect=2)

    assert "ill from the start" in output
    assert found["failures"] == []
    assert {one[-12:] for one in found["releases"]} == {confirmed[:12]}
    assert estate.current() == confirmed
    [record] = estate.records(ill)
    assert record["status"] == "failed"
    assert "ill from the start" in record["reason"]


def test_a_failing_migration_leaves_the_old_release_serving(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    bad = commit("bad migration", with_bad_migration())
    with load(estate, tmp_path) as found:
        output = estate.deploy(bad, expect=2)

    assert "no_such_column" in output
    assert found["failures"] == []
    assert estate.current() == confirmed
    tables = estate.run("runuser", "-u", "rota-diary", "--", "psql", "-At", "diary", "-c", r"\dt half_done")
    assert "half_done" not in tables


def test_of_two_deploys_at_once_one_is_told_who_is_first(
    estate: Estate, commit: Callable[..., str], confirmed: str
) -> None:
    one, other = commit("one"), commit("other")
    first = estate.start(one)
    wait_until(lambda: estate.status()["lock"], 60)

    refused = estate.deploy(other, expect=1)
    waited = estate.deploy(other, wait=120)

    assert first.communicate(timeout=120)[0] is not None
    assert first.returncode == 0
    assert "Another deploy is under way" in refused
    assert "Waiting" in waited
    found = estate.status()
    assert (found["current"]["commit"], found["previous"]["commit"]) == (other, one)


STEPS = (
    "Ship the bundle",
    "Install the release beside",
    "Check the configuration",
    "Copy the database",
    "Migrate the database",
    "Let the release prove",
    "Arm the way back",
    "Switch to the release",
    "See the release healthy",
    "Confirm the release",
)
AFTERWARDS = ("Write the deploy down", "Remove releases")


def kill_at(estate: Estate, ref: str, step: str) -> None:
    """Kill a deploy, and everything it started here, as soon as it begins a step."""
    earlier = estate.steps()
    process = estate.start(ref)
    wait_until(
        lambda: estate.steps() != earlier and f"STEP {step}" in estate.steps() or process.poll() is not None, 120
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def test_a_deploy_killed_at_any_step_harms_nobody_and_can_be_begun_again(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    """The same deploy dies at one step after the other, then goes to its end; it may also die once it is confirmed."""
    new = commit("killed again and again")
    with load(estate, tmp_path) as found:
        for step in STEPS:
            kill_at(estate, new, step)
            assert estate.current() in (confirmed, new), step
        estate.deploy(new, wait=60)
        after = estate.status()
        assert (after["current"]["commit"], after["previous"]["commit"]) == (new, confirmed)
        assert (after["armed"], after["lock"]) == (None, None)
        for step in AFTERWARDS:
            latest = commit(f"killed at {step}")
            kill_at(estate, latest, step)
            assert estate.status()["armed"] is None
            assert "nothing to do" in estate.deploy(latest)

    assert found["failures"] == []
    assert estate.current() == latest


def test_a_host_whose_deploy_died_after_the_switch_goes_back_by_itself(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    new = commit("left alone")
    with load(estate, tmp_path) as found:
        kill_at(estate, new, "See the release healthy")
        assert estate.current() == new
        wait_until(lambda: estate.current() == confirmed and not estate.status()["armed"], CONFIRM_SECONDS + 60)

    assert found["failures"] == []
    assert estate.status()["serving"].endswith(confirmed[:12])
    record = estate.records(confirmed)[-1]
    assert (record["action"], record["status"], record["previous"][-12:]) == ("return", "returned", new[:12])


def test_a_host_that_restarts_unconfirmed_goes_back_too(
    estate: Estate, commit: Callable[..., str], confirmed: str
) -> None:
    new = commit("host restarted")
    kill_at(estate, new, "See the release healthy")
    estate.lab.kill(HOST)
    estate.lab.boot(HOST)

    wait_until(lambda: estate.current() == confirmed and not estate.status()["armed"], CONFIRM_SECONDS + 90)


def test_the_second_host_is_left_alone_when_the_first_is_ill(
    estate: Estate, commit: Callable[..., str], confirmed: str
) -> None:
    before = estate.current("backup")
    ill = commit("ill first", with_wsgi(ILL))

    output = estate.deploy(ill, expect=2, hosts="staging,backup")

    assert "ill from the start" in output
    assert estate.current("backup") == before
    assert ill not in str(estate.status("backup")["releases"])


def test_several_hosts_all_get_the_release(estate: Estate, commit: Callable[..., str]) -> None:
    new = commit("for all")

    estate.deploy(new, hosts="staging,backup")

    assert (estate.current(), estate.current("backup")) == (new, new)
    assert "nothing to do" in estate.deploy(new, hosts="staging,backup")


def test_production_refuses_what_is_not_committed(fab: Callable[..., Any]) -> None:
    done = fab("production", "deploy", "--dirty", check=False)

    assert done.returncode == 2
    assert "Production runs commits only" in done.stdout


def test_a_development_host_refuses_a_deploy_with_the_reason(fab: Callable[..., Any]) -> None:
    done = fab("development", "deploy", check=False)

    assert done.returncode == 2
    assert "runs the working tree" in done.stdout

"""Deploying to the lab's hosts as an operator does, with releases that are healthy or ill."""

import json
import os
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
def load(estate: Estate, tmp_path: Path, *, pause: float = 0.05) -> Iterator[dict[str, Any]]:
    """Requests go on meanwhile, four at a time; afterwards the dictionary holds what came of them.

    Without a `pause` (in seconds) between them they take all that this machine has, and the deploy gets nowhere.
    """
    host = estate.lab.hosts[HOST]
    certificate = tmp_path / "certificate.pem"
    certificate.write_text((host.root / "etc/nginx/tls/certificate.pem").read_text())
    argv = [sys.executable, str(ROOT / "tests/lab/load.py"), host.address, HOST, str(certificate), "300", str(pause)]
    found: dict[str, Any] = {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "requesting\n"
        try:
            yield found
        finally:
            found.update(json.loads(client.communicate(timeout=120)[0]))

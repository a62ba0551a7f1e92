"""The tasks that group_vars and roles give each environment pass `rota check`, as they will on the hosts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from provision.inventory import ENVIRONMENTS
from tests.provision.test_estates import estate
from tests.provision.test_roles import ROLES, ROOT, defaults

pytestmark = pytest.mark.usefixtures("ansible_plugins")

CONFIGURATION = {
    "agent.yml": "agent/templates/agent.yml.j2",
    "tasks.yml": "agent/templates/tasks.yml.j2",
    "logs.yml": "logs/templates/logs.yml.j2",
}
OF_ONE = {
    "production": {"backup.yml": "backup/templates/backup.yml.j2"},
    "staging": {"mirror.yml": "mirror/templates/destination.yml.j2"},
    "backup": {"backup.yml": "backup_store/templates/backup.yml.j2"},
}


def rendered(template: str, host: str, variables: dict[str, Any]) -> str:
    declared = {name: value for role in ROLES for name, value in defaults(role).items()}
    known = {"inventory_hostname": host, "ansible_managed": "written", **declared, **variables}
    text = trust_as_template((ROOT / "roles" / template).read_text())
    settings = {"trim_blocks": True, "lstrip_blocks": True}
    return str(Templar(DataLoader(), variables=known).template(text, overrides=settings))


def check(root: Path) -> subprocess.CompletedProcess[str]:
    """The lint that a host runs before it takes a release, less what only the host can tell."""
    command = [sys.executable, "-m", "rota.cli", "--root", str(root), "check", "--elsewhere"]
    environment = {"PYTHONPATH": str(ROOT / "agent/src"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def variables_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return estate(tmp_path_factory.mktemp("estate"), tuple(ENVIRONMENTS))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_tasks_of_every_environment_pass_the_lint(
    tmp_path: Path, variables_of: dict[str, dict[str, Any]], environment: str
) -> None:
    host = f"{environment}1"
    variables = variables_of[host]
    folder = tmp_path / "root/etc/rota"
    folder.mkdir(parents=True)
    for name, template in {**CONFIGURATION, **OF_ONE.get(environment, {})}.items():
        (folder / name).write_text(rendered(template, host, variables))
    answer = check(tmp_path / "root")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert int(answer.stdout.split()[0]) >= 2


def test_the_lint_refuses_what_clocks_would_move(tmp_path: Path) -> None:
    folder = tmp_path / "etc/rota"
    folder.mkdir(parents=True)
    task = {"command": ["/bin/true"], "description": "d", "schedule": "02:30", "zone": "Europe/Zurich"}
    text = rendered("agent/templates/tasks.yml.j2", "web", {"agent_tasks": {"t": task | {"catch_up": "none"}}})
    (folder / "tasks.yml").write_text(text)
    answer = check(tmp_path)
    assert answer.returncode == 2
    assert "task t: dst: '02:30': 02:30 does not exist on" in answer.stderr

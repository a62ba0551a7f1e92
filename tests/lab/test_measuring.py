"""Measurements on real hosts: what node exporter serves a moment after a run, and rules that Prometheus accepts."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import Lab
from tests.lab.agent_host import AgentHost

pytestmark = pytest.mark.lab

FETCH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
COUNT = {
    "description": "Count the books",
    "command": ["/bin/true"],
    "objective": {"success": "99%", "fresh": "26h"},
}
SUCCEEDED = 'rota_task_runs_total{status="succeeded",task="count_books"}'


@pytest.fixture
def host(deployed: Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, "production")
    host.declare(count_books=COUNT)
    yield host
    host.clear()


def served(host: AgentHost) -> dict[str, float]:
    lines = host.do("python3", "-c", FETCH).stdout.splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def looks(host: AgentHost) -> int:
    said = host.do("journalctl", "-u", "rota-look.service", "-o", "cat").stdout
    return int(said.count("Finished rota-look.service"))


def test_runs_are_measured_a_moment_after_they_end_and_those_that_end_together_by_one_look(host: AgentHost) -> None:
    host.do("systemctl", "stop", "rota-alert.timer")
    try:
        before, looked = served(host).get(SUCCEEDED, 0.0), looks(host)
        for _ in range(3):
            host.do("systemctl", "start", "rota-task-count_books.service")
        host.wait(lambda: served(host).get(SUCCEEDED) == before + 3, 30)
        host.wait(lambda: looks(host) > looked)
        assert looks(host) - looked <= 2
    finally:
        host.do("systemctl", "start", "rota-alert.timer")
    found = served(host)
    assert found["node_textfile_scrape_error"] == 0
    assert found['rota_task_incident_open{task="count_books"}'] == 0
    assert found['rota_task_error_budget_remaining_ratio{task="count_books"}'] == 1
    assert "rota_spool_size_bytes" in found


def test_the_rules_of_a_host_are_accepted_by_prometheus_own_tool(host: AgentHost, tmp_path: Path) -> None:
    rules = tmp_path / "rota-production.yml"
    rules.write_text(host.do("rota", "metrics", "--rules").stdout)
    subprocess.run(["promtool", "check", "rules", "--lint-fatal", rules], check=True)
    for alert in ("RotaTaskStale", "RotaErrorBudgetSpent"):
        assert f"alert: {alert}" in rules.read_text()
    measured = host.do("rota", "metrics").stdout
    done = subprocess.run(["promtool", "check", "metrics"], input=measured, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

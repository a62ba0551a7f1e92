"""Laws of measuring: what Prometheus reads, what it alerts on, and that neither delays or outlives what it tells of."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rota import measuring
from rota.adapters.pauses import Pauses
from rota.adapters.spool import spool_of
from rota.adapters.standings import Standings
from rota.core import places
from rota.core.catalogue import Agent, Catalogue
from rota.core.due import next_start, overdue_since
from rota.core.exposition import FAMILIES, Measured, render
from rota.core.history import Standing, follow
from rota.core.incident import Incident
from rota.core.objective import Objective
from rota.core.pause import Pause
from rota.core.review import Handled
from rota.core.rule import Rule
from rota.core.rules import rule_file, task_rules
from rota.core.status import Environment
from rota.core.task import Task
from tests.agent.test_history import missed, run_at

NOW = datetime(2025, 7, 14, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
EXPORT = Task(
    name="export",
    description="Write the catalogue",
    command=("/bin/true",),
    schedule=("02:00",),
    zone="UTC",
    objective=Objective(success=0.9, fresh=26 * HOUR),
)
BY_HAND = Task(name="by_hand", description="Count the books", command=("/bin/true",))
FAILING = {
    "needed": Incident(
        task="needed", since=NOW, failures=1, run="x", reason="", handled=Handled(run="x", by="anna", at=NOW)
    )
}
NEEDED = Task(name="needed", description="Keep the archive", command=("/bin/true",), every=6 * HOUR)


class Host:
    """A host under a folder, with node exporter's folder."""

    def __init__(self, folder: Path) -> None:
        self.places = places.under(folder)
        self.spool = spool_of(self.places)
        self.spool.make()
        self.memory = Standings(self.places.alerts)
        self.places.measurements.mkdir()
        agent = Agent(host="books", environment=Environment.PRODUCTION, diary="https://diary.example")
        self.catalogue = Catalogue(agent, {task.name: task for task in (EXPORT, BY_HAND, NEEDED)})

    def end(self, ago: timedelta, status: str = "succeeded", **changes: Any) -> None:
        self.spool.store(run_at(NOW - ago, status, **({"task": "export"} | changes)))

    def measure(self, now: datetime = NOW) -> Measured:
        standings = self.memory.look(self.spool, now=now).standings
        return measuring.measure(self.places, self.catalogue, standings=standings, failing=FAILING, now=now)

    def lines(self) -> list[str]:
        return render(self.measure()).splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def promtool(*words: str | Path, text: str | None = None) -> str:
    done = subprocess.run(["promtool", *words], input=text, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def busy(host: Host) -> None:
    """Something of everything."""
    for number in range(1, 31):
        host.end(number * 24 * HOUR, duration=float(number))
    host.end(HOUR, "failed", duration=0.25)
    host.end(2 * HOUR, "skipped", reason="locked")
    host.end(3 * HOUR, "skipped", reason="host was down", slot=(NOW - 10 * HOUR).isoformat())
    host.end(4 * HOUR, "lost", duration=None)
    host.end(5 * HOUR, task="needed")
    (host.spool.folder / "quarantine" / "x.json").touch()
    Pauses(host.places.pauses).store("by_hand", Pause(since=NOW - HOUR, until=None, by="anna"))


# -- what Prometheus reads


def test_prometheus_own_tool_has_nothing_to_say_against_the_measurements(host: Host) -> None:
    busy(host)
    text = render(host.measure())
    found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_every_measurement_is_there_when_there_is_something_to_measure(host: Host) -> None:
    busy(host)
    measured = replace(host.measure(), spool_bytes=1)
    named = {line.split()[2] for line in render(measured).splitlines() if line.startswith("# TYPE")}
    assert named == {family.name for family in FAMILIES}


def test_the_measurements_say_how_tasks_stand(host: Host) -> None:
    busy(host)
    lines = host.lines()
    for said in (
        f'rota_task_last_run_timestamp_seconds{{task="export"}} {(NOW - HOUR).timestamp():.0f}',
        f'rota_task_last_success_timestamp_seconds{{task="export"}} {(NOW - 24 * HOUR).timestamp():.0f}',
        'rota_task_last_run_duration_seconds{task="export"} 0.25',
        'rota_task_usual_duration_seconds{task="export"} 15.5',
        'rota_task_last_run_status{task="export",status="failed"} 1',
        'rota_task_last_run_status{task="export",status="succeeded"} 0',
        'rota_task_runs_total{task="export",status="succeeded"} 30',
        'rota_task_runs_total{task="export",status="failed"} 1',
        'rota_task_runs_total{task="export",status="skipped"} 2',
        'rota_task_runs_total{task="export",status="lost"} 1',
        'rota_task_missed_slots_total{task="export"} 1',
        'rota_task_incident_open{task="export"} 0',
        'rota_task_incident_open{task="needed"} 1',
        'rota_task_incident_handled{task="export"} 0',
        'rota_task_incident_handled{task="needed"} 1',
        'rota_task_paused{task="by_hand"} 1',
        'rota_task_paused{task="export"} 0',
        f'rota_task_next_slot_timestamp_seconds{{task="export"}} {(NOW + 14 * HOUR).timestamp():.0f}',
        f'rota_task_next_slot_timestamp_seconds{{task="needed"}} {(NOW + HOUR).timestamp():.0f}',
        'rota_task_overdue_seconds{task="export"} 0',
        'rota_task_objective_success_ratio{task="export"} 0.9',
        'rota_task_objective_freshness_seconds{task="export"} 93600',
        "rota_spool_waiting_records 35",
        f"rota_spool_oldest_waiting_timestamp_seconds {(NOW - 30 * 24 * HOUR).timestamp():.0f}",
        "rota_spool_quarantined_records 1",
        "rota_outbox_messages 0",
        'rota_host_info{host="books",environment="production",release=""} 1',
        f"rota_looked_timestamp_seconds {NOW.timestamp():.0f}",
    ):
        assert said in lines


def test_what_never_ran_has_no_times_and_no_usual_duration(host: Host) -> None:
    host.end(HOUR)
    lines = [line for line in host.lines() if not line.startswith("#")]
    named = {line.partition("{")[0] for line in lines if 'task="by_hand"' in line}
    counted = {"rota_task_runs_total", "rota_task_missed_slots_total"}
    assert named == counted | {
        "rota_task_incident_open",
        "rota_task_incident_handled",
        "rota_task_paused",
        "rota_task_overdue_seconds",
    }
    assert not [line for line in lines if line.startswith("rota_task_usual_duration_seconds")]


def test_counters_never_fall_though_records_and_days_go(host: Host) -> None:
    counted = re.compile(r'rota_task_runs_total\{task="export",status="succeeded"\} (\d+)')
    seen: list[int] = []
    for number in range(12):
        now = NOW + number * timedelta(days=50)
        host.spool.store(run_at(now, task="export"))
        news = host.memory.look(host.spool, now=now)
        host.memory.make()
        host.memory.keep_news(news)
        seen += [int(found) for found in counted.findall(render(host.measure(now)))]
        for path in (host.spool.folder / "done").iterdir():
            path.unlink()
    assert seen == list(range(1, 13))


def test_a_host_without_a_diary_has_nothing_waiting(host: Host) -> None:
    host.catalogue = Catalogue(replace(host.catalogue.agent, diary=None), host.catalogue.tasks)
    host.end(HOUR)
    assert not [line for line in host.lines() if "waiting" in line]


def test_names_are_escaped(host: Host) -> None:
    agent = replace(host.catalogue.agent, host='a"b\\c\nd')
    host.catalogue = Catalogue(agent, {})
    assert promtool("check", "metrics", text=render(host.measure())) == ""


def test_the_file_is_replaced_whole_and_anybody_may_read_it(host: Host) -> None:
    for _ in range(2):
        measuring.write(host.places.measurements, host.measure())
    (path,) = host.places.measurements.iterdir()
    assert path.name == "rota.prom"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text() == render(host.measure())


def test_where_node_exporter_is_not_nothing_is_written(host: Host) -> None:
    host.places.measurements.rmdir()
    measuring.write(host.places.measurements, host.measure())
    assert not host.places.measurements.exists()


def test_the_page_names_every_measurement_and_every_alert(rules: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [f"| `{family.name}` | {family.kind} | {family.meaning} |" for family in FAMILIES]
    assert "\n".join(rows) in page
    named = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}
    assert set(re.findall(r"\| `(Rota\w+)` \|", page)) == named


# -- what is due


def standing_of(*runs: tuple[timedelta, str]) -> Standing:
    standing = Standing()
    for ago, status in runs:
        standing = follow(standing, run_at(NOW - ago, status), now=NOW)
    return standing


def test_the_next_slot_is_the_first_that_nothing_forbids() -> None:
    tomorrow = datetime(2025, 7, 15, 2, tzinfo=UTC)
    assert next_start(EXPORT, None, None, NOW) == tomorrow
    pause = Pause(since=NOW - HOUR, until=NOW + 30 * HOUR, by="anna")
    assert next_start(EXPORT, None, pause, NOW) == tomorrow + 24 * HOUR
    assert next_start(EXPORT, None, replace(pause, until=None), NOW) is None
    assert next_start(BY_HAND, None, None, NOW) is None


def test_what_is_needed_is_due_so_long_after_its_latest_success() -> None:
    assert next_start(NEEDED, None, None, NOW) == NOW
    assert next_start(NEEDED, standing_of((2 * HOUR, "succeeded"), (HOUR, "failed")), None, NOW) == NOW + 4 * HOUR
    pause = Pause(since=NOW - HOUR, until=NOW + 30 * HOUR, by="anna")
    assert next_start(NEEDED, standing_of((2 * HOUR, "succeeded")), pause, NOW) == pause.until


def test_a_task_is_overdue_since_the_first_slot_that_was_missed() -> None:
    standing = follow(follow(None, missed(NOW - 24 * HOUR), now=NOW), missed(NOW - 48 * HOUR), now=NOW)
    assert overdue_since(EXPORT, standing, None, NOW) == NOW - 48 * HOUR
    assert overdue_since(EXPORT, standing, Pause(since=NOW - HOUR, until=None, by="anna"), NOW) is None
    assert overdue_since(EXPORT, None, None, NOW) is None


def test_what_is_needed_is_overdue_when_its_latest_success_is_older() -> None:
    for ago, since in ((6 * HOUR, None), (7 * HOUR, NOW - HOUR)):
        assert overdue_since(NEEDED, standing_of((ago, "succeeded")), None, NOW) == since
    assert overdue_since(NEEDED, standing_of((HOUR, "failed")), None, NOW) is None


# -- what Prometheus alerts on

MINUTES = 200
HEALTHY = {
    'rota_host_info{host="books",environment="production",release="1"}': f"1x{MINUTES}",
    "rota_looked_timestamp_seconds": f"0+60x{MINUTES}",
    "rota_spool_discarded_records_total": f"0x{MINUTES}",
    'rota_task_incident_open{task="export"}': f"0x{MINUTES}",
    'rota_task_overdue_seconds{task="export"}': f"0x{MINUTES}",
    'rota_task_last_run_duration_seconds{task="export"}': f"60x{MINUTES}",
    'rota_task_usual_duration_seconds{task="export"}': f"50x{MINUTES}",
    'rota_task_last_success_timestamp_seconds{task="export"}': f"0+60x{MINUTES}",
    'rota_task_error_budget_remaining_ratio{task="export"}': f"1x{MINUTES}",
}
CASES: dict[str, tuple[Mapping[str, str], str, set[str]]] = {
    "all is well": ({}, "3h", set()),
    "it fails": ({'rota_task_incident_open{task="export"}': "0x100 1x100"}, "3h", {"RotaTaskFailing"}),
    "it fails, and that is handled": (
        {
            'rota_task_incident_open{task="export"}': "0x100 1x100",
            'rota_task_incident_handled{task="export"}': "0x110 1x90",
        },
        "3h",
        set(),
    ),
    "it has recovered": ({'rota_task_incident_open{task="export"}': "0x60 1x60 0x80"}, "3h", set()),
    "another host's fails": (
        {
            'rota_host_info{host="attic",environment="staging",release="1",instance="attic"}': "1x150",
            'rota_task_incident_open{task="export",instance="attic"}': "1x150",
        },
        "3h",
        set(),
    ),
    "a slot was missed": ({'rota_task_overdue_seconds{task="export"}': "0x60 600+60x150"}, "90m", {"RotaTaskOverdue"}),
    "a slot was missed and is being made up for": (
        {'rota_task_overdue_seconds{task="export"}': "0x60 600+60x5 0x150"},
        "90m",
        set(),
    ),
    "it was slow": ({'rota_task_last_run_duration_seconds{task="export"}': "251x150"}, "1h", {"RotaTaskSlow"}),
    "it was slow for one that takes no time": (
        {
            'rota_task_last_run_duration_seconds{task="export"}': "50x150",
            'rota_task_usual_duration_seconds{task="export"}': "1x150",
        },
        "1h",
        set(),
    ),
    "its success is old": (
        {'rota_task_last_success_timestamp_seconds{task="export"}': "0x200"}, "125m", {"RotaTaskStale"}
    ),
    "a third of its budget went in an hour": (
        {'rota_task_error_budget_remaining_ratio{task="export"}': "1x60 0.66x150"},
        "2h",
        {"RotaErrorBudgetBurning"},
    ),
    "its budget is spent": (
        {'rota_task_error_budget_remaining_ratio{task="export"}': "1x60 -0.5x150"},
        "2h",
        {"RotaErrorBudgetSpent"},
    ),
    "the agent is silent": ({"rota_looked_timestamp_seconds": "0+60x60 3600x150"}, "90m", {"RotaSilent"}),
    "the host does not answer": (dict.fromkeys(HEALTHY, "1x10 stale"), "60m", {"RotaSilent"}),
    "records wait": ({"rota_spool_oldest_waiting_timestamp_seconds": "0x150"}, "75m", {"RotaNotShipped"}),
    "records were discarded": (
        {"rota_spool_discarded_records_total": "0x100 7x150"}, "105m", {"RotaRecordsDiscarded"}
    ),
}  # fmt: skip


@pytest.fixture
def rules(host: Host, tmp_path: Path) -> Path:
    path = tmp_path / "rota.rules.yml"
    catalogue = Catalogue(
        host.catalogue.agent, {"export": replace(EXPORT, objective=Objective(success=0.9, fresh=2 * HOUR))}
    )
    path.write_text(yaml.safe_dump(rule_file(catalogue), sort_keys=False, width=1000))
    return path


def expectation(series: Mapping[str, str], at: str, firing: Iterable[str]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [
            {"series": with_target(name), "values": values} for name, values in (HEALTHY | dict(series)).items()
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": at,
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing],
            }
        ],
    }


def with_target(series: str) -> str:
    """The series as a server stores it, with what it calls the host."""
    name, _, labels = series.rstrip("}").partition("{")
    instance = "" if "instance=" in labels else 'instance="10.0.0.1:9100"'
    target = ",".join(part for part in ('job="node"', instance, labels) if part)
    return f"{name}{{{target}}}"


def test_prometheus_own_tool_accepts_the_rules(host: Host, rules: Path) -> None:
    assert promtool("check", "rules", "--lint-fatal", rules) == ""
    rules.write_text(json.dumps(rule_file(host.catalogue)))
    assert promtool("check", "rules", "--lint-fatal", rules) == ""
    odd = replace(host.catalogue.agent, host='a"b\\c', diary=None)
    rules.write_text(json.dumps(rule_file(Catalogue(odd, {}))))
    assert promtool("check", "rules", "--lint-fatal", rules) == ""


@pytest.mark.parametrize("case", CASES)
def test_each_alert_fires_when_it_should_and_only_then(case: str, rules: Path, tmp_path: Path) -> None:
    tests = tmp_path / "tests.yml"
    tests.write_text(json.dumps({"rule_files": [rules.name], "tests": [expectation(*CASES[case])]}))
    assert promtool("test", "rules", tests) == ""


def test_every_rule_has_a_case_in_which_it_fires(rules: Path) -> None:
    named = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}
    assert named == set().union(*(firing for _, _, firing in CASES.values()))


def test_an_alert_says_what_happens_where_and_what_to_do(rules: Path, tmp_path: Path) -> None:
    series = {'rota_task_incident_open{task="export"}': "1x150"}
    expected = expectation(series, "1h", ["RotaTaskFailing"])
    expected["alert_rule_test"] = [
        {
            "eval_time": "1h",
            "alertname": "RotaTaskFailing",
            "exp_alerts": [
                {
                    "exp_labels": {
                        "severity": "warning", "task": "export", "host": "books", "environment": "production",
                        "job": "node", "instance": "10.0.0.1:9100",
                    },
                    "exp_annotations": {
                        "summary": "export fails on books", "description": "On the host: rota show export",
                    },
                }
            ],
        }
    ]  # fmt: skip
    tests = tmp_path / "tests.yml"
    tests.write_text(json.dumps({"rule_files": [rules.name], "tests": [expected]}))
    assert promtool("test", "rules", tests) == ""


def test_only_what_is_wanted_of_a_task_has_rules(host: Host) -> None:
    groups = rule_file(host.catalogue)["groups"]
    assert isinstance(groups, list)
    named = [rule["alert"] for rule in groups[1]["rules"] if "by_hand" in rule["expr"]]
    assert named == ["RotaTaskFailing", "RotaTaskSlow"]


def test_what_a_task_says_of_its_alerts_holds_for_its_rules(host: Host) -> None:
    patient, urgent = replace(EXPORT, alert=Rule(pace=0.0)), replace(EXPORT, alert=Rule(pace=2.0, urgent=True))
    assert "RotaTaskSlow" not in [rule["alert"] for rule in task_rules(patient, host.catalogue.agent)]
    rules = {str(rule["alert"]): rule for rule in task_rules(urgent, host.catalogue.agent)}
    assert " > 2 * " in str(rules["RotaTaskSlow"]["expr"])
    assert "'severity': 'critical'" in str(rules["RotaTaskFailing"]["labels"])

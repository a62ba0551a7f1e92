"""What a Prometheus server alerts on: rules for a host and for each of its tasks, generated from the catalogue."""

import json
from collections.abc import Iterator
from datetime import timedelta

from rota.core.catalogue import Agent, Catalogue
from rota.core.incident import LEAST_DIFFERENCE
from rota.core.objective import percent
from rota.core.quantities import show_duration
from rota.core.task import Task

Rule = dict[str, object]

SILENT = timedelta(minutes=15)
"""After so long without a look the agent is silent; it looks every two minutes."""
UNSHIPPED = timedelta(hours=1)
BURNT = 0.25
"""Which part of an error budget may be spent in a day."""


def rule_file(catalogue: Catalogue) -> dict[str, object]:
    """The content of a file for `rule_files` of prometheus.yml, with a group for the host and one for its tasks.

    Each expression is confined to the host by what it says of itself, whatever the server calls it; so one server can
    have the rules of many hosts.
    """
    agent = catalogue.agent
    of_tasks = [rule for task in catalogue.tasks.values() for rule in task_rules(task, agent)]
    groups = [{"name": f"rota {agent.host}", "rules": list(host_rules(agent))}]
    return {"groups": groups + ([{"name": f"rota {agent.host} tasks", "rules": of_tasks}] if of_tasks else [])}


def host_rules(agent: Agent) -> Iterator[Rule]:
    host = agent.host
    silent = confined(f"time() - rota_looked_timestamp_seconds > {whole(SILENT)}", agent)
    yield rule(
        "RotaSilent",
        f"{silent} or absent({who(agent)})",
        agent,
        wait="10m",
        severity="critical",
        summary=f"Rota on {host} is silent",
        description="The agent has measured nothing for a while, or the host does not answer. "
        "On the host: systemctl status rota-alert.timer prometheus-node-exporter",
    )
    if agent.diary:
        yield rule(
            "RotaNotShipped",
            confined(f"time() - rota_spool_oldest_waiting_timestamp_seconds > {whole(UNSHIPPED)}", agent),
            agent,
            wait="10m",
            summary=f"Records of {host} do not reach the diary",
            description="The oldest has waited for {{ $value | humanizeDuration }}. On the host: rota ship",
        )
    yield rule(
        "RotaRecordsDiscarded",
        confined("increase(rota_spool_discarded_records_total[1h]) > 0", agent),
        agent,
        summary=f"The spool of {host} is full",
        description="Records were removed before the diary had them. On the host: rota ship",
    )


def task_rules(task: Task, agent: Agent) -> Iterator[Rule]:
    """The rules of one task: those that its schedule and its objective give a reason for."""
    name, host = task.name, agent.host
    yield rule(
        "RotaTaskFailing",
        confined(
            f"{of('rota_task_incident_open', task)} == 1 unless {of('rota_task_incident_handled', task)} == 1", agent
        ),
        agent,
        task,
        summary=f"{name} fails on {host}",
        description=f"On the host: rota show {name}",
    )
    if task.schedule or task.every:
        yield rule(
            "RotaTaskOverdue",
            confined(f"{of('rota_task_overdue_seconds', task)} > 0", agent),
            agent,
            task,
            wait="10m",
            summary=f"{name} did not run on {host}",
            description=f"It should have run {{{{ $value | humanizeDuration }}}} ago. On the host: rota plan {name}",
        )
    if pace := agent.alerting.pace_of(task.alert):
        yield rule(
            "RotaTaskSlow",
            confined(slow(task, pace), agent),
            agent,
            task,
            summary=f"{name} was slow on {host}",
            description=f"It took {{{{ $value | humanizeDuration }}}}, more than {pace:g} times as long as usual. "
            f"On the host: rota show {name}",
        )
    yield from objective_rules(task, agent)


def objective_rules(task: Task, agent: Agent) -> Iterator[Rule]:
    name, host, objective = task.name, agent.host, task.objective
    if objective and objective.fresh:
        yield rule(
            "RotaTaskStale",
            confined(
                f"time() - {of('rota_task_last_success_timestamp_seconds', task)} > {whole(objective.fresh)}", agent
            ),
            agent,
            task,
            summary=f"{name} has not succeeded on {host} for too long",
            description="Its latest success was {{ $value | humanizeDuration }} ago; "
            f"{show_duration(objective.fresh.total_seconds())} are wanted.",
        )
    if objective and objective.success:
        left = of("rota_task_error_budget_remaining_ratio", task)
        wanted = f"{percent(objective.success)} of its runs are to succeed. On the host: rota runs {name}"
        yield rule(
            "RotaErrorBudgetBurning",
            confined(f"delta({left}[1d]) < -{BURNT} and {left} > 0", agent),
            agent,
            task,
            summary=f"{name} fails more often on {host} than it may for long",
            description=f"Of its error budget {{{{ $value | humanizePercentage }}}} within a day; {wanted}",
        )
        yield rule(
            "RotaErrorBudgetSpent",
            confined(f"{left} <= 0", agent),
            agent,
            task,
            summary=f"{name} has failed more often on {host} than it may",
            description=wanted,
        )


def slow(task: Task, pace: float) -> str:
    took, usual = of("rota_task_last_run_duration_seconds", task), of("rota_task_usual_duration_seconds", task)
    return f"{took} > {pace:g} * {usual} and {took} - {usual} > {LEAST_DIFFERENCE:g}"


def of(metric: str, task: Task) -> str:
    return f'{metric}{{task="{task.name}"}}'


def confined(expression: str, agent: Agent) -> str:
    """True of this host alone."""
    return f"({expression}) and on (job, instance) {who(agent)}"


def who(agent: Agent) -> str:
    return f"rota_host_info{{host={json.dumps(agent.host)}}}"


def whole(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f}"


def rule(
    name: str,
    expression: str,
    agent: Agent,
    task: Task | None = None,
    *,
    summary: str,
    description: str,
    wait: str = "",
    severity: str = "",
) -> Rule:
    severity = severity or ("critical" if task and task.alert.urgent else "warning")
    labels = {"severity": severity, "host": agent.host, "environment": agent.environment.value}
    return (
        {"alert": name, "expr": expression}
        | ({"for": wait} if wait else {})
        | {
            "labels": labels | ({"task": task.name} if task else {}),
            "annotations": {"summary": summary, "description": description},
        }
    )

"""The commands that show tasks, runs and how things stand."""

import argparse
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rota import alerting
from rota.adapters import systemd
from rota.adapters.spool import runs
from rota.cli.finding import find_catalogue, find_places, find_run, find_spool
from rota.cli.parsing import command, duration
from rota.cli.printing import local, print_json, print_table
from rota.core.quantities import show_duration
from rota.core.record import RunRecord, as_mapping
from rota.core.status import Status, Trigger
from rota.core.task import Task

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


def add_commands(commands: "Commands") -> None:
    tasks = command(commands, "tasks", list_tasks, "List the tasks of this host.")
    tasks.add_argument("--json", action="store_true", help="print JSON")
    listing = command(commands, "runs", list_runs, "List runs, newest first.")
    listing.add_argument("task", nargs="?", help="only of this task")
    listing.add_argument("--status", choices=[each.value for each in Status], help="only with this status")
    listing.add_argument("--trigger", choices=[each.value for each in Trigger], help="only started by this")
    listing.add_argument("--since", type=duration, metavar="DURATION", help="only begun within this time, like 2d")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (default %(default)s)")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = command(commands, "show", show_run, "Show one run.")
    show.add_argument("run", help="the run's id, or how it begins or ends; or a task, for its latest run")
    show.add_argument("--log", action="store_true", help="only what the run printed")
    show.add_argument("--json", action="store_true", help="print the record as JSON")
    status = command(commands, "status", show_status, "Show every task with its last run and next slot.")
    status.add_argument("--json", action="store_true", help="print JSON")


def list_tasks(options: argparse.Namespace) -> None:
    tasks = find_catalogue(find_places(options)).tasks.values()
    if options.json:
        print_json([asdict(task) for task in tasks])
        return
    rows = [(task.name, ", ".join(task.calendars) or "by hand", task.description) for task in tasks]
    print_table(("task", "schedule", "description"), rows, empty="No tasks. docs/tasks.md says how to declare one.")


def list_runs(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    found = [
        run
        for run in runs(find_spool(find_places(options)).records("sent", "done", "running"))
        if options.task in (None, run.task)
        and options.status in (None, run.status)
        and options.trigger in (None, run.trigger)
        and (options.since is None or now - run.started <= options.since)
    ][: options.limit]
    if options.json:
        print_json([as_mapping(run) for run in found])
        return
    rows = [
        (local(run.started), run.task, run.status, run.reason, show_duration(run.duration), str(run.id))
        for run in found
    ]
    print_table(("started", "task", "status", "reason", "duration", "run"), rows, empty="No runs.")


def show_run(options: argparse.Namespace) -> None:
    spool = find_spool(find_places(options))
    record = find_run(spool, options.run)
    output = spool.output(record) if isinstance(record, RunRecord) else ""
    if options.json:
        print_json(as_mapping(replace(record, output=output) if isinstance(record, RunRecord) else record))
        return
    if not options.log:
        for key, value in as_mapping(record).items():
            if key not in ("version", "kind", "output", "items", "counts") and value not in (None, ""):
                print(f"{key:15}{value}")
    if isinstance(record, RunRecord) and not options.log:
        for name, count in record.counts.items():
            print(f"{'count':15}{name} = {count:g}")
        for item in record.items:
            print(f"{'item':15}{item.name}: {item.outcome} {item.message}".rstrip())
        print()
    print(output, end="" if output.endswith("\n") else "\n")


def show_status(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    last: dict[str, RunRecord] = {}
    for run in runs(find_spool(places).records("sent", "done", "running")):
        last.setdefault(run.task, run)
    slots = systemd.next_slots() if not places.is_embedded and systemd.is_booted() else {}
    rows = [status_row(task, last.get(task.name), slots.get(task.name)) for task in catalogue.tasks.values()]
    if options.json:
        keys = ("task", "status", "reason", "started", "duration", "next", "run")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    print(f"{catalogue.agent.host} ({catalogue.agent.environment})\n")
    print_table(("task", "status", "reason", "last run", "duration", "next slot", "run"), rows, empty="No tasks.")
    for line in alerting.describe(places, catalogue, datetime.now(UTC)):
        print(f"\n{line}")


def status_row(task: Task, run: RunRecord | None, slot: int | None) -> tuple[str, ...]:
    coming = local(datetime.fromtimestamp(slot / 1e6, UTC)) if slot else "-"
    if run is None:
        return (task.name, "never ran", "", "-", "-", coming, "-")
    return (task.name, run.status, run.reason, local(run.started), show_duration(run.duration), coming, str(run.id))

"""The command that runs a task now."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rota import asking, starting, units
from rota.adapters import unit_files
from rota.adapters.pauses import Pauses
from rota.adapters.spool import UnsafeFile, read_plain
from rota.cli.finding import PACKAGE, find_catalogue, find_places, find_spool
from rota.cli.parsing import command, duration, moment
from rota.cli.printing import local, print_table, short
from rota.core import needed
from rota.core.catalogue import Agent
from rota.core.errors import RotaError
from rota.core.parameter import ITEMS, Value, choose, spell
from rota.core.places import Places
from rota.core.quantities import show_duration
from rota.core.request import Request
from rota.core.task import Task

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


class NeedsSystemd(RotaError):
    """This needs systemd and the task's unit."""


class NotEvery(RotaError):
    """This task is never due."""


def add_commands(commands: "Commands") -> None:
    run = command(commands, "run", run_task, "Run a task now: same lock, user and limits; its exit code is passed on.")
    run.add_argument("task", help="the task's name")
    run.add_argument(
        "-a",
        "--item",
        metavar="NAME",
        action="append",
        default=[],
        type=lambda name: (ITEMS, name),
        dest="values",
        help="work on this item alone (repeatable; without it, on all)",
    )
    run.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        type=assignment,
        dest="values",
        help="set a parameter of this run (repeatable)",
    )
    run.add_argument("--dry-run", action="store_true", help="show what it would do and change nothing")
    when = run.add_mutually_exclusive_group()
    when.add_argument(
        "--at", metavar="TIME", type=moment, help="run it then, like '2026-12-01 08:00'; rota cancel undoes it"
    )
    when.add_argument("--in", metavar="DURATION", type=duration, dest="after", help="run it once, so much later: 2h")
    when.add_argument("--if-due", action="store_true", help="run it only if its last success is older than its `every`")
    run.add_argument("--no-wait", action="store_true", help="start it and return; a failure is mailed as a timer's is")
    run.add_argument("--parameters", action="store_true", help="list the task's parameters and items, and run nothing")


def assignment(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name.replace("-", "_"), value


def run_task(options: argparse.Namespace) -> int:
    places = find_places(options)
    catalogue = find_catalogue(places)
    task = catalogue.task(options.task)
    if options.parameters:
        list_parameters(task)
        return 0
    values = choose(task.name, task.all_parameters, options.values)
    is_waited_for = not (options.no_wait or options.at or options.after)
    request = starting.new_request(
        task,
        values,
        is_dry_run=options.dry_run,
        is_watched=is_waited_for,
        is_attended=is_waited_for and sys.stdout.isatty(),
    )
    now = datetime.now(UTC)
    if options.at or options.after:
        return run_later(task, places, request, options.at or now + options.after)
    if options.if_due and not is_due(task, places, now):
        return 0
    warn_of_pause(task, places, now)
    spool = find_spool(places)
    if not starting.has_unit(task, places):
        return run_here(task, catalogue.agent, places, request)
    if options.no_wait:
        say_started(task, starting.start_only(task, places, spool, request))
        return 0
    return starting.run_unit(task, places, spool, request)


def run_here(task: Task, agent: Agent, places: Places, request: Request) -> int:
    """Run it without systemd. Raises NeedsSystemd."""
    if not request.is_watched:
        raise NeedsSystemd(f"without it rota run {task.name} waits for the end")
    if task.every:
        unit_files.make_successes([places.success(task.name)])
    with starting.request_left(places.requests / request.id, request) as path:
        arguments = units.runner_arguments(task, agent, places, trigger="manual", unit_hash="")
        command = [*units.runner_command(PACKAGE), *arguments, f"request={path}", "--", *task.command]
        return starting.run_here(command, task, find_spool(places), request)


def run_later(task: Task, places: Places, request: Request, moment: datetime) -> int:
    asking.ask_for(task, places, moment, request, is_booted=starting.has_unit(task, places))
    print(f"{task.name} runs at {local(moment)}; rota plan {task.name} shows it.")
    return 0


def is_due(task: Task, places: Places, now: datetime) -> bool:
    """Whether it is due; says so when it is not. Raises NotEvery."""
    if task.every is None:
        raise NotEvery(f"{task.name} has no every: in its declaration, which would say how old a success may be")
    if needed.is_due(latest_success(places.success(task.name)), now, every=task.every):
        return True
    print(f"{task.name} is not due: its last success is not yet {show_duration(task.every.total_seconds())} old.")
    return False


def latest_success(path: Path) -> str:
    """The text of a file that the task's runs write: of `rota.core.needed`, or anything."""
    try:
        return read_plain(path, len(needed.NEVER)).decode("ascii", "replace")
    except (FileNotFoundError, UnsafeFile):
        return ""


def warn_of_pause(task: Task, places: Places, now: datetime) -> None:
    pause = Pauses(places.pauses).load(task.name)
    if pause and pause.covers(now):
        until = f" until {local(pause.until)}" if pause.until else ""
        print(f"rota: {task.name} is paused{until}; this run goes ahead all the same.", file=sys.stderr)


def say_started(task: Task, identifier: str) -> None:
    print(f"{task.name} was started; rota show {short(identifier)} --follow")


def list_parameters(task: Task) -> None:
    rows = [
        [each.name, each.right, ", ".join(shown(each.default)), each.meaning or "-"] for each in task.all_parameters
    ]
    print_table(
        ("parameter", "value", "unless set", "meaning"),
        rows,
        empty=f"{task.name} has no parameters; they would be declared under parameters: or items:.",
    )


def shown(value: Value | None) -> list[str]:
    """A parameter's value, or its values, as somebody would type them."""
    if value is None:
        return ["-"]
    return [spell(each) for each in value] if isinstance(value, list) else [spell(value)]

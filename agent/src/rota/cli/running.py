"""The command that runs a task now."""

import argparse
from typing import TYPE_CHECKING

from rota import asking, starting, units
from rota.cli.finding import PACKAGE, find_catalogue, find_places, find_spool
from rota.cli.parsing import command, moment
from rota.cli.printing import local, print_table
from rota.core.parameter import ITEMS, Value, choose, spell
from rota.core.task import Task

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


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
    run.add_argument(
        "--at", type=moment, metavar="TIME", help="run it then, like '2026-12-01 08:00'; rota cancel undoes it"
    )
    run.add_argument("--dry-run", action="store_true", help="show what it would do and change nothing")
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
    request = starting.new_request(task, values, is_dry_run=options.dry_run)
    spool = find_spool(places)
    if options.at:
        asking.ask_for(task, places, options.at, request, is_booted=starting.has_unit(task, places))
        print(f"{task.name} runs at {local(options.at)}; rota plan {task.name} shows it.")
        return 0
    if starting.has_unit(task, places):
        return starting.run_unit(task, places, spool, request)
    with starting.request_left(places.requests / request.id, request) as path:
        arguments = units.runner_arguments(task, catalogue.agent, places, trigger="manual", unit_hash="")
        arguments += [f"request={path}", "echo=yes"]
        return starting.run_here([*units.runner_command(PACKAGE), *arguments, "--", *task.command], task)


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

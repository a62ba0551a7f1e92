"""The command that runs a task now."""

import argparse
from typing import TYPE_CHECKING

from rota import starting, units
from rota.cli.finding import PACKAGE, find_catalogue, find_places, find_spool
from rota.cli.parsing import command

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


def add_commands(commands: "Commands") -> None:
    run = command(commands, "run", run_task, "Run a task now: same lock, user and limits; its exit code is passed on.")
    run.add_argument("task", help="the task's name")


def run_task(options: argparse.Namespace) -> int:
    places = find_places(options)
    catalogue = find_catalogue(places)
    task = catalogue.task(options.task)
    spool = find_spool(places)
    if starting.has_unit(task, places):
        return starting.run_unit(task, places, spool, starting.new_request())
    arguments = units.runner_arguments(task, catalogue.agent, places, trigger="manual", unit_hash="")
    return starting.run_here([*units.runner_command(PACKAGE), *arguments, "echo=yes", "--", *task.command])

"""The commands with which a shell script says what its run did; `rota.reporting` carries them out."""

import argparse
import os
from typing import TYPE_CHECKING

from rota.cli.parsing import command
from rota.reporting import report

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


def add_commands(commands: "Commands") -> None:
    item = command(commands, "item", tell_item, "In a task's script: say what came of one thing it worked on.")
    item.add_argument("name", help="what it is: a file, a table, a document")
    item.add_argument("outcome", help="what came of it, in a word: written, skipped, failed")
    item.add_argument("message", nargs="?", help="more about it")
    count = command(commands, "count", tell_count, "In a task's script: add to a count of its run.")
    count.add_argument("name", help="what is counted: rows, files")
    count.add_argument("value", nargs="?", default="1", help="how many more; 1 unless said")


def tell_item(options: argparse.Namespace) -> int:
    words = ["item", options.name, options.outcome, *([options.message] if options.message is not None else [])]
    return report(words, os.environ)


def tell_count(options: argparse.Namespace) -> int:
    return report(["count", options.name, options.value], os.environ)

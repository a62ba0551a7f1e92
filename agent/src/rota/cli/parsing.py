"""What the commands' parsers share."""

import argparse
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from rota.core.quantities import parse_duration

if TYPE_CHECKING:
    # What add_subparsers returns has no public name, and is generic to type checkers alone.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def command(
    commands: "Commands",
    name: str,
    function: Callable[[argparse.Namespace], int | None],
    sentence: str,
) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=sentence, description=sentence)
    made.set_defaults(command=function)
    return made


def duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be {error}") from error

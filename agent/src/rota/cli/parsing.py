"""What the commands' parsers share."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rota.core.quantities import parse_duration, parse_moment

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


def moment(text: str) -> datetime:
    """A moment that somebody types: local, unless it says otherwise."""
    try:
        return parse_moment(text).astimezone(UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be {error}") from error


def moment_or_age(text: str) -> datetime:
    """A moment, or how long ago it was: `2d`."""
    try:
        return datetime.now(UTC) - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        return moment(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or how long ago, like 2d") from error


def how_many(text: str) -> int:
    """A number of things: none, or more."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression; its case does not matter."""
    try:
        return re.compile(text, re.IGNORECASE | re.MULTILINE)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error

"""`python -m rota.cli.reference`: every command with its words and options as a page, made from the parser."""

import argparse
from collections.abc import Iterator

from rota.cli import parser
from rota.cli.completion import commands_of

INTRODUCTION = """\
What a host's own command line can do.
`rota COMMAND --help` says the same there; [a whole environment](commands.md) is asked from the control side.
A mistake is one line and exit code 2."""


def page() -> str:
    """The page in Markdown, without the line that says how it is made."""
    top = parser()
    parts = ["# The agent's commands", "", INTRODUCTION, "", *rows(top), ""]
    for name, command in sorted(commands_of(top)):
        parts += [f"## rota {name}", "", command.description or "", "", f"`{usage(name, command)}`", ""]
        parts += [*rows(command), ""] if any(described(command)) else []
    return "\n".join(parts)


def usage(name: str, command: argparse.ArgumentParser) -> str:
    """The words it takes; what may be left out in brackets."""
    has_options = any(action.option_strings for action in described(command))
    return " ".join(["rota", name, *map(shown, positional(command)), *(["[OPTIONS]"] if has_options else [])])


def shown(action: argparse.Action) -> str:
    """A positional word: `TASK`, `[OTHER]`, `[TASK…]`."""
    word = "|".join(map(str, action.choices)) if action.choices else (action.dest or "").upper()
    match action.nargs:
        case "?":
            return f"[{word}]"
        case "*" | argparse.REMAINDER:
            return f"[{word}…]"
    return word


def positional(command: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in command._actions if not action.option_strings]


def described(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What stands in the table: all but the help."""
    for action in command._actions:
        if action.help != argparse.SUPPRESS and not isinstance(
            action, argparse._HelpAction | argparse._SubParsersAction
        ):
            yield action


def rows(command: argparse.ArgumentParser) -> list[str]:
    lines = [f"| {words(action)} | {meaning(action)} |" for action in described(command)]
    return ["| word | means |", "|---|---|", *lines]


def words(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{shown(action)}`"
    value = "" if action.nargs == 0 else f" {action.metavar or '|'.join(action.choices or ()) or action.dest.upper()}"
    return f"`{', '.join(sorted(action.option_strings, key=len))}{value}`".replace("|", "\\|")


def meaning(action: argparse.Action) -> str:
    said = (action.help or "") % (vars(action) | {"prog": "rota"})
    return said.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")

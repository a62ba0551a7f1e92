"""`python -m provision.lab COMMAND`: the lab's commands without the rest of the command line."""

import argparse
import sys
from pathlib import Path

from provision import lab
from provision.errors import OperatorError

ROOT = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m provision.lab", description=lab.__doc__)
    whole.add_argument("--inventory", default="lab", help="which of this checkout's labs (default: lab)")
    commands = whole.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "status", "heal"):
        commands.add_parser(name)
    for name in ("kill", "boot", "reset"):
        commands.add_parser(name).add_argument("host")
    cut = commands.add_parser("cut")
    cut.add_argument("a")
    cut.add_argument("b")
    return whole


def main() -> int:
    words = vars(parser().parse_args())
    command, inventory = words.pop("command"), words.pop("inventory")
    try:
        answer = getattr(lab, command)(ROOT, *words.values(), inventory)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    if command in ("up", "status"):
        print(answer if command == "status" else answer.status())
    return 0


if __name__ == "__main__":
    sys.exit(main())

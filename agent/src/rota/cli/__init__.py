"""The command `rota`: runs tasks, shows what became of them, and keeps units, spool and diary in step."""

import argparse
import importlib.util
import io
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from rota.cli import asking, completion, housekeeping, measuring, planning, running, showing, standing, telling
from rota.core.errors import RotaError


def main() -> None:
    if pack_has_commands(sys.argv[1:2]):
        sys.argv = [f"rota {sys.argv[1]}", *sys.argv[2:]]
        runpy.run_module(f"rota.packs.{sys.argv[0].removeprefix('rota ')}", run_name="__main__")
        return
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may know fewer letters than there are
    options = parser().parse_args()
    try:
        sys.exit(options.command(options) or 0)
    except RotaError as error:
        print(f"rota: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def pack_has_commands(words: Sequence[str]) -> bool:
    """Whether the first word names a pack with commands of its own, as in `rota backup list`."""
    return bool(words and words[0].isidentifier() and importlib.util.find_spec(f"rota.packs.{words[0]}")) and bool(
        importlib.util.find_spec(f"rota.packs.{words[0]}.__main__")
    )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="rota", description="Run, record and explain the scheduled work of this host.")
    top.add_argument(
        "--home",
        type=Path,
        default=os.environ.get("ROTA_HOME"),
        help="keep configuration, spool and locks under this folder, without systemd (also: ROTA_HOME)",
    )
    top.add_argument("--root", type=Path, default=Path("/"), help="the file system of the host; systemd is left alone")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (running, planning, standing, showing, measuring, housekeeping, asking, telling, completion):
        module.add_commands(commands)
    return top

"""What every command begins with: where things lie, the catalogue, the spool, and the lock of housekeeping."""

import argparse
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rota import units
from rota.adapters.spool import NoSuchRun, Spool, SpoolUnreadable, spool_of
from rota.catalogue import BadConfiguration, discover, examine, load
from rota.core import places as layout
from rota.core.catalogue import Catalogue
from rota.core.errors import RotaError
from rota.core.places import Places
from rota.core.record import TASK_NAME, Record
from rota.runner import try_lock

PACKAGE = Path(__file__).resolve().parent.parent
LEAST_OF_ID = 4


class NotNow(RotaError):
    """This is being done already."""


def find_places(options: argparse.Namespace) -> Places:
    return layout.under(Path(options.home).absolute()) if options.home else layout.on_host(options.root)


def find_catalogue(places: Places) -> Catalogue:
    """The catalogue of this host, or the one under the embedded home. Raises BadConfiguration."""
    return load(places.configuration, **reading(places))


def examine_catalogue(places: Places) -> Catalogue | list[BadConfiguration]:
    """The same, or all that is wrong with it."""
    return examine(places.configuration, **reading(places))


def reading(places: Places) -> dict[str, Any]:
    """What it takes to read a catalogue beside its files."""
    environment = places.environment.read_text("utf-8").strip() if places.environment.is_file() else "development"
    return {
        "host": socket.gethostname(),
        "environment": environment,
        "python": interpreter(places),
        "packs": discover(),
    }


def interpreter(places: Places) -> list[str]:
    """How a pack's task is started: by the release's own Python, or by the one at hand."""
    path = units.through_current(Path(sys.executable), places)
    return [str(path), "-I"] if path != Path(sys.executable) else [sys.executable]


def find_spool(places: Places) -> Spool:
    spool = spool_of(places)
    if places.is_embedded:
        spool.make()
        places.locks.mkdir(exist_ok=True)
    return spool


def compile_units(catalogue: Catalogue, places: Places) -> dict[str, str]:
    """The units of this host; with a root elsewhere their text still speaks of the host itself."""
    package = units.through_current(PACKAGE, layout.on_host())
    return units.compile_units(catalogue, layout.on_host(), package=package, now=datetime.now(UTC))


def find_run(spool: Spool, word: str) -> Record:
    """The run that is meant: the one whose id begins or ends like this, or the latest of this task.

    Raises NoSuchRun.
    """
    name = word.replace("-", "_")
    looks_like_id = len(word) >= LEAST_OF_ID and not set(word) - set("0123456789abcdef-")
    if looks_like_id and len(spool.named_like(word)) == 1:
        return spool.find(word)
    latest = next(spool.newest(task=name), None) if TASK_NAME.fullmatch(name) else None
    if latest is None and not spool.named_like(word):
        raise NoSuchRun(f"{word!r}; no id begins or ends like that, and no task of this name has run; see rota runs")
    return latest or spool.find(word)


@contextmanager
def holding(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a housekeeping command: on a folder of the spool that no task can open.

    Raises NotNow, SpoolUnreadable.
    """
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SpoolUnreadable(f"{error}; become root or join the group rota") from error
    try:
        if not try_lock(file):
            raise NotNow(f"another {what} holds the lock")
        yield
    finally:
        os.close(file)

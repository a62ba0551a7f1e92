"""What starts a script inside, and whom it runs as; the same in all kinds of sandboxes."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import ceil
from pathlib import Path

from rota.packs.reports.database import INSIDE, Database
from rota.packs.reports.sandbox import LIBRARIES, SCRIPTS, Limits

PYTHON = "/usr/bin/python3"
GRACE = 10  # seconds of processor time above the wall's: the clock outside comes first
NOBODY = "nobody"

ENVIRONMENT = {"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC", "USER": "report"}  # noqa: S108 - inside the sandbox


@cache
def first_lines() -> str:
    return (Path(__file__).parent / "inside/start.py").read_text(encoding="utf-8")


def start_command(limits: Limits, python: str = PYTHON) -> list[str]:
    """`-S` leaves out the host's own packages, and a third of the interpreter's start.

    What scripts would miss of it, `inside/start.py` gives them.
    """
    numbers = (limits.memory, limits.file_size, limits.processes, ceil(limits.seconds) + GRACE)
    flags = ["-I", "-S", "-B", "-X", "utf8"]
    return [python, *flags, "-c", first_lines(), f"{SCRIPTS}/main.py", LIBRARIES, *map(str, numbers)]


@contextmanager
def readable(tree: Path, account: str | None) -> Iterator[Path]:
    """The tree as `account` can read it: a copy that is its own, where we become it; the tree itself otherwise."""
    if account is None:
        yield tree
        return
    entry = pwd.getpwnam(account)
    with tempfile.TemporaryDirectory(prefix="rota-report-") as folder:
        shutil.copytree(tree, folder, symlinks=True, dirs_exist_ok=True)
        for place, _, files in os.walk(folder):
            for name in (".", *files):
                os.chown(Path(place) / name, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        yield Path(folder)


def shown_inside(tree: Path, libraries: Path | None, database: Database | None) -> Mapping[str, Path]:
    """What of the host is seen, read only, by its path inside."""
    paths = {SCRIPTS: tree}
    if libraries is not None:
        paths[LIBRARIES] = libraries
    if database is not None:
        paths[f"{INSIDE}/{database.socket_file.name}"] = database.socket_file
    return paths

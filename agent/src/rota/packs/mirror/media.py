"""Folders as the mirror moves them: made beside, exchanged in one act, and measured from what rsync says."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rota.core.errors import RotaError
from rota.packs.mirror.source import SourceFailed, complaint

AT_FDCWD, RENAME_EXCHANGE = -100, 2

STATISTICS = {
    "files": r"Number of regular files transferred: ([\d,]+)",
    "all_files": r"Number of files: ([\d,]+)",
    "received": r"Total bytes received: ([\d,]+)",
}


class CannotExchange(RotaError):
    """Two folders could not change places in one act."""


@dataclass(frozen=True)
class Copied:
    """What one rsync did: files that travelled, all there are, bytes that came over the wire."""

    files: int
    all_files: int
    received: int


def beside(folder: Path) -> Path:
    """Where the new content of a folder grows: on the same file system, so that it can take the folder's place."""
    return folder.with_name(f".{folder.name}.mirror")


def copy(command: Sequence[str]) -> Copied:
    """Run an rsync to its end. Raises `SourceFailed` with its last words."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise SourceFailed(complaint("files", done.returncode, first_reason(done.stderr)))
    return measured(done.stdout.decode(errors="replace"))


def first_reason(said: bytes) -> bytes:
    """rsync's own last line only says that something went wrong; what went wrong stands first."""
    return said.strip().split(b"\n")[0]


def measured(statistics: str) -> Copied:
    found = {name: re.search(pattern, statistics) for name, pattern in STATISTICS.items()}
    return Copied(**{name: int(match[1].replace(",", "")) if match else 0 for name, match in found.items()})


def inode(folder: Path) -> int:
    """The folder's identity, which it keeps under any name; 0 where there is none."""
    try:
        return folder.lstat().st_ino
    except FileNotFoundError:
        return 0


def exchange(one: Path, other: Path) -> None:
    """Let two folders change names in one act, so that at no moment either name is missing.

    Raises `CannotExchange`, for instance where one of them is a mount point.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise CannotExchange(f"{one} and {other}: {os.strerror(code)} ({errno.errorcode.get(code, code)})")


def remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def sync(folder: Path) -> None:
    """Have what was written to the folder's file system survive a power cut, before anything relies on it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None, use_errno=True).syncfs(descriptor)
    finally:
        os.close(descriptor)

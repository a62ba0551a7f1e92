"""Files below a folder that others may write to: reached without following any link."""

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rota.core.errors import RotaError


class CannotTell(RotaError):
    """Nobody says whether this file is open for writing; that takes its owner, or the capability CAP_LEASE."""


@dataclass(frozen=True)
class Found:
    """A plain file as it was when it was found; `name` is its path below the folder, times are in nanoseconds."""

    name: str
    device: int
    inode: int
    size: int
    modified: int


def identify(name: str, status: os.stat_result) -> Found:
    return Found(name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def plain_files(folder: Path, *, but: str = "") -> Iterator[Found]:
    """The plain files below the folder by name, but not those in its subfolder `but`. Links are none of them."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # itself it may be a link: somebody named it
    try:
        for parent, folders, files, here in os.fwalk(".", follow_symlinks=False, onerror=refuse, dir_fd=top):
            below = Path(parent)
            folders[:] = sorted(name for name in folders if str(below / name) != but)
            for name in sorted(files):
                with suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=here, follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield identify(str(below / name), status)
    finally:
        os.close(top)


def refuse(error: OSError) -> None:
    raise error


@contextmanager
def parent_of(folder: Path, name: str) -> Iterator[tuple[int, str]]:
    """The open folder that holds this file, and the file's name in it. Raises OSError where a link is on the way."""
    *parts, leaf = Path(name).parts
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        yield here, leaf
    finally:
        os.close(here)


@contextmanager
def opened(folder: Path, found: Found) -> Iterator[int | None]:
    """The file, open for reading; None when it is not the one that was found, or has changed since."""
    with parent_of(folder, found.name) as (here, leaf):
        try:
            file = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            yield None
            return
        try:
            yield file if identify(found.name, os.fstat(file)) == found else None
        finally:
            os.close(file)


def is_being_written(file: int) -> bool:
    """Whether somebody has this file open for writing: the kernel grants no read lease on such a file (fcntl(2)).

    Raises CannotTell.
    """
    # Whoever opens it for writing just now makes the kernel send a signal; the usual one would end this process.
    fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return True
        raise CannotTell(error.strerror) from error
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def synchronise(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(here)
    finally:
        os.close(here)

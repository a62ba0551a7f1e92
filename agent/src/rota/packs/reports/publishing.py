"""The exports of clients: a new file is written beside the old one, and takes its place whole or not at all.

`EXPORTS/USERNAME/FILE` is what clients get. Beside it, hidden, for no file name begins with a dot:

- `.new-*`: what is being written, locked while somebody writes it;
- `.versions/FILE/TIME`: previous contents, named after the moment of their publishing (UTC, to the nanosecond);
- `.checksums/FILE.sha256`: as `sha256sum` writes it. It counts while its mtime is that of its file.

Nothing is followed that is a symbolic link: every folder is opened by its descriptor, and names are single parts.
Files are 0640 and folders 0750, of the group of the exports, so that a web server in that group can read them.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from rota.core.errors import RotaError
from rota.packs.reports.names import check_file_name, check_username

NEW, VERSIONS, CHECKSUMS = ".new-", ".versions", ".checksums"
FILE_MODE, FOLDER_MODE = 0o640, 0o750
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BLOCK = 1 << 20
NANOSECONDS = 10**9


class BadTarget(RotaError):
    """Nothing can be published there."""


@dataclass(frozen=True)
class Temporary:
    """A file that is being written for a client. Whoever opened it publishes or discards it, which closes it."""

    username: str
    name: str
    descriptor: int


@dataclass(frozen=True)
class Version:
    """A content that was published, or is: where, when, and how long."""

    path: Path
    at: datetime
    size: int


@dataclass(frozen=True)
class Content:
    """What a file has in it: how many bytes, of how many lines, and its checksum in hexadecimal."""

    bytes: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class Published:
    """What came of publishing."""

    path: Path
    content: Content
    is_changed: bool


@dataclass(frozen=True)
class Export:
    """The folder of all exports. Targets are named `username/file_name`."""

    folder: Path

    def open_new(self, username: str) -> Temporary:
        """A new empty file beside a client's others, open for writing, and locked. Raises BadName, BadTarget."""
        check_username(username)
        with opened(self.folder, username) as folder:
            return Temporary(username, *new_file(folder))

    def discard(self, temporary: Temporary) -> None:
        """Remove and close what is not to be published; twice is no error."""
        with opened(self.folder, temporary.username) as folder, suppress(FileNotFoundError):
            os.unlink(temporary.name, dir_fd=folder)
        with suppress(OSError):
            os.close(temporary.descriptor)

    def publish(self, temporary: Temporary, target: str, keep: int = 0, *, at: datetime | None = None) -> Published:
        """Put the file in the target's place, now or as of `at`, keep so many previous versions, and close it.

        What has the content of before replaces it without becoming a version. Raises BadName, BadTarget, OSError;
        then the target is as it was.
        """
        username, file_name = parts_of(target)
        if username != temporary.username:
            raise BadTarget(f"{target}: the file was written for {temporary.username}")
        with opened(self.folder, username) as folder:
            refuse_special(folder, file_name, target)
            stamp = NANOSECONDS * int(at.timestamp()) if at else os.fstat(temporary.descriptor).st_mtime_ns
            seal(temporary.descriptor, stamp)
            content = read_through(temporary.descriptor)
            is_changed = checksum_in(folder, file_name) != content.sha256
            if is_changed and keep > 0:
                keep_version(folder, file_name)
            with checksum_beside(folder, file_name, content.sha256, stamp):
                os.replace(temporary.name, file_name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            prune(folder, file_name, keep)
        os.close(temporary.descriptor)
        return Published(self.folder / username / file_name, content, is_changed)

    def versions(self, target: str) -> tuple[Version, ...]:
        """Previous contents, newest first, without the one that is there now."""
        username, file_name = parts_of(target)
        with existing(self.folder, username) as folder, existing_in(folder, VERSIONS, file_name) as inner:
            if folder < 0 or inner < 0:
                return ()
            place = self.folder / username / VERSIONS / file_name
            return tuple(version_of(place / name, inner) for name in previous(folder, file_name, inner))

    def current(self, target: str) -> Version | None:
        """What clients get now; None where there is nothing yet. Its size is also the one to compare the next with."""
        username, file_name = parts_of(target)
        with existing(self.folder, username) as folder:
            found = None if folder < 0 else regular(folder, file_name)
            return None if found is None else Version(self.folder / target, moment(found.st_mtime_ns), found.st_size)

    def checksum(self, target: str) -> str:
        """SHA-256 of what clients get now, in hexadecimal; "" where there is nothing."""
        username, file_name = parts_of(target)
        with existing(self.folder, username) as folder:
            return "" if folder < 0 else checksum_in(folder, file_name)

    def sweep(self) -> int:
        """Remove what killed writers left, and mend checksums; returns how many files were left over.

        Files that somebody writes are locked, and stay.
        """
        count = 0
        for inner in sorted(self.folder.iterdir()):
            with existing(self.folder, inner.name) as folder:
                count += sweep_one(folder) if folder >= 0 else 0
        return count


def parts_of(target: str) -> tuple[str, str]:
    """User and file name of a target. Raises BadName for what would leave the exports."""
    username, _, file_name = target.partition("/")
    check_username(username)
    check_file_name(file_name)
    return username, file_name


@contextmanager
def opened(root: Path, username: str) -> Iterator[int]:
    """The descriptor of a client's folder, made where it is missing."""
    try:
        top = os.open(root, FOLDER)
    except OSError as error:
        raise BadTarget(f"{root}: {error.strerror}") from None
    try:
        folder = open_inner(top, username)
    except OSError as error:
        raise BadTarget(f"{root / username}: {error.strerror}; a folder is expected, and no link") from None
    finally:
        os.close(top)
    try:
        yield folder
    finally:
        os.close(folder)


def open_inner(outer: int, *names: str) -> int:
    """Open folders in each other, making what is missing; each is synced into the one it was made in."""
    here = os.dup(outer)
    for name in names:
        try:
            with suppress(FileExistsError):
                os.mkdir(name, FOLDER_MODE, dir_fd=here)
                open_to_group(name, here)
                os.fsync(here)
            following = os.open(name, FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = following
    return here


@contextmanager
def existing(root: Path, username: str) -> Iterator[int]:
    """The descriptor of a client's folder; -1 where there is none."""
    try:
        folder = os.open(root / username, FOLDER)
    except (FileNotFoundError, NotADirectoryError, OSError):
        folder = -1
    try:
        yield folder
    finally:
        if folder >= 0:
            os.close(folder)


@contextmanager
def existing_in(outer: int, *names: str) -> Iterator[int]:
    """The descriptor of a folder in others; -1 where there is none."""
    here = os.dup(outer) if outer >= 0 else -1
    for name in names if here >= 0 else ():
        try:
            following = os.open(name, FOLDER, dir_fd=here)
        except OSError:
            following = -1
        os.close(here)
        here = following
        if here < 0:
            break
    try:
        yield here
    finally:
        if here >= 0:
            os.close(here)


def regular(folder: int, name: str) -> os.stat_result | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def is_there(folder: int, name: str) -> bool:
    return regular(folder, name) is not None


def refuse_special(folder: int, file_name: str, target: str) -> None:
    """Refuse a target that is a link, a folder, or anything but a file."""
    with suppress(FileNotFoundError):
        os.stat(file_name, dir_fd=folder, follow_symlinks=False)
        if not is_there(folder, file_name):
            raise BadTarget(f"{target}: what is there is no plain file; remove it")


def open_to_group(name: str, outer: int) -> None:
    """Give a new folder its mode where the mask took some of it away.

    Not otherwise: a hardened unit refuses to set the bit by which what lies in a folder has the folder's group.
    """
    inner = os.open(name, FOLDER, dir_fd=outer)
    try:
        mode = stat.S_IMODE(os.fstat(inner).st_mode)
        if mode & ~stat.S_ISGID != FOLDER_MODE:
            os.fchmod(inner, FOLDER_MODE | mode & stat.S_ISGID)
    finally:
        os.close(inner)


def seal(descriptor: int, stamp: int) -> None:
    """Give a finished file its mode and time, and have it on the disk."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BadTarget("what was written is no plain file")
    os.fchmod(descriptor, FILE_MODE)
    os.utime(descriptor, ns=(stamp, stamp))
    os.fsync(descriptor)


def read_through(descriptor: int) -> Content:
    """Block by block, whatever the position of the descriptor; a last line counts without its end as well."""
    summed, place, rows, last = hashlib.sha256(), 0, 0, b"\n"
    while block := os.pread(descriptor, BLOCK, place):
        summed.update(block)
        place, rows, last = place + len(block), rows + block.count(b"\n"), block[-1:]
    return Content(place, rows + (last != b"\n"), summed.hexdigest())


def digest_of(folder: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return read_through(descriptor).sha256
    finally:
        os.close(descriptor)


def checksum_in(folder: int, file_name: str) -> str:
    """As it was written down; as the file has it, where what was written down is that of another content."""
    found = regular(folder, file_name)
    if found is None:
        return ""
    with existing_in(folder, CHECKSUMS) as inner:
        noted = regular(inner, f"{file_name}.sha256") if inner >= 0 else None
        if noted is None or noted.st_mtime_ns != found.st_mtime_ns:
            return digest_of(folder, file_name)
        descriptor = os.open(f"{file_name}.sha256", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inner)
        with os.fdopen(descriptor, encoding="ascii") as stream:
            return stream.read(64)


@contextmanager
def checksum_beside(folder: int, file_name: str, sha256: str, stamp: int) -> Iterator[None]:
    """Write a checksum beside the old one, with its file's time, and put it in place once the file itself is.

    So a full disk is met before the file is replaced.
    """
    inner = open_inner(folder, CHECKSUMS)
    try:
        name, descriptor = new_file(inner)
        try:
            os.write(descriptor, f"{sha256}  {file_name}\n".encode("ascii"))
            os.fchmod(descriptor, FILE_MODE)
            os.utime(descriptor, ns=(stamp, stamp))
            os.fsync(descriptor)
            yield
            os.replace(name, f"{file_name}.sha256", src_dir_fd=inner, dst_dir_fd=inner)
            os.fsync(inner)
        except BaseException:  # whatever it was, it goes on
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=inner)
            raise
        finally:
            os.close(descriptor)
    finally:
        os.close(inner)


def new_file(folder: int) -> tuple[str, int]:
    """A new file, locked before anybody could sweep it away; its name and descriptor."""
    while True:
        name = f"{NEW}{token_hex(12)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = regular(folder, name)
        if found is not None and os.path.samestat(found, os.fstat(descriptor)):
            return name, descriptor
        os.close(descriptor)


def keep_version(folder: int, file_name: str) -> None:
    """Give what is there now a second name, which outlives its first."""
    found = regular(folder, file_name)
    if found is None:
        return
    inner = open_inner(folder, VERSIONS, file_name)
    try:
        name = version_name(found.st_mtime_ns)
        with suppress(FileExistsError):  # of a writer that was killed before it could replace the file
            os.link(file_name, name, src_dir_fd=folder, dst_dir_fd=inner, follow_symlinks=False)
        os.fsync(inner)
    finally:
        os.close(inner)


def prune(folder: int, file_name: str, keep: int) -> None:
    with existing_in(folder, VERSIONS, file_name) as inner:
        for name in previous(folder, file_name, inner)[keep:] if inner >= 0 else ():
            os.unlink(name, dir_fd=inner)


def previous(folder: int, file_name: str, inner: int) -> list[str]:
    """Names of versions, newest first, without another name of what is there now."""
    now = regular(folder, file_name)
    names = sorted(os.listdir(inner), reverse=True)
    found = {name: regular(inner, name) for name in names}
    return [name for name, each in found.items() if each and (now is None or each.st_ino != now.st_ino)]


def version_of(path: Path, inner: int) -> Version:
    found = os.stat(path.name, dir_fd=inner, follow_symlinks=False)
    return Version(path, moment(found.st_mtime_ns), found.st_size)


def version_name(stamp: int) -> str:
    """As `20260301T020000.000000000Z`, which sorts by time."""
    return f"{moment(stamp):%Y%m%dT%H%M%S}.{stamp % NANOSECONDS:09}Z"


def moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp // NANOSECONDS, UTC)


def sweep_one(folder: int) -> int:
    count = remove_left(folder)
    with existing_in(folder, CHECKSUMS) as inner:
        count += remove_left(inner) if inner >= 0 else 0
    for name in sorted(os.listdir(folder)):
        found = None if name.startswith(".") else regular(folder, name)
        if found is not None and not is_summed(folder, name, found.st_mtime_ns):
            with checksum_beside(folder, name, digest_of(folder, name), found.st_mtime_ns):
                pass
    return count


def is_summed(folder: int, name: str, stamp: int) -> bool:
    with existing_in(folder, CHECKSUMS) as inner:
        noted = regular(inner, f"{name}.sha256") if inner >= 0 else None
        return noted is not None and noted.st_mtime_ns == stamp


def remove_left(folder: int) -> int:
    """Remove new files that nobody has locked; how many there were."""
    names = [name for name in os.listdir(folder) if name.startswith(NEW) and is_there(folder, name)]
    return sum(remove_unlocked(folder, name) for name in names)


def remove_unlocked(folder: int, name: str) -> bool:
    """Whether nobody had it. It is ours until it is gone, so that a writer who comes to lock it then makes another."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True

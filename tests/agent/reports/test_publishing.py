"""Laws of publishing: a reader sees a whole file, old or new; what was good stays until the next is whole."""

import fcntl
import hashlib
import os
import random
import select
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rota.packs.reports.names import BadName
from rota.packs.reports.publishing import BadTarget, Content, Export, Published

OLD, NEW = b"old " * 40_000, b"new." * 50_000


@pytest.fixture
def exports(tmp_path: Path) -> Export:
    (tmp_path / "exports").mkdir()
    return Export(tmp_path / "exports")


def write(exports: Export, content: bytes, target: str = "abc/a.xml", keep: int = 3, second: int = -1) -> Published:
    temporary = exports.open_new(target.partition("/")[0])
    os.write(temporary.descriptor, content)
    at = datetime(2026, 1, 1, 2, 0, second, tzinfo=UTC) if second >= 0 else None
    return exports.publish(temporary, target, keep, at=at)


def listed(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_published_is_there_with_its_checksum_and_time(exports: Export) -> None:
    done = write(exports, b"one", second=7)
    assert done.path.read_bytes() == b"one"
    assert (done.content, done.is_changed) == (Content(3, 1, hashlib.sha256(b"one").hexdigest()), True)
    current = exports.current("abc/a.xml")
    assert current is not None
    assert current.at == datetime(2026, 1, 1, 2, 0, 7, tzinfo=UTC)
    assert (done.path.parent / ".checksums/a.xml.sha256").read_text() == f"{done.content.sha256}  a.xml\n"
    assert exports.checksum("abc/a.xml") == done.content.sha256


def test_the_group_may_read_and_others_may_not_whatever_the_mask(exports: Export) -> None:
    exports.folder.chmod(0o2750)
    before = os.umask(0o077)
    try:
        path = write(exports, b"one").path
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2750


def test_so_many_previous_versions_are_kept(exports: Export) -> None:
    for second in range(6):
        write(exports, f"content {second}".encode(), second=second)
    versions = exports.versions("abc/a.xml")
    assert [each.path.read_text() for each in versions] == ["content 4", "content 3", "content 2"]
    assert versions[0].path.name == "20260101T020004.000000000Z"
    assert versions[0].at.second == 4
    write(exports, b"last", keep=0)
    assert exports.versions("abc/a.xml") == ()


def test_the_same_content_again_is_no_version(exports: Export) -> None:
    write(exports, b"one", second=1)
    again = write(exports, b"one", second=2)
    assert not again.is_changed
    assert exports.versions("abc/a.xml") == ()
    assert exports.checksum("abc/a.xml") == again.content.sha256


def test_where_nothing_is_published_nothing_is_told(exports: Export) -> None:
    assert exports.current("abc/a.xml") is None
    assert exports.versions("abc/a.xml") == ()
    assert exports.checksum("abc/a.xml") == ""
    assert exports.sweep() == 0


@pytest.mark.parametrize(
    "target",
    ["../a.xml", "abc/../a.xml", "abc/../../a.xml", "abc/b/a.xml", "/abc/a.xml", "abc/.versions", "tmp/a.xml"],
)
def test_no_name_leaves_the_exports(exports: Export, target: str) -> None:
    temporary = exports.open_new("abc")
    with pytest.raises(BadName):
        exports.publish(temporary, target)
    exports.discard(temporary)


def test_a_file_is_published_only_for_whom_it_was_written(exports: Export) -> None:
    temporary = exports.open_new("abc")
    with pytest.raises(BadTarget):
        exports.publish(temporary, "abd/a.xml")
    exports.discard(temporary)


@pytest.mark.parametrize("link", ["abc", "abc/a.xml", "abc/.versions", "abc/.checksums"])
def test_links_are_not_followed(exports: Export, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if link != "abc":
        write(exports, b"one")
        place = exports.folder / link
        if place.is_dir():
            place.rename(tmp_path / "aside")
        place.unlink(missing_ok=True)
    (exports.folder / link).symlink_to(elsewhere)
    with pytest.raises((BadTarget, OSError)):
        write(exports, b"two")
    assert list(elsewhere.iterdir()) == []
    if link not in ("abc", "abc/a.xml"):
        assert (exports.folder / "abc/a.xml").read_bytes() == b"one"


def test_what_is_discarded_leaves_the_old_file_and_nothing_else(exports: Export) -> None:
    path = write(exports, b"one").path
    before = open_files()
    temporary = exports.open_new("abc")
    exports.discard(temporary)
    assert open_files() == before
    assert listed(path.parent) == [".checksums", "a.xml"]
    assert path.read_bytes() == b"one"


def test_no_descriptor_is_left_open(exports: Export) -> None:
    write(exports, b"one")
    before = open_files()
    for number in range(3):
        write(exports, str(number).encode())
        exports.versions("abc/a.xml")
        exports.checksum("abc/a.xml")
        exports.sweep()
    assert open_files() == before


def test_sweeping_removes_what_is_left_over_and_spares_what_is_being_written(exports: Export) -> None:
    path = write(exports, b"one").path
    (path.parent / ".new-left").write_bytes(b"half")
    (path.parent / ".checksums/.new-left").write_bytes(b"half")
    writing = exports.open_new("abc")
    assert exports.sweep() == 2
    os.write(writing.descriptor, b"two")
    assert exports.publish(writing, "abc/a.xml").path.read_bytes() == b"two"


def test_what_is_swept_is_locked_until_it_is_gone_so_that_who_opened_it_meanwhile_notices(
    exports: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(exports, b"one").path
    (path.parent / ".new-left").write_bytes(b"half")
    remove = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=dir_fd)) as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    assert exports.sweep() == 1


def test_a_writer_whose_new_file_was_swept_before_it_was_locked_makes_another(
    exports: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:  # the writer's first
            swept.append(exports.sweep())
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    path = write(exports, b"one").path
    assert (swept, path.read_bytes()) == ([1], b"one")


def test_sweeping_mends_the_checksum_of_a_writer_that_was_killed(exports: Export) -> None:
    path = write(exports, b"one", second=1).path
    path.write_bytes(b"two")
    assert exports.checksum("abc/a.xml") == hashlib.sha256(b"two").hexdigest()
    exports.sweep()
    assert (path.parent / ".checksums/a.xml.sha256").read_text().split()[0] == hashlib.sha256(b"two").hexdigest()


def test_a_reader_never_sees_a_torn_file_in_fifty_alternating_publishes(exports: Export) -> None:
    path = write(exports, OLD).path
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        write(exports, NEW if number % 2 else OLD)
    done.set()
    reader.join()
    assert set(seen) <= {OLD, NEW}


def publish_for_ever(exports: Export, told: int) -> None:
    """In a process of its own: publish one content and the other, saying so each time."""
    number = 0
    while True:
        number += 1
        write(exports, NEW if number % 2 else OLD)
        os.write(told, b".")


@pytest.fixture
def publisher(exports: Export) -> Iterator[tuple[int, int]]:
    """A process that publishes for ever: its id, and where it tells."""
    heard, told = os.pipe()
    process = os.fork()
    if process == 0:
        with suppress(BaseException):
            publish_for_ever(exports, told)
        os._exit(1)
    os.close(told)
    yield process, heard
    os.close(heard)
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@pytest.mark.parametrize("seed", range(12))
def test_whenever_a_publisher_is_killed_the_file_is_whole_and_the_rest_is_swept(
    exports: Export, publisher: tuple[int, int], seed: int
) -> None:
    process, heard = publisher
    os.read(heard, 1)
    select.select([], [], [], random.Random(seed).random() * 0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    path = exports.folder / "abc/a.xml"
    content = path.read_bytes()
    assert content in (OLD, NEW)
    exports.sweep()
    assert listed(path.parent) in ([".checksums", "a.xml"], [".checksums", ".versions", "a.xml"])
    assert exports.checksum("abc/a.xml") == hashlib.sha256(content).hexdigest()
    assert all(each.path.read_bytes() in (OLD, NEW) for each in exports.versions("abc/a.xml"))
    assert write(exports, b"after").path.read_bytes() == b"after"
    assert exports.versions("abc/a.xml")[0].path.read_bytes() == content

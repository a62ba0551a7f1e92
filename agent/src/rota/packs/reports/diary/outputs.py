"""What a dry run writes, while it goes on and afterwards: the end of it, what is new, the beginning; as text."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.utils.safestring import SafeString

from rota.diary.output import Look, render_line

SHOWN = 32 * 1024
"""Bytes on a page: as marks for what cannot be seen they are thirty times as many."""
HEAD = 512 * 1024
"""Bytes that are compared."""


@dataclass(frozen=True)
class Part:
    """A stretch of a file: its text, where it ends, whether something before it is left out, and how long all is."""

    text: str = ""
    end: int = 0
    is_cut: bool = False
    size: int = 0

    @property
    def lines(self) -> list[SafeString]:
        return list(rendered(self.text))


def rendered(text: str) -> Iterator[SafeString]:
    look = Look()
    lines = text.split("\n")
    for line in lines if lines[-1] else lines[:-1]:
        html, look = render_line(line.removesuffix("\r"), look)
        yield html


def read_end(path: Path) -> Part:
    """The last of it; the first line is left out where it is not whole, unless there is no other."""
    content, start, size = read(path, -SHOWN)
    if start and b"\n" in content[:-1]:
        content = content[content.index(b"\n") + 1 :]
    return Part(as_text(content), size, start > 0, size)


def read_new(path: Path, seen: int) -> Part:
    """The whole lines that were written since so many bytes, the last of them; a very long line comes in pieces."""
    size = size_of(path)
    start = max(seen, size - SHOWN)
    content, start, _ = read(path, start)
    end = content.rfind(b"\n") + 1 or (len(content) if len(content) > SHOWN // 2 else 0)
    return Part(as_text(content[:end]), start + end, start > seen, size)


def read_head(path: Path) -> Part:
    """The first of it, in whole lines where there are several; `is_cut` says that there is more."""
    content, _, size = read(path, 0, HEAD)
    if len(content) < size and b"\n" in content:
        content = content[: content.rindex(b"\n") + 1]
    return Part(as_text(content), len(content), len(content) < size, size)


def read(path: Path, start: int, most: int = SHOWN) -> tuple[bytes, int, int]:
    """So many bytes at most from there, negative from the end; where they begin; how long the file is."""
    try:
        file = opened(path)
    except FileNotFoundError:
        return b"", 0, 0
    with file as stream:
        size = os.fstat(stream.fileno()).st_size
        begin = max(0, size + start) if start < 0 else start
        stream.seek(begin)
        return stream.read(most), begin, size


def opened(path: Path) -> BinaryIO:
    """Raises FileNotFoundError, also for a link: what a host writes for the diary is a file."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(str(path)) from None
        raise


def size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def as_text(content: bytes) -> str:
    """What is no UTF-8 is shown as its bytes."""
    return content.decode("utf-8", "backslashreplace")

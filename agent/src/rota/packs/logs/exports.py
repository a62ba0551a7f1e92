"""Old exports: which files of a download folder may go, which stay, and which nobody knows."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from rota.core.errors import RotaError

# What users exported: `<login>_<yyMMddHHmmss>` and the ending of its kind, zipped or not.
EXPORTS = (r".+_\d{12}(mrv2\.xml|sh\.xml|exc\.htm|exc\.csv)(\.zip)?",)
# Regular downloads, `<Database>CIC<Member>.zip` and `<Database>Stats<Year>VOL<Member>.zip`.
KEPT = (r".+(CIC|VOL)\d+\.zip",)


class BadPattern(RotaError):
    """A pattern is no regular expression."""


class Kind(StrEnum):
    """What a name in a download folder is."""

    OLD = "old"
    YOUNG = "young"
    KEPT = "kept"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Entry:
    """One name in a download folder, and why it is what it is."""

    name: str
    kind: Kind
    reason: str
    size: int = 0


def compile_all(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    """Raises BadPattern."""
    compiled: list[re.Pattern[str]] = []
    for pattern in patterns:
        try:
            compiled.append(re.compile(pattern))
        except re.error as error:
            raise BadPattern(f"{pattern!r}: {error}") from None
    return compiled


def look_through(
    folder: int, exports: Sequence[re.Pattern[str]], kept: Sequence[re.Pattern[str]], *, now: datetime, age: timedelta
) -> Iterator[Entry]:
    """Every name directly in this open folder, by name. What is kept comes first, then exports, by whole names."""
    for name in sorted(os.listdir(folder)):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:  # somebody else removed it just now
            continue
        if name.startswith(".") or any(pattern.fullmatch(name) for pattern in kept):
            yield Entry(name, Kind.KEPT, "it is on the list of what is kept")
        elif not stat.S_ISREG(status.st_mode):
            yield Entry(name, Kind.UNKNOWN, "it is a link" if stat.S_ISLNK(status.st_mode) else "it is no plain file")
        elif not any(pattern.fullmatch(name) for pattern in exports):
            yield Entry(name, Kind.UNKNOWN, "its name is no export's")
        elif now - datetime.fromtimestamp(status.st_mtime, UTC) > age:
            yield Entry(name, Kind.OLD, "", status.st_size)
        else:
            yield Entry(name, Kind.YOUNG, "")


def open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

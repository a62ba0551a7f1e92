"""Comparing two texts line by line by diff(1), which every Debian host has and which takes long texts in its stride."""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rota.core.comparison import Hunk
from rota.core.errors import RotaError

# The commands of diff's normal format, as in `5,7c8`, `3a4`, `6d5` (diff(1), Detailed Description of Normal Format).
COMMAND = re.compile(r"(\d+)(?:,(\d+))?([acd])(\d+)(?:,(\d+))?")


class CannotCompare(RotaError):
    """The outputs cannot be compared."""


class TookTooLong(CannotCompare):
    """The outputs could not be compared in time."""


def diff_command(before: Path, after: Path) -> list[str]:
    return ["diff", "--text", "--speed-large-files", "--", str(before), str(after)]


def find_hunks(before: Sequence[str], after: Sequence[str], *, seconds: float | None = None) -> tuple[Hunk, ...]:
    """Where the two differ. The lines must hold no line break.

    Lines of which most have moved take seconds; `seconds` is the most that it may take. Raises CannotCompare, and
    TookTooLong.
    """
    if before == after:
        return ()
    with tempfile.TemporaryDirectory(prefix="rota-diff-") as folder:
        paths = Path(folder) / "before", Path(folder) / "after"
        for path, lines in zip(paths, (before, after), strict=True):
            path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        try:
            answer = subprocess.run(diff_command(*paths), capture_output=True, check=False, timeout=seconds)
        except FileNotFoundError as error:
            raise CannotCompare("diff is not installed (package diffutils)") from error
        except subprocess.TimeoutExpired as error:
            raise TookTooLong(f"diff was ended after {seconds:g} s") from error
    if answer.returncode not in (0, 1):
        raise CannotCompare(answer.stderr.decode(errors="replace").strip())
    return tuple(read_hunks(answer.stdout.decode(errors="replace")))


def read_hunks(text: str) -> Iterator[Hunk]:
    """The hunks of diff's normal format, whose other lines begin with `<`, `>` or `-`."""
    for line in text.split("\n"):
        if match := COMMAND.fullmatch(line):
            first, last, kind, other_first, other_last = match.groups()
            yield Hunk(span(first, last, is_empty=kind == "a"), span(other_first, other_last, is_empty=kind == "d"))


def span(first: str, last: str | None, *, is_empty: bool) -> range:
    """Lines from 0; of an empty span diff names the line after which it lies."""
    if is_empty:
        return range(int(first), int(first))
    return range(int(first) - 1, int(last or first))

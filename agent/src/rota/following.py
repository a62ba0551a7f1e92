"""What is new of runs under way that somebody follows in the diary: their output by whole lines, and what they report.

The diary says how far it is, so this remembers nothing, and what got lost on its way is read again. It only reads; the
runs know nothing of it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rota.adapters.spool import Spool, encoded
from rota.core.identifier import parse_identifier
from rota.core.record import KEEP_BYTES
from rota.runner import UNFINISHED, read_count, read_item

MOST_FOLLOWED = 20
MOST_BYTES = 64 * 1024
"""Of one run's output in one message; of what is printed faster than that the middle is left out."""
MOST_LINE = 8 * 1024
"""Beyond which a line is told before it ends."""
MOST_LINES = 1_000
"""Of one run's report in one message."""
NOT_SHOWN = "[… {} bytes are shown when the run has ended …]\n"


def news(spool: Spool, followed: object) -> Iterator[dict[str, Any]]:
    """What is new of each of these runs, as the diary names them with the positions that it has reached."""
    for each in followed[:MOST_FOLLOWED] if isinstance(followed, list) else ():
        identifier = parse_identifier(str(each.get("run"))) if isinstance(each, Mapping) else None
        if identifier is None:
            continue
        told = output_news(spool.folder / "output" / str(identifier), position_of(each.get("output")))
        told |= report_news(spool.folder / UNFINISHED / f"{identifier}.report", position_of(each.get("report")))
        if told:
            yield {"run": str(identifier)} | told


def position_of(said: object) -> int:
    return said if isinstance(said, int) and said >= 0 else 0


def output_news(path: Path, position: int) -> dict[str, Any]:
    """The whole lines after this position of a run's output; empty where there are none."""
    chunk, begin = read_from(path, position, MOST_BYTES)
    lines = chunk if len(chunk) > MOST_LINE and b"\n" not in chunk else chunk[: chunk.rfind(b"\n") + 1]
    if not lines:
        return {}
    mark = "" if begin == position else NOT_SHOWN.format(begin - position if begin > position else "some")
    return {"output": [position, begin + len(lines)], "text": mark + encoded(lines).decode()}


def report_news(path: Path, position: int) -> dict[str, Any]:
    """The items and counts after this position of what a run reports."""
    chunk, begin = read_from(path, position, MOST_BYTES, is_skipping=False)
    lines = chunk[: chunk.rfind(b"\n") + 1].splitlines(keepends=True)[:MOST_LINES]
    if not lines or begin != position:
        return {}
    items, counts = read_lines(lines)
    return {"report": [position, position + sum(map(len, lines))], "items": items, "counts": counts}


def read_from(path: Path, position: int, most: int, *, is_skipping: bool = True) -> tuple[bytes, int]:
    """At most so many bytes from here on, and where they begin: later, where more is new, for what is newest counts.

    An output that is shorter than before has lost its middle, so what follows its head is new.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b"", position
    with os.fdopen(file, "rb") as stream:
        size = os.fstat(file).st_size
        begin = position if position <= size else min(KEEP_BYTES, size)
        if is_skipping and size - begin > most:
            begin = size - most
        return os.pread(file, most, begin) if stream.seekable() else b"", begin


def read_lines(lines: Iterable[bytes]) -> tuple[list[dict[str, str]], dict[str, float]]:
    """The items and counts of these lines; what cannot be read the record counts."""
    items: list[dict[str, str]] = []
    counts: dict[str, float] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            if "item" in entry:
                items.append(read_item(entry))
            else:
                name, value = read_count(entry)
                counts[name] = counts.get(name, 0) + value
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return items, counts

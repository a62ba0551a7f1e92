"""How commands print: tables that fit the screen, words with a colour, JSON and local times."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

WIDTH = 100
"""How wide tables are where there is no terminal that says."""
LEAST_WIDTH = 60
LEAST_CELL = 8
ENOUGH_OF_A_NAME = 28
COLOURS = {
    "failed": "31",
    "lost": "31",
    "overdue": "31",
    "running": "36",
    "retrying": "36",
    "skipped": "33",
    "paused": "33",
    "handled": "33",
}
"""The colour of a cell by its first word, as SGR codes (ECMA-48 section 8.3.117)."""


def local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def short(identifier: object) -> str:
    """The end of a run's id, which is random and finds it; its beginning is the time and much like the others'."""
    return str(identifier)[-8:]


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def screen_width() -> int:
    """The terminal's, but never so narrow that nothing is left to read."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def has_colours(environ: Mapping[str, str] = os.environ) -> bool:
    """On a terminal that can, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def print_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    empty: str,
    names: Iterable[int] = (),
    texts: Iterable[int] = (),
    coloured: int | None = None,
) -> None:
    """Print the rows below the head; where they are too wide, the columns of names and texts give way.

    A name is cut in its middle, for its end tells it from its neighbours; a text at its end. The column `coloured`
    takes the colour of its first word.
    """
    if not rows:
        print(empty)
        return
    names, texts = tuple(names), tuple(texts)
    widths = fitting([max(len(row[at]) for row in (head, *rows)) for at in range(len(head))], names, texts)
    colours = has_colours()
    for number, row in enumerate((head, *rows)):
        cells = [
            (cut_middle if at in names else cut_end)(cell, width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        if colours and number and coloured is not None:
            padded[coloured] = colour(padded[coloured])
        print("  ".join(padded).rstrip())


def fitting(widths: list[int], names: Sequence[int], texts: Sequence[int]) -> list[int]:
    """The widths, made narrower until all fit or no more can be taken: long names first, then whatever is widest."""
    room = screen_width() - 2 * (len(widths) - 1)
    found = list(widths)
    for flexible, least in ((names, ENOUGH_OF_A_NAME), ((*names, *texts), LEAST_CELL)):
        while flexible and sum(found) > room:
            widest = max(flexible, key=lambda at: found[at])
            if found[widest] <= least:
                break
            found[widest] -= 1
    return found


def cut_end(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def cut_middle(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - head - 1) :]}"


def colour(cell: str) -> str:
    code = COLOURS.get(re.split(r"[\s:;]", cell.strip())[0]) if cell.strip() else None
    return f"\x1b[{code}m{cell}\x1b[0m" if code else cell

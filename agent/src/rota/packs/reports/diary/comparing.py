"""What changed from one line of a history to the next, as pages show it."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rota.packs.reports.diary.models import History

SHOWN = 100
"""Changes on a page."""
AROUND = 3
HIDDEN = {"id", "id_homedir", "id_script", "id_query", "extension", "type", "is_library", "params"}
"""What follows from something else, or means nothing to people."""


@dataclass(frozen=True, slots=True)
class Line:
    sign: str
    """`ins`, `del`, or "" for what is around."""
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as it was."""

    field: str
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Change:
    entry: History
    differences: list[Difference]
    is_first: bool
    is_current: bool


def changes_of(entries: Iterable[History]) -> list[Change]:
    """Of lines newest first, possibly of several rows: what each changed of the one before it of the same row."""
    newest_first = list(entries)
    found = []
    seen: set[tuple[str, str]] = set()
    for place, entry in enumerate(newest_first[:SHOWN]):
        row = (entry.what, entry.row)
        before = next((each for each in newest_first[place + 1 :] if (each.what, each.row) == row), None)
        found.append(Change(entry, list(differences(before, entry)), before is None, row not in seen))
        seen.add(row)
    return found


def differences(before: History | None, after: History) -> Iterator[Difference]:
    old = before.value if before else {}
    for name, value in after.value.items():
        if name not in HIDDEN and written(old.get(name)) != written(value):
            yield Difference(name, list(lines_between(written(old.get(name)), written(value))))


def written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def lines_between(before: str, after: str) -> Iterator[Line]:
    found = difflib.unified_diff(before.split("\n"), after.split("\n"), n=AROUND, lineterm="")
    for number, line in enumerate(found):
        if number < 2:  # names of files
            continue
        if line.startswith("@@"):
            if number > 2:
                yield Line("", "⋯")
        else:
            yield Line({"+": "ins", "-": "del"}.get(line[0], ""), line[1:])

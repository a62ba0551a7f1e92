"""What there is to say of definitions before anything runs: names, syntax, imports, and the code guard's findings."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rota.packs.reports import guard
from rota.packs.reports.definitions import Definitions, Script
from rota.packs.reports.dependencies import UnknownImports, collect
from rota.packs.reports.folder import place_of
from rota.packs.reports.names import check_definitions
from rota.packs.reports.syntax import BadScript


class Sort(StrEnum):
    """What kind of remark it is. All but the guard's keep a report from running, where it concerns it."""

    NAME = "name"
    SYNTAX = "syntax"
    IMPORT = "import"
    GUARD = "guard"


@dataclass(frozen=True)
class Remark:
    """One thing, and where: `press/titles.xml.py:3: import: sniplets has no 'x'`."""

    sort: Sort
    text: str
    place: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.place}:{self.line}: " if self.line else f"{self.place}: " if self.place else ""
        return f"{where}{self.sort}: {self.text}"


def review(definitions: Definitions) -> tuple[Remark, ...]:
    """All remarks, names first, then script by script."""
    found = [Remark(Sort.NAME, problem) for problem in check_definitions(definitions)]
    for script in sorted(definitions.scripts, key=lambda each: each.name):
        place = place_of(definitions, script)
        found += [*of_script(script, place), *of_imports(definitions, script, place)]
    return tuple(dict.fromkeys(found))


def of_body(body: str, place: str) -> Iterator[Remark]:
    """Of the text of one script, wherever it is from."""
    return of_script(Script(id="", name=place, body=body), place)


def of_script(script: Script, place: str) -> Iterator[Remark]:
    try:
        for found in guard.inspect(script.body, script.name):
            yield Remark(Sort.GUARD, found.word, place, found.line)
    except BadScript as error:
        yield Remark(Sort.SYNTAX, error.reason, place, error.line)


def of_imports(definitions: Definitions, script: Script, place: str) -> Iterator[Remark]:
    """Of a script's own imports; those of its libraries are told where they stand."""
    try:
        collect(script, definitions)
    except BadScript:
        return
    except UnknownImports as error:
        for unknown in error.unknown:
            if unknown.script == script.name:
                what = f"{unknown.wanted.kind} has no {unknown.wanted.name!r}{unknown.hint}"
                yield Remark(Sort.IMPORT, what, place, unknown.wanted.line)

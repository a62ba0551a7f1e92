"""What a script includes: libraries as `sniplets.NAME`, queries as `queries.NAME` or `queries.CLIENT.NAME`.

Imports are found on the syntax tree, wherever they stand, and followed through the libraries. A name that is not known
is an error before the run; the original dropped it, and the script died of it. Its regular expressions are kept, to
show that nothing they found is lost.

A script reaches libraries, its own query, and the queries of its own client, which its name begins with; a library
reaches libraries alone. What it cannot reach is to it as if it were not there, in hints as well: one client's editors
are no readers of another's queries.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from rota.core.errors import RotaError
from rota.core.nearest import nearest
from rota.packs.reports.definitions import Definitions, Query, Script, ScriptType
from rota.packs.reports.syntax import Tree, parse


class Kind(StrEnum):
    """The two packages of a script, as they are called in imports."""

    SNIPPET = "sniplets"
    QUERY = "queries"


@dataclass(frozen=True)
class Import:
    """One name a script imports, where, and what else it can mean: `queries.a.b` is a query, or what is in one."""

    kind: Kind
    name: str
    line: int
    column: int
    parent: str = ""


@dataclass(frozen=True)
class Unknown:
    """An import of what is not there."""

    script: str
    wanted: Import
    hint: str = ""

    def __str__(self) -> str:
        what = f"{self.wanted.kind} has no {self.wanted.name!r}{self.hint}"
        return f"{self.script}, line {self.wanted.line}: {what}"


class UnknownImports(RotaError):
    """Scripts import what is not there."""

    def __init__(self, unknown: tuple[Unknown, ...]) -> None:
        self.unknown = unknown
        super().__init__("; ".join(map(str, unknown)))


@dataclass(frozen=True)
class Dependencies:
    """What is put beside a script, in the order in which it was found; its main query is last."""

    snippets: tuple[Script, ...] = ()
    queries: tuple[Query, ...] = ()


def imports_of(body: str, name: str = "", *, is_library: bool = False) -> tuple[Import, ...]:
    """What is imported from the two packages, in the order of the text. Raises BadScript.

    Libraries may also say `from . import other`. Imports that are made up while running are not seen.
    """
    tree = parse(body, name)
    found = [each for node in ast.walk(tree.module) for each in of_node(tree, node, is_library)]
    return tuple(sorted(dict.fromkeys(found), key=lambda each: (each.line, each.column)))


def of_node(tree: Tree, node: ast.AST, is_library: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from of_path(alias.name.split("."), *tree.place(alias), is_whole=True)
    elif isinstance(node, ast.ImportFrom):
        package = package_of(node, is_library)
        for alias in node.names if package else ():
            yield from of_path([*package, alias.name], *tree.place(alias), is_whole=False)


def package_of(node: ast.ImportFrom, is_library: bool) -> list[str]:
    """The parts of what is imported from; none for what is relative to nothing."""
    parts = (node.module or "").split(".") if node.module else []
    if node.level == 0:
        return parts
    return [Kind.SNIPPET, *parts] if node.level == 1 and is_library else []


def of_path(parts: list[str], line: int, column: int, *, is_whole: bool) -> Iterator[Import]:
    """`is_whole`: the path is that of a module, and its last part nothing in one."""
    if len(parts) < 2:
        return
    if parts[0] == Kind.SNIPPET:
        yield Import(Kind.SNIPPET, parts[1], line, column)
    elif parts[0] == Kind.QUERY:
        parent = "" if is_whole else ":".join(parts[1:-1])
        yield Import(Kind.QUERY, ":".join(parts[1:]), line, column, parent)


def collect(script: Script, definitions: Definitions) -> Dependencies:
    """All that a main script needs, also by its libraries. Raises BadScript; UnknownImports, naming all of them."""
    snippets: dict[str, Script] = {}
    queries: dict[str, Query] = {}
    unknown: list[Unknown] = []
    waiting = [script]
    for current in waiting:
        reached = reachable(current, definitions)
        for wanted in imports_of(current.body, current.name, is_library=current.type is ScriptType.SNIP):
            found = look_up(wanted, definitions.snippets, reached)
            if found is None:
                unknown.append(Unknown(current.name, wanted, hint_of(wanted, definitions.snippets, reached)))
            elif isinstance(found, Query):
                queries[found.name] = found
            elif found.name not in snippets:
                snippets[found.name] = found
                waiting.append(found)
    if unknown:
        raise UnknownImports(tuple(unknown))
    return Dependencies(tuple(snippets.values()), with_main(queries, definitions.query_of(script)))


def client_of(script: Script) -> str:
    """Whose script this is, as its name begins, in small letters; "" of a library."""
    client, colon, _ = script.name.partition(":")
    return client if colon and script.type is ScriptType.MAIN else ""


def reachable(script: Script, definitions: Definitions) -> Mapping[str, Query]:
    """The queries that a script may import, by name."""
    client = client_of(script)

    def is_reached(query: Query) -> bool:
        is_own = query.id == script.id_query or (client and query.name.startswith(f"{client}:"))
        return query.is_library or bool(is_own)

    return {query.name: query for query in definitions.queries if is_reached(query)}


def look_up(wanted: Import, snippets: Mapping[str, Script], queries: Mapping[str, Query]) -> Script | Query | None:
    if wanted.kind is Kind.SNIPPET:
        return snippets.get(wanted.name)
    return queries.get(wanted.name) or queries.get(wanted.parent)


def hint_of(wanted: Import, snippets: Mapping[str, Script], queries: Mapping[str, Query]) -> str:
    """The nearest name; of what would be a client's query the rule, whether there is such a one or not."""
    if wanted.kind is Kind.SNIPPET:
        return nearest(wanted.name, snippets)
    rule = "; a client's query is for its own scripts, and one for several clients a library query"
    return nearest(wanted.name, queries) or (rule if ":" in wanted.name else "")


def with_main(queries: Mapping[str, Query], main: Query | None) -> tuple[Query, ...]:
    if main is None:
        return tuple(queries.values())
    return (*(query for name, query in queries.items() if name != main.name), main)


REST = r"([^\n\r\x85\u2028\u2029]*)"
"""To the end of the line, as Java's `.*` goes."""
LEGACY_SNIPPETS = re.compile(rf"\nfrom +sniplets +import +{REST}")
LEGACY_QUERIES = re.compile(rf"\nfrom +queries\.?([^\s]*) +import +{REST}", re.ASCII)
LEGACY_NAMES = re.compile(r"(?:^|,) *([^ ,]+)")


@dataclass(frozen=True)
class Legacy:
    """Names as the original found them, without those it found twice."""

    snippets: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()


def legacy_imports(body: str | None) -> Legacy:
    """What the original took for imports of a main script."""
    snippets = [name for names in LEGACY_SNIPPETS.findall(body or "") for name in LEGACY_NAMES.findall(names)]
    queries = [
        f"{package}:{name}" if package else name
        for package, names in LEGACY_QUERIES.findall(body or "")
        for name in LEGACY_NAMES.findall(names)
    ]
    return Legacy(tuple(dict.fromkeys(snippets)), tuple(dict.fromkeys(queries)))

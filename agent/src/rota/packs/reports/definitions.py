"""What people define: clients, their tasks, and the scripts and queries of these, as values.

Names of fields are the columns of the system that this pack replaces; those below "ours" were added. In pages, items
and messages one such task is called a report.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from rota.core.errors import RotaError


class BadDefinitions(RotaError):
    """These definitions cannot be used."""


class UnknownReport(RotaError):
    """There is no report of this name."""


class Frequency(StrEnum):
    """How often a report is made, counted from its first day."""

    DAILY = "D"
    WEEKLY = "W"
    MONTHLY = "M"
    YEARLY = "Y"


class MonthEnd(StrEnum):
    """What comes of a monthly or yearly report in months that have no such day."""

    SKIP = "skip"
    CLIP = "clip"


class ScriptType(StrEnum):
    """MAIN belongs to one task; SNIP is a library for all."""

    MAIN = "MAIN"
    SNIP = "SNIP"


class Check(StrEnum):
    """What an output must be before it is published."""

    XML = "xml"
    JSON = "json"
    CSV = "csv"
    NOT_EMPTY = "not_empty"


@dataclass(frozen=True, kw_only=True)
class Client:
    """Somebody reports are made for. `password` and `access_key` are hashes, or ""."""

    id: str
    name: str
    username: str
    password: str = ""
    access_key: str = ""
    is_editable: bool = False
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Query:
    """SQL that scripts import as a module: a main one named after its task, or a library for all."""

    id: str
    name: str
    body: str = ""
    params: str = ""
    notes: str = ""
    is_library: bool = False


@dataclass(frozen=True, kw_only=True)
class Script:
    """Python: what a task runs, or a library that others import."""

    id: str
    name: str
    type: ScriptType = ScriptType.MAIN
    id_query: str | None = None
    body: str = ""
    params: str = ""
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One report: a file that is made for a client from `start_date` on. `file_name` has the extension."""

    id: str
    id_homedir: str
    file_name: str
    extension: str = ""
    id_script: str | None = None
    description: str = ""
    start_date: date
    frequency: Frequency = Frequency.MONTHLY
    is_active: bool = False
    is_public: bool = False
    notes: str = ""
    # ours
    month_end: MonthEnd = MonthEnd.SKIP
    catch_up: bool = False
    """Whether a day that was missed, for the host was down, is made up for by the next night."""
    checks: tuple[Check, ...] = ()
    shrink_percent: int | None = None
    """By how many per cent an output may be smaller than the one before; None for no such check."""
    keep: int = 3
    """How many previous versions are kept."""
    timeout: int = 0
    """Seconds; 0 for the host's own limit. Likewise `memory`, in MiB."""
    memory: int = 0


Definition = Client | Query | Script | Task
One = TypeVar("One", Client, Query, Script, Task)


@dataclass(frozen=True)
class Definitions:
    """All that is defined. Raises BadDefinitions where something refers to what is not there."""

    clients: tuple[Client, ...] = ()
    tasks: tuple[Task, ...] = ()
    scripts: tuple[Script, ...] = ()
    queries: tuple[Query, ...] = ()

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task.id_homedir not in self.clients_by_id:
                raise BadDefinitions(f"task {task.id} ({task.file_name}) belongs to a client that is not there")

    @cached_property
    def clients_by_id(self) -> Mapping[str, Client]:
        return {client.id: client for client in self.clients}

    @cached_property
    def scripts_by_id(self) -> Mapping[str, Script]:
        return {script.id: script for script in self.scripts}

    @cached_property
    def queries_by_id(self) -> Mapping[str, Query]:
        return {query.id: query for query in self.queries}

    @cached_property
    def snippets(self) -> Mapping[str, Script]:
        """The libraries, by name."""
        return {script.name: script for script in self.scripts if script.type is ScriptType.SNIP}

    @cached_property
    def queries_by_name(self) -> Mapping[str, Query]:
        return {query.name: query for query in self.queries}

    @cached_property
    def reports(self) -> Mapping[str, Task]:
        """The tasks, by `username/file_name`, in that order."""
        named = {self.report_name(task): task for task in self.tasks}
        return dict(sorted(named.items()))

    def report_name(self, task: Task) -> str:
        return f"{self.client_of(task).username}/{task.file_name}"

    def client_of(self, task: Task) -> Client:
        return self.clients_by_id[task.id_homedir]

    def script_of(self, task: Task) -> Script | None:
        return self.scripts_by_id.get(task.id_script or "")

    def query_of(self, script: Script) -> Query | None:
        """The main query, where it has one."""
        return self.queries_by_id.get(script.id_query or "")

    def report(self, name: str) -> Task:
        """The task of this `username/file_name` or id. Raises UnknownReport."""
        for known, task in self.reports.items():
            if name in (known, task.id):
                return task
        raise UnknownReport(f"{name!r}; there are: {', '.join(self.reports) or 'none'}")


ID = re.compile(r"[\w-]{1,36}", re.ASCII)
"""Files are named after ids."""
KINDS = ("clients", "tasks", "scripts", "queries")
CHOICES: Mapping[str, type[StrEnum]] = {"frequency": Frequency, "month_end": MonthEnd, "type": ScriptType}


def to_json(definitions: Definitions) -> dict[str, Any]:
    """As JSON's values; `from_json` makes the same of it again."""
    return {kind: [as_mapping(each) for each in getattr(definitions, kind)] for kind in KINDS}


def as_mapping(definition: Definition) -> dict[str, Any]:
    values = asdict(definition)
    if isinstance(definition, Task):
        values["start_date"] = definition.start_date.isoformat()
        values["checks"] = [str(check) for check in definition.checks]
    return values


def from_json(value: object) -> Definitions:
    """Raises BadDefinitions, saying which one, and what is wrong with it."""
    if not isinstance(value, dict) or set(value) - set(KINDS):
        raise BadDefinitions(f"expected an object with {', '.join(KINDS)}")
    return Definitions(
        clients=tuple(each_of(Client, "clients", value.get("clients", []))),
        tasks=tuple(each_of(Task, "tasks", value.get("tasks", []))),
        scripts=tuple(each_of(Script, "scripts", value.get("scripts", []))),
        queries=tuple(each_of(Query, "queries", value.get("queries", []))),
    )


def each_of(kind: type[One], name: str, values: object) -> Iterable[One]:
    if not isinstance(values, list):
        raise BadDefinitions(f"{name}: expected a list")
    for number, value in enumerate(values, 1):
        yield from_mapping(kind, value, f"{name}, number {number}")


def from_mapping(kind: type[One], value: object, where: str) -> One:
    """One definition of what `as_mapping` makes, with strings for dates and choices. Raises BadDefinitions."""
    if not isinstance(value, dict):
        raise BadDefinitions(f"{where}: expected an object, not {value!r}")
    known = {each.name: each for each in fields(kind)}
    if unknown := set(value) - set(known):
        raise BadDefinitions(f"{where}: there is no {', '.join(sorted(map(repr, unknown)))}")
    try:
        return kind(**{name: read_value(name, known[name].type, each) for name, each in value.items()})
    except (TypeError, ValueError) as error:
        raise BadDefinitions(f"{where}: {error}") from None


def read_value(name: str, kind: object, value: Any) -> Any:
    """Raises ValueError."""
    if name in CHOICES:
        return CHOICES[name](value)
    if name == "checks":
        return tuple(Check(each) for each in value)
    if kind is date:
        return value if isinstance(value, date) else date.fromisoformat(value)
    if value is None and kind in (str | None, int | None):
        return None
    expected = {str | None: str, int | None: int}.get(kind, kind)  # type: ignore[call-overload]  # not every key
    if type(value) is not expected:
        raise ValueError(f"{name}: expected {getattr(expected, '__name__', expected)}, not {value!r}")
    if name == "id" and not ID.fullmatch(value):
        raise ValueError(f"id: expected up to 36 letters, digits, '_' and '-', of ASCII, not {value!r}")
    return value

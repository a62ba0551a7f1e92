"""Definitions as files, to be kept in git and edited by hand: read without guessing, written without loss.

    FOLDER/USERNAME/client.yml       a client
    FOLDER/USERNAME/FILE.yml         a report of it: FILE is the name of what is made, as in `titles.xml.yml`
    FOLDER/USERNAME/FILE.py          its script, word for word
    FOLDER/USERNAME/FILE.sql         the script's query, word for word
    FOLDER/libraries/NAME.py         a library script, with NAME.py.yml where there is more to say than its text
    FOLDER/libraries/NAME.sql        a library query, likewise

Names and ids follow from where a file lies, so they are written only where they differ. A script or query that no
report owns lies in `libraries` too, by its name with `/` for `:`, and says so in its YAML.
"""

import os
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from rota.adapters.yaml_files import BadYaml, parse_yaml
from rota.core.errors import RotaError
from rota.core.nearest import nearest
from rota.packs.reports.definitions import (
    CHOICES,
    KINDS,
    BadDefinitions,
    Client,
    Definitions,
    One,
    Query,
    Script,
    ScriptType,
    Task,
    from_mapping,
)
from rota.packs.reports.names import (
    LONGEST_LIBRARY,
    BadName,
    check_file_name,
    check_library_query,
    check_username,
    code_name,
    extension_of,
)

SPACE = uuid.UUID("6f8d9d0e-5a0b-5c59-9a54-1f2f0f3d7a11")
"""Of ids that are made of names. Never changed: run logs and addresses refer to them."""
CLIENT, LIBRARIES = "client.yml", "libraries"
CODE = ("script", "query")
SUFFIXES = {"script": ".py", "query": ".sql"}
OURS = (".yml", ".py", ".sql")


class BadFolder(RotaError):
    """These files define no reports."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  ".join(self.problems))


class NotWritable(RotaError):
    """These definitions cannot be written as files."""


class Problem(Exception):
    """What is wrong with one file, and where."""


def identifier(kind: str, name: str) -> str:
    """Of what has none of its own: always the same for the same name."""
    return str(uuid.uuid5(SPACE, f"{kind}:{name}"))


def read_folder(path: Path) -> Definitions:
    """All that lies there, in the order of names. Raises BadFolder, telling all files that are wrong, with lines."""
    reading = Reading(path)
    if not path.is_dir():
        raise BadFolder([f"{path}: there is no such folder"])
    for inner in sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")):
        reading.trying(inner, reading.libraries if inner.name == LIBRARIES else reading.client)
    for late in reading.late:
        reading.trying(late[0], late[1])
    if reading.problems:
        raise BadFolder(reading.problems)
    return reading.definitions()


def canonical(definitions: Definitions) -> Definitions:
    """The same, in the order in which `read_folder` gives it."""
    names = {client.id: client.username for client in definitions.clients}
    return Definitions(
        clients=tuple(sorted(definitions.clients, key=lambda each: each.username)),
        tasks=tuple(sorted(definitions.tasks, key=lambda each: (names[each.id_homedir], each.file_name))),
        scripts=tuple(sorted(definitions.scripts, key=lambda each: (each.name, each.id))),
        queries=tuple(sorted(definitions.queries, key=lambda each: (each.name, each.id))),
    )


@dataclass
class Reading:
    """A folder that is being read: what was found in it, and what is wrong."""

    root: Path
    clients: list[Client] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    late: list[tuple[Path, Any]] = field(default_factory=list)
    """What refers to others by name, and waits for these."""

    def definitions(self) -> Definitions:
        return canonical(Definitions(tuple(self.clients), tuple(self.tasks), tuple(self.scripts), tuple(self.queries)))

    def trying(self, path: Path, function: Any) -> None:
        try:
            function(path)
        except (Problem, BadDefinitions, BadName, OSError) as error:
            where = path.relative_to(self.root)
            self.problems.append(f"{where}: {error}" if isinstance(error, BadName) else str(error))

    def client(self, folder: Path) -> None:
        if not (folder / CLIENT).exists() and not any(folder.glob("*.yml")):
            return
        check_username(folder.name)
        notes = Notes.read(folder / CLIENT, self.root, must_exist=True)
        values = {"id": identifier("client", folder.name), "username": folder.name, "name": folder.name}
        client = notes.make(Client, values, taken=("username",))
        self.clients.append(client)
        files = {each.name for each in folder.iterdir() if each.is_file() and each.suffix in OURS}
        reports = sorted(name for name in files if name.endswith(".yml") and name != CLIENT)
        for name in reports:
            self.trying(folder / name, lambda path: self.report(client, path))
        known = {name.removesuffix(".yml") for name in reports}
        for name in sorted(files - {CLIENT, *reports}):
            if name.rpartition(".")[0] not in known:
                lost = (folder / name).relative_to(self.root)
                self.problems.append(f"{lost}: it belongs to no report; there is no {Path(lost).stem}.yml")

    def report(self, client: Client, path: Path) -> None:
        file_name = path.name.removesuffix(".yml")
        check_file_name(file_name)
        notes = Notes.read(path, self.root)
        script = self.owned(notes, client, path, "script")
        query = self.owned(notes, client, path, "query")
        if isinstance(query, Query):
            self.queries.append(query)
        if isinstance(script, Script):
            self.scripts.append(script)
        elif query is not None:
            raise Problem(notes.at("query", "there is a query, and no script that could use it"))
        values = {
            "id": identifier("task", f"{client.username}/{file_name}"),
            "id_homedir": client.id,
            "file_name": file_name,
            "extension": extension_of(file_name),
        }
        task = notes.make(Task, values, taken=("id_homedir", "file_name", "id_script"), also=CODE)
        self.late.append((path, lambda _: self.join(notes, task, script, query)))

    def owned(self, notes: "Notes", client: Client, path: Path, kind: str) -> Script | Query | str | None:
        """The script or query beside the report; the name of another's; or None."""
        beside, said = path.with_suffix(SUFFIXES[kind]), notes.values.get(kind)
        if isinstance(said, str):
            if beside.exists():
                raise Problem(notes.at(kind, f"it is said to be {said!r}, but there is {beside.name}"))
            return said
        if not beside.exists():
            if said is not None:
                raise Problem(notes.at(kind, f"there is no {beside.name}"))
            return None
        name = code_name(client.username, path.name.removesuffix(".yml"))
        inner = notes.inner(kind)
        name = str(inner.values.get("name", name))
        values = {"id": identifier(kind, name), "name": name, "body": read_text(beside, self.root)}
        if kind == "script":
            return inner.make(Script, values, taken=("type", "id_query", "body"))
        return inner.make(Query, values, taken=("is_library", "body"))

    def join(self, notes: "Notes", task: Task, script: Script | Query | str | None, query: Any) -> None:
        """Let a task refer to its script, and that to its query, once all are known."""
        if isinstance(script, str):
            task = replace(task, id_script=self.named(notes, "script", script, self.scripts))
        elif isinstance(script, Script):
            task = replace(task, id_script=script.id)
            main = self.named(notes, "query", query, self.queries) if isinstance(query, str) else query and query.id
            self.scripts[self.scripts.index(script)] = replace(script, id_query=main or None)
        self.tasks.append(task)

    def named(self, notes: "Notes", kind: str, name: str, known: Iterable[Any]) -> str:
        ids = {each.name: each.id for each in known}
        if name not in ids:
            raise Problem(notes.at(kind, f"there is no {kind} {name!r}{nearest(name, ids)}"))
        return str(ids[name])

    def libraries(self, folder: Path) -> None:
        found = sorted(each for each in folder.rglob("*") if each.is_file() and each.suffix in OURS)
        for path in found:
            if path.suffix != ".yml":
                self.trying(path, lambda path: self.library(folder, path))
            elif path.with_suffix("") not in found:
                self.problems.append(f"{path.relative_to(self.root)}: there is no {path.with_suffix('').name}")

    def library(self, folder: Path, path: Path) -> None:
        name = path.relative_to(folder).with_suffix("").as_posix().replace("/", ":")
        notes = Notes.read(path.with_name(f"{path.name}.yml"), self.root, may_lack=True)
        values: dict[str, Any] = {"name": name, "body": read_text(path, self.root)}
        if path.suffix == ".sql":
            values |= {"id": identifier("query", name), "is_library": ":" not in name}
            self.queries.append(notes.make(Query, values, taken=("name", "body")))
            self.late.append((path, lambda _: check_library_query(name, (each.username for each in self.clients))))
            return
        values |= {"id": identifier("script", name), "type": ScriptType.MAIN if ":" in name else ScriptType.SNIP}
        script = notes.make(Script, values, taken=("name", "body", "id_query"), also=("query",))
        self.scripts.append(script)
        if (wanted := notes.values.get("query")) is not None:
            self.late.append((path, lambda _: self.give_query(notes, script, str(wanted))))

    def give_query(self, notes: "Notes", script: Script, wanted: str) -> None:
        found = self.named(notes, "query", wanted, self.queries)
        self.scripts[self.scripts.index(script)] = replace(script, id_query=found)


@dataclass(frozen=True)
class Notes:
    """What one YAML file says, and where it stands."""

    where: str
    text: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, root: Path, *, may_lack: bool = False, must_exist: bool = False) -> "Notes":
        where = str(path.relative_to(root))
        if not path.exists() and (may_lack or must_exist):
            if must_exist:
                raise Problem(f"{where}: it is missing; it says at least the name: of the client")
            return cls(where, "", {})
        text = read_text(path, root)
        try:
            found = parse_yaml(text)
        except BadYaml as error:
            raise Problem(f"{where}, {error}") from None
        if found is not None and not isinstance(found, dict):
            raise Problem(f"{where}, line 1: expected names with values")
        return cls(where, text, found or {})

    def inner(self, key: str) -> "Notes":
        """What it says of the script or the query that belongs to the report."""
        found = self.values.get(key) or {}
        if not isinstance(found, dict):
            raise Problem(self.at(key, "expected a name, or names with values"))
        return Notes(self.where, self.text, found)

    def make(
        self, kind: type[One], values: Mapping[str, Any], *, taken: Iterable[str], also: Iterable[str] = ()
    ) -> One:
        """One definition of what follows from its place, and of what is said; `taken` cannot be said, `also` can."""
        known: set[str] = {each.name for each in fields(kind)} - set(taken)
        for key in self.values:
            if key not in known and key not in also:
                raise Problem(self.at(key, f"there is no {key!r}{nearest(str(key), [*known, *also])}"))
        said = {key: self.value(key, value) for key, value in self.values.items() if key not in also}
        for key, value in said.items():
            self.one(kind, {**values, key: value}, key)
        return self.one(kind, {**values, **said}, "")

    def value(self, key: str, value: Any) -> Any:
        """Dates are read as text, and other readers' as dates."""
        return value.isoformat() if isinstance(value, date) else value

    def one(self, kind: type[One], values: Mapping[str, Any], key: str) -> One:
        """`key` is the one that is looked at; "" stands for all together, where what is required must be there."""
        required = {"start_date": date.min} if kind is Task and key else {}
        if kind is Task and not key and "start_date" not in values:
            raise Problem(self.at("", "start_date: is missing, as in start_date: 2026-01-31"))
        try:
            return from_mapping(kind, {**required, **values}, "")
        except BadDefinitions as error:
            right = f"; one of {', '.join(CHOICES[key])}" if key in CHOICES else ""
            raise Problem(self.at(key, (str(error).partition(": : ")[2] or str(error)) + right)) from None

    def at(self, key: str, reason: str) -> str:
        place = re.search(rf"^\s*['\"]?{re.escape(str(key))}['\"]?\s*:", self.text, re.MULTILINE) if key else None
        line = self.text.count("\n", 0, place.end()) + 1 if place else 1
        return f"{self.where}, line {line}: {reason}"


def read_text(path: Path, root: Path) -> str:
    """Word for word, with the ends of lines it has."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Problem(f"{path.relative_to(root)}, line {line}: it is not UTF-8") from None


# -- writing


def write_folder(definitions: Definitions, path: Path) -> tuple[Path, ...]:
    """Write what differs, remove what defines what is gone, leave all else; returns what was changed.

    A client's file that has hashes is for its owner alone. Raises NotWritable, with nothing changed, for names that no
    file can have, and for a folder where something else would be replaced or removed.
    """
    wanted = files_of(definitions)
    gone = sorted(defining(path) - set(wanted))
    replaced = [name for name, content in wanted.items() if (path / name).is_file() and not is_so(path / name, content)]
    if (gone or replaced) and not clients_of(path):
        raise NotWritable(
            f"{path / min([*gone, *replaced])} would be lost, and the folder as it is defines no client's reports; "
            "choose an empty one, or one that they were written into before"
        )
    private = {Path(each.username, CLIENT) for each in definitions.clients if each.password or each.access_key}
    changed = [name for name, content in wanted.items() if put(path / name, content, is_private=name in private)]
    for known in gone:
        (path / known).unlink()
        remove_empty((path / known).parent, path)
    return (*changed, *gone)


def clients_of(path: Path) -> tuple[Client, ...]:
    """Whose reports the folder defines; () where it does not, or cannot be read."""
    try:
        return read_folder(path).clients
    except BadFolder:
        return ()


def files_of(definitions: Definitions) -> Mapping[Path, bytes]:
    """The files, by their path in the folder."""
    for kind in KINDS:
        require_unique(kind, getattr(definitions, kind))
    found: dict[Path, bytes] = {}
    for name, text in texts_of(definitions):
        if name in found:
            raise NotWritable(f"two of them would be {name}")
        try:
            found[name] = text.encode("utf-8")
        except UnicodeEncodeError:
            raise NotWritable(f"{name}: it has half a character") from None
    return found


def place_of(definitions: Definitions, script: Script) -> str:
    """Where its text lies in a folder of files."""
    for task in canonical(definitions).tasks:
        if task.id_script == script.id and script.type is ScriptType.MAIN:
            return f"{definitions.client_of(task).username}/{task.file_name}.py"
    return f"{LIBRARIES}/{script.name.replace(':', '/')}.py"


def require_unique(kind: str, all_of_them: Iterable[Client | Query | Script | Task]) -> None:
    for key in ("id", "name"):
        if kind in ("scripts", "queries") or key == "id":
            for name, times in Counter(getattr(each, key) for each in all_of_them).items():
                if times > 1:
                    raise NotWritable(f"{times} {kind} have the {key} {name!r}")


def texts_of(definitions: Definitions) -> Iterator[tuple[Path, str]]:
    writing = Writing(definitions)
    for client in definitions.clients:
        check(check_username, client.username)
        values = said(client, {"id": identifier("client", client.username), "username": client.username, "name": None})
        yield Path(client.username, CLIENT), as_yaml(values)
    for task in canonical(definitions).tasks:
        yield from writing.report(task)
    yield from writing.unowned()


@dataclass
class Writing:
    """Definitions that are being written, with what was written already."""

    definitions: Definitions
    written: set[str] = field(default_factory=set)

    def report(self, task: Task) -> Iterator[tuple[Path, str]]:
        username = self.definitions.client_of(task).username
        check(check_file_name, task.file_name)
        values = said(
            task,
            {
                "id": identifier("task", f"{username}/{task.file_name}"),
                "id_homedir": task.id_homedir,
                "file_name": task.file_name,
                "extension": extension_of(task.file_name),
                "id_script": task.id_script,
                "start_date": None,
                "frequency": None,
                "is_active": None,
            },
        )
        beside = Path(username, task.file_name)
        if (script := self.definitions.script_of(task)) is not None:
            yield from self.code(script, beside, code_name(username, task.file_name), values)
        elif task.id_script:
            raise NotWritable(f"{beside}: its script {task.id_script} is not there")
        yield Path(f"{beside}.yml"), as_yaml(values)

    def code(self, script: Script, beside: Path, name: str, values: dict[str, Any]) -> Iterator[tuple[Path, str]]:
        """The script and its query, where they are not another's; what the report has to say of them."""
        if script.type is not ScriptType.MAIN or not self.take("script", script.id):
            values["script"] = script.name
            return
        put_said(values, "script", script, name, {"type": script.type, "id_query": script.id_query})
        yield Path(f"{beside}.py"), script.body
        query = self.query_of(script)
        if query is None:
            return
        if query.is_library or not self.take("query", query.id):
            values["query"] = query.name
            return
        put_said(values, "query", query, name, {"is_library": False})
        yield Path(f"{beside}.sql"), query.body

    def unowned(self) -> Iterator[tuple[Path, str]]:
        for script in self.definitions.scripts:
            if self.take("script", script.id):
                kind = ScriptType.MAIN if ":" in script.name else ScriptType.SNIP
                values = said_of_code("script", script, script.name, {"type": kind, "id_query": script.id_query})
                if (query := self.query_of(script)) is not None:
                    values["query"] = query.name
                yield from library(script.name, ".py", script.body, values)
        for query in self.definitions.queries:
            if self.take("query", query.id):
                values = said_of_code("query", query, query.name, {"is_library": ":" not in query.name})
                yield from library(query.name, ".sql", query.body, values)

    def query_of(self, script: Script) -> Query | None:
        found = self.definitions.query_of(script)
        if found is None and script.id_query:
            raise NotWritable(f"script {script.name!r}: its query {script.id_query} is not there")
        return found

    def take(self, kind: str, name: str) -> bool:
        """Whether it is to be written now, for it was not yet."""
        if (key := f"{kind} {name}") in self.written:
            return False
        self.written.add(key)
        return True


def library(name: str, suffix: str, body: str, values: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    parts = name.split(":")
    if len(name) > LONGEST_LIBRARY or not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.]*", part) for part in parts):
        raise NotWritable(f"{name[:60]!r} of a {'script' if suffix == '.py' else 'query'} is no name of a file")
    path = Path(LIBRARIES, *parts[:-1], f"{parts[-1]}{suffix}")
    yield path, body
    if values:
        yield path.with_name(f"{path.name}.yml"), as_yaml(values)


def put_said(values: dict[str, Any], kind: str, one: Script | Query, name: str, derived: Mapping[str, Any]) -> None:
    if more := said_of_code(kind, one, name, derived):
        values[kind] = more


def said_of_code(kind: str, one: Script | Query, name: str, derived: Mapping[str, Any]) -> dict[str, Any]:
    return said(one, {"id": identifier(kind, one.name), "name": name, "body": one.body, **derived})


def said(one: Client | Query | Script | Task, derived: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be written of it: what is neither its default nor follows from its place."""
    found = {}
    for each in fields(one):
        value = getattr(one, each.name)
        expected = derived.get(each.name, each.default)
        if value != expected:
            found[each.name] = value
    return found


def check(rule: Any, name: str) -> None:
    try:
        rule(name)
    except BadName as error:
        raise NotWritable(str(error)) from None


class Dumper(yaml.SafeDumper):
    """Writes what our loader reads back the same, as people would have written it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = all(line.isprintable() for line in text.split("\n"))
    readable = "|" if "\n" in text else None
    # In quotes alone all of Unicode's ends of lines stay what they are.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=readable if is_plain else '"')


Dumper.add_representer(str, as_text)
Dumper.add_multi_representer(StrEnum, lambda dumper, value: as_text(dumper, str(value)))
Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(list(value)))


def as_yaml(values: Mapping[str, Any]) -> str:
    return yaml.dump(dict(values), Dumper=Dumper, allow_unicode=True, sort_keys=False, width=110) if values else ""


def put(path: Path, content: bytes, *, is_private: bool = False) -> bool:
    """Write a file beside and put it in its place; False where it is so already."""
    if is_so(path, content):
        if is_private:
            path.chmod(0o600)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if is_private else 0o666), "wb"
    ) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    return True


def is_so(path: Path, content: bytes) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes() == content
    return False


def defining(root: Path) -> set[Path]:
    """The files that define something: of folders with a client, and of the libraries."""
    found: set[Path] = set()
    for inner in root.iterdir() if root.is_dir() else ():
        if inner.name == LIBRARIES:
            files: Iterable[Path] = inner.rglob("*")
        else:
            files = inner.iterdir() if (inner / CLIENT).is_file() else ()
        found |= {each.relative_to(root) for each in files if each.is_file() and each.suffix in OURS}
    return {each for each in found if not each.name.startswith(".")}


def remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent

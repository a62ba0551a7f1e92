"""What clients, files, scripts, queries, libraries and keys may be called.

The rules are those of the system that this pack replaces, which only its browser form knew; here they hold wherever
definitions come from. Two are narrower: names of files and users are ASCII, for they become paths, modules and URLs;
and names that differ by case alone are one, for scripts are named by the lower case of both.
"""

import keyword
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from rota.core.errors import RotaError
from rota.packs.reports.definitions import Client, Definitions, Query, Script, ScriptType, Task

RESERVED = frozenset({"tmp", "libraries"})
"""No client may have these: dry runs of the original went to the one, libraries lie in the other."""
SHORTEST_USERNAME, LONGEST_USERNAME = 3, 45
SHORTEST_FILE_NAME, LONGEST_FILE_NAME = 4, 100
SHORTEST_LIBRARY, LONGEST_LIBRARY = 2, 255
SHORTEST_CLIENT_NAME, LONGEST_CLIENT_NAME = 3, 255
LONGEST_EXTENSION = 32


class BadName(RotaError):
    """This name cannot be used."""


def check_username(name: str) -> None:
    """Of a client. Raises BadName."""
    require_length("user name", name, SHORTEST_USERNAME, LONGEST_USERNAME)
    refuse_other("user name", name, r"[A-Za-z0-9_]", "letters a to z, digits and _")
    if name.lower() in RESERVED:
        raise BadName(f"user name {name!r}: it is reserved, like {' and '.join(sorted(RESERVED - {name.lower()}))}")


def check_client_name(name: str) -> None:
    """As people read it. Raises BadName."""
    require_length("client name", name.strip(), SHORTEST_CLIENT_NAME, LONGEST_CLIENT_NAME)


def check_file_name(name: str) -> None:
    """Of what a task makes, with its extension. Raises BadName."""
    require_length("file name", name, SHORTEST_FILE_NAME, LONGEST_FILE_NAME)
    refuse_other("file name", name, r"[A-Za-z0-9_.]", "letters a to z, digits, _ and .")
    if name.startswith("."):
        raise BadName(f"file name {name!r}: begin it with a letter, a digit or _, for what begins with . is hidden")
    if not (extension := extension_of(name)):
        raise BadName(f"file name {name!r}: give it an extension, as in {name.rstrip('.')}.xml")
    if len(extension) > LONGEST_EXTENSION:
        raise BadName(f"file name {name!r}: its extension has {len(extension)} characters; {LONGEST_EXTENSION} at most")


def check_library_name(name: str) -> None:
    """Of a library script or query, which is imported by it. Raises BadName."""
    require_length("library name", name, SHORTEST_LIBRARY, LONGEST_LIBRARY)
    refuse_other("library name", name, r"[a-z0-9_]", "small letters a to z, digits and _")
    if not is_importable(name):
        raise BadName(f"library name {name!r}: Python cannot import what begins with a digit or is a word of its own")


def check_library_query(name: str, usernames: Iterable[str]) -> None:
    """Beside these clients: the module of such a query would hide the package of a client's. Raises BadName."""
    if username := next((each for each in usernames if each.lower() == name.lower()), None):
        raise BadName(
            f"library query {name!r}: the queries of the client {username} are imported from queries.{name.lower()}; "
            "give one of the two another name"
        )


def check_key(key: str) -> None:
    """Of a client, in clear, before it is hashed. Raises BadName, which does not repeat it."""
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", key):
        raise BadName(f"an access key has 32 hexadecimal digits; this one has {len(key)} characters")


def extension_of(file_name: str) -> str:
    """What follows the last dot; "" where nothing does."""
    return file_name.rpartition(".")[2] if "." in file_name else ""


def code_name(username: str, file_name: str) -> str:
    """Of a task's main script and query, which is imported as `queries.username.file_name_extension`.

    The original replaced the first dot only, which Python cannot import where there are two; here all are replaced.
    With one dot both give the same.
    """
    return f"{username}:{file_name.replace('.', '_')}".lower()


def is_importable(name: str) -> bool:
    """Whether every part of a name, as in `client:file_xml`, can stand in an import."""
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(":"))


def require_length(what: str, name: str, shortest: int, longest: int) -> None:
    if not shortest <= len(name) <= longest:
        raise BadName(f"{what} {name[:60]!r}: it has {len(name)} characters; {shortest} to {longest} would be right")


def refuse_other(what: str, name: str, allowed: str, in_words: str) -> None:
    for place, character in enumerate(name, 1):
        if not re.fullmatch(allowed, character):
            raise BadName(f"{what} {name!r}: {character!r} at place {place} is not allowed; use {in_words}")


def check_definitions(definitions: Definitions) -> tuple[str, ...]:
    """What is wrong with the names and references of a whole set, one sentence each; () where nothing is."""
    problems = [*of_clients(definitions.clients), *of_tasks(definitions), *of_code(definitions)]
    return tuple(dict.fromkeys(problems))


def of_clients(clients: Iterable[Client]) -> Iterator[str]:
    clients = tuple(clients)
    for client in clients:
        yield from said_by(check_username, client.username)
        yield from said_by(check_client_name, client.name)
    yield from repeated("clients", (client.username for client in clients))


def of_tasks(definitions: Definitions) -> Iterator[str]:
    for task in definitions.tasks:
        yield from said_by(check_file_name, task.file_name)
        yield from of_task(definitions, task)
    yield from repeated("reports", map(definitions.report_name, definitions.tasks))


def of_task(definitions: Definitions, task: Task) -> Iterator[str]:
    name = definitions.report_name(task)
    if task.extension and task.extension != extension_of(task.file_name):
        yield f"{name}: its extension is said to be {task.extension!r}"
    if task.id_script is None:
        return
    script = definitions.script_of(task)
    if script is None:
        yield f"{name}: its script {task.id_script} is not there"
    elif script.type is not ScriptType.MAIN:
        yield f"{name}: its script {script.name!r} is a library"
    elif script.name != (expected := code_name(definitions.client_of(task).username, task.file_name)):
        yield f"{name}: its script is called {script.name!r}; {expected!r} would be right"


def of_code(definitions: Definitions) -> Iterator[str]:
    for script in definitions.scripts:
        yield from of_script(definitions, script)
    for query in definitions.queries:
        yield from of_query(definitions, query)
    owned = Counter(task.id_script for task in definitions.tasks if task.id_script)
    for script in definitions.scripts:
        if owned[script.id] > 1:
            yield f"script {script.name!r} belongs to {owned[script.id]} reports; give each its own"
    yield from repeated("scripts", (script.name for script in definitions.scripts))
    yield from repeated("queries", (query.name for query in definitions.queries))


def of_script(definitions: Definitions, script: Script) -> Iterator[str]:
    if script.type is ScriptType.SNIP:
        yield from said_by(check_library_name, script.name)
    if script.id_query and script.id_query not in definitions.queries_by_id:
        yield f"script {script.name!r}: its query {script.id_query} is not there"


def of_query(definitions: Definitions, query: Query) -> Iterator[str]:
    if query.is_library:
        yield from said_by(check_library_name, query.name)
        usernames = [client.username for client in definitions.clients]
        yield from said_by(lambda name: check_library_query(name, usernames), query.name)
    elif not is_importable(query.name):
        yield f"query {query.name!r}: Python cannot import it"


def said_by(check: Callable[[str], None], name: str) -> Iterator[str]:
    try:
        check(name)
    except BadName as error:
        yield str(error)


def repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.lower()].append(name)
    for group in alike.values():
        if len(group) > 1:
            yield f"{what}: {' and '.join(map(repr, group))} are one name, for case does not count"

"""The files of one run: the script, the libraries and queries it imports, and the way to the report database."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rota.core.errors import RotaError
from rota.packs.reports.database import Database
from rota.packs.reports.definitions import Query, Script

CONNECTING = Path(__file__).parent / "sandbox/inside/database.py"


class BadBundle(RotaError):
    """A script's files cannot be written."""


@dataclass(frozen=True)
class Bundle:
    """Texts by path, relative to the tree that a sandbox shows as /scripts."""

    files: Mapping[str, str]


def bundle(
    main: Script, snippets: Iterable[Script] = (), queries: Iterable[Query] = (), database: Database | None = None
) -> Bundle:
    """All that a run of `main` needs. Scripts can `from database import connect` where there is a database."""
    files = {"main.py": main.body}
    files |= {f"sniplets/{module(each.name)}": each.body for each in snippets}
    files |= {f"queries/{module(each.name.replace(':', '/'))}": query_module(each.body) for each in queries}
    if database is not None:
        files |= {"database.py": CONNECTING.read_text(encoding="utf-8"), "database.json": database.to_json()}
    return Bundle(files)


def module(name: str) -> str:
    return name if name.endswith(".py") else f"{name}.py"


def query_module(body: str) -> str:
    """Python whose `query` is the body between two line feeds, as scripts know it; whatever is in it stays text."""
    text = f"\n{body}\n"
    return f"query = {text!r}\n"


def write_tree(files: Bundle, folder: Path) -> None:
    """Make `folder`, which must not be there yet, for its owner alone. Raises BadBundle before anything is written."""
    contents = {checked(name): encoded(name, text) for name, text in files.files.items()}
    folder.mkdir(mode=0o700)
    for path, content in contents.items():
        target = folder / path
        for parent in reversed(path.parents[:-1]):
            (folder / parent).mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or str(path) != name or ".." in path.parts or name == "." or not name.isprintable():
        raise BadBundle(f"{name!r} is no path of a file below its folder")
    if any(len(part.encode(errors="replace")) > 255 for part in path.parts):
        raise BadBundle(f"{name!r} is longer than a file's name may be")
    return path


def encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadBundle(
            f"{name}: character {error.start + 1} is half of a pair: {error.object[error.start]!r}"
        ) from None

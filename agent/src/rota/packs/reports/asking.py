"""Asking a host's task for a run, and reading what came of it: the other side of asked.py, by files alone."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

from rota.core.errors import RotaError
from rota.packs.reports.asked import INTERRUPTED, MOST_BYTES, is_interrupted
from rota.packs.reports.attempt import Attempt, BadAttempt, Trigger, from_mapping
from rota.packs.reports.definitions import BadDefinitions, Definitions, Task, from_json, to_json
from rota.packs.reports.dependencies import collect
from rota.packs.reports.running import script_to_run
from rota.packs.reports.workplace import Workplace

MOST_WAITING = 20


class NotTaken(RotaError):
    """The host does not take it."""


class State(StrEnum):
    """How a run that was asked for stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    GONE = "gone"
    """Its results are kept no longer, or it never reached the host."""


@dataclass(frozen=True)
class Standing:
    """`attempt` of what is done; `refusal` of what was refused, and whether that was because another runs."""

    state: State
    attempt: Attempt | None = None
    refusal: str = ""
    is_running: bool = False


def needed(definitions: Definitions, task: Task) -> Definitions:
    """This report alone, with what it imports, and without what is no business of a host.

    Raises NothingToRun, BadScript, UnknownImports.
    """
    script = script_to_run(definitions, task)
    found = collect(script, definitions)
    client = replace(definitions.client_of(task), password="", access_key="", notes="")
    return Definitions((client,), (task,), (script, *found.snippets), found.queries)


def ask(
    places: Workplace, identifier: str, definitions: Definitions, *, task: str, trigger: Trigger, asked_by: str
) -> None:
    """Leave a request, which the host has whole or not at all. Raises NotTaken."""
    said = {"trigger": trigger, "asked_by": asked_by, "task": task, "definitions": to_json(definitions)}
    content = json.dumps(said).encode()
    if len(content) > MOST_BYTES:
        raise NotTaken(f"it has more than {MOST_BYTES} bytes")
    try:
        if sum(not each.name.startswith(".") for each in places.asked.iterdir()) >= MOST_WAITING:
            raise NotTaken(f"{MOST_WAITING} others wait already")
        put(places.asked / f"{identifier}.json", content)
    except OSError as error:
        raise NotTaken(f"{places.asked}: {error.strerror}") from None


def put(path: Path, content: bytes) -> None:
    """Readable by its group, which is that of the folder. Raises OSError."""
    hidden = path.with_name(f".{path.name}-{uuid4()}")
    try:
        file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        os.fchmod(file, 0o640)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        hidden.rename(path)
    except OSError:
        with suppress(OSError):
            hidden.unlink()
        raise


def withdraw(places: Workplace, identifier: str) -> bool:
    """Whether the host had not taken it, and now never will."""
    try:
        (places.asked / f"{identifier}.json").unlink()
    except FileNotFoundError:
        return False
    return True


def standing(places: Workplace, identifier: str) -> Standing:
    """How it stands at this moment; it goes from the first of these places to the last."""
    folder = places.results / identifier
    if (places.asked / f"{identifier}.json").exists():
        return Standing(State.WAITING)
    if not folder.exists():
        return Standing(State.GONE)
    is_over = is_interrupted(folder)
    if said := read_result(folder):
        return said
    return Standing(State.REFUSED, refusal=INTERRUPTED) if is_over else Standing(State.RUNNING)


def read_result(folder: Path) -> Standing | None:
    """What the host says of it in the end; None before."""
    try:
        said: Mapping[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
        if "attempt" in said:
            return Standing(State.DONE, from_mapping(said["attempt"]))
        return Standing(State.REFUSED, refusal=str(said["refused"]), is_running=bool(said.get("is_running")))
    except FileNotFoundError:
        return None
    except (BadAttempt, ValueError, TypeError, KeyError) as error:
        return Standing(State.REFUSED, refusal=f"the host says what nobody understands: {error}")


def requested(places: Workplace, identifier: str) -> tuple[Definitions, Task] | None:
    """What was asked for, wherever it is by now; None where it is kept no longer."""
    for path in (places.asked / f"{identifier}.json", places.results / identifier / "request.json"):
        with suppress(FileNotFoundError, ValueError, KeyError, BadDefinitions):
            said = json.loads(path.read_text("utf-8"))
            definitions = from_json(said["definitions"])
            return definitions, definitions.report(said["task"])
    return None

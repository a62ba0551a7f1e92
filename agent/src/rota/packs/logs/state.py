"""What a task of this pack remembers from run to run: JSON files in a folder of its own."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rota.core.errors import RotaError
from rota.packs.logs.folders import synchronise
from rota.packs.logs.tailing import Mark


class StateBroken(RotaError):
    """What this task remembers cannot be read; remove the file to begin anew."""


class NoState(RotaError):
    """The folder in which this task remembers what it did cannot be used."""


def own_folder(state: Path, task: str) -> Path:
    """STATE/NAME, where NAME is what this host calls the task. Raises NoState."""
    folder = state / (os.environ.get("ROTA_TASK") or task)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NoState(
            f"{folder}: {error.strerror}; the setting state names it, and the field write has to list it"
        ) from error
    return folder


def read(path: Path) -> dict[str, Any]:
    """An empty mapping where there is no file yet. Raises StateBroken."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StateBroken(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise StateBroken(f"{path}: it holds no mapping")
    return content


def write(path: Path, content: Mapping[str, object]) -> None:
    """Replace the file in one step; it is on disk when this returns."""
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    synchronise(path.parent)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    synchronise(path.parent)


def marks_of(content: Mapping[str, Any]) -> dict[str, Mark]:
    """Raises StateBroken."""
    try:
        return {each["identity"]: Mark(**each) for each in content.get("marks", ())}
    except (TypeError, KeyError) as error:
        raise StateBroken(f"marks: {error}") from error


def as_list(marks: Mapping[str, Mark]) -> list[dict[str, object]]:
    return [asdict(mark) for mark in marks.values()]

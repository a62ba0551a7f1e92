"""Runs for which somebody set a time: a file each, which is there until the run has begun."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rota.adapters.spool import UnsafeFile, read_plain, write_through
from rota.core.record import ParameterValue

LIMIT = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One run of a task at a moment: by whom, and what the run is told, as in a `rota.core.request.Request`."""

    task: str
    at: datetime
    asked_by: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    is_dry_run: bool = False

    @property
    def name(self) -> str:
        """What tells it from all others; there is one for a task and a moment."""
        return f"{self.task}-{int(self.at.timestamp())}"


@dataclass(frozen=True)
class Requests:
    """The folder of these files."""

    folder: Path

    def all(self) -> list[Asked]:
        """All that can be read, by time."""
        paths = sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []
        return sorted(filter(None, map(read_asked, paths)), key=lambda asked: (asked.at, asked.task))

    def store(self, asked: Asked) -> None:
        """Keep it. Raises FileExistsError when there is one for this task and moment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".{asked.name}.new"
        write_through(beside, json.dumps(asdict(asked), default=datetime.isoformat) + "\n")
        beside.chmod(0o644)
        try:
            self.path(asked).hardlink_to(beside)
        finally:
            beside.unlink()

    def remove(self, asked: Asked) -> None:
        self.path(asked).unlink(missing_ok=True)

    def path(self, asked: Asked) -> Path:
        return self.folder / f"{asked.name}.json"


def read_asked(path: Path) -> Asked | None:
    try:
        values: dict[str, Any] = json.loads(read_plain(path, LIMIT))
        at = datetime.fromisoformat(values["at"]).astimezone(UTC)
        return Asked(**(values | {"at": at, "arguments": tuple(values["arguments"])}))
    except (FileNotFoundError, UnsafeFile, ValueError, KeyError, TypeError):
        return None

"""What a host remembers between two looks at its runs: how each task stands, and a file for each open incident."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rota.adapters.spool import UnsafeFile, read_plain, write_through
from rota.core.incident import Incident, Standing
from rota.core.status import Status

LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Standings:
    """The files. All of it can be found again from the records, so what cannot be read counts as absent."""

    folder: Path

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Standing]:
        """How each task stood at the last look."""
        found: dict[str, Standing] = {}
        for task, values in read_mapping(self.folder / "standings.json").items():
            if isinstance(values, dict) and (standing := parse_standing(values)):
                found[task] = standing
        return found

    def store(self, standings: Mapping[str, Standing]) -> None:
        replace(self.folder / "standings.json", {task: asdict(each) for task, each in standings.items()})

    def incidents(self) -> dict[str, Incident]:
        """The incidents that are open, or closed and not told of yet, by task. Raises PermissionError."""
        paths = list(self.folder.iterdir()) if self.folder.is_dir() else []
        found = (parse_incident(read_mapping(path)) for path in sorted(paths) if path.suffix == ".incident")
        return {incident.task: incident for incident in found if incident}

    def keep(self, incident: Incident) -> None:
        replace(self.folder / f"{incident.task}.incident", asdict(incident))

    def forget(self, tasks: Iterable[str]) -> None:
        for task in tasks:
            (self.folder / f"{task}.incident").unlink(missing_ok=True)


def parse_standing(values: Mapping[str, Any]) -> Standing | None:
    try:
        return Standing(
            run=values["run"],
            started=datetime.fromisoformat(values["started"]),
            status=Status(values["status"]),
            duration=float(values["duration"]) if values["duration"] is not None else None,
            succeeded=datetime.fromisoformat(values["succeeded"]) if values["succeeded"] else None,
        )
    except (KeyError, ValueError, TypeError):
        return None


def parse_incident(values: Mapping[str, Any]) -> Incident | None:
    try:
        return Incident(
            task=values["task"],
            since=datetime.fromisoformat(values["since"]),
            failures=int(values["failures"]),
            run=values["run"],
            reason=values["reason"],
            is_told=bool(values["is_told"]),
            recovered=datetime.fromisoformat(values["recovered"]) if values["recovered"] else None,
        )
    except (KeyError, ValueError, TypeError):
        return None


def read_mapping(path: Path) -> dict[str, Any]:
    """The JSON object in this file; empty when there is none."""
    try:
        found = json.loads(read_plain(path, LIMIT))
    except (FileNotFoundError, UnsafeFile, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace(path: Path, value: object) -> None:
    """Write beside and rename."""
    beside = path.with_suffix(".new")
    write_through(beside, json.dumps(value, default=datetime.isoformat) + "\n")
    beside.replace(path)

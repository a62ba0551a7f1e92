"""The pauses of all tasks: a file each, which is there while the task is paused."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rota.adapters.spool import UnsafeFile, read_plain, replace_through
from rota.core.pause import Pause

LIMIT = 64 * 1024


@dataclass(frozen=True)
class Pauses:
    """The folder of the pauses."""

    folder: Path

    def load(self, task: str) -> Pause | None:
        """The task's pause; None where there is none, or none that can be read."""
        try:
            return parse_pause(json.loads(read_plain(self.path(task), LIMIT)))
        except (FileNotFoundError, UnsafeFile, ValueError, KeyError, TypeError):
            return None

    def all(self) -> dict[str, Pause]:
        """Every pause, by task."""
        names = sorted(path.stem for path in self.folder.glob("*.json")) if self.folder.is_dir() else []
        found = ((name, self.load(name)) for name in names)
        return {name: pause for name, pause in found if pause}

    def store(self, task: str, pause: Pause) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_through(self.path(task), json.dumps(asdict(pause), default=datetime.isoformat) + "\n", mode=0o644)

    def remove(self, task: str) -> None:
        self.path(task).unlink(missing_ok=True)

    def path(self, task: str) -> Path:
        return self.folder / f"{task}.json"


def parse_pause(values: dict[str, str | None]) -> Pause:
    """Raises KeyError, TypeError or ValueError."""
    until = values["until"]
    return Pause(
        since=datetime.fromisoformat(str(values["since"])),
        until=datetime.fromisoformat(until) if until else None,
        by=str(values["by"]),
        reason=str(values["reason"] or ""),
    )

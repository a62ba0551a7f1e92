"""The plans of all tasks: a file each, which the accounting writes and the runner reads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rota.adapters.spool import UnsafeFile, read_plain, replace_through, turn_in
from rota.core.plan import BadPlan, Plan, read_plan, write_plan

LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Look:
    """When the slots were last accounted for: at which time, in which boot, and how many seconds that had lasted."""

    at: datetime
    boot: str
    first: int
    uptime: float


@dataclass(frozen=True)
class Plans:
    """The folder of the plans. Tasks read their own plan and may not list the folder."""

    folder: Path

    def make(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True)
            self.folder.chmod(0o711)

    def path(self, task: str) -> Path:
        return self.folder / task

    def names(self) -> list[str]:
        """The tasks that have a plan."""
        names = (path.name for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return sorted(name for name in names if "." not in name)

    def load(self, task: str) -> Plan | None:
        """The task's plan; None where it has none. Raises BadPlan."""
        try:
            return read_plan(read_plain(self.path(task), LIMIT).decode("utf-8"))
        except FileNotFoundError:
            return None
        except (UnsafeFile, UnicodeDecodeError) as error:
            raise BadPlan(f"{self.path(task)}: {error}") from error
        except BadPlan as error:
            raise BadPlan(f"{self.path(task)}: {error.args[0]}") from None

    def store(self, task: str, plan: Plan) -> None:
        """Put the plan in place whole. Raises OSError, as when the disk is full; then the plan stays as it was."""
        replace_through(self.path(task), write_plan(plan), mode=0o644)

    def remove(self, task: str) -> None:
        self.path(task).unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for our turn: a timer and several people may ask for an accounting at once."""
        self.make()
        with turn_in(self.folder):
            yield

    def last_look(self) -> Look | None:
        try:
            values = json.loads(read_plain(self._look, LIMIT))
            at, boot, first, uptime = (values[key] for key in ("at", "boot", "first", "uptime"))
            return Look(at=datetime.fromisoformat(at), boot=str(boot), first=int(first), uptime=float(uptime))
        except (FileNotFoundError, UnsafeFile, ValueError, KeyError, TypeError):
            return None

    def keep_look(self, look: Look) -> None:
        replace_through(self._look, json.dumps(asdict(look), default=datetime.isoformat) + "\n")

    @property
    def _look(self) -> Path:
        return self.folder / ".look"

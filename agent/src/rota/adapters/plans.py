"""The plans of all tasks: a file each, which the accounting writes and the runner reads."""

from dataclasses import dataclass
from pathlib import Path

from rota.adapters.spool import UnsafeFile, read_plain, write_through
from rota.core.plan import BadPlan, Plan, read_plan, write_plan

LIMIT = 4 * 1024 * 1024


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
        beside = self.folder / f".{task}.new"
        write_through(beside, write_plan(plan))
        beside.chmod(0o644)
        beside.replace(self.path(task))

    def remove(self, task: str) -> None:
        self.path(task).unlink(missing_ok=True)

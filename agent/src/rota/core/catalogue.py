"""The catalogue as a value: all tasks of a host, by name, and who the host is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rota.core.errors import RotaError
from rota.core.mail import Alerting
from rota.core.nearest import nearest
from rota.core.retention import Keep
from rota.core.status import Environment
from rota.core.task import Task

DEFAULT_LISTEN: timedelta | None = timedelta(seconds=15)


class UnknownTask(RotaError):
    """There is no task of this name."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Who this host is, and where its records go. `certificate` is the diary's pinned one; None trusts the system's.

    `asking` says whether it heeds what people ask of it in the diary, `listen` how often it looks whether they do.
    """

    host: str
    environment: Environment
    diary: str | None = None
    certificate: Path | None = None
    alerting: Alerting = Alerting()
    keep: Keep = Keep()
    asking: bool = False
    listen: timedelta | None = DEFAULT_LISTEN


@dataclass(frozen=True)
class Catalogue:
    """All tasks of a host, and the host itself."""

    agent: Agent
    tasks: Mapping[str, Task]

    @property
    def asks_for_urls(self) -> bool:
        """Whether anything goes out by a URL: to a channel, or as a heartbeat."""
        alerting = self.agent.alerting
        return bool(alerting.channels or alerting.heartbeat or any(task.heartbeat for task in self.tasks.values()))

    def task(self, name: str) -> Task:
        """The task of this name, which may be written with hyphens. Raises UnknownTask."""
        try:
            return self.tasks[name.replace("-", "_")]
        except KeyError:
            known = ", ".join(self.tasks) or "none; see docs/tasks.md for how to declare one"
            raise UnknownTask(f"{name!r}{nearest(name, self.tasks)}; there are: {known}") from None

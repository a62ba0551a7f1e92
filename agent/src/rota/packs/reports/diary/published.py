"""What was published of a report: the files that its client may have.

A report that is deleted leaves its files on the disk, and so does a client. Who is given such a name afterwards is not
given these as well: what counts was made since the report, and its client, have been called so.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from rota.packs.reports.diary import places
from rota.packs.reports.diary.keeping import history_of, history_value
from rota.packs.reports.diary.models import Client, Task
from rota.packs.reports.publishing import Export, Version

TICK = timedelta(seconds=1.1)
"""By how much a file can seem older than it is: its time is told in whole seconds, of a clock that goes in steps."""


@dataclass(frozen=True)
class Published:
    """The files of a client's reports."""

    client: Client
    _known: dict[str, datetime] = field(default_factory=dict)
    """Since when the files of a report count, by its id: a page asks for the newest and for those before it."""

    @cached_property
    def since(self) -> datetime:
        return unchanged_since(self.client, "username")

    def current(self, task: Task) -> Version | None:
        """What the client gets now; None where there is nothing yet."""
        found = Export(places.exports()).current(self.target(task))
        return found if found and found.at >= self.since_of(task) else None

    def versions(self, task: Task) -> tuple[Version, ...]:
        """What it got before, newest first."""
        found = Export(places.exports()).versions(self.target(task))
        since = self.since_of(task)
        return tuple(each for each in found if each.at >= since)

    def target(self, task: Task) -> str:
        return f"{self.client.username}/{task.file_name}"

    def since_of(self, task: Task) -> datetime:
        if task.pk not in self._known:
            self._known[task.pk] = max(self.since, unchanged_since(task, "id_homedir", "file_name")) - TICK
        return self._known[task.pk]


def unchanged_since(row: Task | Client, *names: str) -> datetime:
    """Since when these fields are what they are now."""
    now, since = history_value(row), row.updated_at
    for entry in history_of(row).iterator():
        if any(entry.value.get(name) != now[name] for name in names):
            break
        since = entry.at
    return since

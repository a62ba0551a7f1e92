"""A pause: a task whose slots pass without runs, from now until somebody or a moment ends it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from rota.core.status import Skip


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Since when, until when (None: until it is resumed), by whom and why."""

    since: datetime
    until: datetime | None
    by: str
    reason: str = ""

    def covers(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)

    @property
    def words(self) -> str:
        """`until 2026-12-01 08:00 UTC by anna, moving house`."""
        until = f"until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.until else "until resumed"
        return f"{until} by {self.by}" + (f", {self.reason}" if self.reason else "")

    @property
    def skip(self) -> str:
        """The reason of a slot that this pause covers."""
        return Skip.PAUSED.because(self.words)

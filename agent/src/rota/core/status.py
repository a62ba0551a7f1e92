"""The closed sets of words in a record: environments, statuses, triggers, why runs are skipped, a deploy's outcomes."""

from enum import StrEnum


class Environment(StrEnum):
    """The inventory group a host belongs to."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    BACKUP = "backup"

    @property
    def speaks(self) -> bool:
        """Whether what it sends leaves the estate: production's does, and the backup host's word that backups fail."""
        return self in (Environment.PRODUCTION, Environment.BACKUP)

    @property
    def heeds_reviews(self) -> bool:
        """Whether the diary's word that a failure is handled keeps it quiet: not where production itself is watched."""
        return self is not Environment.BACKUP


class Status(StrEnum):
    """What became of a run."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        return self is not Status.RUNNING


class Trigger(StrEnum):
    """What started a run."""

    TIMER = "timer"
    MANUAL = "manual"
    PATH = "path"
    CATCH_UP = "catch_up"
    RETRY = "retry"


class Skip(StrEnum):
    """Why a slot passed without a run; a record's reason is the word alone, or `word: detail`."""

    LOCKED = "locked"
    PAUSED = "paused"
    EXCEPTED = "excepted"
    DAYLIGHT_SAVING = "daylight saving"
    STILL_RUNNING = "still running"
    HOST_DOWN = "host was down"
    NEVER_STARTED = "never started"
    STOPPED = "stopped"

    def because(self, detail: str) -> str:
        """The reason with its detail, as a record holds it."""
        return f"{self}: {detail}" if detail else str(self)

    @classmethod
    def of(cls, reason: str) -> "Skip | None":
        """The word that this reason begins with; None when it is none of these."""
        word = reason.partition(":")[0]
        return cls(word) if word in list(cls) else None


class DeployAction(StrEnum):
    """Which way a deploy moved the host."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    RETURN = "return"


class DeployStatus(StrEnum):
    """What became of a deploy."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETURNED = "returned"

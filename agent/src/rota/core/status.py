"""The closed sets of words in a run record: environments, statuses, triggers, and a deploy's actions and outcomes."""

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

"""Ids of runs: UUIDs of version 7, which begin with when the run began, and so sort by it."""

from datetime import UTC, datetime
from uuid import UUID


def first_identifier(moment: datetime) -> str:
    """What sorts before the id of every run that began at this moment or later (RFC 9562 section 5.7)."""
    digits = f"{int(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def began_at(identifier: str) -> datetime | None:
    """When the run of this id began, to the millisecond; None for what is no such id."""
    try:
        return datetime.fromtimestamp(int(identifier[:8] + identifier[9:13], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def parse_identifier(text: str) -> UUID | None:
    """The id of a run in this text; None where it is none."""
    try:
        identifier = UUID(text)
    except ValueError:
        return None
    return identifier if identifier.version == 7 and str(identifier) == text else None

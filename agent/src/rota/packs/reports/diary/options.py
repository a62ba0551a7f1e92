"""What an installation says of the reports' pages: `diary.packs.reports` in its configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, time
from typing import Any

from django.conf import settings
from django.utils import timezone

from rota.diary.configuration import ConfigurationError, refuse_unknown
from rota.packs.reports.busy import is_busy

WHERE = "diary.packs.reports"


@dataclass(frozen=True, kw_only=True)
class Options:
    """`busy_start` and `busy_hours` are hours of the night, in the diary's zone, in which nobody asks for runs.

    Programs ask at /runtask/ID by POST, and by GET too where `get_runs` says so. Each waits for its result so many
    seconds, as `waiting` of them do at a time in one process of the diary.
    """

    busy_start: time = time(2)
    busy_hours: int = 0
    get_runs: bool = False
    wait_seconds: int = 50
    waiting: int = 2


LIMITS = {"busy_hours": range(25), "wait_seconds": range(1, 3601), "waiting": range(1, 65)}


def options() -> Options:
    """Raises ConfigurationError."""
    return read_options(settings.CONFIGURATION.packs.get("reports", {}))


def read_options(section: Mapping[str, Any]) -> Options:
    """Raises ConfigurationError."""
    refuse_unknown(WHERE, section, {each.name for each in fields(Options)})
    values = dict(section)
    for name, limits in LIMITS.items():
        if name in values and (type(values[name]) is not int or values[name] not in limits):
            raise ConfigurationError(
                f"{WHERE}.{name} is {values[name]!r}; it is a whole number from {limits[0]} to {limits[-1]}"
            )
    if type(values.get("get_runs", False)) is not bool:
        raise ConfigurationError(f"{WHERE}.get_runs is {values['get_runs']!r}; it is true or false")
    if "busy_start" in values:
        values["busy_start"] = read_time(values["busy_start"])
    return Options(**values)


def read_time(said: object) -> time:
    try:
        return datetime.strptime(str(said), "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        raise ConfigurationError(f"{WHERE}.busy_start is {said!r}; it is a time of day like '02:00'") from None


def is_busy_now(said: Options, now: datetime | None = None) -> bool:
    """In the diary's own zone, whoever reads."""
    return is_busy(said.busy_start, said.busy_hours, timezone.localtime(now, timezone.get_default_timezone()))

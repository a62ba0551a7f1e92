"""The busy window: hours of the night in which the reports that people ask for have to wait."""

from datetime import datetime, time, timedelta


def is_busy(start: time, hours: int, now: datetime | time) -> bool:
    """Whether `start` ≤ now < `start` + `hours`, in the host's own time, also over midnight.

    The original left out the first moment as well, and had no window over midnight. With no hours it is never busy,
    with 24 or more always.
    """
    clock = now.time() if isinstance(now, datetime) else now
    return (seconds(clock) - seconds(start)) % timedelta(days=1) < timedelta(hours=hours)


def seconds(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)

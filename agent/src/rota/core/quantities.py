"""Durations, sizes and moments as people and systemd write them."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, "d": 86400, "w": 604800}
YEARS = range(1970, 2200)
"""What systemd.time(7) can name."""
LONGEST = 1000 * 366 * 86400
"""Beyond so many seconds moments cannot be reckoned with."""
DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:us|ms|sec|s|min|m|hr|h|d|w)\s*)+")
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
SIZE = re.compile(r"[1-9]\d*[KMGT]?")
ANSWERS = {"true": True, "yes": True, "false": False, "no": False}


def parse_answer(value: object) -> bool:
    """Yes or no. Raises ValueError saying what would be right."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ANSWERS:
        return ANSWERS[value.lower()]
    raise ValueError("true or false")


def parse_duration(value: object) -> timedelta:
    """A duration from seconds or from text like `1h 30min`. Raises ValueError saying what would be right."""
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and DURATION.fullmatch(value.strip()):
        seconds = sum(float(number) * SECONDS[unit] for number, unit in PART.findall(value))
    if not 0 <= seconds <= LONGEST:
        raise ValueError("a duration like 90s, 30min or 1h 30min")
    return timedelta(seconds=seconds)


def parse_moment(text: str) -> datetime:
    """A moment from ISO 8601 text, local where it names no zone. Raises ValueError saying what would be right."""
    words, _, zone = text.strip().rpartition(" ")
    try:
        if words and zone[:1].isalpha():
            moment = datetime.fromisoformat(words).replace(tzinfo=ZoneInfo(zone))
        else:
            moment = datetime.fromisoformat(text.strip()).astimezone()
        if moment.year in YEARS:
            return moment
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError):
        pass
    raise ValueError("a time like 2026-12-01 08:00 (local), or with a zone as in 2026-12-01T08:00Z")


def parse_size(value: object) -> str:
    """A size as systemd reads it, like `512M`. Raises ValueError saying what would be right."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    if isinstance(value, str) and SIZE.fullmatch(value):
        return value
    raise ValueError("a size in bytes like 512M or 2G")


def show_seconds(duration: timedelta) -> str:
    """The duration in seconds, without a needless fraction."""
    return f"{duration.total_seconds():g}"


def show_duration(seconds: float | None) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def show_span(duration: timedelta) -> str:
    """A span of time that people think of: `26 h`, `1 h 05 min`, `3 days`, `3 days 2 h`."""
    days, rest = divmod(round(duration.total_seconds()), 86400)
    if days < 2:
        return show_duration(duration.total_seconds()).removesuffix(" 00 min").removesuffix(" 00 s")
    return f"{days} days {rest // 3600} h" if rest >= 3600 else f"{days} days"


def show_size(size: int) -> str:
    """A size for people, in powers of 1000."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"

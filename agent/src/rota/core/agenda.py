"""Slots as a calendar that other programs subscribe to: iCalendar (RFC 5545), written here.

The library that reads calendars of holidays takes a fifth of a millisecond to write one event, and a team's has
thousands.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WIDTH = 75
"""Of a line, in bytes of UTF-8 without its end (RFC 5545 section 3.1)."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
ESCAPES = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})


@dataclass(frozen=True, kw_only=True)
class Series:
    """Events that differ by their moments alone; with those, `name` tells each of them from all others."""

    name: str
    begins: Sequence[datetime]
    length: timedelta
    summary: str
    description: str
    url: str


def write_agenda(name: str, series: Iterable[Series], *, now: datetime, refresh: timedelta) -> str:
    """The text of the calendar; `refresh` is how often it is worth a look (RFC 7986 section 5.7)."""
    head = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Rota//Diary//EN",
        f"NAME:{escaped(name)}",
        f"X-WR-CALNAME:{escaped(name)}",
        f"REFRESH-INTERVAL;VALUE=DURATION:{span(refresh)}",
    ]
    events = (event for each in series for event in events_of(each, moment(now)))
    return "".join([text_of(head), *events, text_of(["END:VCALENDAR"])])


def events_of(series: Series, stamp: str) -> Iterator[str]:
    described = [f"DESCRIPTION:{escaped(series.description)}"] if series.description else []
    # What a machine does keeps nobody busy: TRANSP.
    last = [f"URL:{series.url}", "TRANSP:TRANSPARENT", "END:VEVENT"]
    same = text_of([f"DURATION:{span(series.length)}", f"SUMMARY:{escaped(series.summary)}", *described, *last])
    for begin in map(moment, series.begins):
        own = ["BEGIN:VEVENT", f"UID:{escaped(series.name)}-{begin}@rota", f"DTSTAMP:{stamp}", f"DTSTART:{begin}"]
        yield text_of(own) + same


def text_of(lines: Iterable[str]) -> str:
    return "".join(f"{folded(line)}\r\n" for line in lines)


def moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def span(value: timedelta) -> str:
    return f"PT{round(value.total_seconds())}S"


def escaped(text: str) -> str:
    """A value of type TEXT (section 3.3.11)."""
    return CONTROL.sub(" ", text.replace("\r\n", "\n")).translate(ESCAPES)


def folded(line: str) -> str:
    """A line in pieces that are short enough, none of which begins within a character."""
    if len(line) <= WIDTH and line.isascii():
        return line
    pieces, piece, size = [], "", 0
    for character in line:
        length = len(character.encode())
        if size + length > WIDTH:
            pieces.append(piece)
            piece, size = " ", 1
        piece += character
        size += length
    return "\r\n".join([*pieces, piece])

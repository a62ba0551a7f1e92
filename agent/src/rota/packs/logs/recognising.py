"""Errors in logs: how each kind of log writes one, and how a line is told from the beginning of the next record."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

MOST_LINES = 100
MONTHS = {name: at for at, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
GROUP = "  + Exception Group Traceback (most recent call last):"
"""How the traceback of several exceptions at once begins (PEP 654)."""
END_OF_GROUP = re.compile(r" +\+-{30,}")
TRACEBACK = ("Traceback (most recent call last):", GROUP)
LEFT_OUT = "…"
SEVERE = frozenset({"error", "crit", "alert", "emerg"})


@dataclass(frozen=True)
class Occurrence:
    """One error: when, what it says, and what it is known again by, before numbers are taken out."""

    at: datetime | None
    text: str
    about: str


@dataclass
class Record:
    """The lines of one entry of a log. Of a long one the first and the last hundred are kept."""

    start: int
    end: int
    first: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    dropped: int = 0
    has_traceback: bool = False

    def add(self, line: str, end: int) -> None:
        self.end = end
        self.has_traceback |= line.startswith(TRACEBACK)
        if len(self.first) < MOST_LINES:
            self.first.append(line)
            return
        self.last.append(line)
        if len(self.last) > MOST_LINES:
            del self.last[0]
            self.dropped += 1

    @property
    def lines(self) -> list[str]:
        return [*self.first, *([f"{LEFT_OUT} {self.dropped} lines"] if self.dropped else []), *self.last]


@dataclass(frozen=True)
class Recogniser:
    """One kind of log. `begins` tells whether a line begins a record, `read` makes an error of one, or None.

    `context` takes the context so far and a line, where later lines cannot be understood without it.
    """

    name: str
    begins: Callable[[str, Record | None], bool]
    read: Callable[[list[str], str], Occurrence | None]
    context: Callable[[str, str], str] = lambda context, _: context


def records(lines: Iterable[tuple[str, int, int]], begins: Callable[[str, Record | None], bool]) -> Iterator[Record]:
    """Lines, each with where it begins and ends, gathered to records; lines before the first one are a record, too."""
    record: Record | None = None
    for line, start, end in lines:
        if record is None or begins(line, record):
            if record:
                yield record
            record = Record(start, end)
        record.add(line, end)
    if record:
        yield record


# -- Python

STAMP = re.compile(r"\[?(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?\s*([+-]\d\d:?\d\d|Z)?\]?\s*")
# Some formats cut a level to five letters.
LEVELS = r"(DEBUG|INFO|NOTICE|NOTIC|WARNING|WARNI|WARN|ERROR|CRITICAL|CRITI|FATAL)"
BARE_LEVEL = re.compile(rf"{LEVELS}[:\s]")
LEVEL = re.compile(rf"\b{LEVELS}\b")
DJANGO = ("Internal Server Error: ", "Exception in thread ", "Exception ignored in: ")
HARMLESS = frozenset({"DEBUG", "INFO", "NOTICE", "NOTIC", "WARNING", "WARNI", "WARN"})


def begins_python(line: str, record: Record | None) -> bool:
    """A time, a level, or a traceback that belongs to no entry before it."""
    if STAMP.match(line) or BARE_LEVEL.match(line) or line.startswith(DJANGO):
        return True
    if not line.startswith(TRACEBACK):
        return False
    return record is None or record.has_traceback and not chained(record.lines) or is_harmless(record.first[0])


def chained(lines: list[str]) -> bool:
    """Whether a traceback goes on with the one of the error it came from, or that came of it."""
    said = next((line for line in reversed(lines) if line.strip()), "")
    return said.startswith(("During handling of the above exception", "The above exception was the direct cause"))


def is_harmless(line: str) -> bool:
    return level_of(line) in HARMLESS


def level_of(line: str) -> str:
    """The level of an entry, which stands near its beginning; empty where it has none."""
    rest = STAMP.sub("", line, count=1)
    found = LEVEL.search(rest[:60])
    return found[1] if found else ""


def read_python(lines: list[str], _: str = "", *, errors_alone: bool = True) -> Occurrence | None:
    """An entry with a traceback or a level from ERROR on.

    In a log of errors alone, one that begins with a time and names no level is one as well.
    """
    stamp = STAMP.match(lines[0])
    level = level_of(lines[0])
    at = next((number for number, line in enumerate(lines) if line.startswith(TRACEBACK)), None)
    is_unnamed = bool(stamp) and not level and errors_alone
    if at is None and (level in HARMLESS or not (level or is_unnamed or lines[0].startswith(DJANGO))):
        return None
    # What follows a traceback in an entry may belong to its message; after a bare one it is another matter.
    is_entry = stamp or BARE_LEVEL.match(lines[0])
    whole = lines if at is None or is_entry else [*lines[:at], *bare_traceback(lines[at:])]
    text = "\n".join([STAMP.sub("", whole[0], count=1), *whole[1:]]).lstrip("\n").rstrip()
    return Occurrence(
        moment(stamp) if stamp else None, text, text if at is None else "\n".join(bare_traceback(lines[at:]))
    )


def bare_traceback(lines: list[str]) -> list[str]:
    """A traceback with those it is chained to, up to its last exception; what was printed later is another matter."""
    last = max(at for at, line in enumerate(lines) if line.startswith(TRACEBACK) and (at == 0 or chained(lines[:at])))
    if lines[last].startswith(GROUP):
        ends = [at for at, line in enumerate(lines) if at > last and END_OF_GROUP.fullmatch(line)]
        return lines[: ends[-1] + 1] if ends else lines
    for at, line in enumerate(lines[last + 1 :], last + 1):
        if line and not line[0].isspace() and not line.startswith(LEFT_OUT):
            return lines[: at + 1]
    return lines


def exception_of(lines: list[str]) -> str:
    """The line of a traceback that names its last exception; of several at once, that which names them all."""
    traceback = bare_traceback(lines)
    last = max(at for at, line in enumerate(traceback) if line.startswith(TRACEBACK))
    if not traceback[last].startswith(GROUP):
        return traceback[-1]
    named = (line.removeprefix("  | ") for line in traceback[last:] if re.match(r"  \| \S", line))
    return next((line for line in named if not line.startswith(LEFT_OUT)), traceback[-1].strip())


def moment(stamp: re.Match[str]) -> datetime | None:
    """The time of an entry; one that names no zone is the host's."""
    year, month, day, hour, minute, second = (int(stamp[number]) for number in range(1, 7))
    zone = stamp[8]
    try:
        local = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the zone follows
        if zone:
            return datetime.fromisoformat(f"{local.isoformat()}{'+00:00' if zone == 'Z' else zone}").astimezone(UTC)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def local_moment(*parts: int) -> datetime | None:
    try:
        return datetime(*parts).astimezone(UTC)  # type: ignore[arg-type] # noqa: DTZ001 - logs write the host's time
    except (ValueError, OverflowError):
        return None


# -- nginx

NGINX = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d) \[(\w+)\] (?:\d+#\d+: )?(?:\*\d+ )?(.*)")


def read_nginx(lines: list[str], _: str) -> Occurrence | None:
    found = NGINX.match(lines[0])
    if not found or found[7] not in SEVERE:
        return None
    text = "\n".join([f"[{found[7]}] {found[8]}", *lines[1:]])
    return Occurrence(local_moment(*(int(found[number]) for number in range(1, 7))), text, about_request(text))


# What differs from visitor to visitor, and says nothing of the error.
OF_VISITORS = re.compile(r', (?:client|referrer|request|host): (?:"[^"]*"|[^,\s]+)')


UPSTREAM = re.compile(r'(, upstream: "\w+://[^/"]*)[^"]*')


def about_request(text: str) -> str:
    return UPSTREAM.sub(r"\1", OF_VISITORS.sub("", text))


# -- Apache

APACHE = re.compile(
    r"\[\w{3} (\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d{4})\] \[(?:[\w-]*:)?(\w+)\] "
    r"(?:\[pid [^\]]*\] )?(?:\[remote [^\]]*\] )?(?:\[client ([^\]]*)\] )?(.*)"
)


def read_apache(lines: list[str], _: str) -> Occurrence | None:
    """`ErrorLogFormat` as Apache 2.4 has it by default."""
    found = APACHE.match(lines[0])
    if not found or found[7] not in SEVERE:
        return None
    month = MONTHS.get(found[1], 0)
    at = local_moment(int(found[6]), month, *(int(found[number]) for number in range(2, 6)))
    text = "\n".join([f"[{found[7]}] {found[9]}", *lines[1:]])
    return Occurrence(at, text, re.sub(r", referer: \S+", "", text))


# -- W3C extended, as IIS writes it

FIELDS = "#Fields:"


def read_w3c(lines: list[str], context: str) -> Occurrence | None:
    """A request that was answered with a status from 500 on. The time is UTC."""
    values = dict(zip(context.removeprefix(FIELDS).split(), lines[0].split(), strict=False))
    status = values.get("sc-status", "")
    if lines[0].startswith("#") or not (status.isdigit() and int(status) >= 500):
        return None
    try:
        at = datetime.fromisoformat(f"{values.get('date', '')}T{values.get('time', '')}+00:00")
    except ValueError:
        at = None
    detail = "".join(f" {key} {values[key]}" for key in ("sc-substatus", "sc-win32-status") if key in values)
    about = f"status {status}{detail}: {values.get('cs-method', '?')} {values.get('cs-uri-stem', '?')}"
    query = values.get("cs-uri-query", "-")
    return Occurrence(at, about if query == "-" else f"{about}?{query}", f"status/{status} {about}")


def context_of_w3c(context: str, line: str) -> str:
    return line if line.startswith(FIELDS) else context


RECOGNISERS: Mapping[str, Recogniser] = {
    "python": Recogniser("python", begins_python, read_python),
    "nginx": Recogniser("nginx", lambda line, _: bool(NGINX.match(line)), read_nginx),
    "apache": Recogniser("apache", lambda line, _: bool(APACHE.match(line)), read_apache),
    "w3c": Recogniser("w3c", lambda line, _: True, read_w3c, context_of_w3c),
}

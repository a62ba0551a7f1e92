"""Visits to web sites: whole days of access logs, given to AWStats and GoAccess one after another, each once."""

import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import IO

from rota.core.errors import RotaError
from rota.packs.logs import state, tailing
from rota.packs.logs.recognising import MONTHS
from rota.packs.logs.tailing import Log, Mark, Moved

AWSTATS = Path("/usr/lib/cgi-bin/awstats.pl")
STATIC_PAGES = Path("/usr/share/awstats/tools/awstats_buildstaticpages.pl")
GOACCESS_KEEPS = 400
"""Days that GoAccess's report reaches back."""
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
TIME = re.compile(rb"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\]")
# A visitor may give a time as her name, which stands before this one; but servers let no quote of hers through.
TIME_BEFORE_REQUEST = re.compile(TIME.pattern + rb' "')
A_DAY = timedelta(days=1)


class BadSite(RotaError):
    """A site cannot be worked on as its settings say."""


class NotCounted(RotaError):
    """A program that counts visits has failed; the day is given to it again next time."""


@dataclass(frozen=True)
class Format:
    """How a line of an access log is written, in each program's own words; `address` is the visitor's column."""

    awstats: str
    goaccess: Sequence[str]
    address: int = 0


COMBINED = "%host %other %logname %time1 %methodurl %code %bytesd %refererquot %uaquot"
FORMATS: Mapping[str, Format] = {
    "combined": Format("1", ("--log-format=COMBINED",)),
    "common": Format("4", ("--log-format=COMMON",)),
    "vcombined": Format(f"%virtualname {COMBINED}", ("--log-format=VCOMBINED",), address=1),
    # Apache's with bytes in and out of mod_logio, and the host that was asked for.
    "combined_io_host": Format(
        f"{COMBINED} %other %other %virtualname",
        ('--log-format=%h %^[%d:%t %^] "%r" %s %b "%R" "%u" %^ %^ %v', "--date-format=%d/%b/%Y", "--time-format=%T"),
    ),
}


@dataclass(frozen=True)
class Site:
    """A web site: its name, where its access logs lie, and how they are written."""

    name: str
    logs: str
    aliases: tuple[str, ...] = ()
    format: str = "combined"

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not NAME.fullmatch(name):
                raise BadSite(f"{name!r}; it must be a host name")
        if self.format not in FORMATS:
            raise BadSite(f"{self.name}: the format is {self.format!r}; it must be one of {', '.join(FORMATS)}")
        if not self.logs.startswith("/"):
            raise BadSite(
                f"{self.name}: its logs are {self.logs!r}; it must be a whole path, with * where names differ"
            )


@dataclass(frozen=True)
class Desk:
    """Where the work on one site is done, and how: its folders, and whether visitors' addresses are cut."""

    site: Site
    folder: Path
    reports: Path
    archive_folder: str
    programs: Sequence[str]
    is_anonymous: bool
    geoip: Path | None

    @property
    def memory(self) -> Path:
        return self.folder / "marks.json"

    @property
    def format(self) -> Format:
        return FORMATS[self.site.format]


@dataclass(frozen=True)
class Day:
    """The lines of one day, in a file, and the marks after them."""

    date: str
    file: Path
    lines: int
    marks: Mapping[str, Mark]

    @property
    def month(self) -> str:
        return self.date[:7]


# -- whole days


def moment_before(line: bytes, now: datetime) -> datetime | None:
    """When a request was; None as well where that is more than a day ahead.

    A clock was wrong there, and whoever waited for such a day would never read on.
    """
    at = moment(line)
    return None if at and at - now > A_DAY else at


def moment(line: bytes) -> datetime | None:
    """When a request was, in the zone that the log writes; None for a line that is no request."""
    found = TIME_BEFORE_REQUEST.search(line) or TIME.search(line)
    if not found:
        return None
    day, year, hour, minute, second = (int(found[number]) for number in (1, 3, 4, 5, 6))
    ahead = timedelta(hours=int(found[8]), minutes=int(found[9])) * (-1 if found[7] == b"-" else 1)
    try:
        month = MONTHS[found[2].decode("ascii")]
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone(ahead))
    except (ValueError, KeyError):
        return None


def unread_logs(desk: Desk, marks: Mapping[str, Mark], *, now: datetime) -> list[tuple[Mark, Log]]:
    """The logs with their marks, in the order of the first line that is new in each."""
    placed = tailing.place(tailing.logs(desk.site.logs, archive_folder=desk.archive_folder), marks, now=now.timestamp())
    return sorted(placed, key=lambda each: first_moment(*each, now))


def first_moment(mark: Mark, log: Log, now: datetime) -> float:
    for number, (line, _, _) in enumerate(tailing.lines(log, mark.offset)):
        if at := moment_before(line, now):
            return at.timestamp()
        if number > 100:
            break
    return log.modified


def days(desk: Desk, marks: Mapping[str, Mark], workplace: Path, *, now: datetime, with_today: bool) -> Iterator[Day]:
    """Every day that is over and was not worked on yet, oldest first; with today also what there is of today."""
    after = dict(marks)
    file = workplace / "day"
    date, count = "", 0
    out: IO[bytes] = file.open("wb")
    try:
        for mark, log in unread_logs(desk, marks, now=now):
            offset = mark.offset
            for line, start, end in tailing.lines(log, offset):
                at = moment_before(line, now)
                if at and is_too_young(at, now, with_today=with_today):
                    break
                found = f"{at:%Y-%m-%d}" if at else ""
                if date and found > date:
                    out.close()
                    yield Day(date, file, count, after | {log.identity: tailing.advanced(mark, log, start)})
                    out, count, date = file.open("wb"), 0, found
                if at:
                    date = date or found
                    out.write((anonymise(line, desk.format.address) if desk.is_anonymous else line) + b"\n")
                    count += 1
                offset = end
            after[log.identity] = tailing.advanced(mark, log, offset)
    finally:
        out.close()
    if count or after != marks:
        yield Day(date, file, count, after)


def is_too_young(at: datetime, now: datetime, *, with_today: bool) -> bool:
    """Whether a request belongs to a day, or with today to a second, that is not over yet by the log's own clock."""
    if with_today:
        return at >= now.replace(microsecond=0)
    return at.date() >= now.astimezone(at.tzinfo).date()


def anonymise(line: bytes, column: int) -> bytes:
    """The line with the visitor's address cut to its network: 24 bits of IPv4, 48 of IPv6."""
    words = line.split(b" ", column + 1)
    if len(words) <= column:
        return line
    words[column] = cut(words[column].decode("ascii", "replace")).encode()
    return b" ".join(words)


@lru_cache(maxsize=10_000)
def cut(address: str) -> str:
    """A name in an address's place is not told at all."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - nothing is bound to it
    return str(ipaddress.ip_network(f"{found}/{24 if found.version == 4 else 48}", strict=False).network_address)


# -- the programs


def configuration(desk: Desk) -> str:
    """What awstats.model.conf calls a configuration file; the lines come on its standard input."""
    site = desk.site
    settings = {
        "LogFile": "-",
        "LogType": "W",
        "LogFormat": desk.format.awstats,
        "LogSeparator": " ",
        "SiteDomain": site.name,
        "HostAliases": " ".join(site.aliases or (site.name,)),
        "DNSLookup": 0,
        "DirData": desk.folder / "awstats",
        "DirIcons": "/awstats-icon",
        "AllowToUpdateStatsFromBrowser": 0,
        "AllowFullYearView": 2,
        "SaveDatabaseFilesWithPermissionsForEveryone": 0,
        "ErrorMessages": "",
    }
    lines = [f'{name}="{value}"' for name, value in settings.items()]
    return "\n".join(["# Written by Rota's task process_logs; changes are lost.", *lines, ""])


def awstats_command(desk: Desk, *words: str, program: Path = AWSTATS) -> list[str]:
    return ["perl", str(program), f"-config={desk.site.name}", f"-configdir={desk.folder}", *words]


def goaccess_command(desk: Desk, target: Path) -> list[str]:
    """GoAccess adds the lines to what it keeps on disk, and writes the page anew (goaccess(1))."""
    database = desk.folder / "goaccess"
    geoip = [f"--geoip-database={desk.geoip}"] if desk.geoip and desk.geoip.is_file() else []
    return [
        "goaccess", "-", "--no-global-config", "--no-progress", *desk.format.goaccess, "--persist", "--restore",
        f"--db-path={database}", f"--keep-last={GOACCESS_KEEPS}", f"--html-report-title={desk.site.name}",
        f"--output={target}", *geoip,
    ]  # fmt: skip


COUNTED = re.compile(r"Found (\d+) (\w+(?: \w+)?) records?")


def run_awstats(desk: Desk, day: Day) -> str:
    """Give a day to AWStats; what it found, in words. It ends with 0 whatever happens. Raises NotCounted."""
    (desk.folder / "awstats").mkdir(exist_ok=True)
    (desk.folder / f"awstats.{desk.site.name}.conf").write_text(configuration(desk), encoding="utf-8")
    said = run(awstats_command(desk, "-update"), day.file)
    found = {what: int(number) for number, what in COUNTED.findall(said)}
    if "new qualified" not in found:
        raise NotCounted(f"awstats: {' '.join(said.split())[-400:] or 'it said nothing'}")
    if found.get("corrupted", 0) >= day.lines > 0:
        raise NotCounted(f"awstats: no line of {day.date} is written as format {desk.site.format!r} says")
    return f"{found['new qualified']} requests"


def build_pages(desk: Desk, month: str) -> Path:
    """The static pages of a month. Raises NotCounted."""
    folder = desk.reports / month
    folder.mkdir(parents=True, exist_ok=True)
    when = [f"-year={month[:4]}", f"-month={month[5:]}", f"-dir={folder}", f"-awstatsprog={AWSTATS}"]
    said = run(awstats_command(desk, *when, program=STATIC_PAGES), None)
    page = folder / f"awstats.{desk.site.name}.html"
    if not page.is_file() or "Main HTML page is" not in said:
        raise NotCounted(f"awstats_buildstaticpages: {' '.join(said.split())[-400:]}")
    return page


def run_goaccess(desk: Desk, day: Day) -> Path:
    """Give a day to GoAccess; the page it writes. Raises NotCounted."""
    (desk.folder / "goaccess").mkdir(exist_ok=True)
    desk.reports.mkdir(parents=True, exist_ok=True)
    page = desk.reports / "goaccess.html"
    beside = desk.reports / ".goaccess.new.html"
    run(goaccess_command(desk, beside), day.file)
    beside.replace(page)
    return page


def run(command: Sequence[str], lines: Path | None) -> str:
    """Run a program on these lines; what it said. Raises NotCounted."""
    with open(lines or os.devnull, "rb") as stream:  # noqa: PTH123 - the null device is no Path
        try:
            done = subprocess.run(command, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        except FileNotFoundError as error:
            raise NotCounted(f"{command[0]} is not installed") from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise NotCounted(f"{Path(command[0]).name} ended with {done.returncode}: {' '.join(said.split())[-400:]}")
    return said


# -- a site


Tell = Callable[[str, str, str], None]
"""What came of something: its name, the outcome, and a message."""


def work_on(desk: Desk, tell: Tell, *, now: datetime, with_today: bool) -> int:
    """Work on every day of a site that was not yet, one after another; returns how many requests they had.

    Each day is noted before the next one begins, so that what fails later takes nothing back. Where a log is rotated
    meanwhile, the days that are left are for the next time.
    Raises NotCounted, CannotRead.
    """
    desk.folder.mkdir(parents=True, exist_ok=True)
    content = state.read(desk.memory)
    marks, unbuilt = state.marks_of(content), set(content.get("unbuilt", ()))
    total = 0
    with workplace(desk.folder) as place, left_when_moved(desk, tell):
        for day in days(desk, marks, place, now=now, with_today=with_today):
            if day.lines:
                tell(f"{desk.site.name} {day.date}", "counted", count(desk, day))
                unbuilt.add(day.month)
                total += day.lines
            kept = tailing.remembered(marks, day.marks, now=now.timestamp())
            state.write(desk.memory, {"marks": state.as_list(kept), "unbuilt": sorted(unbuilt)})
    if "awstats" in desk.programs:
        for month in sorted(unbuilt):
            build_pages(desk, month)
            unbuilt.discard(month)
            state.write(desk.memory, {**state.read(desk.memory), "unbuilt": sorted(unbuilt)})
    return total


@contextmanager
def left_when_moved(desk: Desk, tell: Tell) -> Iterator[None]:
    try:
        yield
    except Moved as error:
        tell(desk.site.name, "left for the next run", str(error))


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """The place where a day's lines lie; always the same one, so that a run that was killed leaves no second."""
    place = folder / "work"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def count(desk: Desk, day: Day) -> str:
    said = [f"{day.lines} lines"]
    if "awstats" in desk.programs:
        said.append(f"awstats: {run_awstats(desk, day)}")
    if "goaccess" in desk.programs:
        said.append(f"goaccess: {run_goaccess(desk, day)}")
    return "; ".join(said)


def foresee(desk: Desk, *, now: datetime, with_today: bool) -> Iterator[tuple[str, int]]:
    """The days that would be worked on, with how many requests each has. Changes nothing."""
    marks = state.marks_of(state.read(desk.memory))
    with tempfile.TemporaryDirectory() as place:
        for day in days(desk, marks, Path(place), now=now, with_today=with_today):
            if day.lines:
                yield day.date, day.lines

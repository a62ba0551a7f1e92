"""What each field of a task may hold: one reader per field, and the sentence that documents it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TypeGuard

from rota.core.expectation import DURATION, ITEMS, OUTPUT_BYTES, read_expectations
from rota.core.objective import parse_objective
from rota.core.parameter import Parameter, spell
from rota.core.parameter_fields import read_parameters
from rota.core.quantities import parse_answer, parse_duration, parse_size
from rota.core.retry import read_retry
from rota.core.rule import CHANNEL, parse_rule
from rota.core.status import Environment
from rota.core.task import CatchUp, Dst, Network
from rota.core.window import RIGHT, Window
from rota.core.window import parse as parse_window

WORD = re.compile(r"[a-z][a-z0-9_]*")
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*\$?")
DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]+")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
CAPABILITY = re.compile(r"CAP_[A-Z_]+")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
NO_ARGUMENT = re.compile("[\0\n\ud800-\udfff]")
NO_LINE = re.compile("[\0-\x08\n-\x1f\x7f\ud800-\udfff]")
"""What no line of a unit holds: control characters but tabs, and halves of characters."""
PERCENTAGE = re.compile(r"[1-9][0-9]*%")


@dataclass(frozen=True)
class Field:
    """One field of a task: how its value is read, and what it means to whoever writes it.

    `read` raises ValueError saying what would be right.
    """

    read: Callable[[object], object]
    meaning: str


def read_keys(mapping: Mapping[str, object], readers: Mapping[str, Callable[[object], object]]) -> dict[str, object]:
    """Each value as its key's reader has it; a key without a value is absent.

    Raises ValueError naming the key, its value and what would be right.
    """
    values: dict[str, object] = {}
    for key, value in mapping.items():
        if value is None:
            continue
        try:
            values[key] = readers[key](value)
        except ValueError as error:
            raise ValueError(f"{key} is {value!r}; it must be {error}") from None
    return values


def text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise ValueError(f"a line of text{quoted(value)}")


def quoted(value: object) -> str:
    """What else would be right of a number where text is meant: somebody's YAML made it of 12:30, or of 0644."""
    return ", in quotes" if isinstance(value, bool | int | float) else ""


def texts(value: object) -> tuple[str, ...]:
    """One line of text or a list of them."""
    values = value if isinstance(value, list) and value else [value]
    if all(isinstance(each, str) and each.strip() and each.isprintable() for each in values):
        return tuple(values)
    raise ValueError(f"a text or a list of texts{''.join(dict.fromkeys(map(quoted, values)))}")


def command(value: object) -> tuple[str, ...]:
    """A program and its arguments; an argument may be empty, but none may hold a NUL or a line break."""
    if isinstance(value, str):
        raise ValueError("a list like [/usr/bin/program, argument]; no shell splits a text into words")
    if not isinstance(value, list) or not value or not all(isinstance(each, str | int | float) for each in value):
        raise ValueError("a list like [/usr/bin/program, argument]")
    words = tuple(spell(each) for each in value)
    if not words[0].startswith("/"):
        raise ValueError("a list whose first element is the program's whole path")
    if any(re.search(NO_ARGUMENT, word) for word in words):
        raise ValueError("a list of arguments without line breaks")
    return words


def matching(pattern: re.Pattern[str], right: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(f"{right}{quoted(value)}")

    return read


def all_matching(pattern: re.Pattern[str], right: str) -> Callable[[object], tuple[str, ...]]:
    one = matching(pattern, right)

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError(f"a list; each entry is {right}")
        return tuple(one(each) for each in value)

    return read


def choice(choices: type[StrEnum]) -> Callable[[object], StrEnum]:
    def read(value: object) -> StrEnum:
        if isinstance(value, str) and value in list(choices):
            return choices(value)
        raise ValueError(f"one of {', '.join(choices)}")

    return read


def choices(known: type[StrEnum]) -> Callable[[object], tuple[StrEnum, ...]]:
    """One word of a closed set, or a list of them."""
    one = choice(known)

    def read(value: object) -> tuple[StrEnum, ...]:
        values = value if isinstance(value, list) and value else [value]
        try:
            return tuple(one(each) for each in values)
        except ValueError as error:
            raise ValueError(f"{error}, or a list of them") from None

    return read


def windows(value: object) -> tuple[Window, ...]:
    """One window or a list of them; a wrong one is named."""
    values = value if isinstance(value, list) and value else [value]
    return tuple(window(each) for each in values)


def windows_or_calendars(value: object) -> tuple[Window | PurePosixPath, ...]:
    """Windows, among them files of calendars, which stay paths."""
    values = value if isinstance(value, list) and value else [value]
    return tuple(PurePosixPath(each) if is_calendar(each) else window(each) for each in values)


def window(value: object) -> Window:
    try:
        return parse_window(value)
    except ValueError:
        raise ValueError(f"a list, and {str(value)!r} in it {RIGHT}") from None


def is_calendar(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.startswith("/") and value.endswith(".ics") and value.isprintable()


def positive_duration(value: object) -> timedelta:
    duration = parse_duration(value)
    if duration < timedelta(minutes=1):
        raise ValueError("a duration of a minute at least, like 90s, 30min or 1h 30min")
    return duration


def some_time(value: object) -> timedelta:
    duration = parse_duration(value)
    if not duration:
        raise ValueError("a duration like 90s, 30min or 1h 30min; every run comes to an end")
    return duration


def paths(value: object) -> tuple[PurePosixPath, ...]:
    if isinstance(value, list) and all(
        isinstance(each, str) and each.startswith("/") and each.isprintable() for each in value
    ):
        return tuple(PurePosixPath(each) for each in value)
    raise ValueError("a list of whole paths, each beginning with /")


def words(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) and each.isprintable() for each in value):
        return tuple(value)
    raise ValueError("a list of words, like [--dry-run]")


def items(value: object) -> tuple[str, ...]:
    """Names that are different from each other."""
    if isinstance(value, list) and value and all(isinstance(each, str | int | float) for each in value):
        names = tuple(spell(each) for each in value)
        if len(set(names)) == len(names) and all(each.strip() and each.isprintable() for each in names):
            return names
    raise ValueError("a list of different names")


def parameters(value: object) -> tuple[str, ...] | tuple[Parameter, ...]:
    """Of a command's task the declarations, of a pack's the names of settings."""
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    return read_parameters(value)


def pairs(name: re.Pattern[str], right: str) -> Callable[[object], Mapping[str, str]]:
    def read(value: object) -> Mapping[str, str]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and name.fullmatch(key) for key in value):
            raise ValueError(right)
        if not all(isinstance(each, str | int | float) and not NO_LINE.search(str(each)) for each in value.values()):
            raise ValueError(f"{right}, each with one line of text")
        return {key: spell(each) for key, each in value.items()}

    return read


def whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise ValueError(f"a whole number from {least} to {most}")

    return read


def exposure(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 10:
        return float(value)
    raise ValueError("a number up to 10, as systemd-analyze security counts")


def mapping(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    raise ValueError("a mapping of settings")


ZONE_NAME = "a name of the time zone database like Europe/Zurich or UTC"

FIELDS: Mapping[str, Field] = {
    "task": Field(matching(re.compile(r"[a-z_]+\.[a-z0-9_]+"), "PACK.NAME"), "The pack's task to run, as `PACK.NAME`."),
    "command": Field(command, "The program to run instead, with its arguments: a list; no shell is involved."),
    "description": Field(text, "What the task does, in one line. A pack's task has one already."),
    "enabled": Field(parse_answer, "`false` keeps the task in the catalogue and makes no units for it."),
    "settings": Field(mapping, "The settings of a pack's task, as its documentation lists them."),
    "schedule": Field(texts, "When to run: one `OnCalendar=` expression of systemd.time(7), or a list of them."),
    "zone": Field(text, f"The zone of the schedule: {ZONE_NAME}. Needed unless each expression names its own."),
    "dst": Field(
        choice(Dst),
        "What becomes of times that daylight saving leaves out and repeats: `run_once`, `skip` or `both`.",
    ),
    "only": Field(windows_or_calendars, "Windows of local time outside which no slot runs."),
    "except": Field(
        windows_or_calendars, "Windows of local time in which no slot runs: days, spans, times of the week, calendars."
    ),
    "every": Field(positive_duration, "Instead of a schedule: needed when the last success is older than this."),
    "watch": Field(paths, "Folders; the task runs when one of them is not empty. Its work takes the files away."),
    "environments": Field(choices(Environment), "Where its timer is armed; elsewhere it only runs by hand."),
    "catch_up": Field(
        choice(CatchUp), "After slots were missed: `none`, or run the `latest` of them once, or `all`, oldest first."
    ),
    "catch_up_window": Field(parse_duration, "How old a missed slot may be and still be caught up; a day unless said."),
    "spread": Field(parse_duration, "Starts up to this much later, by an amount that is stable per host and task."),
    "timeout": Field(some_time, "How long a run may take; then it is asked to end and fails with `timeout`."),
    "grace": Field(parse_duration, "How long a run that is asked to end may still take before it is killed."),
    "lock": Field(matching(WORD, "a lower-case word"), "Tasks with the same lock never run at the same time."),
    "lock_wait": Field(parse_duration, "How long to wait for the lock; a run that does not get it is `skipped`."),
    "user": Field(matching(ACCOUNT, "a user of the host"), "The user to run as; without it, one made for each run."),
    "groups": Field(all_matching(ACCOUNT, "a group of the host"), "Further groups the run belongs to."),
    "network": Field(choice(Network), "How far sockets reach: `none`, `local` (this host) or `any`."),
    "read": Field(paths, "What lies under `/home`, `/root` or `/run/user` and must be readable nevertheless."),
    "write": Field(paths, "Folders and files the run may write to; everything else is read-only."),
    "credentials": Field(
        all_matching(FILE_NAME, "the name of a file in /etc/rota/credentials"),
        "Secrets the run finds as files in `$CREDENTIALS_DIRECTORY`.",
    ),
    "environment": Field(pairs(VARIABLE, "a mapping of UPPER_CASE names"), "Environment variables; never secrets."),
    "capabilities": Field(all_matching(CAPABILITY, "like CAP_DAC_READ_SEARCH"), "Kernel capabilities the run keeps."),
    "service": Field(
        pairs(DIRECTIVE, "a mapping of systemd directives"),
        "Further lines of the unit's `[Service]` section; they win over Rota's own.",
    ),
    "exposure": Field(exposure, "How exposed `systemd-analyze security` may find the unit; 1.5 unless said."),
    "memory": Field(parse_size, "How much memory the run may use, with nothing of it in swap (`MemoryMax=`)."),
    "address_space": Field(parse_size, "How much address space each process may use (`LimitAS=`)."),
    "cpu": Field(matching(PERCENTAGE, "a percentage like 50%"), "How much processor time the run may use."),
    "processes": Field(whole(1, 100_000), "How many processes and threads the run may have."),
    "io_weight": Field(whole(1, 10_000), "Its share of the disks when they are busy (`IOWeight=`); others have 100."),
    "heavy": Field(parse_answer, "It takes much of the host: `rota check` lets no two such tasks share a minute."),
    "state": Field(parse_answer, "A folder of its own that outlives runs: `$STATE_DIRECTORY`."),
    "objective": Field(
        parse_objective,
        "What is wanted: `{success: 99%, within: 30d}` of the runs succeed, `{fresh: 26h}` is the latest success.",
    ),
    "alert": Field(
        parse_rule, "Who is told when it fails, and when: `to`, `after`, `urgent`, `then`, `remind`, `pace`."
    ),
    "heartbeat": Field(
        matching(CHANNEL, "a name in the file of alerts' URLs"),
        "The URL that is asked for after each success, so that an outside watcher notices silence.",
    ),
    "nice": Field(whole(-20, 19), "The scheduling priority, 19 the most yielding."),
    "parameters": Field(
        parameters,
        "What a run by hand may set with `--set NAME=VALUE`: of a command, declarations by name; of a pack's task, "
        "the names of settings.",
    ),
    "items": Field(items, "What the task works on one by one; a run by hand chooses among it with `-a NAME`."),
    "dry_run": Field(words, "Words that make the command show what it would do and change nothing, for `--dry-run`."),
    "retry": Field(
        read_retry,
        "How often a failed run is tried again: a number, or a mapping of `times`, `wait`, `factor` and `longest`.",
    ),
    "expect": Field(
        read_expectations,
        f"What a success should look like: a mapping of counts, `{DURATION}`, `{OUTPUT_BYTES}` or `{ITEMS}` to bounds "
        'like `">0"` or `"<3x median"`.',
    ),
    "asking": Field(
        parse_answer,
        "Whether people may ask for a run of it in the diary, and pause it there; unless said, where it runs by itself "
        "as well.",
    ),
}

"""What `rota check` finds wrong: schedules, commands, credentials, users, and units systemd would complain about."""

import grp
import importlib.util
import os
import pwd
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rota.adapters import systemd
from rota.adapters.calendars import UnreadCalendar
from rota.adapters.urls import UrlsUnreadable, read_urls
from rota.core import scheduling
from rota.core.catalogue import Catalogue
from rota.core.places import Places
from rota.core.rule import is_channel
from rota.core.schedule import Shift, shifts_of
from rota.core.task import Task
from rota.units import unit_name

UNIT = re.compile(r"rota-task-([a-z0-9_]+)\.(?:service|timer|path)")
OVERALL = re.compile(r"Overall exposure level for \S+: (\d+\.\d+)")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field of a task, or with the host where `task` is empty, and what would be right."""

    task: str
    key: str
    said: str

    @property
    def text(self) -> str:
        return f"task {self.task}: {self.key}: {self.said}" if self.task else f"{self.key}: {self.said}"


def find_problems(
    catalogue: Catalogue, places: Places, units: Mapping[str, str], *, now: datetime, is_elsewhere: bool = False
) -> Iterator[Problem]:
    """Everything that is wrong. `is_elsewhere` leaves out what only the host itself can tell: of files and users."""
    yield from file_problems(places)
    for task in catalogue.tasks.values():
        if not is_elsewhere:
            yield from command_problems(task, places)
        if not is_elsewhere and not places.is_embedded:
            yield from host_problems(task, places)
        yield from watch_problems(task)
        yield from calendar_problems(task)
    yield from (Problem(*said) for said in scheduling.problems_of(catalogue.tasks.values(), now))
    if not places.is_embedded:
        yield from search_problems(catalogue.tasks.values(), now=now)
        yield from unit_problems(catalogue, units)
    if not is_elsewhere and not places.is_embedded:
        yield from alerting_problems(catalogue, places)


def file_problems(places: Places) -> Iterator[Problem]:
    """Files that somebody wrote to be read, and that are not."""
    for path in sorted(places.configuration.glob("*.yaml")):
        yield Problem("", path.name, "it is not read; only files named *.yml are")


def command_problems(task: Task, places: Places) -> Iterator[Problem]:
    program = Path(task.command[0])
    if not os.access(in_this_release(program, places), os.X_OK):
        yield Problem(task.name, "command", f"there is no program '{program}' that can be executed")


def in_this_release(program: Path, places: Places) -> Path:
    """The program as this release has it: the link may lead to the one before, or not be there yet."""
    venv = places.current / "venv"
    return Path(sys.prefix) / program.relative_to(venv) if program.is_relative_to(venv) else program


def host_problems(task: Task, places: Places) -> Iterator[Problem]:
    for name in task.credentials:
        if not (places.credentials / name).is_file():
            yield Problem(task.name, "credentials", f"{places.credentials / name} is missing")
    if task.user and task.user not in {account.pw_name for account in pwd.getpwall()}:
        yield Problem(task.name, "user", f"{task.user!r} is no user of this host")
    known = {group.gr_name for group in grp.getgrall()}
    for name in task.groups:
        if name not in known:
            yield Problem(task.name, "groups", f"{name!r} is no group of this host, so the unit would not start")
    for key, paths in (("write", task.write), ("read", task.read)):
        for path in paths:
            if not Path(path).exists():
                yield Problem(task.name, key, f"{path} does not exist, so the unit would not start")
    for path in task.watch:
        if not Path(path).is_dir():
            yield Problem(task.name, "watch", f"{path} is no folder of this host")


def watch_problems(task: Task) -> Iterator[Problem]:
    """Work that cannot take away what it was started for is started for ever."""
    for path in task.watch:
        if not any(path.is_relative_to(folder) for folder in task.write) and "ProtectSystem" not in task.service:
            yield Problem(task.name, "watch", f"the work cannot take files out of {path}; add it to write")


def calendar_problems(task: Task) -> Iterator[Problem]:
    for key, windows in (("only", task.only), ("except", task.excepted)):
        for window in windows:
            if isinstance(window, UnreadCalendar):
                yield Problem(task.name, key, window.wanting)


def alerting_problems(catalogue: Catalogue, places: Places) -> Iterator[Problem]:
    """What would keep alerts from reaching somebody. A host that must be silent needs no secrets for it."""
    agent = catalogue.agent
    alerting = agent.alerting
    for task in catalogue.tasks.values():
        for receiver in (*(task.alert.to or ()), *(task.alert.then.to if task.alert.then else ())):
            if is_channel(receiver) and receiver not in alerting.channels:
                known = ", ".join(alerting.channels) or "none"
                said = f"there is no channel {receiver!r}; agent: alert: channels has {known}"
                yield Problem(task.name, "alert", said)
    if not agent.environment.speaks:
        return
    path = places.credentials / alerting.credential
    if alerting.user and not path.is_file():
        yield Problem("", "agent: alert: credential", f"{path} is missing")
    if alerting.channels and importlib.util.find_spec("apprise") is None:
        said = "Apprise is not installed; add channels to agent_extras, and deploy"
        yield Problem("", "agent: alert: channels", said)
    yield from heartbeat_problems(catalogue)
    yield from url_problems(catalogue, places.credentials / alerting.urls)


def heartbeat_problems(catalogue: Catalogue) -> Iterator[Problem]:
    """Whoever watches a heartbeat of several would not miss one of them."""
    owners: dict[str, str] = {}
    if host := catalogue.agent.alerting.heartbeat:
        owners[host] = "the host"
    for task in catalogue.tasks.values():
        if task.heartbeat and (other := owners.setdefault(task.heartbeat, task.name)) != task.name:
            said = f"{task.heartbeat!r} is the heartbeat of {other} as well; give it one of its own"
            yield Problem(task.name, "heartbeat", said)


def url_problems(catalogue: Catalogue, path: Path) -> Iterator[Problem]:
    alerting, known = catalogue.agent.alerting, dict[str, str]()
    try:
        known = read_urls(path)
    except UrlsUnreadable as error:
        yield Problem("", "agent: alert: urls", error.args[0])
    wanted = dict.fromkeys(alerting.channels, ("", "agent: alert: channels"))
    if alerting.heartbeat:
        wanted[alerting.heartbeat] = ("", "agent: alert: heartbeat")
    wanted |= {task.heartbeat: (task.name, "heartbeat") for task in catalogue.tasks.values() if task.heartbeat}
    for name, where in wanted.items():
        if name not in known:
            yield Problem(*where, f"{path} has no URL named {name!r}")


def search_problems(tasks: Iterable[Task], *, now: datetime) -> Iterator[Problem]:
    """Expressions for which systemd would give up where clocks are set off the hour, and never elapse again."""
    for task in tasks:
        for expression, calendar in scheduling.calendars_of(task):
            for shift in shifts_of(calendar.zone, now, now + scheduling.COMING):
                if not shift.is_plain and (said := refusal(f"{expression} {task.zone or ''}".strip(), shift)):
                    at = f"{(shift.moment + shift.before):%Y-%m-%d %H:%M}"
                    yield Problem(
                        task.name,
                        "schedule",
                        f"{expression!r}: systemd gives up where the clocks of {calendar.zone} are set, at {at} "
                        f"({said}); take UTC, or another hour",
                    )
                    break


def refusal(expression: str, shift: Shift) -> str:
    """What systemd says when it is to find its way across; nothing where it does."""
    base = f"{shift.moment - timedelta(hours=26):%Y-%m-%d %H:%M:%S} UTC"
    try:
        systemd.ask(systemd.calendar_command(expression, base=base, iterations=60))
    except systemd.SystemdRefused as error:
        return str(error.args[0]).splitlines()[-1].rpartition(": ")[2]
    return ""


def unit_problems(catalogue: Catalogue, units: Mapping[str, str]) -> Iterator[Problem]:
    """What `systemd-analyze` says of the units as they would be written."""
    with tempfile.TemporaryDirectory(prefix="rota-check-") as name:
        folder = Path(name)
        for unit, text in units.items():
            (folder / unit).write_text(with_own_programs(text), encoding="utf-8")
        for line in systemd.complaints(systemd.verify_command(sorted(folder.iterdir()))):
            yield Problem(task_named(line, catalogue), "unit", line.replace(f"{folder}/", ""))
        for task in catalogue.tasks.values():
            found = exposure_of(folder / unit_name(task.name))
            if found > task.exposure:
                yield Problem(
                    task.name,
                    "exposure",
                    f"its unit's is {found}; at most {task.exposure} is allowed: take back what loosens it, or raise "
                    "exposure",
                )


def task_named(line: str, catalogue: Catalogue) -> str:
    """The task of the unit that systemd speaks of; empty for housekeeping."""
    found = UNIT.search(line)
    return found[1] if found and found[1] in catalogue.tasks else ""


def with_own_programs(text: str) -> str:
    """A unit whose `rota` is that of this release, which may not be the one in use, or be a host's first.

    Where it is not installed, as in a working tree, any program will do.
    """
    own = Path(sys.prefix) / "bin/rota"
    return text.replace("=/usr/local/bin/rota ", f"={own if own.exists() else sys.executable} ")


def exposure_of(path: Path) -> float:
    """The exposure of a unit file, from 0 (safe) to 10."""
    found = OVERALL.search(systemd.ask(systemd.exposure_command(path)))
    return float(found[1]) if found else 10.0

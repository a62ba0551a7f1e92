"""What `rota check` finds wrong: schedules, commands, credentials, users, and units systemd would complain about."""

import importlib.util
import os
import pwd
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rota.adapters import systemd
from rota.adapters.urls import UrlsUnreadable, read_urls
from rota.core.catalogue import Catalogue
from rota.core.places import Places
from rota.core.rule import is_channel
from rota.core.task import Task
from rota.units import unit_name

OVERALL = re.compile(r"Overall exposure level for \S+: (\d+\.\d+)")


def find_problems(catalogue: Catalogue, places: Places, units: Mapping[str, str]) -> Iterator[str]:
    """A sentence per problem: which task, which key, what is wrong and what would be right."""
    for task in catalogue.tasks.values():
        yield from command_problems(task, places)
        if not places.is_embedded:
            yield from host_problems(task, places)
            yield from schedule_problems(task)
    if not places.is_embedded:
        yield from alerting_problems(catalogue, places)
        yield from unit_problems(catalogue, units)


def command_problems(task: Task, places: Places) -> Iterator[str]:
    program = Path(task.command[0])
    if not os.access(in_this_release(program, places), os.X_OK):
        yield f"task {task.name}: command: there is no program '{program}' that can be executed"


def in_this_release(program: Path, places: Places) -> Path:
    """The program as this release has it: the link may lead to the one before, or not be there yet."""
    venv = places.current / "venv"
    return Path(sys.prefix) / program.relative_to(venv) if program.is_relative_to(venv) else program


def host_problems(task: Task, places: Places) -> Iterator[str]:
    for name in task.credentials:
        if not (places.credentials / name).is_file():
            yield f"task {task.name}: credentials: {places.credentials / name} is missing"
    if task.user and task.user not in {account.pw_name for account in pwd.getpwall()}:
        yield f"task {task.name}: user: {task.user!r} is no user of this host"
    for path in task.write:
        if not Path(path).exists():
            yield f"task {task.name}: write: {path} does not exist, so the unit would not start"


def alerting_problems(catalogue: Catalogue, places: Places) -> Iterator[str]:
    """What would keep alerts from reaching somebody. A host that must be silent needs no secrets for it."""
    agent = catalogue.agent
    alerting = agent.alerting
    for task in catalogue.tasks.values():
        for receiver in (*(task.alert.to or ()), *(task.alert.then.to if task.alert.then else ())):
            if is_channel(receiver) and receiver not in alerting.channels:
                known = ", ".join(alerting.channels) or "none"
                yield f"task {task.name}: alert: there is no channel {receiver!r}; agent: alert: channels has {known}"
    if not agent.environment.speaks:
        return
    path = places.credentials / alerting.credential
    if alerting.user and not path.is_file():
        yield f"agent: alert: credential: {path} is missing"
    if alerting.channels and importlib.util.find_spec("apprise") is None:
        yield "agent: alert: channels: Apprise is not installed; add channels to agent_extras, and deploy"
    yield from url_problems(catalogue, places.credentials / alerting.urls)


def url_problems(catalogue: Catalogue, path: Path) -> Iterator[str]:
    alerting, known = catalogue.agent.alerting, dict[str, str]()
    try:
        known = read_urls(path)
    except UrlsUnreadable as error:
        yield f"agent: alert: urls: {error.args[0]}"
    wanted = dict.fromkeys(alerting.channels, "agent: alert: channels")
    if alerting.heartbeat:
        wanted[alerting.heartbeat] = "agent: alert: heartbeat"
    wanted |= {task.heartbeat: f"task {task.name}: heartbeat" for task in catalogue.tasks.values() if task.heartbeat}
    for name, where in wanted.items():
        if name not in known:
            yield f"{where}: {path} has no URL named {name!r}"


def schedule_problems(task: Task) -> Iterator[str]:
    for expression in task.calendars:
        try:
            systemd.ask(systemd.calendar_command(expression))
        except systemd.SystemdRefused as error:
            yield f"task {task.name}: schedule {expression!r}: {error.args[0].splitlines()[-1]}"


def unit_problems(catalogue: Catalogue, units: Mapping[str, str]) -> Iterator[str]:
    """What `systemd-analyze` says of the units as they would be written."""
    with tempfile.TemporaryDirectory(prefix="rota-check-") as name:
        folder = Path(name)
        for unit, text in units.items():
            (folder / unit).write_text(with_own_programs(text), encoding="utf-8")
        for line in systemd.complaints(systemd.verify_command(sorted(folder.iterdir()))):
            yield f"unit: {line.replace(f'{folder}/', '')}"
        for task in catalogue.tasks.values():
            found = exposure_of(folder / unit_name(task.name))
            if found > task.exposure:
                yield (
                    f"task {task.name}: its unit's exposure is {found}; at most {task.exposure} is allowed: take back "
                    "what loosens it, or raise exposure"
                )


def with_own_programs(text: str) -> str:
    """A unit whose `rota` is that of this release, which may not be the one in use, or be a host's first."""
    return text.replace("=/usr/local/bin/rota ", f"={Path(sys.prefix) / 'bin/rota'} ")


def exposure_of(path: Path) -> float:
    """The exposure of a unit file, from 0 (safe) to 10."""
    found = OVERALL.search(systemd.ask(systemd.exposure_command(path)))
    return float(found[1]) if found else 10.0

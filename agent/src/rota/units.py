"""Tasks as units: the text of each, and what differs from it on this host."""

import difflib
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rota.adapters import systemd, unit_files
from rota.core.catalogue import Agent, Catalogue
from rota.core.hardening import hardening_of, hash_of
from rota.core.places import Places
from rota.core.quantities import show_seconds
from rota.core.record import Unit
from rota.core.schedule import extra_moments, schedule_of
from rota.core.task import Task

if TYPE_CHECKING:
    import jinja2

PREFIX = "rota-task-"
HOUSEKEEPING = (
    "rota-ship.service",
    "rota-ship.path",
    "rota-ship.timer",
    "rota-reconcile.service",
    "rota-reconcile.timer",
    "rota-alert@.service",
    "rota-alert.service",
    "rota-alert.timer",
    "rota-look.service",
    "rota-account.service",
    "rota-account.timer",
    "rota-catch-up@.service",
    "rota-listen.service",
    "rota-listen.timer",
    "rota-answer.service",
    "rota-answer.path",
)
OURS = re.compile(rf"{PREFIX}[a-z0-9_]+\.(service|timer|path)|{'|'.join(map(re.escape, HOUSEKEEPING))}")
INSTALLED_IN = {".timer": "timers.target.wants", ".path": "paths.target.wants"}
PYTHON = ("/usr/bin/python3", "-I", "-S", "-X", "utf8")
"""Without the user's environment and site-packages; UTF-8 whatever the locale, which also spares asking it."""
SAFE = re.compile(r"[A-Za-z0-9_./=,@+-]+")
"""What needs no quotes. A colon does: it separates the two paths of a BindPaths=."""
HOMES = ("/home", "/root", "/run/user")
SAFETY_MARGIN = 60.0
SETTLE = 5
"""Seconds between the end of a run and the look at what came of it: of runs that end together there is one look."""
SWEEP = timedelta(minutes=5)
"""How often a watched folder is looked at, for what its path unit missed: what other hosts write to a shared folder."""
ONLY_CALENDAR = re.compile(r"^OnCalendar=.*(?:\nOnCalendar=.*)*$", re.MULTILINE)
NEVER = "OnCalendar=2199-12-31 00:00:00 UTC"
CADENCES = [timedelta(minutes=minutes) for minutes in (1, 2, 3, 4, 5, 6, 10)]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What differs from the description: a unit to write and enable, or, with `after` None, to remove.

    One that `is_behind` has the right file, but systemd does not have it in use.
    """

    path: Path
    before: str | None
    after: str | None
    is_behind: bool = False

    @property
    def unit(self) -> str:
        return self.path.name

    @property
    def diff(self) -> str:
        """The difference as a unified diff."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(keepends=True),
            (self.after or "").splitlines(keepends=True),
            fromfile=str(self.path) if self.before is not None else "/dev/null",
            tofile=str(self.path) if self.after is not None else "/dev/null",
        )
        return "".join(lines)


def unit_name(task: str) -> str:
    return f"{PREFIX}{task}.service"


def compile_units(catalogue: Catalogue, places: Places, *, package: Path, now: datetime) -> dict[str, str]:
    """The text of every unit this host should have, by name. `package` is where the running Rota lies."""
    units: dict[str, str] = {}
    for task in catalogue.tasks.values():
        units[unit_name(task.name)] = compile_service(task, catalogue.agent, places, package=package)
        if calendars := timer_calendars(task, now):
            units[f"{PREFIX}{task.name}.timer"] = compile_timer(task, calendars)
        if task.watch:
            units[f"{PREFIX}{task.name}.path"] = compile_path(task)
    return units | compile_housekeeping(catalogue, places)


def compile_service(task: Task, agent: Agent, places: Places, *, package: Path) -> str:
    """The service of one task; its runner gets a hash of everything else in it."""
    text = render_service(task, agent, places, package=package, unit_hash="")
    return render_service(
        task, agent, places, package=package, unit_hash=hashlib.sha256(text.encode()).hexdigest()[:12]
    )


def render_service(task: Task, agent: Agent, places: Places, *, package: Path, unit_hash: str) -> str:
    attempt = task.timeout + task.grace
    attempts = attempt * (1 + task.retry.times) + task.retry.total if task.retry else attempt
    limit = (attempts + task.lock_wait).total_seconds()
    arguments = runner_arguments(task, agent, places, trigger="timer", unit_hash=unit_hash)
    return template("task.service.j2").render(
        task=task,
        places=places,
        description=described(task),
        exec_start=exec_start([*runner_command(package), *arguments, "--", *task.command]),
        environment=environment_lines({"LANG": "C.UTF-8", **task.variables}),
        start_limit=f"{limit + SAFETY_MARGIN:g}",
        stop_limit=f"{task.grace.total_seconds() + SAFETY_MARGIN / 2:g}",
        is_home=is_home,
    )


def timer_calendars(task: Task, now: datetime) -> list[str]:
    """When its timer elapses, as systemd reads it; nothing where it has no timer.

    What is only looked after, a success that grows old or a folder, is looked after at even intervals of calendar
    time: a timer that counts from a unit's last end would elapse at once when `rota sync` starts it.
    """
    if task.every or (task.watch and not task.schedule):
        return [f"*-*-* *:0/{cadence(task).total_seconds() / 60:g}:00 UTC"]
    schedule = schedule_of(task)
    if schedule is None:
        return []
    # Of this year and the two that follow, so that the unit changes once a year and not with every day.
    begin, end = datetime(now.year, 1, 1, tzinfo=UTC), datetime(now.year + 3, 1, 1, tzinfo=UTC)
    return [*task.calendars, *(f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in extra_moments(schedule, begin, end))]


def cadence(task: Task) -> timedelta:
    """How often to look whether a task without a schedule is needed: minutes that divide an hour evenly."""
    wanted = task.every / 20 if task.every else SWEEP
    return max((each for each in CADENCES if each <= wanted), default=CADENCES[0])


def compile_timer(task: Task, calendars: Sequence[str]) -> str:
    spread = task.spread if task.schedule else cadence(task)
    return template("task.timer.j2").render(
        task=task,
        calendars=calendars,
        description=described(task),
        spread=show_seconds(spread) if spread else "",
    )


def compile_path(task: Task) -> str:
    return template("task.path.j2").render(task=task, description=described(task))


def described(task: Task) -> str:
    return rest_of_line(specifiers(task.description))


def compile_housekeeping(catalogue: Catalogue, places: Places) -> dict[str, str]:
    """Shipping, which only a host with a diary has, reconciling, and alerting."""
    units: dict[str, str] = {}
    if catalogue.agent.diary:
        description = "Send run records to the diary"
        units["rota-ship.service"] = housekeeping_service(
            places, description, "ship", is_remote=True, credentials=["diary_token"]
        )
        units["rota-ship.path"] = template("ship.path.j2").render(description=description, places=places)
        units["rota-ship.timer"] = housekeeping_timer(description, after_boot="30s", every="2min")
    description = "Close lost runs and remove old records"
    units["rota-reconcile.service"] = housekeeping_service(places, description, "reconcile")
    units["rota-reconcile.timer"] = housekeeping_timer(description, after_boot="20s", every="10min")
    units |= compile_accounting(places)
    if catalogue.agent.diary and catalogue.agent.listen:
        units |= compile_listening(catalogue.agent, places)
    return units | compile_alerting(catalogue, places)


def compile_listening(agent: Agent, places: Places) -> dict[str, str]:
    """What hears from the diary what people ask of this host, and, where it heeds that, what does it.

    The one speaks to the network and may start nothing; the other starts tasks and speaks to nobody.
    """
    description = "Look whether somebody wants something of this host in the diary"
    words = [agent.diary or "", *([str(agent.certificate)] if agent.certificate else [])]
    units = {
        "rota-listen.service": housekeeping_service(
            places,
            description,
            " ".join(["listen", *map(quote, words)]),
            is_remote=True,
            is_frequent=True,
            credentials=["diary_token"],
        ),
        "rota-listen.timer": housekeeping_timer(
            description, after_boot="30s", every=show_seconds(agent.listen or timedelta())
        ),
    }
    if agent.asking:
        carrying_out = "Do what somebody asked of this host in the diary"
        answering = template("accounting.service.j2")
        units["rota-answer.service"] = answering.render(places=places, description=carrying_out, command="answer")
        units["rota-answer.path"] = template("answer.path.j2").render(places=places, description=carrying_out)
    return units


def compile_accounting(places: Places) -> dict[str, str]:
    """What records slots that passed without a run, and what makes up for some of them."""
    of_all = "Record slots that passed without a run, and plan those to come"
    accounting = template("accounting.service.j2")
    return {
        "rota-account.service": accounting.render(places=places, description=of_all, command="account"),
        "rota-account.timer": housekeeping_timer(of_all, after_boot="5s", every="5min"),
        "rota-catch-up@.service": accounting.render(
            places=places, description="Run the task %i for the slots that it missed", command="catch-up %i"
        ),
    }


def compile_alerting(catalogue: Catalogue, places: Places) -> dict[str, str]:
    """What the unit of a failed task starts, and what looks at all tasks from time to time."""
    alerting, of_one = catalogue.agent.alerting, "Tell the people of the task %i that it failed"
    of_all = "Tell the people of tasks that fail or have recovered"
    credentials = [alerting.credential] if alerting.user else []
    if catalogue.asks_for_urls and catalogue.agent.environment.speaks:
        credentials.append(alerting.urls)
    return {
        "rota-alert@.service": housekeeping_service(
            places, of_one, "alert %i", is_remote=True, is_alerting=True, credentials=credentials
        ),
        "rota-alert.service": housekeeping_service(
            places, of_all, "alert", is_remote=True, is_alerting=True, credentials=credentials
        ),
        "rota-alert.timer": housekeeping_timer(of_all, after_boot="40s", every="2min"),
        "rota-look.service": housekeeping_service(
            places,
            "Look at what came of a run that ended a moment ago",
            "alert",
            is_remote=True,
            is_alerting=True,
            credentials=credentials,
            settle=SETTLE,
        ),
    }


def housekeeping_service(
    places: Places,
    description: str,
    command: str,
    *,
    is_remote: bool = False,
    is_alerting: bool = False,
    is_frequent: bool = False,
    credentials: Sequence[str] = (),
    settle: int = 0,
) -> str:
    """The service of one of the agent's own commands, which may speak to other hosts, and know some secrets.

    One that others start at any rate waits `settle` seconds, while further starts change nothing. One that is
    frequent leaves no line in the journal unless something is wrong.
    """
    return template("housekeeping.service.j2").render(
        places=places,
        description=description,
        command=f"/usr/local/bin/rota {command}",
        is_remote=is_remote,
        is_alerting=is_alerting,
        is_frequent=is_frequent,
        credentials=credentials,
        settle=settle,
    )


def housekeeping_timer(description: str, *, after_boot: str, every: str) -> str:
    return template("housekeeping.timer.j2").render(description=description, after_boot=after_boot, every=every)


def runner_command(package: Path) -> list[str]:
    """Start the runner from its compiled form: as a script it would be compiled anew for each run, 4 ms every time.

    Its folder comes first for this one import, so that no other is searched, and is taken away again.
    """
    loader = f"import sys; sys.path.insert(0, {str(package)!r}); from runner import main; del sys.path[0]; main()"
    return [*PYTHON, "-c", loader]


def runner_arguments(task: Task, agent: Agent, places: Places, *, trigger: str, unit_hash: str) -> list[str]:
    """Everything the runner must know."""
    values = {
        "task": task.name,
        "pack": task.pack or "",
        "host": agent.host,
        "environment": agent.environment.value,
        "spool": str(places.spool),
        "spare": str(places.spare),
        "lock": str(places.lock(task.lock_name)),
        "lock_wait": show_seconds(task.lock_wait),
        "timeout": show_seconds(task.timeout),
        "grace": show_seconds(task.grace),
        "trigger": trigger,
        "plan": str(places.plan(task.name)),
        "spread": show_seconds(task.spread),
        "every": show_seconds(task.every) if task.every else "",
        "success": str(places.success(task.name)) if task.every else "",
        "retry": task.retry.argument if task.retry else "",
        "expect": ";".join(each.argument for each in task.expect),
        "watch": "\n".join(map(str, task.watch)) if not task.schedule and not task.every else "",
        "request": "" if places.is_embedded else str(places.requests / task.name),
        "current": "" if places.is_embedded else str(places.current),
        "hash": unit_hash,
    }
    return [f"{key}={value}" for key, value in values.items() if value]


def through_current(path: Path, places: Places) -> Path:
    """The same file through the link to the current release, where it lies in a release: units outlive deploys."""
    if not path.is_relative_to(places.releases):
        return path
    return places.current.joinpath(*path.relative_to(places.releases).parts[1:])


def exec_start(words: Sequence[str]) -> str:
    """The value of an ExecStart= for exactly these words; the colon keeps `$` from being read as a variable.

    systemd.service(5), COMMAND LINES.
    """
    return ":" + " ".join(quote(word) for word in words)


def quote(word: str) -> str:
    if SAFE.fullmatch(word):
        return word
    return f'"{"".join(map(quote_character, specifiers(word)))}"'


def quote_character(character: str) -> str:
    """As systemd.syntax(7) unquotes it; it takes a carriage return for the end of a line as well."""
    if character in '"\\':
        return f"\\{character}"
    return f"\\x{ord(character):02x}" if character < " " or character == "\x7f" else character


def specifiers(text: str) -> str:
    return text.replace("%", "%%")


def rest_of_line(text: str) -> str:
    """What ends a line unquoted: a backslash there would make the next line part of it."""
    return f"{text} " if text.endswith("\\") else text


def environment_lines(variables: Mapping[str, str]) -> list[str]:
    return [quote(f"{name}={value}") for name, value in variables.items()]


def is_home(path: PurePosixPath) -> bool:
    return any(path.is_relative_to(home) for home in HOMES)


def template(name: str) -> "jinja2.Template":
    # Every command knows the units, few write them, and this import takes longer than all else of most commands.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rota"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - unit files are not HTML; `quote` and `specifiers` escape for systemd
        keep_trailing_newline=True,
    )
    environment.filters["quote"] = lambda path: quote(str(path))
    environment.filters["path_value"] = lambda path: rest_of_line(specifiers(str(path)))
    environment.filters["rest_of_line"] = rest_of_line
    environment.filters["lower_first"] = lambda text: text[:1].lower() + text[1:]
    return environment.get_template(name)


def find_changes(units: Mapping[str, str], folder: Path, behind: Collection[str] = ()) -> list[Change]:
    """What is missing, differs, is ours and no longer described, or `behind`, in this folder of unit files.

    A file that is not enabled counts as missing: enabling is a link beside it, written together with it. A unit that
    somebody masked is left so.
    """
    changes = [
        Change(path=folder / name, before=read_unit(folder / name), after=text, is_behind=name in behind)
        for name, text in sorted(units.items())
        if not is_masked(folder / name)
        and (read_unit(folder / name) != text or not is_enabled(folder / name) or name in behind)
    ]
    gone = sorted(name for name in present_units(folder) if name not in units)
    return changes + [Change(path=folder / name, before=read_unit(folder / name), after=None) for name in gone]


def present_units(folder: Path) -> set[str]:
    """The names of our units and of links to them."""
    places = [folder, *(folder / wants for wants in INSTALLED_IN.values())]
    return {path.name for place in places if place.is_dir() for path in place.iterdir() if OURS.fullmatch(path.name)}


def read_unit(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def told_units(catalogue: Catalogue, folder: Path) -> dict[str, Unit]:
    """How the services in this folder confine the catalogue's tasks, by task, of those that are there."""
    texts = ((task, read_unit(folder / unit_name(task.name))) for task in catalogue.tasks.values())
    return {
        task.name: Unit(hash=hash_of(text), exposure=task.exposure, hardening=hardening_of(text))
        for task, text in texts
        if text and hash_of(text)
    }


def is_masked(path: Path) -> bool:
    """Whether somebody linked this unit, or the service it starts, to nothing: systemd starts it no more.

    systemd.unit(5).
    """
    return any(
        each.is_symlink() and each.resolve() == Path("/dev/null") for each in (path, path.with_suffix(".service"))
    )


def units_behind(units: Iterable[str]) -> set[str]:
    """Which of these units systemd does not have in use as their files say: one that is stopped, or not read anew.

    A sync that was ended half-way leaves that.
    """
    names = sorted(name for name in units if "@" not in name)
    told = systemd.show(names, ["ActiveState", "NeedDaemonReload"]) if names else []
    return {
        name
        for name, each in zip(names, told, strict=True)
        if each.get("NeedDaemonReload") == "yes"
        or (name.endswith(tuple(INSTALLED_IN)) and each.get("ActiveState") in ("inactive", "failed"))
    }


def wants_link(path: Path) -> Path | None:
    """The link that enables this unit, or None for one that others start."""
    folder = INSTALLED_IN.get(path.suffix)
    return path.parent / folder / path.name if folder else None


def is_enabled(path: Path) -> bool:
    link = wants_link(path)
    return link is None or link.is_symlink()


def to_restart(changes: Iterable[Change]) -> list[str]:
    """The timers and path units that must be stopped before a reload and started after it."""
    return [change.unit for change in changes if change.path.suffix in INSTALLED_IN]


def apply(changes: Sequence[Change], catalogue: Catalogue, places: Places, *, is_live: bool) -> None:
    """Bring the unit files to the described state; in a live systemd stop, reload and start what changed.

    A service that runs meanwhile goes on undisturbed, and no timer elapses.
    """
    unit_files.make_locks(places.lock(task.lock_name) for task in catalogue.tasks.values())
    # Each unit hides what the folder holds for others, and would not start without it.
    places.plans.mkdir(parents=True, exist_ok=True)
    successes = [places.success(task.name) for task in catalogue.tasks.values() if task.every]
    if successes:
        unit_files.make_successes(successes, group=places.locks.stat().st_gid)
    if not is_live:
        write_units(changes)
        return
    unit_files.stop(to_restart(changes))
    rewind_timers(changes)
    write_units(changes)
    if changes:
        there = {change.unit for change in changes if change.after is not None}
        unit_files.reload_and_start(unit for unit in to_restart(changes) if unit in there)
        unit_files.forget_failures(change.unit for change in changes if change.after is None)


def write_units(changes: Iterable[Change]) -> None:
    for change in changes:
        link = wants_link(change.path)
        if change.after is None:
            unit_files.remove(change.path, link)
        else:
            unit_files.write(change.path, change.after, link)


def rewind_timers(changes: Iterable[Change]) -> None:
    """Start the changed timers with nothing to wait for, so that what they are to wait for counts from now.

    systemd 252 looks for a timer's next elapse from its last one, or else from when it was started the time before:
    started, or reloaded, with a schedule that had a slot since, it elapses at once.
    """
    timers = [change for change in changes if change.after and ONLY_CALENDAR.search(change.after)]
    if timers:
        # With their services, without which systemd starts no timer.
        write_units(replace(each, after=each.after and ONLY_CALENDAR.sub(NEVER, each.after)) for each in changes)
        unit_files.reload_and_start(change.unit for change in timers)

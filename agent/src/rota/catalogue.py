"""The catalogue: what packs declare and `/etc/rota/*.yml` switches on, as validated tasks."""

import importlib
import importlib.util
import inspect
import json
import pkgutil
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from rota.adapters.calendars import CalendarUnreadable, NeedsExtra, UnreadCalendar, read_calendar
from rota.adapters.yaml_files import BadYaml, read_yaml
from rota.core import retention
from rota.core.calendar import BadExpression
from rota.core.calendar import parse as parse_calendar
from rota.core.catalogue import DEFAULT_LISTEN, Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.fields import FIELDS, ZONE_NAME, quoted
from rota.core.mail import READERS, parse_alerting
from rota.core.nearest import nearest
from rota.core.parameter import DRY_RUN
from rota.core.parameter_fields import WrongWithin
from rota.core.quantities import ANSWERS, parse_answer, parse_duration
from rota.core.record import TASK_NAME
from rota.core.retention import parse_keep
from rota.core.status import Environment
from rota.core.task import Task, declaration
from rota.core.window import Window
from rota.pack_parameters import choices_of, keyword_only, parameters_of

TOP_LEVEL = ("agent", "tasks", "diary", "backup", "mirror")
AGENT_KEYS = ("host", "environment", "diary", "alert", "keep", "asking", "listen")
DIARY_KEYS = ("url", "certificate")
BOUND_TO_SLOTS = ("dst", "only", "except", "catch_up", "catch_up_window")
SCHEDULED = ("schedule", "zone", "spread", *BOUND_TO_SLOTS)
SHORT = reprlib.Repr()
SHORT.maxlist = SHORT.maxtuple = SHORT.maxdict = SHORT.maxset = 12
SHORT.maxstring = SHORT.maxother = 300
Section = TypeVar("Section")


class BadConfiguration(RotaError):
    """The configuration cannot be used."""

    def __init__(self, file: Path, said: str, *, task: str = "", key: str = "") -> None:
        super().__init__(f"{file}: {f'task {task}: ' if task else ''}{said}")
        self.file, self.said, self.task, self.key = file, said, task, key
        self.others = 0

    def __str__(self) -> str:
        more = f" (and {self.others} more; rota check lists all)" if self.others else ""
        return f"{super().__str__()}{more}"


@dataclass(frozen=True)
class PackTask:
    """A function of a pack that `@task` declares."""

    name: str
    pack: str
    function: Callable[..., None]

    @property
    def defaults(self) -> Mapping[str, object]:
        said = declaration(self.function)
        return said.defaults if said else {}

    @property
    def description(self) -> str:
        return (inspect.getdoc(self.function) or "").partition("\n")[0].rstrip(".")


def load(
    folder: Path, *, host: str, environment: str, python: Sequence[str], packs: Mapping[str, PackTask]
) -> Catalogue:
    """Read all configuration files of this folder, in the order of their names.

    A later file overrides single fields of a task. `python` begins the command of a pack's task; `host` and
    `environment` serve where `agent` does not say.
    Raises BadConfiguration naming file, task, key, value and what would be right.
    """
    found = examine(folder, host=host, environment=environment, python=python, packs=packs)
    if isinstance(found, Catalogue):
        return found
    found[0].others = len(found) - 1
    raise found[0]


def examine(
    folder: Path, *, host: str, environment: str, python: Sequence[str], packs: Mapping[str, PackTask]
) -> Catalogue | list[BadConfiguration]:
    """The catalogue, as `load` reads it, or else all that is wrong with it."""
    refused: list[BadConfiguration] = []
    sections, tasks = gather(folder, refused)
    if refused:
        return refused  # what a file that cannot be read says would seem to be missing elsewhere
    agent, built = None, dict[str, Task | None]()
    with noted(refused):
        agent = read_agent(sections["agent"], folder, host, environment)
    for name, own in sorted(tasks.items()):
        with noted(refused):
            built[name] = build(own, packs, python)
    if agent is None or refused:
        return refused
    there = {name: armed(task, agent.environment) for name, task in built.items() if task is not None}
    return Catalogue(agent=agent, tasks=there)


@contextmanager
def noted(refused: list[BadConfiguration]) -> Iterator[None]:
    """Go on after what is wrong, and keep it."""
    try:
        yield
    except BadConfiguration as error:
        refused.append(error)


@dataclass(frozen=True)
class Setting:
    """A value, and the file that says it."""

    file: Path
    value: object


@dataclass(frozen=True)
class Said:
    """What the files say of one task: its fields, each with the file that says it last; `file` is the first of all."""

    task: str
    file: Path
    given: dict[str, Setting]

    def file_of(self, key: str) -> Path:
        """The file to be mended when this field is wrong; of what the pack says, the one that names the task."""
        return self.given[key].file if key in self.given else self.file


Sections = dict[str, dict[str, Setting]]


def gather(folder: Path, refused: list[BadConfiguration]) -> tuple[Sections, dict[str, Said]]:
    """What all files say: of the sections by name, and of the tasks. What cannot be read is added to `refused`."""
    sections: Sections = {"agent": {}}
    tasks: dict[str, Said] = {}
    for file in files_in(folder):
        with noted(refused):
            content = read(file)
            refuse_unknown(content, TOP_LEVEL, file)
            said = section(content, "agent", file)
            sections["agent"] |= {key: Setting(file, value) for key, value in said.items()}
            for name, fields in section(content, "tasks", file).items():
                with noted(refused):
                    given = {key: Setting(file, value) for key, value in read_fields(name, fields, file).items()}
                    tasks.setdefault(name, Said(name, file, {})).given.update(given)
    return sections, tasks


def files_in(folder: Path) -> list[Path]:
    """The files that are read, in order; not what editors and file copiers hide beside them while they write."""
    return sorted(path for path in folder.glob("*.yml") if not path.name.startswith("."))


def read_fields(name: object, fields: object, file: Path) -> dict[str, object]:
    """The fields of a task as one file has them. Raises BadConfiguration."""
    if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
        raise BadConfiguration(file, f"the task {name!r} must be a lower-case word with underscores")
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise BadConfiguration(file, f"it is {shown(fields)}; it must be a mapping of fields", task=name)
    refuse_unknown(fields, FIELDS, file, task=name)
    return fields


def origins(folder: Path, name: str, packs: Mapping[str, PackTask]) -> dict[str, str]:
    """Where each field of a task comes from: the file that says it, or `the pack`; the rest are Rota's defaults."""
    return origins_of(gather(folder, [])[1][name], packs)


def origins_of(own: Said, packs: Mapping[str, PackTask]) -> dict[str, str]:
    pack_task = find_pack_task(own, packs)
    said = dict.fromkeys((*pack_task.defaults, "command", "description", "pack"), "the pack") if pack_task else {}
    return said | {key: str(setting.file) for key, setting in own.given.items()}


def discover() -> dict[str, PackTask]:
    """The tasks of all installed packs, as `PACK.NAME`. A pack whose extra is not installed offers none."""
    found: dict[str, PackTask] = {}
    packs = importlib.import_module("rota.packs")
    for module in pkgutil.iter_modules(packs.__path__):
        if module.ispkg and importlib.util.find_spec(f"rota.packs.{module.name}.tasks"):
            for each in tasks_of(module.name):
                found[f"{each.pack}.{each.name}"] = each
    return found


def tasks_of(pack: str) -> Iterable[PackTask]:
    try:
        tasks = importlib.import_module(f"rota.packs.{pack}.tasks")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rota":
            raise
        return
    for name, function in vars(tasks).items():
        if inspect.isfunction(function) and declaration(function) and function.__module__ == tasks.__name__:
            yield PackTask(name, pack, function)


def read(file: Path) -> dict[str, object]:
    try:
        content = read_yaml(file)
    except OSError as error:
        raise BadConfiguration(file, str(error.strerror)) from error
    except BadYaml as error:
        raise BadConfiguration(file, str(error)) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadConfiguration(file, f"it holds {shown(content)}; it must be a mapping of {', '.join(TOP_LEVEL)}")
    return content


def section(content: Mapping[str, object], key: str, file: Path) -> dict[str, object]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadConfiguration(file, f"key {key}: it is {shown(value)}; it must be a mapping", key=key)
    return value


def shown(value: object) -> str:
    """A value as it stands in a message: whole where that is short."""
    return SHORT.repr(value)


def read_agent(settings: Mapping[str, Setting], folder: Path, host: str, environment: str) -> Agent:
    files = {key: setting.file for key, setting in settings.items()}
    values = {key: setting.value for key, setting in settings.items()}
    for key, file in files.items():
        refuse_unknown({key: None}, AGENT_KEYS, file, "agent: ")
    diary = values.get("diary") or {}
    if not isinstance(diary, dict):
        said = f"agent: diary is {shown(diary)}; it must be a mapping with url and certificate"
        raise BadConfiguration(files["diary"], said, key="diary")
    refuse_unknown(diary, DIARY_KEYS, files.get("diary", folder), "agent: diary: ")
    said = str(values.get("environment") or environment)
    if said not in list(Environment):
        raise BadConfiguration(
            files.get("environment", folder / "environment"),
            f"agent: environment is {said!r}{nearest(said, Environment)}; it must be one of {', '.join(Environment)}",
            key="environment",
        )
    url = diary.get("url")
    if url is not None and not (isinstance(url, str) and url.startswith(("https://", "http://127.0.0.1"))):
        said = f"agent: diary: url is {shown(url)}; it must begin with https://"
        raise BadConfiguration(files["diary"], said, key="diary")
    certificate = diary.get("certificate")
    return Agent(
        host=str(values.get("host") or host),
        environment=Environment(said),
        diary=url.rstrip("/") if url else None,
        certificate=Path(str(certificate)) if certificate else None,
        alerting=read_section("alert", settings.get("alert"), READERS, parse_alerting),
        keep=read_section("keep", settings.get("keep"), retention.READERS, parse_keep),
        asking=read_value("asking", settings.get("asking"), parse_answer, False),
        listen=read_value("listen", settings.get("listen"), parse_listen, DEFAULT_LISTEN),
    )


def parse_listen(value: object) -> timedelta | None:
    """How often to look for what the diary wants; None for never. Raises ValueError saying what would be right."""
    if value in ("never", False):
        return None
    try:
        listen = parse_duration(value)
    except ValueError:
        listen = timedelta()
    if not timedelta(seconds=2) <= listen <= timedelta(hours=1):
        raise ValueError("a duration from 2s to 1h, or never")
    return listen


def read_value(key: str, setting: Setting | None, read: Callable[[object], Section], default: Section) -> Section:
    """What `agent` holds under this key, as `read` has it, which raises ValueError. Raises BadConfiguration."""
    if setting is None or setting.value is None:
        return default
    try:
        return read(setting.value)
    except ValueError as error:
        said = f"agent: {key} is {shown(setting.value)}; it must be {error}"
        raise BadConfiguration(setting.file, said, key=key) from None


def read_section(
    key: str, setting: Setting | None, known: Iterable[str], parse: Callable[[Mapping[str, object]], Section]
) -> Section:
    """What `agent` holds under this key, as `parse` reads it, which raises ValueError. Raises BadConfiguration."""
    if setting is None or not setting.value:
        return parse({})
    if not isinstance(setting.value, dict):
        said = f"agent: {key} is {shown(setting.value)}; it must be a mapping of {', '.join(known)}"
        raise BadConfiguration(setting.file, said, key=key)
    refuse_unknown(setting.value, known, setting.file, f"agent: {key}: ")
    try:
        return parse(setting.value)
    except ValueError as error:
        raise BadConfiguration(setting.file, f"agent: {key}: {error}", key=key) from None


def build(own: Said, packs: Mapping[str, PackTask], python: Sequence[str]) -> Task | None:
    """The task from its pack's defaults and its own fields; None when it is switched off."""
    pack_task = find_pack_task(own, packs)
    fields = defaults_beside(own, pack_task) | {key: setting.value for key, setting in own.given.items()}
    values: dict[str, Any] = {key: value_of(own, key, value) for key, value in fields.items()}
    if not values.pop("enabled", True):
        return None
    values.pop("task", None)
    settings = typing.cast(Mapping[str, object], values.pop("settings", {}))
    if pack_task:
        values.setdefault("description", pack_task.description)
        values["pack"] = pack_task.pack
        settings = {**settings, "items": list(values["items"])} if "items" in values else settings
        values["command"] = pack_command(own, pack_task, settings, python)
        values |= offers(own, pack_task, values, settings)
    elif settings:
        raise wrong(own, "settings", "settings are for a pack's task; a command has its arguments")
    elif any(isinstance(each, str) for each in values.get("parameters", ())):
        raise wrong(own, "parameters", "parameters: of a command it must be a mapping by name")
    if "description" not in values:
        raise wrong(own, "description", "description is missing: say in one line what it does")
    check_schedule(own, values)
    for key in ("only", "except"):
        values[key] = tuple(read_window(own, key, window) for window in values.get(key, ()))
    values["excepted"] = values.pop("except")
    return Task(name=own.task, **values)


def wrong(own: Said, key: str, said: str) -> BadConfiguration:
    """What is wrong with a field of a task, in the file that says it."""
    return BadConfiguration(own.file_of(key), said, task=own.task, key=key)


def defaults_beside(own: Said, pack_task: PackTask | None) -> dict[str, object]:
    """What the pack says and the host does not; a host's `every` takes the place of the pack's schedule, or the other
    way round."""
    replaced = SCHEDULED if "every" in own.given else ("every",) if "schedule" in own.given else ()
    defaults = pack_task.defaults if pack_task else {}
    return {key: value for key, value in defaults.items() if key not in replaced}


def read_window(own: Said, key: str, window: Window | PurePosixPath) -> Window:
    """A calendar's file read; any other window as it is."""
    if not isinstance(window, PurePosixPath):
        return window
    try:
        return read_calendar(Path(window))
    except NeedsExtra:
        return UnreadCalendar(Path(window))  # which `rota check` tells
    except CalendarUnreadable as error:
        raise wrong(own, key, f"{key}: {error.args[0]}") from None


def armed(task: Task, environment: Environment) -> Task:
    """The task as this environment has it: where it is not to run by itself, without what would start it."""
    if not task.environments or environment in task.environments:
        return task
    return replace(task, schedule=(), every=None, watch=())


def offers(
    own: Said, pack_task: PackTask, values: Mapping[str, Any], settings: Mapping[str, object]
) -> dict[str, object]:
    """What the pack's function lets a run by hand set, and whether it can try without changing anything."""
    if not all(isinstance(each, str) for each in values.get("parameters", ())):
        raise wrong(own, "parameters", "parameters: of a pack's task it must be a list of its settings")
    try:
        parameters = parameters_of(pack_task.function, values.get("parameters", ()), settings)
    except ValueError as error:
        raise wrong(own, "parameters", f"parameters: {error}") from None
    if "dry_run" in values:
        raise wrong(own, "dry_run", "dry_run: a pack's function has a setting of that name, or cannot")
    return {"parameters": parameters, "dry_run": () if DRY_RUN in keyword_only(pack_task.function) else None}


def find_pack_task(own: Said, packs: Mapping[str, PackTask]) -> PackTask | None:
    """The pack's task that is meant: named by `task`, else the only one of this very name; None for a command."""
    if "command" in own.given:
        if "task" in own.given:
            raise wrong(own, "task", "it has both task and command; it must have one of them")
        return None
    if "task" in own.given:
        said = str(own.given["task"].value)
        if said in packs:
            return packs[said]
        known = ", ".join(sorted(packs))
        raise wrong(own, "task", f"task is {said!r}{nearest(said, packs)}; there are: {known}")
    found = [pack_task for pack_task in packs.values() if pack_task.name == own.task]
    if len(found) == 1:
        return found[0]
    names = [pack_task.name for pack_task in packs.values()]
    raise wrong(
        own,
        "command",
        f"no pack has a task of this name{nearest(own.task, names)}; "
        f"it must have command: [/path/of/program] or task: PACK.NAME, one of {', '.join(sorted(packs))}",
    )


def value_of(own: Said, key: str, value: object) -> object:
    try:
        return FIELDS[key].read(value)
    except WrongWithin as error:
        raise wrong(own, key, f"{key}: {error}") from None
    except ValueError as error:
        raise wrong(own, key, f"{key} is {shown(value)}; it must be {error}") from None


def check_schedule(own: Said, values: Mapping[str, Any]) -> None:
    schedule: tuple[str, ...] = values.get("schedule", ())
    zone = values.get("zone")
    if zone is not None and not is_zone(str(zone)):
        raise wrong(own, "zone", f"zone is {zone!r}{nearest(zone, available_timezones())}; it must be {ZONE_NAME}")
    if schedule and "every" in values:
        raise wrong(own, "every", "it has both schedule and every; it must have one of them")
    for key in BOUND_TO_SLOTS:
        if key in values and not schedule:
            raise wrong(own, key, f"{key} says how to treat slots; without a schedule there are none")
    for expression in schedule:
        check_expression(own, expression, zone)
    if schedule and values.get("catch_up") is None:
        raise wrong(
            own,
            "catch_up",
            "catch_up is missing; with a schedule it must be none, latest to run the last slot that was missed, or all "
            "to run each",
        )


def check_expression(own: Said, expression: str, zone: str | None) -> None:
    has_zone = is_zone(expression.split()[-1])
    if has_zone and zone is not None:
        raise wrong(own, "zone", f"schedule {expression!r} names a zone, and so does zone")
    if not has_zone and zone is None:
        raise wrong(own, "schedule", f"schedule {expression!r} has no time zone; add zone: with {ZONE_NAME}")
    try:
        parse_calendar(expression, zone or "UTC")
    except BadExpression as error:
        raise wrong(own, "schedule", f"schedule is {error.args[0]}") from None


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def pack_command(
    own: Said, pack_task: PackTask, settings: Mapping[str, object], python: Sequence[str]
) -> tuple[str, ...]:
    try:
        bind(pack_task.function, settings)
    except ValueError as error:
        raise wrong(own, "settings", str(error)) from None
    said = [json.dumps(settings, sort_keys=True, default=str)] if settings else []
    return (*python, "-m", "rota.packs", f"{pack_task.pack}.{pack_task.name}", *said)


def bind(function: Callable[..., None], settings: Mapping[str, object]) -> dict[str, object]:
    """The settings as the function's keyword-only parameters want them. Raises ValueError naming what is wrong."""
    hints = typing.get_type_hints(function)
    parameters = keyword_only(function)
    for key in settings:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise ValueError(f"unknown setting {key!r}{nearest(str(key), parameters)}; there are: {known}")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in settings:
            raise ValueError(f"the setting {key!r} is missing; it must be {shown_type(hints[key])}")
    return {key: convert(key, value, hints[key]) for key, value in settings.items()}


def convert(key: str, value: object, wanted: object) -> object:
    """The value as this type of parameter. Raises ValueError."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return convert(key, value, next(each for each in arguments if each is not type(None)))
    if origin in (list, tuple) and isinstance(value, list):
        converted = [convert(f"{key}[{number}]", each, arguments[0]) for number, each in enumerate(value)]
        return converted if origin is list else tuple(converted)
    if origin is dict and isinstance(value, dict):
        return {str(name): convert(f"{key}.{name}", each, arguments[1]) for name, each in value.items()}
    if wanted in (Path, PurePosixPath) and isinstance(value, str) and value.startswith("/"):
        return Path(value)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if wanted is bool and isinstance(value, str) and value.lower() in ANSWERS:
        return parse_answer(value)
    if wanted is date and isinstance(value, str | date):
        return converted_date(key, value)
    if choices_of(wanted) and value in choices_of(wanted):
        return wanted(value) if isinstance(wanted, type) else value
    is_scalar = wanted in (str, int, float, bool)
    if is_scalar and type(value) is wanted:
        return value
    hint = quoted(value) if wanted is str else ""
    raise ValueError(f"the setting {key!r} is {shown(value)}; it must be {shown_type(wanted)}{hint}")


def converted_date(key: str, value: str | date) -> date:
    """A date, which JSON and quoted YAML hold as text. Raises ValueError."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"the setting {key!r} is {value!r}; it must be {shown_type(date)}") from None


def shown_type(wanted: object) -> str:
    """A parameter's type in words."""
    arguments = typing.get_args(wanted)
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a whole path"}
    words[date] = "a date like 2026-01-31"
    if choices_of(wanted):
        return f"one of {', '.join(choices_of(wanted))}"
    if typing.get_origin(wanted) in (list, tuple):
        return f"a list; each entry is {shown_type(arguments[0])}"
    if typing.get_origin(wanted) is dict:
        return f"a mapping; each value is {shown_type(arguments[1])}"
    if arguments:
        return " or ".join("null" if each is type(None) else shown_type(each) for each in arguments)
    return next((word for each, word in words.items() if each is wanted), str(wanted))


def refuse_unknown(
    content: Mapping[str, object], known: Iterable[str], file: Path, where: str = "", *, task: str = ""
) -> None:
    names = list(known)
    for key in content:
        if key not in names:
            said = f"{where}unknown key {key!r}{nearest(str(key), names)}; keys are: {', '.join(names)}"
            raise BadConfiguration(file, said, task=task, key=str(key))

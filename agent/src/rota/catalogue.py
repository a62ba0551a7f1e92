"""The catalogue: what packs declare and `/etc/rota/*.yml` switches on, as validated tasks."""

import importlib
import importlib.util
import inspect
import json
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from rota.adapters.calendars import CalendarUnreadable, read_calendar
from rota.core import retention
from rota.core.calendar import BadExpression
from rota.core.calendar import parse as parse_calendar
from rota.core.catalogue import Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.fields import FIELDS, ZONE_NAME
from rota.core.mail import READERS, parse_alerting
from rota.core.nearest import nearest
from rota.core.parameter import DRY_RUN
from rota.core.parameter_fields import WrongWithin
from rota.core.record import TASK_NAME
from rota.core.retention import parse_keep
from rota.core.status import Environment
from rota.core.task import Task, declaration
from rota.core.window import Window
from rota.pack_parameters import choices_of, keyword_only, parameters_of

TOP_LEVEL = ("agent", "tasks", "diary", "backup", "mirror")
AGENT_KEYS = ("host", "environment", "diary", "alert", "keep")
DIARY_KEYS = ("url", "certificate")
BOUND_TO_SLOTS = ("dst", "only", "except", "catch_up", "catch_up_window")
SCHEDULED = ("schedule", "zone", "spread", *BOUND_TO_SLOTS)


Section = typing.TypeVar("Section")


class BadConfiguration(RotaError):
    """The configuration cannot be used."""


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
    sections, tasks = gather(folder)
    built = {name: build(name, fields, packs, python) for name, fields in sorted(tasks.items())}
    agent = read_agent(sections["agent"], host, environment)
    return Catalogue(
        agent=agent,
        tasks={name: armed(task, agent.environment) for name, task in built.items() if task is not None},
    )


def gather(folder: Path) -> tuple[dict[str, dict[str, "Setting"]], dict[str, dict[str, "Setting"]]]:
    """What all files say: of the sections by name, and of the tasks; each value with the file that says it last."""
    sections: dict[str, dict[str, Setting]] = {"agent": {}}
    tasks: dict[str, dict[str, Setting]] = {}
    for file in sorted(folder.glob("*.yml")):
        content = read(file)
        refuse_unknown(content, TOP_LEVEL, f"{file}")
        said = section(content, "agent", file)
        sections["agent"] |= {key: Setting(file, value) for key, value in said.items()}
        for name, fields in section(content, "tasks", file).items():
            if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
                raise BadConfiguration(f"{file}: the task {name!r} must be a lower-case word with underscores")
            fields = {} if fields is None else fields
            if not isinstance(fields, dict):
                raise BadConfiguration(f"{file}: task {name}: it is {fields!r}; it must be a mapping of fields")
            refuse_unknown(fields, FIELDS, f"{file}: task {name}")
            tasks.setdefault(name, {}).update({key: Setting(file, value) for key, value in fields.items()})
            tasks[name].setdefault("", Setting(file, None))
    return sections, tasks


def origins(folder: Path, name: str, packs: Mapping[str, PackTask]) -> dict[str, str]:
    """Where each field of a task comes from: the file that says it, or `the pack`; the rest are Rota's defaults."""
    own = gather(folder)[1][name]
    given = {key: setting for key, setting in own.items() if key}
    pack_task = find_pack_task(name, given, packs, own[""].file)
    said = dict.fromkeys((*pack_task.defaults, "command", "description", "pack"), "the pack") if pack_task else {}
    return said | {key: str(setting.file) for key, setting in given.items()}


@dataclass(frozen=True)
class Setting:
    """A value, and the file that says it; the defaults of a pack come from none."""

    file: Path | None
    value: object


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
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise BadConfiguration(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{file}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadConfiguration(f"{file}: it holds {content!r}; it must be a mapping of {', '.join(TOP_LEVEL)}")
    return content


class StrictLoader(yaml.SafeLoader):
    """Reads what the safe loader reads, but refuses a key written twice instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[typing.Hashable, typing.Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is written twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


def section(content: Mapping[str, object], key: str, file: Path) -> dict[str, object]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadConfiguration(f"{file}: key {key}: it is {value!r}; it must be a mapping")
    return value


def read_agent(settings: Mapping[str, Setting], host: str, environment: str) -> Agent:
    file = next((setting.file for setting in settings.values()), None)
    values = {key: setting.value for key, setting in settings.items()}
    refuse_unknown(values, AGENT_KEYS, f"{file}: agent")
    diary = values.get("diary") or {}
    if not isinstance(diary, dict):
        raise BadConfiguration(f"{file}: agent: diary is {diary!r}; it must be a mapping with url and certificate")
    refuse_unknown(diary, DIARY_KEYS, f"{file}: agent: diary")
    said = str(values.get("environment") or environment)
    if said not in list(Environment):
        raise BadConfiguration(
            f"{file}: agent: environment is {said!r}{nearest(said, Environment)}; it must be one of "
            f"{', '.join(Environment)}"
        )
    url = diary.get("url")
    if url is not None and not (isinstance(url, str) and url.startswith(("https://", "http://127.0.0.1"))):
        raise BadConfiguration(f"{file}: agent: diary: url is {url!r}; it must begin with https://")
    certificate = diary.get("certificate")
    return Agent(
        host=str(values.get("host") or host),
        environment=Environment(said),
        diary=url.rstrip("/") if url else None,
        certificate=Path(str(certificate)) if certificate else None,
        alerting=read_section("alert", values.get("alert") or {}, READERS, parse_alerting, file),
        keep=read_section("keep", values.get("keep") or {}, retention.READERS, parse_keep, file),
    )


def read_section(
    key: str,
    settings: object,
    known: Iterable[str],
    parse: Callable[[Mapping[str, object]], Section],
    file: Path | None,
) -> Section:
    """What `agent` holds under this key, as `parse` reads it, which raises ValueError. Raises BadConfiguration."""
    where, names = f"{file}: agent", list(known)
    if not isinstance(settings, dict):
        raise BadConfiguration(f"{where}: {key} is {settings!r}; it must be a mapping of {', '.join(names)}")
    refuse_unknown(settings, names, f"{where}: {key}")
    try:
        return parse(settings)
    except ValueError as error:
        raise BadConfiguration(f"{where}: {key}: {error}") from None


def build(name: str, own: Mapping[str, Setting], packs: Mapping[str, PackTask], python: Sequence[str]) -> Task | None:
    """The task from its pack's defaults and its own fields; None when it is switched off."""
    file = own[""].file
    given = {key: setting for key, setting in own.items() if key}
    pack_task = find_pack_task(name, given, packs, file)
    fields = defaults_beside(given, pack_task) | given
    values: dict[str, Any] = {key: value_of(name, key, setting, file) for key, setting in fields.items()}
    if not values.pop("enabled", True):
        return None
    values.pop("task", None)
    settings = typing.cast(Mapping[str, object], values.pop("settings", {}))
    if pack_task:
        values.setdefault("description", pack_task.description)
        values["pack"] = pack_task.pack
        settings = {**settings, "items": list(values["items"])} if "items" in values else settings
        values["command"] = pack_command(name, pack_task, settings, python, file)
        values |= offers(name, pack_task, values, settings, file)
    elif settings:
        raise BadConfiguration(f"{file}: task {name}: settings are for a pack's task; a command has its arguments")
    elif any(isinstance(each, str) for each in values.get("parameters", ())):
        raise BadConfiguration(f"{file}: task {name}: parameters: of a command it must be a mapping by name")
    if "description" not in values:
        raise BadConfiguration(f"{file}: task {name}: description is missing: say in one line what it does")
    check_schedule(name, values, file)
    for key in ("only", "except"):
        values[key] = tuple(read_window(name, key, window, file) for window in values.get(key, ()))
    values["excepted"] = values.pop("except")
    return Task(name=name, **values)


def defaults_beside(given: Mapping[str, Setting], pack_task: PackTask | None) -> dict[str, Setting]:
    """What the pack says and the host does not; a host's `every` takes the place of the pack's schedule, or the other
    way round."""
    replaced = SCHEDULED if "every" in given else ("every",) if "schedule" in given else ()
    defaults = pack_task.defaults if pack_task else {}
    return {key: Setting(None, value) for key, value in defaults.items() if key not in replaced}


def read_window(name: str, key: str, window: Window | PurePosixPath, file: Path | None) -> Window:
    """A calendar's file read; any other window as it is."""
    if not isinstance(window, PurePosixPath):
        return window
    try:
        return read_calendar(Path(window))
    except CalendarUnreadable as error:
        raise BadConfiguration(f"{file}: task {name}: {key}: {error.args[0]}") from None


def armed(task: Task, environment: Environment) -> Task:
    """The task as this environment has it: where it is not to run by itself, without what would start it."""
    if not task.environments or environment in task.environments:
        return task
    return replace(task, schedule=(), every=None, watch=())


def offers(
    name: str,
    pack_task: PackTask,
    values: Mapping[str, Any],
    settings: Mapping[str, object],
    file: Path | None,
) -> dict[str, object]:
    """What the pack's function lets a run by hand set, and whether it can try without changing anything."""
    if not all(isinstance(each, str) for each in values.get("parameters", ())):
        raise BadConfiguration(f"{file}: task {name}: parameters: of a pack's task it must be a list of its settings")
    try:
        parameters = parameters_of(pack_task.function, values.get("parameters", ()), settings)
    except ValueError as error:
        raise BadConfiguration(f"{file}: task {name}: parameters: {error}") from None
    if "dry_run" in values:
        raise BadConfiguration(f"{file}: task {name}: dry_run: a pack's function has a setting of that name, or cannot")
    return {"parameters": parameters, "dry_run": () if DRY_RUN in keyword_only(pack_task.function) else None}


def find_pack_task(
    name: str, given: Mapping[str, Setting], packs: Mapping[str, PackTask], file: Path | None
) -> PackTask | None:
    """The pack's task that is meant: named by `task`, else the only one of this very name; None for a command."""
    if "command" in given:
        if "task" in given:
            raise BadConfiguration(f"{file}: task {name}: it has both task and command; it must have one of them")
        return None
    if "task" in given:
        wanted = str(given["task"].value)
        if wanted in packs:
            return packs[wanted]
        known = ", ".join(sorted(packs))
        raise BadConfiguration(f"{file}: task {name}: task is {wanted!r}{nearest(wanted, packs)}; there are: {known}")
    found = [pack_task for pack_task in packs.values() if pack_task.name == name]
    if len(found) == 1:
        return found[0]
    names = [pack_task.name for pack_task in packs.values()]
    raise BadConfiguration(
        f"{file}: task {name}: no pack has a task of this name{nearest(name, names)}; "
        f"it must have command: [/path/of/program] or task: PACK.NAME, one of {', '.join(sorted(packs))}"
    )


def value_of(name: str, key: str, setting: Setting, file: Path | None) -> object:
    where = setting.file or file
    try:
        return FIELDS[key].read(setting.value)
    except WrongWithin as error:
        raise BadConfiguration(f"{where}: task {name}: {key}: {error}") from None
    except ValueError as error:
        raise BadConfiguration(f"{where}: task {name}: {key} is {setting.value!r}; it must be {error}") from None


def check_schedule(name: str, values: Mapping[str, Any], file: Path | None) -> None:
    schedule: tuple[str, ...] = values.get("schedule", ())
    zone = values.get("zone")
    where = f"{file}: task {name}"
    if zone is not None and not is_zone(str(zone)):
        raise BadConfiguration(f"{where}: zone is {zone!r}; it must be {ZONE_NAME}")
    if schedule and "every" in values:
        raise BadConfiguration(f"{where}: it has both schedule and every; it must have one of them")
    for key in BOUND_TO_SLOTS:
        if key in values and not schedule:
            raise BadConfiguration(f"{where}: {key} says how to treat slots; without a schedule there are none")
    for expression in schedule:
        check_expression(expression, zone, where)
    if schedule and values.get("catch_up") is None:
        raise BadConfiguration(
            f"{where}: catch_up is missing; with a schedule it must be none, latest to run the last slot that was "
            "missed, or all to run each"
        )


def check_expression(expression: str, zone: str | None, where: str) -> None:
    has_zone = is_zone(expression.split()[-1])
    if has_zone and zone is not None:
        raise BadConfiguration(f"{where}: schedule {expression!r} names a zone, and so does zone")
    if not has_zone and zone is None:
        raise BadConfiguration(f"{where}: schedule {expression!r} has no time zone; add zone: with {ZONE_NAME}")
    try:
        parse_calendar(expression, zone or "UTC")
    except BadExpression as error:
        raise BadConfiguration(f"{where}: schedule is {error.args[0]}") from None


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def pack_command(
    name: str, pack_task: PackTask, settings: Mapping[str, object], python: Sequence[str], file: Path | None
) -> tuple[str, ...]:
    try:
        bind(pack_task.function, settings)
    except ValueError as error:
        raise BadConfiguration(f"{file}: task {name}: {error}") from None
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
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is date and isinstance(value, str | date):
        return converted_date(key, value)
    if choices_of(wanted) and value in choices_of(wanted):
        return wanted(value) if isinstance(wanted, type) else value
    is_scalar = wanted in (str, int, float, bool)
    if is_scalar and type(value) is wanted:
        return value
    raise ValueError(f"the setting {key!r} is {value!r}; it must be {shown_type(wanted)}")


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


def refuse_unknown(content: Mapping[str, object], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in content:
        if key not in names:
            raise BadConfiguration(
                f"{where}: unknown key {key!r}{nearest(str(key), names)}; keys are: {', '.join(names)}"
            )

"""A task's definition as people read it, and as the diary keeps it."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta

from rota.core.expectation import Expectation
from rota.core.parameter import Kind, Parameter, recorded
from rota.core.record import MAX_FIELD, MAX_ITEMS, MAX_TEXT, Declared, Definition, fitting
from rota.core.task import Task
from rota.core.wording import schedule_in_words, span

TOLD_APART = ("name", "description", "pack")
"""Attributes of a task for which a definition has a place of their own."""


def definition_of(task: Task) -> Definition:
    return Definition(
        description=fitting(task.description, MAX_TEXT),
        words=fitting(schedule_in_words(task), MAX_TEXT),
        pack=task.pack or "",
        is_asked=task.may_be_asked,
        has_dry_run=task.dry_run is not None,
        parameters=tuple(map(declared, task.all_parameters)),
        fields=changed_fields(task),
    )


def changed_fields(task: Task) -> dict[str, str]:
    """The fields that are not as Rota has them unless told, by the names that configuration files use."""
    said = {}
    for each in fields(task):
        value = getattr(task, each.name)
        usual = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name not in TOLD_APART and value != usual:
            said[yaml_name(each.name)] = fitting(plain(value), MAX_FIELD)
    return said


def declared(parameter: Parameter) -> Declared:
    default = None if parameter.default is None else recorded({"default": parameter.default})["default"]
    return Declared(
        name=parameter.name,
        kind=parameter.kind.value,
        is_many=parameter.is_many,
        choices=tuple(fitting(each, MAX_TEXT) for each in parameter.choices[:MAX_ITEMS]),
        default=default[:MAX_ITEMS] if isinstance(default, list) else default,
        meaning=fitting(parameter.meaning, MAX_TEXT),
    )


def parameter_of(said: Declared) -> Parameter:
    """The inverse of `declared`; a kind that only a newer host knows is shown as text, and judged there."""
    return Parameter(
        name=said.name,
        kind=Kind(said.kind) if said.kind in list(Kind) else Kind.TEXT,
        is_many=said.is_many,
        choices=said.choices,
        default=list(said.default) if isinstance(said.default, list) else said.default,
        meaning=said.meaning,
    )


def yaml_name(name: str) -> str:
    """How the files call an attribute; `except` is a word that Python keeps for itself."""
    return "except" if name == "excepted" else name


def plain(value: object) -> str:
    """A value as one reads it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return span(value) if value else "none"
        case Expectation():
            return f"{value.name} {value.said}"
        case Mapping():
            return ", ".join(f"{key}: {plain(each)}" for key, each in value.items()) or "-"
        case tuple() | list():
            return ", ".join(map(plain, value)) or "-"
    if isinstance(text := getattr(value, "text", None), str):
        return text  # a window of time, as its author wrote it
    if is_dataclass(value):
        return plain({each.name: getattr(value, each.name) for each in fields(value) if getattr(value, each.name)})
    return str(value)

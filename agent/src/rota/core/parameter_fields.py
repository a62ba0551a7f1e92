"""How a task's parameters are declared in configuration files."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from rota.core.nearest import nearest
from rota.core.parameter import DRY_RUN, ITEMS, Kind, Parameter, Value, spell
from rota.core.quantities import parse_answer

NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
KEYS = ("type", "many", "choices", "default", "meaning")


class WrongWithin(ValueError):
    """A value that holds others is wrong in one of them; the message is a whole sentence."""


def read_parameters(value: object) -> tuple[Parameter, ...]:
    """The parameters a command's task declares, by name. Raises WrongWithin."""
    if not isinstance(value, Mapping) or not value:
        raise WrongWithin(f"it is {value!r}; it must be a mapping of names to {', '.join(KEYS)}")
    return tuple(read_parameter(name, {} if said is None else said) for name, said in value.items())


def read_parameter(name: object, said: object) -> Parameter:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in (ITEMS, DRY_RUN):
        taken = f"; {ITEMS} and {DRY_RUN} are fields of their own"
        raise WrongWithin(f"the name {name!r} must be a lower-case word of letters, digits and underscores{taken}")
    if not isinstance(said, Mapping):
        raise WrongWithin(f"{name} is {said!r}; it must be a mapping of {', '.join(KEYS)}")
    for key in said:
        if key not in KEYS:
            raise WrongWithin(f"{name}: unknown key {key!r}{nearest(str(key), KEYS)}; keys are: {', '.join(KEYS)}")
    parameter = Parameter(
        name=name,
        kind=read_kind(name, said),
        is_many=read_many(name, said.get("many", False)),
        choices=read_choices(name, said.get("choices")),
        meaning=read_meaning(name, said.get("meaning", "")),
    )
    if (parameter.kind is Kind.CHOICE) != bool(parameter.choices):
        wrong = "choices is missing" if parameter.kind is Kind.CHOICE else f"type {parameter.kind} has no choices"
        raise WrongWithin(f"{name}: {wrong}; it must be a list of texts, with type choice")
    default = read_default(parameter, said["default"]) if said.get("default") is not None else None
    return replace(parameter, default=default)


def read_kind(name: str, said: Mapping[str, object]) -> Kind:
    kind = said.get("type", Kind.CHOICE if "choices" in said else Kind.TEXT)
    if not isinstance(kind, str) or kind not in list(Kind):
        raise WrongWithin(f"{name}: type is {kind!r}{nearest(str(kind), Kind)}; it must be one of {', '.join(Kind)}")
    return Kind(kind)


def read_many(name: str, value: object) -> bool:
    try:
        return parse_answer(value)
    except ValueError as error:
        raise WrongWithin(f"{name}: many is {value!r}; it must be {error}") from None


def read_choices(name: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and value and all(isinstance(each, str | int | float | date) for each in value):
        return tuple(spell(each) for each in value)
    raise WrongWithin(f"{name}: choices is {value!r}; it must be a list of texts")


def read_meaning(name: str, value: object) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    raise WrongWithin(f"{name}: meaning is {value!r}; it must be a line of text")


def read_default(parameter: Parameter, value: object) -> Value:
    """A default as YAML holds it, which reads some words as numbers, dates and booleans."""
    values = value if isinstance(value, list) else [value]
    is_plain = all(isinstance(each, str | int | float | date) for each in values)
    is_boolean = any(isinstance(each, bool) for each in values)
    try:
        if not is_plain or is_boolean and parameter.kind is not Kind.BOOLEAN:
            raise ValueError(parameter.right)
        if isinstance(value, list) and not parameter.is_many:
            raise ValueError(f"{parameter.right}, or many must be true")
        return parameter.read([spell(each) for each in values])
    except ValueError as error:
        raise WrongWithin(f"{parameter.name}: default is {value!r}; it must be {error}") from None

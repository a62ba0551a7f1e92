"""The parameters of a pack's task, as its function declares them by its annotations."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path

from rota.core.nearest import nearest
from rota.core.parameter import DRY_RUN, ITEMS, Kind, Parameter, Single, Value, spell

KINDS: Mapping[object, Kind] = {
    str: Kind.TEXT,
    Path: Kind.TEXT,
    int: Kind.WHOLE,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    date: Kind.DATE,
}


def parameters_of(
    function: Callable[..., None], names: Iterable[str], settings: Mapping[str, object]
) -> tuple[Parameter, ...]:
    """Those of the function's settings that a run by hand may set. Raises ValueError with a whole sentence."""
    own, hints = keyword_only(function), typing.get_type_hints(function)
    for name in names:
        if name not in own or name in (ITEMS, DRY_RUN):
            known = ", ".join(each for each in own if each not in (ITEMS, DRY_RUN)) or "none"
            raise ValueError(f"there is no setting {name!r}{nearest(name, own)}; there are: {known}")
    return tuple(parameter_of(name, hints[name], settings.get(name, own[name].default)) for name in names)


def keyword_only(function: Callable[..., None]) -> dict[str, inspect.Parameter]:
    """The settings of a pack's function."""
    parameters = inspect.signature(function).parameters
    return {name: each for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}


def parameter_of(name: str, hint: object, default: object) -> Parameter:
    inner, is_many = inner_type(without_none(hint))
    choices = choices_of(inner)
    kind = Kind.CHOICE if choices else KINDS.get(inner)
    if kind is None:
        raise ValueError(f"the setting {name!r} is {hint}; a parameter must be {', '.join(Kind)}, or a list of them")
    return Parameter(name=name, kind=kind, is_many=is_many, choices=choices, default=spelled(default, is_many=is_many))


def without_none(hint: object) -> object:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(each for each in typing.get_args(hint) if each is not type(None))
    return hint


def inner_type(hint: object) -> tuple[object, bool]:
    """The type of each value, and whether there may be several."""
    if typing.get_origin(hint) in (list, tuple):
        return typing.get_args(hint)[0], True
    return hint, False


def choices_of(hint: object) -> tuple[str, ...]:
    if typing.get_origin(hint) is typing.Literal:
        return tuple(map(str, typing.get_args(hint)))
    return tuple(hint) if isinstance(hint, type) and issubclass(hint, StrEnum) else ()


def spelled(default: object, *, is_many: bool) -> Value | None:
    """The function's own default, or the host's setting, as a parameter's value."""
    if default is None or default is inspect.Parameter.empty:
        return None
    if is_many and isinstance(default, list | tuple):
        return [plain(each) for each in default]
    return plain(default)


def plain(value: object) -> Single:
    return value if isinstance(value, str | int | float) else spell(value)

"""A task's parameters: of which type each is, and what a run sets them to."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from rota.core.errors import RotaError
from rota.core.nearest import nearest
from rota.core.quantities import parse_answer
from rota.core.record import MAX_PARAMETERS, MAX_TEXT, ParameterValue

ITEMS, DRY_RUN = "items", "dry_run"
WHOLE = re.compile(r"[+-]?[0-9]{1,15}")

Single = str | int | float | bool
Value = Single | list[Single]


class UnknownParameter(RotaError):
    """There is no parameter of this name."""


class WrongParameter(RotaError):
    """The parameter cannot be set to this."""


class UnknownItem(RotaError):
    """There is no item of this name."""


class NoItems(RotaError):
    """This task has no items to choose from."""


class Kind(StrEnum):
    """What a parameter's value is."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    DATE = "date"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter: `default` is None where a run that says nothing leaves it unset; `many` takes several values."""

    name: str
    kind: Kind = Kind.TEXT
    is_many: bool = False
    choices: tuple[str, ...] = ()
    default: Value | None = None
    meaning: str = ""

    @property
    def right(self) -> str:
        """What its value must be, in words."""
        one = f"one of {', '.join(self.choices)}" if self.kind is Kind.CHOICE else RIGHT[self.kind]
        return f"{one}; it may be given several times" if self.is_many else one

    def read(self, words: Sequence[str]) -> Value:
        """The value from what somebody typed, once or several times. Raises ValueError saying what would be right."""
        if self.is_many:
            if len(words) > MAX_PARAMETERS:
                raise ValueError(f"given at most {MAX_PARAMETERS} times")
            return [self._one(word) for word in words]
        if len(words) != 1:
            raise ValueError("given once")
        return self._one(words[0])

    def _one(self, word: str) -> Single:
        if self.kind is Kind.CHOICE:
            if word not in self.choices:
                raise ValueError(self.right)
            return word
        return READERS[self.kind](word)


def items_parameter(items: tuple[str, ...]) -> Parameter:
    """The parameter of a task that works on several things, of which `-a NAME` chooses some; none means all."""
    meaning = "What to work on, chosen with -a NAME; all of them unless said."
    return Parameter(
        name=ITEMS, kind=Kind.CHOICE, is_many=True, choices=items, default=list[Single](items), meaning=meaning
    )


def read_text(word: str) -> str:
    if word.isprintable() and len(word.encode("utf-8", "replace")) <= MAX_TEXT:
        return word
    raise ValueError(RIGHT[Kind.TEXT])


def read_whole(word: str) -> int:
    if WHOLE.fullmatch(word):
        return int(word)
    raise ValueError(RIGHT[Kind.WHOLE])


def read_number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    raise ValueError(RIGHT[Kind.NUMBER])


def read_boolean(word: str) -> bool:
    return parse_answer(word)


def read_date(word: str) -> str:
    try:
        return date.fromisoformat(word).isoformat()
    except ValueError:
        raise ValueError(RIGHT[Kind.DATE]) from None


RIGHT: Mapping[Kind, str] = {
    Kind.TEXT: f"one line of text, at most {MAX_TEXT} bytes",
    Kind.WHOLE: "a whole number",
    Kind.NUMBER: "a number",
    Kind.BOOLEAN: "true or false",
    Kind.DATE: "a date like 2026-01-31",
}
READERS: Mapping[Kind, Callable[[str], Single]] = {
    Kind.TEXT: read_text,
    Kind.WHOLE: read_whole,
    Kind.NUMBER: read_number,
    Kind.BOOLEAN: read_boolean,
    Kind.DATE: read_date,
}


def spell(value: object) -> str:
    """A single value as people write it and as the environment and records hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def choose(task: str, known: Sequence[Parameter], said: Iterable[tuple[str, str]]) -> dict[str, Value]:
    """The values of the parameters that somebody set, as pairs of name and word.

    Raises UnknownParameter, UnknownItem, NoItems, WrongParameter.
    """
    by_name = {parameter.name: parameter for parameter in known}
    words: dict[str, list[str]] = {}
    for name, word in said:
        if name not in by_name:
            raise unknown(task, name, by_name)
        words.setdefault(name, []).append(word)
    chosen: dict[str, Value] = {}
    for name, given in words.items():
        parameter = by_name[name]
        if name == ITEMS:
            refuse_unknown_items(parameter, given)
        try:
            chosen[name] = parameter.read(list(dict.fromkeys(given)) if name == ITEMS else given)
        except ValueError as error:
            shown = ", ".join(map(repr, given))
            raise WrongParameter(f"{name} is {shown}; it must be {error}") from None
    return chosen


def unknown(task: str, name: str, known: Iterable[str]) -> RotaError:
    names = [each for each in known if each != ITEMS]
    if name == ITEMS:
        return NoItems(task)
    there = f"{task} has: {', '.join(names)}" if names else f"{task} has none"
    return UnknownParameter(f"{name!r}{nearest(name, names)}; {there}")


def refuse_unknown_items(parameter: Parameter, given: Iterable[str]) -> None:
    for word in given:
        if word not in parameter.choices:
            there = ", ".join(parameter.choices)
            raise UnknownItem(f"{word!r}{nearest(word, parameter.choices)}; there are: {there}")


def defaults(parameters: Iterable[Parameter]) -> dict[str, Value]:
    """What each parameter is in a run that sets none."""
    return {each.name: each.default for each in parameters if each.default is not None}


def variables(values: Mapping[str, Value]) -> dict[str, str]:
    """The values as the work finds them in its environment; of a list, one in each line."""
    return {
        f"ROTA_PARAM_{name.upper()}": "\n".join(map(spell, value)) if isinstance(value, list) else spell(value)
        for name, value in values.items()
    }


def recorded(values: Mapping[str, Value]) -> dict[str, ParameterValue]:
    """The values as a record holds them."""
    return {
        name: [spell(each) for each in value] if isinstance(value, list) else value for name, value in values.items()
    }

"""Schedules in words: what an `OnCalendar=` expression says, for people who do not read them every day."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from typing import TypeVar

from rota.core.calendar import DAYS, Calendar, Field, parse
from rota.core.task import Task

Word = TypeVar("Word")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
LISTED = 6
"""How many times or dates are listed; a schedule with more is left as its expression."""
ENDINGS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}


class NoWords(Exception):
    """The expression says more than these words can."""


def schedule_in_words(task: Task) -> str:
    """When a task runs, in one line: `every day at 02:40 Europe/Zurich`; `by hand` without a schedule."""
    parts = []
    if task.every:
        parts.append(f"when the last success is {span(task.every)} old")
    parts += list(dict.fromkeys(in_words(expression, task.zone or "UTC") for expression in task.schedule))
    if task.watch:
        parts.append(f"when something is in {', '.join(map(str, task.watch))}")
    if not parts:
        return "by hand"
    said = "; ".join(parts)
    said += f", only {', '.join(window.text for window in task.only)}" if task.only else ""
    return said + (f", except {', '.join(window.text for window in task.excepted)}" if task.excepted else "")


def in_words(expression: str, zone: str = "UTC") -> str:
    """The expression in words with its zone; the expression itself where words fail. Raises BadExpression."""
    calendar = parse(expression, zone)
    try:
        time, date = times(calendar), " ".join(filter(None, (dates(calendar), weekdays(calendar))))
    except NoWords:
        return expression if expression.endswith(calendar.zone.key) else f"{expression} {calendar.zone.key}"
    words = f"{date or 'every day'} {time}" if time.startswith("at ") else ", ".join(filter(None, (time, date)))
    return f"{words} {calendar.zone.key}" if date or calendar.hour.parts else words


def weekdays(calendar: Calendar) -> str:
    """Which days of the week; behind a date, that the date must be one of them."""
    ordered = sorted(calendar.weekdays)
    if len(ordered) == len(DAYS):
        return ""
    names = [DAYS[number].capitalize() for number in ordered]
    is_row = len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1))
    said = f"{names[0]} to {names[-1]}" if is_row else listed(names)
    if calendar.day.parts or calendar.month.parts:
        return f"if {said}"
    return f"every {said}" if len(names) == 1 else said


def dates(calendar: Calendar) -> str:
    if calendar.year.parts:
        raise NoWords
    months = listed([MONTHS[number - 1] for number in values(calendar.month)]) if calendar.month.parts else ""
    if not calendar.day.parts:
        return f"every day of {months}" if months else ""
    numbers = values(calendar.day)
    if calendar.day.counts_back:
        words = ["last" if number == 1 else f"{ordinal(number)} last" for number in numbers]
        return f"on the {listed(few(words))} day of {months or 'each month'}"
    is_row = len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1))
    row = f"{ordinal(numbers[0])} to {ordinal(numbers[-1])}"
    return f"on the {row if is_row else listed(few([ordinal(each) for each in numbers]))} of {months or 'each month'}"


def times(calendar: Calendar) -> str:
    hour, minute, second = calendar.hour, calendar.minute, calendar.second
    if not single(second):
        if hour.parts or minute.parts:
            raise NoWords
        return every(second, "second")
    if values(second) != [0]:
        raise NoWords
    if not single(minute):
        return f"{every(minute, 'minute')}{hours(hour)}"
    minutes = few(values(minute))
    if not hour.parts:
        return f"every hour at {listed([f':{number:02d}' for number in minutes])}"
    is_row = not single(hour) and hour.parts[0].last is not None and step_of(hour) == 1
    if len(minutes) == 1 and is_row:
        return (
            f"every hour from {hour.parts[0].first:02d}:{minutes[0]:02d} to {hour.parts[0].last:02d}:{minutes[0]:02d}"
        )
    if len(minutes) == 1 and not single(hour) and hour.parts[0].last is None:
        return every(hour, "hour") + (f" at :{minutes[0]:02d}" if minutes[0] else "")
    return f"at {listed(few([f'{at:02d}:{past:02d}' for at, past in product(values(hour), minutes)]))}"


def hours(field: Field) -> str:
    """`from 08:00 to 17:59`, where not all hours are meant."""
    if not field.parts:
        return ""
    if len(field.parts) > 1 or field.parts[0].step > 1:
        raise NoWords
    first, last = field.parts[0].first, field.parts[0].last
    return f" from {first:02d}:00 to {last if last is not None else first:02d}:59"


def every(field: Field, unit: str) -> str:
    """`every 15 minutes`; any value is one every time."""
    step = step_of(field) if field.parts else 1
    if step is None or (field.parts and (field.parts[0].first or field.parts[0].last is not None)):
        raise NoWords
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def step_of(field: Field) -> int | None:
    return field.parts[0].step or None if len(field.parts) == 1 else None


def single(field: Field) -> bool:
    """Whether it names each value by itself."""
    return bool(field.parts) and not any(part.step for part in field.parts)


def values(field: Field) -> list[int]:
    """All values that it names. Raises NoWords where they go on to an end it does not name."""
    found: list[int] = []
    for part in field.parts:
        if part.step and part.last is None:
            raise NoWords
        found += range(part.first, part.last + 1, part.step) if part.last is not None and part.step else [part.first]
    return sorted(set(found))


def few(found: Sequence[Word]) -> list[Word]:
    if len(found) > LISTED:
        raise NoWords
    return list(found)


def listed(words: Sequence[object]) -> str:
    *before, last = map(str, words)
    return f"{', '.join(before)} and {last}" if before else last


def ordinal(number: int) -> str:
    return f"{number}{ENDINGS.get(number, 'th')}"


def span(duration: timedelta) -> str:
    """A duration as whole days, hours, minutes: `6 hours`, `1 day 12 hours`."""
    seconds = round(duration.total_seconds())
    parts = []
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, length)
        parts += [f"{number} {unit}{'' if number == 1 else 's'}"] if number else []
    return " ".join(parts) or "0 seconds"

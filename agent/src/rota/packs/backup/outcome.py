"""What a task of this pack has to say of its run: items and counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rota.packs import Report


@dataclass(frozen=True)
class Item:
    """One thing a run worked on."""

    name: str
    outcome: str
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """Items and counts of one run."""

    items: tuple[Item, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)


def tell(outcome: Outcome, report: Report) -> None:
    """To the runner, and in words to the output."""
    for item in outcome.items:
        report.item(item.name, item.outcome, item.message)
        print(f"{item.name}: {item.outcome}{': ' if item.message else ''}{item.message}")
    for name, value in outcome.counts.items():
        report.count(name, value)
        print(f"{name}: {value:g}")

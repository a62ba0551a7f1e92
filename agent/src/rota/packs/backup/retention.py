"""Retention: which archives stay, by the rules of borg-prune(1)."""

from collections.abc import Iterable
from dataclasses import dataclass

from rota.adapters.borg import Archive

# What two archives of the same period have in common.
PERIODS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}


@dataclass(frozen=True)
class Keep:
    """How many archives stay for each period, each the last one of its hour, day, week or month."""

    hourly: int = 48
    daily: int = 14
    weekly: int = 8
    monthly: int = 12


def superfluous(archives: Iterable[Archive], keep: Keep) -> list[Archive]:
    """The archives that no rule has a use for, oldest first.

    What a finer rule keeps does not count for a coarser one. A rule that comes to the end before it has its number
    keeps the oldest of all as well.
    """
    newest_first = sorted(archives, key=lambda one: (one.at, one.name), reverse=True)
    kept: set[str] = set()
    for period, pattern in PERIODS.items():
        kept |= _kept_by(newest_first, pattern, getattr(keep, period), kept)
    return [one for one in reversed(newest_first) if one.id not in kept]


def _kept_by(newest_first: list[Archive], pattern: str, number: int, others: set[str]) -> set[str]:
    chosen: set[str] = set()
    last = ""
    for archive in newest_first:
        period = archive.at.strftime(pattern)
        if len(chosen) < number and period != last and archive.id not in others:
            chosen.add(archive.id)
        last = period
    if newest_first and len(chosen) < number and newest_first[-1].id not in others:
        chosen.add(newest_first[-1].id)
    return chosen

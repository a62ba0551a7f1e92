"""Attempts as files until the diary has them: no network or database keeps a report from being made."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rota.adapters.diary import Diary, TooLarge
from rota.adapters.spool import replace_through
from rota.core.errors import RotaError
from rota.packs.reports.attempt import Attempt, BadAttempt, as_mapping, from_mapping
from rota.packs.reports.running import plainly

ADDRESS = "/api/v1/reports/attempts"
AT_ONCE = 200


class NotNoted(RotaError):
    """What came of these reports is told by this run alone, and not by their run logs."""


def note(ledger: Path, attempt: Attempt) -> None:
    """Write the attempt down; it is there whole, or not at all."""
    replace_through(ledger / f"{attempt.id}.json", json.dumps(as_mapping(attempt)))


@contextmanager
def noting(ledger: Path) -> Iterator[Callable[[Attempt], None]]:
    """Gives what notes attempts, from any thread; what a full disk does not take then is noted in the end.

    Raises NotNoted where it cannot be in the end either.
    """
    kept: list[Attempt] = []

    def note_or_keep(attempt: Attempt) -> None:
        try:
            note(ledger, attempt)
        except OSError:
            kept.append(attempt)

    try:
        yield note_or_keep
    finally:
        note_late(ledger, kept)


def note_late(ledger: Path, attempts: Iterable[Attempt]) -> None:
    """Raises NotNoted."""
    left = []
    for attempt in attempts:
        try:
            note(ledger, attempt)
        except OSError as error:
            left.append(f"{attempt.report} ({plainly(error)})")
    if left:
        raise NotNoted(", ".join(left))


def waiting(ledger: Path) -> Iterator[tuple[Path, Attempt]]:
    """The attempts that the diary has not got. A file that is none is put aside, so that it keeps no other waiting.

    Several may hand over at once: what one takes away the other passes over.
    """
    for path in sorted(ledger.glob("*.json")):
        with suppress(FileNotFoundError):  # another has handed it over meanwhile
            try:
                yield path, from_mapping(json.loads(path.read_text("utf-8")))
            except (BadAttempt, ValueError):
                path.rename(path.with_suffix(".bad"))


def deliver(ledger: Path, diary: Diary) -> tuple[int, Mapping[str, str]]:
    """Hand the diary what it has not got: how many it took, and by id what it says against others, which stay away.

    Raises DiaryUnreachable, DiaryRefused, DiaryBusy; then the files stay.
    """
    taken = 0
    refused: dict[str, str] = {}
    found = list(waiting(ledger))
    paths = {attempt.id: path for path, attempt in found}
    for first in range(0, len(found), AT_ONCE):
        for identifier, result, reason in handed([attempt for _, attempt in found[first : first + AT_ONCE]], diary):
            if path := paths.pop(identifier, None):
                taken += result == "accepted"
                refused |= {} if result in ("accepted", "unchanged") else {identifier: reason or result}
                path.unlink(missing_ok=True)
    return taken, refused


def handed(attempts: Sequence[Attempt], diary: Diary) -> Iterator[tuple[str, str, str]]:
    """Each attempt's id, result and reason; in halves where they are too much for one request."""
    try:
        yield from diary.ask(ADDRESS, read=answers, body=told(attempts))
    except TooLarge:
        if len(attempts) == 1:
            yield attempts[0].id, "refused", "it is larger than the diary takes"
            return
        middle = len(attempts) // 2
        yield from handed(attempts[:middle], diary)
        yield from handed(attempts[middle:], diary)


def told(attempts: Iterable[Attempt]) -> bytes:
    """What is sent."""
    return json.dumps({"version": 1, "attempts": [as_mapping(attempt) for attempt in attempts]}).encode()


def answers(value: Any) -> list[tuple[str, str, str]]:
    """Each attempt's id, result and reason. Raises ValueError."""
    if not isinstance(value, Mapping) or not isinstance(value.get("results"), list):
        raise ValueError("it answers, but not as a diary does")
    return [(str(one["id"]), str(one["result"]), str(one.get("reason") or "")) for one in value["results"]]

"""Attending to the diary while somebody there wants something of this host.

What they ask for is fetched, of the runs that they follow it is told what is new, and it is heard what they say of
failures here.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rota.adapters.listening import Line, pause_of
from rota.adapters.reviews import hear, open_failures
from rota.adapters.spool import Spool, replace_through
from rota.core.errors import RotaError
from rota.core.host_request import KEYS
from rota.core.identifier import parse_identifier
from rota.core.places import Places
from rota.core.record import format_moment
from rota.following import news

LONGEST = 540.0
"""Seconds after which the next `rota listen` takes over; the unit's own limit is higher."""
MOST_SECONDS = 3600.0


class NoRoom(RotaError):
    """What the diary asks for cannot be kept."""


@dataclass(frozen=True, kw_only=True)
class Attending:
    """Who asks the diary, and what for. `is_asking` where this host heeds what people ask of it."""

    line: Line
    places: Places
    spool: Spool
    is_asking: bool
    wait: Callable[[float], None] = time.sleep


def attend(work: Attending) -> int:
    """Fetch what is asked for, and tell of what is followed, until the diary has nothing more to stay for.

    Returns how many requests were fetched. Raises NoAnswer, NoRoom. What was fetched is confirmed with the next
    question; what the diary did not hear of it hands out again, and it is kept but once.
    """
    ends, number, got, live = time.monotonic() + LONGEST, 0, list[str](), list[dict[str, Any]]()
    while True:
        failures = open_failures(work.places)
        said = {"version": 1, "is_asking": work.is_asking, "got": got, "live": live}
        answer = work.line.ask(said | ({"failures": failures} if failures else {}))
        hear(work.places, failures, answer)
        got = list(keep_all(work.places, answer.get("requests"), datetime.now(UTC))) if work.is_asking else []
        number += len(got)
        is_first = not live
        live = list(news(work.spool, answer.get("follow")))
        pause = pause_of(answer)
        if not got and (not pause or time.monotonic() > ends):
            return number
        # What is there already is told at once; after that, what came meanwhile.
        work.wait(0.0 if live and is_first else pause)


def keep_all(places: Places, said: object, now: datetime) -> Iterator[str]:
    """Keep each request as a file. Yields the ids of those that are kept, or were answered before."""
    for each in said if isinstance(said, list) else ():
        if isinstance(each, Mapping) and (identifier := parse_identifier(str(each.get("id")))):
            keep(places, str(identifier), each, now)
            yield str(identifier)


def keep(places: Places, identifier: str, said: Mapping[str, Any], now: datetime) -> None:
    """Leave the request for `rota answer`, which judges it; its deadline is by this host's clock. Raises NoRoom."""
    if any((places.answered / f"{identifier}.{kind}").exists() for kind in ("json", "done")):
        return
    left = said.get("seconds")
    seconds = left if isinstance(left, int | float) and 0 < left <= MOST_SECONDS else 0
    values = {key: said.get(key) for key in KEYS} | {"deadline": format_moment(now + timedelta(seconds=seconds))}
    try:
        replace_hidden(places, identifier, values)
    except OSError as error:
        raise NoRoom(f"{error}; the role agent makes the folder, for the user rota") from error


def replace_hidden(places: Places, identifier: str, values: Mapping[str, Any]) -> None:
    """Write it under a name that is not looked at, and rename it when it is whole."""
    hidden = places.fetched / f".{identifier}"
    replace_through(hidden, json.dumps(values) + "\n")
    hidden.replace(places.fetched / f"{identifier}.json")

"""What people say of this host's failures in the diary, and which later failures it holds for."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from rota.core.normalising import normalise
from rota.core.record import EARLIEST, LATEST, RunRecord
from rota.core.status import Status

MOST_ASKED = 100
"""About how many failures a host asks at once: the newest ones of as many tasks."""
LONGEST_NAME = 254
LONGEST_LINE = 2000


@dataclass(frozen=True, kw_only=True)
class Handled:
    """Who handled the failure of this run, and when. `holds` where it holds too for the next that fails so."""

    run: str
    by: str
    at: datetime
    holds: bool = False


def parse_reviews(said: object, asked: Collection[str]) -> dict[str, Handled | None]:
    """What an answer says of the runs it was asked about: None of one that nobody has handled.

    Every word is the diary's; whatever is of another form, or about another run, is passed over.
    """
    found: dict[str, Handled | None] = {}
    for each in said[:MOST_ASKED] if isinstance(said, list) else ():
        run = each.get("run") if isinstance(each, Mapping) else None
        if isinstance(run, str) and run in asked:
            with suppress(KeyError, TypeError, ValueError):
                found[run] = parse_handled(run, each["handled"])
    return found


def parse_handled(run: str, said: Mapping[str, object] | None) -> Handled | None:
    """Raises KeyError, TypeError or ValueError."""
    if said is None:
        return None
    by, at = said["by"], datetime.fromisoformat(str(said["at"]))
    if not isinstance(by, str) or not by.isprintable() or not 0 < len(by) <= LONGEST_NAME:
        raise ValueError("it is not said by whom")
    if at.tzinfo is None or not EARLIEST <= at <= LATEST:
        raise ValueError("it is not said when")
    return Handled(run=run, by=by, at=at.astimezone(UTC), holds=said["holds"] is True)


def failure_of(record: RunRecord) -> str:
    """The same for two runs with which the same is wrong; empty where nothing is.

    What is wrong are the exit code or signal, the reason, what was unexpected, and the last line of the output, the
    latter three without the numbers, times, ids and paths that differ by nature.
    """
    if record.status not in (Status.FAILED, Status.LOST) and not record.unexpected:
        return ""
    last = next((line for line in reversed(record.output[-LONGEST_LINE:].splitlines()) if line.strip()), "")
    parts = [record.status.value, record.reason, *record.unexpected, last]
    words = [re.sub(r"\d+", "0", normalise(part)) for part in parts]
    said = "\0".join([str(record.exit_code), str(record.signal), *words])
    return sha256(said.encode()).hexdigest()[:32]

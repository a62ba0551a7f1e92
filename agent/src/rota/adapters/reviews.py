"""What the diary said last of this host's failures: one small file, written by `rota listen`, read by all others."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rota.adapters.incidents import Incidents
from rota.adapters.spool import UnsafeFile, read_plain, replace_through
from rota.core.incident import Kind
from rota.core.places import Places
from rota.core.review import MOST_ASKED, Handled, parse_handled, parse_reviews

KEPT = 500
"""Of how many runs it is kept: some 100 KiB."""
LIMIT = 2 * 1024 * 1024


@dataclass(frozen=True)
class Reviews:
    """The file. It lies where no task can write; what cannot be read counts as absent."""

    path: Path

    def load(self) -> dict[str, Handled | None]:
        """What was said last of each run, None where nobody has handled it."""
        found: dict[str, Handled | None] = {}
        with suppress(FileNotFoundError, UnsafeFile, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            for run, said in json.loads(read_plain(self.path, LIMIT)).items():
                found[run] = parse_handled(run, said)
        return found

    def keep(self, heard: Mapping[str, Handled | None]) -> None:
        """Remember what was heard beside what was said of other runs, of which the oldest make room. Raises OSError."""
        before = self.load()
        after = dict(sorted({**before, **heard}.items())[-KEPT:])
        if after != before:
            content = {run: each and asdict(each) for run, each in after.items()}
            replace_through(self.path, json.dumps(content, default=datetime.isoformat) + "\n")


def reviews_of(places: Places) -> Reviews:
    return Reviews(places.spool / "sent" / "reviews")


def open_failures(places: Places) -> list[str]:
    """The runs to ask the diary about: those that open incidents speak of, the newest first.

    Of a task that is overdue there is none: its incident speaks of its latest success.
    """
    found = Incidents(folder=places.alerts, spare=places.alerts_spare).load().values()
    runs = {each.run for each in found if each.is_open and each.run and each.kind is not Kind.OVERDUE}
    return sorted(runs, reverse=True)[:MOST_ASKED]


def hear(places: Places, asked: list[str], answer: Mapping[str, object]) -> None:
    """Keep what the diary answers of these failures; one that is older than this host says nothing of them."""
    if heard := parse_reviews(answer.get("reviews"), set(asked)):
        # A full disk keeps nobody from listening: it is asked again in a moment.
        with suppress(OSError):
            reviews_of(places).keep(heard)

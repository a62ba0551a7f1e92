"""A host's own clock: the services it starts see the machine's time and an offset, by way of libfaketime.

Its systemd and its sshd do not: with the library in them (0.9.10), systemd 252 ends at boot, and sshd's sandbox ends
every session. So timers and SSH sessions go by the machine's clock.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from provision.errors import OperatorError

NAMES = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC")
LIBRARY = "usr/lib/*/faketime/libfaketime.so.1"


class BadTime(OperatorError):
    """A clock is set to a time"""


def variables(tree: Path, offset: timedelta) -> Mapping[str, str]:
    """What makes a program on the host with this root see the offset; nothing where there is none.

    Only the time of day is moved: what measures how long something takes goes on as it did.
    """
    if not offset:
        return {}
    library = next(tree.glob(LIBRARY)).relative_to(tree)
    return dict(zip(NAMES, (f"/{library}", f"{offset.total_seconds():+.3f}", "1", "1"), strict=True))


def parse(text: str, now: datetime) -> datetime | None:
    """A moment as an operator writes it: ISO 8601 (UTC where no zone is given), `+3d`, `-90m`; `now` is None.

    Raises BadTime.
    """
    if text == "now":
        return None
    if step := re.fullmatch(r"([+-][0-9]{1,6})([dhms])", text, re.ASCII):
        units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
        return now + timedelta(**{units[step[2]]: int(step[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadTime(f"{text!r} is none; write 2030-03-31T00:59:30 (UTC), +3d, -90m, or now") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def describe(offset: timedelta) -> str:
    """The offset in words, to the second."""
    seconds = round(offset.total_seconds())
    return f"{timedelta(seconds=abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"

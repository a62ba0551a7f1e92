"""Who is told of incidents, by which server and channels, and when not, as `agent: {alert: …}` says it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from rota.core.fields import FILE_NAME, ZONE_NAME, choice, matching, read_keys, text, whole, windows
from rota.core.rule import (
    ADDRESS,
    CHANNEL,
    DEFAULT_PACE,
    DEFAULT_REMIND,
    NEVER,
    Rule,
    is_channel,
    pace,
    receivers,
    remind,
)
from rota.core.window import Window


class Tls(StrEnum):
    """How the connection to the mail server is encrypted."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, kw_only=True)
class Alerting:
    """The settings of alerts. With nobody in `to`, and no task that says otherwise, nobody is told.

    `digest` is how many letters somebody gets within an hour before the rest comes as one. In the `quiet` windows of
    the `zone` only urgent tasks alert. `channels` are the names of URLs in the file `urls`, `heartbeat` is one of them.
    """

    to: tuple[str, ...] = ()
    sender: str | None = None
    server: str = "localhost"
    port: int = 25
    tls: Tls = Tls.NONE
    user: str | None = None
    credential: str = "alert_password"
    channels: tuple[str, ...] = ()
    urls: str = "alert_urls"
    heartbeat: str | None = None
    digest: int = 5
    quiet: tuple[Window, ...] = ()
    zone: str = "UTC"
    remind: timedelta = DEFAULT_REMIND
    pace: float = DEFAULT_PACE

    def people(self, rule: Rule) -> tuple[str, ...]:
        """Whom the incidents of a task with this rule are told at once."""
        return self.to if rule.to is None else rule.to

    def is_quiet(self, moment: datetime) -> bool:
        local = moment.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        return any(window.around(local) for window in self.quiet)

    def remind_every(self, rule: Rule) -> timedelta | None:
        every = self.remind if rule.remind is None else rule.remind
        return every if every > NEVER else None

    def pace_of(self, rule: Rule) -> float:
        """By what factor a run may be slower or faster than usual; 0 for any."""
        return self.pace if rule.pace is None else rule.pace


def channels(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) and CHANNEL.fullmatch(each) for each in value):
        return tuple(value)
    raise ValueError("a list of names in lower case; their URLs stand in /etc/rota/credentials/alert_urls")


def quiet(value: object) -> tuple[Window, ...]:
    return windows(value) if value != [] else ()


def zone(value: object) -> str:
    try:
        return ZoneInfo(value).key if isinstance(value, str) else ZoneInfo("").key
    except (ValueError, OSError, KeyError):
        raise ValueError(ZONE_NAME) from None


FILE = "the name of a file in /etc/rota/credentials"

READERS: Mapping[str, Callable[[object], object]] = {
    "to": receivers,
    "from": matching(ADDRESS, "a mail address"),
    "server": text,
    "port": whole(1, 65535),
    "tls": choice(Tls),
    "user": text,
    "credential": matching(FILE_NAME, FILE),
    "channels": channels,
    "urls": matching(FILE_NAME, FILE),
    "heartbeat": matching(CHANNEL, "a name in the file of URLs"),
    "digest": whole(1, 1000),
    "quiet": quiet,
    "zone": zone,
    "remind": remind,
    "pace": pace,
}


def parse_alerting(mapping: Mapping[str, object]) -> Alerting:
    """The settings as `/etc/rota/*.yml` writes them; a key without a value is absent.

    Raises ValueError naming the key, its value and what would be right.
    """
    values = read_keys(mapping, READERS)
    if "from" in values:
        values["sender"] = values.pop("from")
    found = Alerting(**values)  # type: ignore[arg-type]  # READERS reads each as what Alerting declares
    if found.user and found.tls is Tls.NONE:
        raise ValueError("tls is 'none', but there is a user; a password needs starttls or tls")
    for receiver in found.to:
        if is_channel(receiver) and receiver not in found.channels:
            raise ValueError(f"to is {list(found.to)!r}; {receiver!r} is no mail address, and no name under channels")
    return found

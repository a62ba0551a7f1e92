"""Who is told when a task fails, and by which mail server, as `agent: {alert: …}` says it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from rota.core.fields import ADDRESS, FILE_NAME, all_matching, choice, matching, text, whole


class Tls(StrEnum):
    """How the connection to the mail server is encrypted."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, kw_only=True)
class Alerting:
    """The settings of alerts. With nobody in `to`, and no task that says otherwise, nobody is told."""

    to: tuple[str, ...] = ()
    sender: str | None = None
    server: str = "localhost"
    port: int = 25
    tls: Tls = Tls.NONE
    user: str | None = None
    credential: str = "alert_password"


READERS: Mapping[str, Callable[[object], object]] = {
    "to": all_matching(ADDRESS, "a mail address"),
    "from": matching(ADDRESS, "a mail address"),
    "server": text,
    "port": whole(1, 65535),
    "tls": choice(Tls),
    "user": text,
    "credential": matching(FILE_NAME, "the name of a file in /etc/rota/credentials"),
}


def parse_alerting(mapping: Mapping[str, object]) -> Alerting:
    """The settings as `/etc/rota/*.yml` writes them; a key without a value is absent.

    Raises ValueError naming the key, its value and what would be right.
    """
    values: dict[str, object] = {}
    for key, value in mapping.items():
        if value is None:
            continue
        try:
            values["sender" if key == "from" else key] = READERS[key](value)
        except ValueError as error:
            raise ValueError(f"{key} is {value!r}; it must be {error}") from None
    found = Alerting(**values)  # type: ignore[arg-type]  # READERS reads each as what Alerting declares
    if found.user and found.tls is Tls.NONE:
        raise ValueError("tls is 'none', but there is a user; a password needs starttls or tls")
    return found

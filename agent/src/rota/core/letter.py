"""The mails of alerts: what the people of a task read when it fails, and when it has recovered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from rota.core.incident import Incident

LAST_LINES = 20
LONGEST_LINE = 500


@dataclass(frozen=True, kw_only=True)
class Desk:
    """From where mails are written: the host, its environment, the diary it sends its records to, and the sender."""

    host: str
    environment: str
    diary: str | None
    sender: str


def failure(incident: Incident, description: str, output: str, *, to: Sequence[str], desk: Desk) -> EmailMessage:
    """The mail that opens an incident: what failed, why, what it said last, and where to see more."""
    lines = [
        f"The task {incident.task} failed on {desk.host}.",
        "",
        *facts(incident, description, desk),
        "",
        *last_lines(output),
        "",
        *see_more(incident, desk),
        "",
        "You hear of it again when it has succeeded; until then further failures are only counted.",
    ]
    subject = f"{incident.task} failed on {desk.host}: {incident.reason}"
    return compose(subject, lines, to=to, desk=desk, at=incident.since, name=name_of(incident))


def recovery(incident: Incident, description: str, *, to: Sequence[str], desk: Desk) -> EmailMessage:
    """The mail that closes an incident; it stands for itself, for the first one may never have arrived."""
    at = incident.recovered or incident.since
    lines = [
        f"The task {incident.task} on {desk.host} succeeded again at {show(at)}.",
        "",
        *facts(incident, description, desk),
        "",
        *see_more(incident, desk),
    ]
    subject = f"{incident.task} recovered on {desk.host}"
    message = compose(subject, lines, to=to, desk=desk, at=at, name=f"{name_of(incident)}.recovered")
    message["In-Reply-To"] = message["References"] = f"<{name_of(incident)}@{desk.host}>"
    return message


def trial(*, to: Sequence[str], desk: Desk, now: datetime) -> EmailMessage:
    """The mail of `rota alert --test`."""
    lines = [f"This is how alerts of {desk.host} ({desk.environment}) reach you. Nothing has failed."]
    return compose(f"a trial from {desk.host}", lines, to=to, desk=desk, at=now, name=f"trial.{now:%Y%m%dT%H%M%S}")


def compose(
    subject: str, lines: Sequence[str], *, to: Sequence[str], desk: Desk, at: datetime, name: str
) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = one_line(f"[{desk.environment}] {subject}")
    message["From"] = desk.sender
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{name}@{desk.host}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(lines) + "\n")
    return message


def facts(incident: Incident, description: str, desk: Desk) -> list[str]:
    times = "once" if incident.failures == 1 else f"{incident.failures} times"
    return [
        f"  task     {incident.task}: {description}",
        f"  host     {desk.host} ({desk.environment})",
        f"  reason   {one_line(incident.reason)}",
        f"  failed   {times} since {show(incident.since)}",
        f"  run      {incident.run}",
    ]


def last_lines(output: str) -> list[str]:
    """The end of what the run printed, indented, without control codes."""
    found = [line for line in output.splitlines() if line.strip()][-LAST_LINES:]
    if not found:
        return ["It printed nothing."]
    return ["What it printed last:", "", *(f"  {printable(line)}" for line in found)]


def see_more(incident: Incident, desk: Desk) -> list[str]:
    page = [f"  {desk.diary}/runs/{incident.run}/"] if desk.diary else []
    return [
        "See more:",
        "",
        *page,
        f"  ./run {desk.environment} logs {incident.task}      in a checkout",
        f"  rota show {incident.run}      on {desk.host}",
    ]


def name_of(incident: Incident) -> str:
    """What is the same in all mails of one incident."""
    return f"{incident.task}.{incident.since:%Y%m%dT%H%M%S%f}"


def one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    shown = "".join(character if character.isprintable() or character == "\t" else "\ufffd" for character in text)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]} …"


def show(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

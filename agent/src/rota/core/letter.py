"""The letters of alerts: what people read when something is wrong with a task, and when it is well again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

from rota.core.incident import Incident, Kind
from rota.core.plain import plain, plain_lines
from rota.core.quantities import show_span
from rota.core.rule import is_channel
from rota.core.telling import Event, Notice

UNFOLDED = policy.default.clone(max_line_length=990)
"""Folded headers come back with blanks of their own; RFC 5322 section 2.1.1 allows lines of 998 characters."""
LAST_LINES = 20
LAST_LINES_OF_BRIEF = 5
LONGEST_LINE = 500
LONGEST_BRIEF = 1500
"""Of what a channel gets: chats cut what is longer, or refuse it."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """From where letters are written: the host, its environment, the diary it sends its records to, and the sender."""

    host: str
    environment: str
    diary: str | None
    sender: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of the run that an incident speaks of: what it printed, and what was different before."""

    output: str = ""
    differences: tuple[str, ...] = ()
    remind: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A letter before it has an envelope. `brief` is what a channel gets; `answers` names earlier letters."""

    name: str
    subject: str
    lines: tuple[str, ...]
    brief: str
    at: datetime
    answers: tuple[str, ...] = ()


def opened(incident: Incident, description: str, evidence: Evidence, *, desk: Desk, now: datetime) -> Letter:
    """What is wrong, what the run said last, what was different, and what to do next."""
    subject = f"{incident.task} {incident.kind} on {desk.host}: {incident.reason}"
    lines = [
        f"The task {incident.task} {incident.kind} on {desk.host}.",
        "",
        *facts(incident, description, desk),
        "",
        *what_it_said(incident, evidence),
        *what_was_different(evidence),
        *what_to_do(incident, desk),
        "",
        what_comes_next(evidence),
    ]
    return Letter(
        name=name_of(incident),
        subject=headline(subject, desk),
        lines=tuple(lines),
        brief=brief_of(incident, description, evidence, desk),
        at=now,
    )


def reminder(
    incident: Incident, description: str, evidence: Evidence, *, desk: Desk, now: datetime, answers: Sequence[str]
) -> Letter:
    """That the incident is still open."""
    first = opened(incident, description, evidence, desk=desk, now=now)
    open_for = show_span(now - incident.since)
    said = f"This incident has been open for {open_for}, since {show(incident.since)}."
    return Letter(
        name=f"{name_of(incident)}.{now:%Y%m%dT%H%M%S}",
        subject=headline(f"{incident.task} has an incident open for {open_for} on {desk.host}", desk),
        lines=(said, *first.lines),
        brief=f"{said}\n{first.brief}",
        at=now,
        answers=tuple(answers),
    )


def recovered(incident: Incident, description: str, *, desk: Desk, answers: Sequence[str]) -> Letter:
    """That the task is well again; it stands for itself, for the first letter may never have arrived."""
    at = incident.recovered or incident.since
    took = show_span(max(at - incident.since, timedelta()))
    lines = [
        f"The task {incident.task} on {desk.host} succeeded again at {show(at)}, after {took}.",
        "",
        *facts(incident, description, desk),
        "",
        *what_to_do(incident, desk),
    ]
    return Letter(
        name=f"{name_of(incident)}.recovered",
        subject=headline(f"{incident.task} recovered on {desk.host}", desk),
        lines=tuple(lines),
        brief=f"Succeeded again at {show(at)}, after {took}. It {incident.kind}: {one_line(incident.reason)}",
        at=at,
        answers=tuple(answers) or (name_of(incident),),
    )


def digest(notices: Sequence[Notice], *, desk: Desk, now: datetime) -> Letter:
    """Many incidents in one letter, instead of a flood; and what gathered in quiet hours."""
    opening = [each for each in notices if each.event is not Event.RECOVERED]
    closing = [each for each in notices if each.event is Event.RECOVERED]
    counts = [f"{len(each)} {word}" for each, word in ((opening, "open"), (closing, "recovered")) if each]
    lines = [f"What is to be told of tasks on {desk.host} ({desk.environment}):", ""]
    if opening:
        lines += ["Open:", "", *(line for each in opening for line in entry(each.incident, desk)), ""]
    if closing:
        lines += ["Recovered:", "", *(line for each in closing for line in entry(each.incident, desk)), ""]
    lines += ["See more:", "", f"  rota alert --list      on {desk.host}"]
    brief = [f"{each.incident.task} {word_for(each)}" for each in (*opening, *closing)]
    same = hashlib.sha256("\n".join(f"{each.receiver} {name_of(each.incident)}" for each in notices).encode())
    return Letter(
        name=f"digest.{now:%Y%m%dT%H%M%S}.{same.hexdigest()[:12]}",
        subject=headline(f"{' and '.join(counts)}: incidents on {desk.host}", desk),
        lines=tuple(lines),
        brief=shorten("\n".join(brief), LONGEST_BRIEF),
        at=now,
        answers=tuple(dict.fromkeys(told.letter for each in notices for told in each.incident.told.values())),
    )


def trial(*, desk: Desk, now: datetime) -> Letter:
    """What `rota alert --test` sends."""
    said = f"This is how alerts of {desk.host} ({desk.environment}) reach you. Nothing has failed."
    return Letter(
        name=f"trial.{now:%Y%m%dT%H%M%S%f}",
        subject=headline(f"a trial from {desk.host}", desk),
        lines=(said,),
        brief=said,
        at=now,
    )


def as_mail(letter: Letter, to: Sequence[str], desk: Desk) -> EmailMessage:
    """The letter as a mail, or as it is caught where it must not leave; a channel is named as one."""
    channels = [each for each in to if is_channel(each)]
    message = EmailMessage(policy=UNFOLDED)
    message["Subject"] = letter.subject
    message["From"] = desk.sender
    if channels:
        message["X-Rota-Channel"] = ", ".join(channels)
    else:
        message["To"] = ", ".join(to)
    message["Date"] = format_datetime(letter.at)
    message["Message-ID"] = message_id(letter.name, desk)
    if letter.answers:
        answers = [message_id(each, desk) for each in letter.answers]
        message["In-Reply-To"] = answers[-1]
        message["References"] = " ".join(answers)
    message["Auto-Submitted"] = "auto-generated"
    text = body_for(letter, to)
    # Else a single character that is not ASCII would make base64 of all of it, which nobody reads in a file.
    message.set_content(text, cte=None if text.isascii() else "quoted-printable")
    return message


def body_for(letter: Letter, to: Sequence[str]) -> str:
    """What these receivers read below the subject: a channel gets the brief."""
    return (letter.brief if any(is_channel(each) for each in to) else "\n".join(letter.lines)) + "\n"


def message_id(name: str, desk: Desk) -> str:
    return f"<{name}@{desk.host}>"


def name_of(incident: Incident) -> str:
    """What is the same in all letters of one incident."""
    return f"{incident.task}.{incident.since:%Y%m%dT%H%M%S%f}"


def headline(subject: str, desk: Desk) -> str:
    return one_line(f"[{desk.environment}] {subject}")


def facts(incident: Incident, description: str, desk: Desk) -> list[str]:
    said = [
        f"  task     {incident.task}: {description}",
        f"  host     {desk.host} ({desk.environment})",
        f"  reason   {one_line(incident.reason)}",
    ]
    if incident.kind not in (Kind.RUNNING, Kind.OVERDUE):
        said.append(f"  {word_of(incident.kind):8} {times(incident)} since {show(incident.since)}")
    return [*said, f"  run      {incident.run}"] if incident.run else said


def word_of(kind: Kind) -> str:
    return {Kind.FAILED: "failed", Kind.MISSED: "missed"}.get(kind, "seen")


def times(incident: Incident) -> str:
    return "once" if incident.failures <= 1 else f"{incident.failures} times"


def entry(incident: Incident, desk: Desk) -> list[str]:
    """The incident in a digest."""
    page = [f"    {desk.diary}/runs/{incident.run}/"] if desk.diary and incident.run else []
    said = f"{incident.task} {incident.kind}: {one_line(incident.reason)}"
    return [f"  {said}", f"    {times(incident)} since {show(incident.since)}", *page]


def word_for(notice: Notice) -> str:
    if notice.event is Event.RECOVERED:
        return "recovered"
    return f"{notice.incident.kind}: {one_line(notice.incident.reason)}"


def what_it_said(incident: Incident, evidence: Evidence) -> list[str]:
    """The end of what the run printed, indented, without control codes."""
    if incident.kind in (Kind.MISSED, Kind.OVERDUE):
        return []
    found = last_lines(evidence.output, LAST_LINES)
    if not found:
        return ["It printed nothing.", ""]
    return ["What it printed last:", "", *(f"  {line}" for line in found), ""]


def what_was_different(evidence: Evidence) -> list[str]:
    if not evidence.differences:
        return []
    return ["What was different:", "", *(f"  {one_line(each)}" for each in evidence.differences), ""]


def what_to_do(incident: Incident, desk: Desk) -> list[str]:
    page = [f"  {desk.diary}/runs/{incident.run}/"] if desk.diary and incident.run else []
    task, run = incident.task, incident.run
    here: list[tuple[str, str]] = [
        (f"./run {desk.environment} logs {task}", "all of what it said; in a checkout"),
        (f"./run {desk.environment} start {task}", "again, now"),
    ]
    match incident.kind:
        case Kind.MISSED:
            here = [(f"rota plan {task}", f"what became of its slots; on {desk.host}")]
            here += [(f"systemctl status rota-task-{task}.timer rota-task-{task}.service", "why it did not start")]
            here += [(f"rota run {task}", "now")]
        case Kind.RUNNING:
            here = [(f"rota show {run} --log", f"what it said so far; on {desk.host}")]
            here += [(f"systemctl stop rota-task-{task}.service", "ends it")]
        case Kind.OVERDUE:
            here = [(f"rota plan {task}", f"what became of its slots; on {desk.host}"), (f"rota run {task}", "now")]
        case _:
            here += [(f"rota show {run}", f"the whole record; on {desk.host}")]
            here += [(f"rota diff {run}", "what it said, against its last good run")]
    width = max(len(command) for command, _ in here)
    return ["See more, and mend it:", "", *page, *(f"  {command:{width}}  {why}" for command, why in here)]


def what_comes_next(evidence: Evidence) -> str:
    again = f", and every {show_span(evidence.remind)} while it is not" if evidence.remind else ""
    return f"You hear of it again when it has succeeded{again}; until then further failures are only counted."


def brief_of(incident: Incident, description: str, evidence: Evidence, desk: Desk) -> str:
    """What fits into a chat or a text message."""
    page = [f"{desk.diary}/runs/{incident.run}/"] if desk.diary and incident.run else []
    said = [] if incident.kind in (Kind.MISSED, Kind.OVERDUE) else last_lines(evidence.output, LAST_LINES_OF_BRIEF)
    return shorten("\n".join([description, *page, *said]), LONGEST_BRIEF)


def last_lines(output: str, number: int) -> list[str]:
    return [shorten(line, LONGEST_LINE) for line in plain_lines(output)[-number:]]


def one_line(text: str) -> str:
    return shorten(plain(" ".join(text.split())), LONGEST_LINE)


def shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


def show(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

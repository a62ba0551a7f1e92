"""Alerting: what came of runs since the last look, the incidents it opens and closes, and who is told of them."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

from rota import measuring
from rota.adapters.outbound import Door, MailNotSent, MailServer, Outbox
from rota.adapters.spool import Spool, runs, spool_of
from rota.adapters.standings import News, Standings
from rota.core import letter
from rota.core.catalogue import Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.history import Standing, changes_standing
from rota.core.incident import Incident, judge, why_without_record
from rota.core.letter import Desk
from rota.core.places import Places
from rota.core.record import RunRecord
from rota.core.status import Status, Trigger
from rota.core.task import Task
from rota.runner import make_identifier
from rota.starting import find_run

LOOK_BACK = timedelta(days=1)
EVERYWHERE = ("running", "done", "sent")


class NobodyToTell(RotaError):
    """No alert goes to anybody."""


class NoPassword(RotaError):
    """The mail server's password cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What systemd tells a unit that it starts by OnFailure=, in `$MONITOR_…` (systemd.exec(5))."""

    result: str
    exit_code: str
    exit_status: str
    invocation: str


def failure_of(environ: Mapping[str, str]) -> Failure | None:
    """The failure that this process was started for; None when it was started otherwise."""
    if not environ.get("MONITOR_INVOCATION_ID"):
        return None
    names = ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS", "INVOCATION_ID")
    result, exit_code, exit_status, invocation = (environ.get(f"MONITOR_{name}", "") for name in names)
    return Failure(result=result, exit_code=exit_code, exit_status=exit_status, invocation=invocation)


def alert(places: Places, catalogue: Catalogue, *, task: str | None, failure: Failure | None, now: datetime) -> str:
    """Look at what came of runs, tell who should know, write the measurements. Returns what was done, in a line.

    A mail that cannot be sent fails nothing: its incident stays untold, and the next look tries again.
    """
    spool, memory = spool_of(places), Standings(places.alerts)
    with alone(memory):
        if task and failure:
            note_missing_record(spool, catalogue, places, catalogue.task(task), failure, now)
        standings = look(spool, memory, catalogue, now)
        open_tasks = frozenset(each.task for each in memory.incidents().values() if each.is_open)
        # Before anybody is told: a mail server that hangs delays no measurement.
        measured = measuring.measure(places, catalogue, standings=standings, failing=open_tasks, now=now)
        measuring.write(places.measurements, measured)
        done = tell(memory, spool, catalogue, open_door(places, catalogue.agent, now))
        Outbox(places.outbox, now).remove_old()
    return f"{len(open_tasks)} incidents open; {done}"


@contextmanager
def alone(memory: Standings) -> Iterator[None]:
    """Wait for our turn: several tasks may fail at once."""
    memory.make()
    file = os.open(memory.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def look(spool: Spool, memory: Standings, catalogue: Catalogue, now: datetime) -> dict[str, Standing]:
    """Bring standings and incidents up to date with the runs that came to an end since the last look."""
    news, incidents = memory.look(spool, now=now), memory.incidents()
    for name in catalogue.tasks:
        for run in judged(news, name):
            known = incidents.get(name)
            is_counted = known is not None and known.run == str(run.id)
            if not is_counted and (incident := judge(known, run)):
                incidents[name] = incident
                memory.keep(incident)
    memory.forget(incidents.keys() - catalogue.tasks.keys())
    memory.keep_news(news)
    return news.standings


def judged(news: News, task: str) -> list[RunRecord]:
    """The task's new runs of which its people should know, oldest first.

    Not what arrived late and is older than a run that was judged before. Of a task that was never looked at, what
    failed long ago is nobody's concern any more.
    """
    before, after = news.memory.standings.get(task), news.standings.get(task)
    known = before.latest if before else None
    ended = [run for run in news.fresh.get(task, ()) if changes_standing(run) and run.status is not Status.SKIPPED]
    if known and after and after.latest and after.latest.started >= known.started:
        ended = [run for run in ended if run.started >= known.started]
    return ended if before else ended[-1:]


def note_missing_record(
    spool: Spool, catalogue: Catalogue, places: Places, task: Task, failure: Failure, now: datetime
) -> None:
    """Leave a record for a start that failed before the runner could leave one."""
    if has_record(spool, failure.invocation, now - LOOK_BACK - task.timeout):
        return
    agent = catalogue.agent
    spool.store(
        RunRecord(
            id=UUID(make_identifier(time.time_ns() // 1_000_000, os.urandom(10))),
            host=agent.host,
            environment=agent.environment,
            task=task.name,
            pack=task.pack,
            slot=None,
            trigger=Trigger.TIMER if task.schedule else Trigger.MANUAL,
            started=now,
            ended=now,
            status=Status.FAILED,
            reason=why_without_record(failure.result, failure.exit_code, failure.exit_status),
            exit_code=None,
            signal=None,
            duration=None,
            cpu=None,
            memory_peak=None,
            output_bytes=0,
            output_dropped=0,
            output="",
            items=(),
            counts={},
            boot_id="",
            invocation_id=failure.invocation,
            release=places.current.resolve().name if places.current.exists() else "",
            unit_hash="",
            attempt=1,
        )
    )


def has_record(spool: Spool, invocation: str, since: datetime) -> bool:
    """Whether the run of this invocation has a record: in the spool, or in the spare of a full disk."""
    if any(run.invocation_id == invocation for run in runs(spool.records(*EVERYWHERE, since=since))):
        return True
    return any(invocation.encode() in text for text in spool.spared())


def tell(memory: Standings, spool: Spool, catalogue: Catalogue, door: Door) -> str:
    """Mail what is due: an incident that nobody was told of yet, or that is over. Returns what was done, in words."""
    told = untold = 0
    desk = desk_of(catalogue.agent)
    for incident in memory.incidents().values():
        task = catalogue.task(incident.task)
        to = catalogue.agent.alerting.to if task.alert_to is None else task.alert_to
        if incident.is_told and incident.is_open or incident.is_open and not to:
            continue
        if to:
            try:
                door.send(letter_of(incident, task, spool, to, desk))
            except MailNotSent as error:
                print(f"rota: {error}", file=sys.stderr)
                untold += 1
                continue
            told += 1
        if incident.is_open:
            memory.keep(replace(incident, is_told=True))
        else:
            memory.forget([incident.task])
    return f"{told} mails to {door.where}, {untold} not sent."


def letter_of(incident: Incident, task: Task, spool: Spool, to: tuple[str, ...], desk: Desk) -> EmailMessage:
    if not incident.is_open:
        return letter.recovery(incident, task.description, to=to, desk=desk)
    record = find_run(spool, incident.run)
    return letter.failure(incident, task.description, spool.output(record) if record else "", to=to, desk=desk)


def try_out(places: Places, catalogue: Catalogue, now: datetime) -> str:
    """Send a trial mail to everybody whom alerts of this host go to. Raises NobodyToTell, MailNotSent."""
    agent, to = catalogue.agent, everybody(catalogue)
    if not to:
        raise NobodyToTell(f"agent: alert: to is empty in {places.configuration}/*.yml (agent_alert_to in group_vars)")
    door = open_door(places, agent, now)
    door.send(letter.trial(to=to, desk=desk_of(agent), now=now))
    return f"A trial for {', '.join(to)} is with {door.where}." + (
        "" if isinstance(door, MailServer) else f" Mail of {agent.environment} hosts does not leave them."
    )


def everybody(catalogue: Catalogue) -> list[str]:
    """All to whom an alert of this host may go."""
    own = (task.alert_to or () for task in catalogue.tasks.values())
    return sorted({*catalogue.agent.alerting.to, *(each for people in own for each in people)})


def desk_of(agent: Agent) -> Desk:
    sender = agent.alerting.sender or f"rota@{agent.host}"
    return Desk(host=agent.host, environment=agent.environment, diary=agent.diary, sender=sender)


def open_door(places: Places, agent: Agent, now: datetime) -> Door:
    """The mail server, where both the configuration and the host's own word for its environment let mail out."""
    own = places.environment.read_text("utf-8").strip() if places.environment.is_file() else ""
    if own == agent.environment and agent.environment.speaks:
        return MailServer(agent.alerting, read_password(places, agent))
    return Outbox(places.outbox, now)


def read_password(places: Places, agent: Agent) -> str | None:
    """From the unit's credentials, or the file itself for whoever may read it. Raises NoPassword."""
    if not agent.alerting.user:
        return None
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY") or places.credentials) / agent.alerting.credential
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise NoPassword(f"{path}: {error.strerror}") from error


def describe(places: Places, catalogue: Catalogue, now: datetime) -> list[str]:
    """What `rota status` says of incidents, and of mail that has no receiver or was caught."""
    lines = [describe_incident(incident) for incident in Standings(places.alerts).incidents().values()]
    caught = len(Outbox(places.outbox, now).caught())
    if not places.is_embedded and not everybody(catalogue):
        lines.append("Nobody hears of failures on this host: agent: {alert: {to: …}} is empty.")
    if caught:
        lines.append(f"{caught} mails did not leave this host; they are in {places.outbox}.")
    return lines


def describe_incident(incident: Incident) -> str:
    if not incident.is_open:
        return f"{incident.task} has recovered; nobody has been told yet."
    times = "once" if incident.failures == 1 else f"{incident.failures} times"
    told = "its people know" if incident.is_told else "nobody has been told yet"
    return f"{incident.task} fails since {incident.since.astimezone():%Y-%m-%d %H:%M:%S}, {times}; {told}."

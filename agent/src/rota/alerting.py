"""Alerting: one look at what came of runs, and who is told of it."""

import email
import email.policy
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rota import measuring
from rota.adapters.incidents import Incidents, Journal
from rota.adapters.outbound import Addressed, Beat, Door, Failures, NotSent, Outbox, World, caught_in, remove_old
from rota.adapters.reviews import reviews_of
from rota.adapters.spool import Spool, SpoolUnreadable, spool_of, turn_in
from rota.adapters.standings import Standings
from rota.adapters.urls import UrlsUnreadable, read_urls
from rota.core import letter as writing
from rota.core.catalogue import Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.expectation import usual_names
from rota.core.history import Ended, Standing
from rota.core.incident import Incident, Told, usual_of
from rota.core.letter import Desk, Evidence, Letter
from rota.core.mail import Alerting
from rota.core.places import Places
from rota.core.quantities import show_duration
from rota.core.record import RunRecord
from rota.core.rule import is_channel
from rota.core.status import Status
from rota.core.task import Task
from rota.core.telling import Event, Notice, Parcel, Receiver, notices_of, pack
from rota.judging import Bench, Failure, note_missing_record, running_runs, spared_runs
from rota.starting import find_run


class NobodyToTell(RotaError):
    """No alert goes to anybody."""


class NoSecret(RotaError):
    """A secret of alerts cannot be read."""


def failure_of(environ: Mapping[str, str]) -> Failure | None:
    """The failure that this process was started for; None when it was started otherwise."""
    if not environ.get("MONITOR_INVOCATION_ID"):
        return None
    names = ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS", "INVOCATION_ID")
    result, exit_code, exit_status, invocation = (environ.get(f"MONITOR_{name}", "") for name in names)
    return Failure(result=result, exit_code=exit_code, exit_status=exit_status, invocation=invocation)


@dataclass(kw_only=True)
class Look:
    """One look at the host: what was found, and what is remembered of it."""

    places: Places
    catalogue: Catalogue
    spool: Spool
    memory: Incidents
    incidents: dict[str, Incident]
    journal: Journal
    standings: dict[str, Standing]
    spared: list[RunRecord]
    now: datetime

    @property
    def alerting(self) -> Alerting:
        return self.catalogue.agent.alerting


def alert(places: Places, catalogue: Catalogue, *, task: str | None, failure: Failure | None, now: datetime) -> str:
    """Look at what came of runs, tell who should know, write the measurements. Returns what was done, in a line.

    What cannot be sent fails nothing: its incident stays untold, and a later look tries again.
    """
    spool = spool_of(places)
    memory = incidents_of(places)
    with alone(memory):
        if task and failure:
            note_missing_record(spool, catalogue, places, catalogue.task(task), failure, now)
        look = look_at(places, catalogue, spool, memory, now)
        failing = {name: each for name, each in look.incidents.items() if is_known_to_fail(each, now)}
        # Before anybody is told: a mail server that hangs delays no measurement.
        measure(look, failing)
        asks = catalogue.asks_for_urls
        done = tell(look, open_door(places, catalogue.agent, now, asks_for_urls=asks), is_regular=task is None)
        remove_old(places.outbox, now)
    return f"{counted(len(failing), 'incident')} open; {done}"


def measure(look: Look, failing: Mapping[str, Incident]) -> None:
    """Write the measurements; a full disk leaves the old ones, whose time tells."""
    measured = measuring.measure(look.places, look.catalogue, standings=look.standings, failing=failing, now=look.now)
    try:
        measuring.write(look.places.measurements, measured)
    except OSError as error:
        complain(f"{look.places.measurements}: {error.strerror}")


def incidents_of(places: Places) -> Incidents:
    return Incidents(folder=places.alerts, spare=places.alerts_spare)


@contextmanager
def alone(memory: Incidents) -> Iterator[None]:
    """Wait for our turn: several tasks may fail at once."""
    memory.make()
    with turn_in(memory.folder):
        yield


def look_at(places: Places, catalogue: Catalogue, spool: Spool, memory: Incidents, now: datetime) -> Look:
    """Bring standings and incidents up to date with the runs that came to an end since the last look."""
    history, before, journal = Standings(places.alerts), memory.load(), memory.journal()
    counted = {name: usual_names(task.expect) for name, task in catalogue.tasks.items()}
    news, spared = history.look(spool, now=now, counted=counted), spared_runs(spool)
    incidents = {name: incident for name, incident in before.items() if name in catalogue.tasks}
    bench = Bench(catalogue=catalogue, spool=spool, incidents=incidents, journal=journal, now=now)
    if catalogue.agent.environment.heeds_reviews:
        bench.heed(reviews_of(places).load())
    judged = bench.judge_all(news, spared)
    bench.judge_present(news.standings, running_runs(spool), places)
    look = Look(
        places=places,
        catalogue=catalogue,
        spool=spool,
        memory=memory,
        incidents=incidents,
        journal=journal,
        standings=news.standings,
        spared=spared,
        now=now,
    )
    for name, incident in incidents.items():
        if incident != before.get(name):
            keep(memory, incident)
    for name in before.keys() - incidents.keys():
        memory.forget(name)
    try:
        history.keep_news(news)
        journal.judged = judged & {str(run.id) for run in spared}
    except OSError as error:
        complain(f"{places.alerts}: {error.strerror}; what was seen is kept in memory")
        journal.judged = judged
    keep_journal(look)
    return look


def keep(memory: Incidents, incident: Incident) -> None:
    try:
        memory.keep(incident)
    except OSError as error:
        complain(f"the incident of {incident.task} cannot be remembered: {error}")


def keep_journal(look: Look) -> None:
    try:
        look.memory.keep_journal(look.journal)
    except OSError as error:
        complain(f"what was sent cannot be remembered: {error}")


def tell(look: Look, door: Door, *, is_regular: bool) -> str:
    """Send what is due, and remember who knows. Returns what was done, in words."""
    notices = notices_to_tell(look)
    parcels = pack(notices, look.journal.receivers, look.alerting, look.now)
    letters = [address(parcel, letter_of(parcel, look)) for parcel in parcels]
    beats = heartbeats(look, is_regular=is_regular)
    failures, missed = door.send(letters, list(beats)) if letters or beats else ([], {})
    for parcel, addressed, failed in zip(parcels, letters, failures, strict=True):
        remember(look, parcel, addressed.letter, failed)
    look.journal.pinged |= {beat.name: said for beat, said in beats.items() if beat.name not in missed}
    remember_receivers(look, parcels, failures)
    for why in dict.fromkeys([*(why for failed in failures for why in failed.values()), *missed.values()]):
        complain(why)
    if letters or beats:
        keep_journal(look)
    untold = sum(bool(failed) for failed in failures)
    return f"{counted(len(letters) - untold, 'letter')} to {door.where}, {untold} not sent."


def notices_to_tell(look: Look) -> list[Notice]:
    """All that is to be told; an incident that is over, and of which nobody is left to be told, is forgotten."""
    found: list[Notice] = []
    for name, incident in list(look.incidents.items()):
        notices = notices_of(incident, look.catalogue.task(name), look.alerting, look.now)
        found += notices
        if not incident.is_open and not notices:
            del look.incidents[name]
            look.memory.forget(name)
    return found


def remember(look: Look, parcel: Parcel, letter: Letter, failed: Failures) -> None:
    """Who of this parcel knows now."""
    reached = [receiver for receiver in parcel.receivers if receiver not in failed]
    if not reached:
        return
    for notice in parcel.notices:
        incident = look.incidents[notice.task.name]
        if notice.event is Event.RECOVERED:
            incident = replace(incident, closed_for=(*incident.closed_for, *reached))
        else:
            told = Told(at=look.now, letter=letter.name)
            incident = replace(incident, told={**incident.told, **dict.fromkeys(reached, told)})
        look.incidents[incident.task] = incident
        if not incident.is_open and not notices_of(incident, notice.task, look.alerting, look.now):
            del look.incidents[incident.task]
            look.memory.forget(incident.task)
        else:
            keep(look.memory, incident)


def remember_receivers(look: Look, parcels: Sequence[Parcel], failures: Sequence[Failures]) -> None:
    """Who was reached how often, and who was not and is tried again later; one failure counts for a look."""
    missed: Failures = {}
    known = look.journal.receivers
    for parcel, failed in zip(parcels, failures, strict=True):
        missed |= failed
        for receiver in parcel.receivers:
            if receiver not in failed:
                known[receiver] = known.get(receiver, Receiver()).reached(look.now, by_digest=parcel.is_digest)
    for receiver, why in missed.items():
        known[receiver] = known.get(receiver, Receiver()).missed(look.now, why)


def address(parcel: Parcel, letter: Letter) -> Addressed:
    """The letter with whom it is for, and which run it speaks of; a digest speaks of many."""
    if parcel.is_digest:
        return Addressed(to=parcel.receivers, letter=letter)
    incident = parcel.notices[0].incident
    return Addressed(to=parcel.receivers, letter=letter, task=incident.task, run=incident.run)


def letter_of(parcel: Parcel, look: Look) -> Letter:
    desk, (notice, *_) = desk_of(look.catalogue.agent), parcel.notices
    if parcel.is_digest:
        return writing.digest(parcel.notices, desk=desk, now=look.now)
    incident, description = notice.incident, notice.task.description
    known = [incident.told[each].letter for each in parcel.receivers if each in incident.told]
    answers = tuple(dict.fromkeys(known))
    if notice.event is Event.RECOVERED:
        return writing.recovered(incident, description, desk=desk, answers=answers)
    evidence = evidence_of(incident, notice.task, look)
    if notice.event is Event.REMINDER:
        return writing.reminder(incident, description, evidence, desk=desk, now=look.now, answers=answers)
    return writing.opened(incident, description, evidence, desk=desk, now=look.now)


def evidence_of(incident: Incident, task: Task, look: Look) -> Evidence:
    """What the run of the incident printed, and what was different in the task's latest success."""
    record = record_called(incident.run, look)
    standing = look.standings.get(task.name, Standing())
    return Evidence(
        output=look.spool.output(record) if record else "",
        differences=tuple(differences(record, standing, look)) if record else (),
        remind=look.alerting.remind_every(task.alert),
    )


def record_called(run: str, look: Look) -> RunRecord | None:
    if not run:
        return None
    return find_run(look.spool, run) or next((each for each in look.spared if str(each.id) == run), None)


def differences(record: RunRecord, standing: Standing, look: Look) -> Iterator[str]:
    good, usual = standing.success, usual_of(standing.durations)
    if good is None:
        yield "It has never succeeded on this host."
        return
    if good.run == str(record.id):
        return
    yield f"It succeeded last at {writing.show(good.ended)}, in {show_duration(good.duration)}."
    if usual and record.duration and not usual / 2 < record.duration < usual * 2:
        yield f"It took {show_duration(record.duration)}; usually it takes {show_duration(usual)}."
    if record.parameters:
        yield f"It was started with {', '.join(f'{name}={value}' for name, value in record.parameters.items())}."
    before = find_run(look.spool, good.run)
    if before and before.release != record.release:
        yield f"The release was {before.release or 'none'}, and is {record.release or 'none'} now."
    if before and before.unit_hash != record.unit_hash and before.unit_hash and record.unit_hash:
        yield "The task's unit has changed since."


def heartbeats(look: Look, *, is_regular: bool) -> dict[Beat, str]:
    """What outside watchers are to hear: of each task's latest run, once, and that the host lives, now and then.

    With each what it speaks of: the run, or the minute. Tasks of one heartbeat speak together, and are well together.
    """
    latest: dict[str, dict[str, Ended]] = {}
    for task in look.catalogue.tasks.values():
        standing = look.standings.get(task.name, Standing())
        if task.heartbeat and standing.latest:
            latest.setdefault(task.heartbeat, {})[task.name] = standing.latest
    found: dict[Beat, str] = {}
    for name, runs in latest.items():
        said = " ".join(sorted(run.run for run in runs.values()))
        if look.journal.pinged.get(name) != said:
            is_good = all(run.status is Status.SUCCEEDED for run in runs.values())
            about = {"task": next(iter(runs)), "run": said} if len(runs) == 1 else {}
            found[Beat(name=name, is_good=is_good, **about)] = said
    host, minute = look.alerting.heartbeat, f"{look.now:%Y-%m-%dT%H:%M}"
    if host and is_regular and look.journal.pinged.get(host) != minute:
        found[Beat(name=host)] = minute
    return found


def try_out(places: Places, catalogue: Catalogue, now: datetime) -> str:
    """Send a trial to everybody, and every channel, where alerts of this host go. Raises NobodyToTell, NotSent."""
    agent, to = catalogue.agent, everybody(catalogue)
    if not to:
        raise NobodyToTell(f"agent: alert: to is empty in {places.configuration}/*.yml (agent_alert_to in group_vars)")
    door = open_door(places, agent, now)
    letter = writing.trial(desk=desk_of(agent), now=now)
    mail = tuple(each for each in to if not is_channel(each))
    letters = [
        Addressed(to=each, letter=letter) for each in [mail, *((each,) for each in to if is_channel(each))] if each
    ]
    failures, _ = door.send(letters, [])
    why = list(dict.fromkeys(why for failed in failures for why in failed.values()))
    if why:
        raise NotSent("; ".join(why))
    return f"A trial for {', '.join(to)} is with {door.where}." + (
        "" if isinstance(door, World) else f" What {agent.environment} hosts send does not leave them."
    )


def everybody(catalogue: Catalogue) -> list[str]:
    """All to whom an alert of this host may go."""
    found = set(catalogue.agent.alerting.to)
    for task in catalogue.tasks.values():
        found.update(task.alert.to or (), task.alert.then.to if task.alert.then else ())
    return sorted(found)


def desk_of(agent: Agent) -> Desk:
    sender = agent.alerting.sender or f"rota@{agent.host}"
    return Desk(host=agent.host, environment=agent.environment, diary=agent.diary, sender=sender)


def open_door(places: Places, agent: Agent, now: datetime, *, asks_for_urls: bool = True) -> Door:
    """The world, where both the configuration and the host's own word for its environment let things out.

    The unit is given the file of URLs only where something goes out by one.
    """
    own = places.environment.read_text("utf-8").strip() if places.environment.is_file() else ""
    if own == agent.environment and agent.environment.speaks:
        return World(
            settings=agent.alerting,
            desk=desk_of(agent),
            password=read_password(places, agent.alerting),
            urls=urls_of(places, agent.alerting) if asks_for_urls else {},
        )
    return Outbox(folder=places.outbox, spool=spool_of(places), desk=desk_of(agent), now=now)


def read_password(places: Places, alerting: Alerting) -> str:
    """Raises NoSecret."""
    if not alerting.user:
        return ""
    path = secret_path(places, alerting.credential)
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise NoSecret(f"{path}: {error.strerror}") from error


def urls_of(places: Places, alerting: Alerting) -> dict[str, str]:
    """The URLs of channels and heartbeats. What cannot be read counts as missing: mail must go out without."""
    try:
        return read_urls(secret_path(places, alerting.urls))
    except UrlsUnreadable as error:
        complain(str(error))
        return {}


def secret_path(places: Places, name: str) -> Path:
    """In the unit's credentials, or the file itself for whoever may read it."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY") or places.credentials) / name


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def complain(text: str) -> None:
    print(f"rota: {text}", file=sys.stderr)


def is_known_to_fail(incident: Incident, now: datetime) -> bool:
    """Whether the incident is open, and not merely held back for a while."""
    return incident.is_open and (incident.due is None or now >= incident.due)


def describe(places: Places, catalogue: Catalogue, now: datetime) -> list[str]:
    """What `rota status` says of incidents, of receivers that are out of reach, and of what was caught."""
    memory = incidents_of(places)
    lines = [describe_incident(incident, now) for incident in memory.load().values()]
    receivers = everybody(catalogue)
    known = memory.journal().receivers
    lines += [f"{name} is not reached: {known[name].why}" for name in receivers if name in known and known[name].why]
    if not places.is_embedded and not receivers:
        lines.append("Nobody hears of failures on this host: agent: {alert: {to: …}} is empty.")
    if caught := len(caught_in(places.outbox)):
        lines.append(
            f"{counted(caught, 'letter')} did not leave this host: see rota alert --caught, and {places.outbox}."
        )
    return lines


def describe_incident(incident: Incident, now: datetime) -> str:
    if not incident.is_open:
        return f"{incident.task} has recovered; not everybody has been told yet."
    times = "once" if incident.failures <= 1 else f"{incident.failures} times"
    since = f"since {incident.since.astimezone():%Y-%m-%d %H:%M:%S}"
    if incident.due and now < incident.due and not incident.told:
        told = f"nobody is told before {incident.due.astimezone():%H:%M:%S}"
    elif by := incident.handled:
        told = f"handled by {by.by} at {by.at.astimezone():%Y-%m-%d %H:%M:%S}"
    else:
        told = "its people know" if incident.told else "nobody has been told yet"
    return f"{incident.task} {incident.kind} {since}, {times}: {incident.reason}; {told}."


def list_incidents(places: Places, now: datetime) -> list[dict[str, Any]]:
    """The incidents as `rota alert --list --json` prints them. Raises SpoolUnreadable."""
    try:
        incidents = incidents_of(places).load().values()
    except PermissionError as error:
        raise SpoolUnreadable(f"{error}; become root or join the group rota") from error
    return [
        {
            "task": each.task,
            "kind": each.kind.value,
            "reason": each.reason,
            "since": each.since.isoformat(),
            "failures": max(1, each.failures),
            "run": each.run,
            "told": {who: told.at.isoformat() for who, told in each.told.items()},
            "held_until": each.due.isoformat() if each.due and now < each.due else None,
            "recovered": each.recovered.isoformat() if each.recovered else None,
            "handled_by": each.handled.by if each.handled else None,
            "handled": each.handled.at.isoformat() if each.handled else None,
        }
        for each in incidents
    ]


def list_caught(places: Places) -> list[tuple[str, str, str]]:
    """When, to whom and with which subject each letter would have been sent, oldest first."""
    found = []
    for path in caught_in(places.outbox):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        to = message["To"] or message["X-Rota-Channel"] or ""
        found.append((path.name.partition("-")[0], str(to), str(message["Subject"])))
    return found

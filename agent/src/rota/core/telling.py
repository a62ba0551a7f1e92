"""Who is to be told what now: letters of their own, or one digest instead of a flood."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rota.core.incident import Incident
from rota.core.mail import Alerting
from rota.core.rule import is_channel
from rota.core.task import Task

HOUR = timedelta(hours=1)
BETWEEN_DIGESTS = timedelta(minutes=15)
LONGEST_WAIT = timedelta(minutes=30)


class Event(StrEnum):
    """What is told of an incident."""

    OPENED = "opened"
    REMINDER = "reminder"
    RECOVERED = "recovered"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that one receiver is to be told: what, of which incident, and when it came about."""

    receiver: str
    event: Event
    incident: Incident
    task: Task
    moment: datetime


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Notices that go out as one letter: the same for each receiver, or a digest of many for one."""

    receivers: tuple[str, ...]
    notices: tuple[Notice, ...]
    is_digest: bool = False


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """What is remembered of a mail address or channel: letters of the last hour, and sendings that failed in a row.

    After a failure nothing is tried before `again`.
    """

    recent: tuple[datetime, ...] = ()
    digested: datetime | None = None
    failures: int = 0
    again: datetime | None = None
    why: str = ""

    def reached(self, now: datetime, *, by_digest: bool) -> "Receiver":
        recent = tuple(moment for moment in self.recent if timedelta() <= now - moment < HOUR)
        return Receiver(recent=recent if by_digest else (*recent, now), digested=now if by_digest else self.digested)

    def missed(self, now: datetime, why: str) -> "Receiver":
        """The next look tries again; after that the wait doubles, up to half an hour."""
        wait = min(timedelta(minutes=2 ** min(self.failures, 10)), LONGEST_WAIT) if self.failures else timedelta()
        return replace(self, failures=self.failures + 1, again=now + wait, why=why)

    def is_waiting(self, now: datetime) -> bool:
        """Whether it is too early to try again; a clock that was set back does not make it wait longer."""
        return self.again is not None and now < self.again <= now + LONGEST_WAIT


def notices_of(incident: Incident, task: Task, alerting: Alerting, now: datetime) -> list[Notice]:
    """Everything that is to be told of this incident now."""
    rule = task.alert
    if not incident.is_due(now, after=rule.after):
        return []
    if incident.handled and (incident.is_open or not incident.told):
        return []
    people, later = alerting.people(rule), rule.then
    others = later.to if later else ()
    if not incident.is_open:
        over = incident.recovered or now
        wanted = (*people, *(each for each in others if each in incident.told))
        return [
            Notice(receiver=each, event=Event.RECOVERED, incident=incident, task=task, moment=over)
            for each in dict.fromkeys(wanted)
            if each not in incident.closed_for
        ]
    begun = max(incident.since, incident.due or incident.since)
    wanted = (*people, *(others if later and now - incident.since >= later.after else ()))
    every = alerting.remind_every(rule)
    found = []
    for each in dict.fromkeys(wanted):
        told = incident.told.get(each)
        if told is None:
            found.append(Notice(receiver=each, event=Event.OPENED, incident=incident, task=task, moment=begun))
        elif every and now - told.at >= every:
            found.append(Notice(receiver=each, event=Event.REMINDER, incident=incident, task=task, moment=now))
    return found


def pack(notices: Iterable[Notice], known: Mapping[str, Receiver], alerting: Alerting, now: datetime) -> list[Parcel]:
    """The letters that go out now. What is left waits: for quiet hours to end, or for another try."""
    by_receiver: dict[str, list[Notice]] = {}
    for notice in notices:
        if notice.task.alert.urgent or not alerting.is_quiet(now):
            by_receiver.setdefault(notice.receiver, []).append(notice)
    single: list[Notice] = []
    parcels: list[Parcel] = []
    for receiver, mine in by_receiver.items():
        person = known.get(receiver, Receiver())
        if person.is_waiting(now):
            continue
        if not is_flood(mine, person, alerting, now):
            single += mine
        elif person.digested is None or not timedelta() <= now - person.digested < BETWEEN_DIGESTS:
            parcels.append(Parcel(receivers=(receiver,), notices=tuple(mine), is_digest=True))
    return [*together(single), *parcels]


def is_flood(mine: Sequence[Notice], person: Receiver, alerting: Alerting, now: datetime) -> bool:
    """Whether these are too many for letters of their own, or have gathered in quiet hours."""
    recent = sum(timedelta() <= now - moment < HOUR for moment in person.recent)
    gathered = [each for each in mine if not each.task.alert.urgent and alerting.is_quiet(each.moment)]
    return recent + len(mine) > alerting.digest or len(gathered) > 1


def together(notices: Iterable[Notice]) -> list[Parcel]:
    """One letter for all mail addresses that are told the same; channels get theirs one by one."""
    same: dict[tuple[str, Event, str], list[Notice]] = {}
    for each in notices:
        apart = each.receiver if is_channel(each.receiver) else ""
        same.setdefault((each.incident.task, each.event, apart), []).append(each)
    return [Parcel(receivers=tuple(each.receiver for each in alike), notices=(alike[0],)) for alike in same.values()]

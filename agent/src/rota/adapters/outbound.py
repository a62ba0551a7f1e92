"""The one door by which anything leaves a host: to servers where the environment speaks, else into the outbox."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from rota.adapters import sending
from rota.adapters.spool import Spool, UnsafeFile, read_plain, replace_through
from rota.core.errors import RotaError
from rota.core.identifier import parse_identifier
from rota.core.letter import Desk, Letter, as_mail, body_for
from rota.core.mail import Alerting
from rota.core.record import MAX_MESSAGE, MAX_RECEIVERS, MAX_TEXT, OutboundRecord, fitting
from rota.core.rule import is_channel
from rota.core.status import Environment
from rota.runner import make_identifier

PATIENCE = 15.0
"""How many seconds a server may take for each of its answers."""
LIMIT, LIMIT_PER_LETTER = 30.0, 2.0
"""After how many seconds the sending to one server is ended, whatever it does."""
AT_ONCE = 6
KEEP_AGE = timedelta(days=30)


class NotSent(RotaError):
    """What was to be sent did not leave this host."""


@dataclass(frozen=True, kw_only=True)
class Addressed:
    """A letter and whom it is for: mail addresses, or one channel. `task` and `run`, an id, are what it speaks of."""

    to: tuple[str, ...]
    letter: Letter
    task: str = ""
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A URL to be asked for, so that an outside watcher knows: all is well, or a failure. `name` is the URL's.

    `task` and `run`, an id, are what it speaks of, if it speaks of one.
    """

    name: str
    is_good: bool = True
    task: str = field(default="", compare=False)
    run: str = field(default="", compare=False)


Failures = dict[str, str]
"""Why something did not reach a receiver, by receiver; nothing for those whom it did."""


class Door(Protocol):
    """Where letters and heartbeats go out."""

    @property
    def where(self) -> str:
        """The place in words."""

    def send(self, letters: Sequence[Addressed], beats: Sequence[Beat]) -> tuple[list[Failures], Failures]:
        """What went wrong with each letter, and with the heartbeats by name. Raises nothing."""


@dataclass
class Job:
    """The sending to one server, in a process of its own: `told` says which letters, by their place, it has."""

    order: Mapping[str, object]
    told: list[int]
    receivers: list[tuple[str, ...]]
    name: str
    process: "subprocess.Popen[bytes] | None" = None
    answers: int = -1
    deadline: float = 0.0
    failures: list[Failures] = field(default_factory=list)

    def start(self) -> None:
        """Orders and answers go through memory: a pipe could fill up, and a disk be full."""
        orders = memory("order", json.dumps(self.order).encode())
        self.answers = memory("answers", b"")
        # Its own process, so that it can be ended; with -I it trusts neither the environment nor its folder.
        command = [sys.executable, "-I", str(sending.__file__)]
        self.process = subprocess.Popen(command, stdin=orders, stdout=self.answers, stderr=subprocess.DEVNULL)
        os.close(orders)
        self.deadline = time.monotonic() + LIMIT + LIMIT_PER_LETTER * len(self.told)

    def is_over(self) -> bool:
        if self.process is None or self.process.poll() is None and time.monotonic() < self.deadline:
            return False
        is_late = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        self.failures = self._read_answers("it did not answer in time" if is_late else "sending it broke off")
        return True

    def _read_answers(self, otherwise: str) -> list[Failures]:
        """What the process said of each letter; of those that it said nothing of, why."""
        size = os.fstat(self.answers).st_size
        lines = os.pread(self.answers, size, 0).decode("utf-8", "replace").splitlines(keepends=True)
        os.close(self.answers)
        said: list[Failures] = [json.loads(line) for line in lines if line.endswith("\n")]
        return said + [
            dict.fromkeys(receivers, f"{self.name}: {otherwise}") for receivers in self.receivers[len(said) :]
        ]


@dataclass(frozen=True, kw_only=True)
class World:
    """The mail server and the channels of the settings; `urls` are secret. One that hangs holds up no other."""

    settings: Alerting
    desk: Desk
    password: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        channels = f" and {', '.join(self.settings.channels)}" if self.settings.channels else ""
        return f"{self.settings.server}:{self.settings.port}{channels}"

    def send(self, letters: Sequence[Addressed], beats: Sequence[Beat]) -> tuple[list[Failures], Failures]:
        failures: list[Failures] = [{} for _ in letters]
        missing: Failures = {}
        jobs: list[Job] = []
        mails = [place for place, each in enumerate(letters) if not is_channel(each.to[0])]
        if mails:
            jobs.append(self._mail_job([letters[place] for place in mails], mails))
        for channel in dict.fromkeys(each.to[0] for each in letters if is_channel(each.to[0])):
            places = [place for place, each in enumerate(letters) if each.to[0] == channel]
            if url := self.urls.get(channel):
                jobs.append(self._channel_job(channel, url, [letters[place] for place in places], places))
            else:
                for place in places:
                    failures[place] = {channel: f"channel {channel}: its URL is missing"}
        if beats:
            known = [beat for beat in beats if beat.name in self.urls]
            missing = {beat.name: f"heartbeat {beat.name}: its URL is missing" for beat in beats if beat not in known}
            jobs += self._heartbeat_jobs(known)
        for job in run_all(jobs):
            for place, failed in zip(job.told, job.failures, strict=False):
                if place < 0:
                    missing |= failed
                else:
                    failures[place] = failed
        return failures, missing

    def _mail_job(self, letters: Sequence[Addressed], places: list[int]) -> Job:
        settings = self.settings
        order = {
            "kind": "mail",
            "server": settings.server,
            "port": settings.port,
            "tls": settings.tls.value,
            "user": settings.user or "",
            "password": self.password,
            "patience": PATIENCE,
            "mails": [
                {"to": each.to, "text": as_mail(each.letter, each.to, self.desk).as_string()} for each in letters
            ],
        }
        return Job(order, places, [each.to for each in letters], f"{settings.server}:{settings.port}")

    def _channel_job(self, channel: str, url: str, letters: Sequence[Addressed], places: list[int]) -> Job:
        said = [{"title": each.letter.subject, "body": each.letter.brief} for each in letters]
        order = {"kind": "channel", "channel": channel, "url": url, "letters": said}
        return Job(order, places, [each.to for each in letters], f"channel {channel}")

    def _heartbeat_jobs(self, beats: Sequence[Beat]) -> Iterator[Job]:
        """A job for each watcher: one that answers without end keeps the others from nothing."""
        watchers: dict[str, list[tuple[str, str]]] = {}
        for beat in beats:
            if url := url_of(self.urls[beat.name], is_good=beat.is_good):
                watchers.setdefault(url.partition("://")[2].partition("/")[0], []).append((beat.name, url))
        for asked in watchers.values():
            order = {"kind": "heartbeats", "patience": PATIENCE, "urls": asked}
            yield Job(order, [-1] * len(asked), [(name,) for name, _ in asked], "heartbeats")


def url_of(url: str, *, is_good: bool) -> str:
    """The URL that says so, as Healthchecks has it; none for a failure where it has a query: silence says it."""
    if is_good:
        return url
    return "" if "?" in url else f"{url.rstrip('/')}/fail"


def run_all(jobs: Iterable[Job]) -> list[Job]:
    """Let the jobs run, a few at once, until each is over or its time is."""
    waiting, running, over = list(jobs), list[Job](), list[Job]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            running.append(waiting.pop(0))
            running[-1].start()
        ended = [job for job in running if job.is_over()]
        running = [job for job in running if job not in ended]
        over += ended
        if running and not ended:
            time.sleep(0.01)  # between two looks at the processes
    return over


def memory(name: str, content: bytes) -> int:
    """An open file that is in memory alone."""
    file = os.memfd_create(name)
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


@dataclass(frozen=True, kw_only=True)
class Outbox:
    """Catches what must not leave: each letter and heartbeat is a file in the folder, and a record for the diary."""

    folder: Path
    spool: Spool
    desk: Desk
    now: datetime

    @property
    def where(self) -> str:
        return str(self.folder)

    def send(self, letters: Sequence[Addressed], beats: Sequence[Beat]) -> tuple[list[Failures], Failures]:
        failures: list[Failures] = []
        for each in letters:
            why = self._catch(each)
            failures.append(dict.fromkeys(each.to, why) if why else {})
        return failures, {beat.name: why for beat in beats if (why := self._note(beat))}

    def _catch(self, addressed: Addressed) -> str:
        """A letter that is sent again replaces the first."""
        letter, to = addressed.letter, addressed.to
        is_for_channel = is_channel(to[0])
        channel = f"-{to[0]}" if is_for_channel else ""
        record = self._record(
            means="channel" if is_for_channel else "mail",
            to=to,
            subject=letter.subject,
            text=body_for(letter, to),
            task=addressed.task,
            run=addressed.run,
        )
        name = f"{letter.at:%Y%m%dT%H%M%SZ}-{letter.name}{channel}.eml"
        return self._keep(name, as_mail(letter, to, self.desk).as_string(), record)

    def _note(self, beat: Beat) -> str:
        """Each replaces the one before. Only the first of a day has a record, and each that says something else."""
        word = "that all is well" if beat.is_good else "of a failure"
        said = f"Would have told the heartbeat {beat.name} {word} at {self.now:%Y-%m-%d %H:%M:%S} UTC.\n"
        mark, recorded = f"heartbeat-{beat.name}.recorded", f"{self.now:%Y-%m-%d} {word}\n"
        if read_mark(self.folder / mark) == recorded:
            return self._keep(f"heartbeat-{beat.name}.txt", said)
        subject = f"{beat.name}: {'all is well' if beat.is_good else 'a failure'}"
        record = self._record(
            means="heartbeat", to=(beat.name,), subject=subject, text=said, task=beat.task, run=beat.run
        )
        return self._keep(f"heartbeat-{beat.name}.txt", said, record) or self._keep(mark, recorded)

    def _record(
        self, *, means: str, to: tuple[str, ...], subject: str, text: str, task: str, run: str
    ) -> OutboundRecord:
        return OutboundRecord(
            id=UUID(make_identifier(int(self.now.timestamp() * 1000), os.urandom(10))),
            host=self.desk.host,
            environment=Environment(self.desk.environment),
            at=self.now,
            task=task,
            run=parse_identifier(run),
            means=means,
            to=to[:MAX_RECEIVERS],
            subject=fitting(subject, MAX_TEXT),
            text=fitting(text, MAX_MESSAGE),
        )

    def _keep(self, name: str, text: str, *records: OutboundRecord) -> str:
        """Why it could not be written; empty when file and records are there: on a full disk neither is."""
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_through(path, text)
            for record in records:
                self.spool.store(record)
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return f"{error.filename or path}: {error.strerror}"
        return ""


def read_mark(path: Path) -> str:
    """What this small file says; empty when it cannot be read."""
    try:
        return read_plain(path, 1_000).decode("utf-8", "replace")
    except (FileNotFoundError, UnsafeFile):
        return ""


def caught_in(folder: Path) -> list[Path]:
    """The letters that did not leave, oldest first."""
    return sorted(folder.glob("*.eml")) if folder.is_dir() else []


def remove_old(folder: Path, now: datetime) -> None:
    """Delete what was caught more than 30 days ago."""
    for path in caught_in(folder):
        if now - datetime.fromtimestamp(path.lstat().st_mtime, UTC) > KEEP_AGE:
            path.unlink(missing_ok=True)

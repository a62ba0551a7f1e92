"""A host that is looked at as time goes by, and a mail server that keeps what it gets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.handlers import Message

from rota import alerting
from rota.adapters.spool import Spool
from rota.core import places
from rota.core.catalogue import Agent, Catalogue
from rota.core.mail import Alerting
from rota.core.record import OutboundRecord, RunRecord
from rota.core.status import Environment, Status
from rota.core.task import Task
from rota.judging import Failure
from tests.agent.records import make_running

NOW = datetime(2025, 7, 14, 12, 0, tzinfo=UTC)
TO = ("anna@example.org", "ben@example.org")
TASK = Task(name="export", description="Write the catalogue", command=("/bin/false",), schedule=("02:00 UTC",))


class Received(Message):
    """Keeps what arrives, with those it is for."""

    def __init__(self) -> None:
        super().__init__(EmailMessage)
        self.mails: list[EmailMessage] = []

    def handle_message(self, message: EmailMessage) -> None:
        parsed = message_from_bytes(message.as_bytes(), policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)


class Host:
    """A host under a folder: its runs come to an end as told, and it is looked at as time goes by."""

    def __init__(self, folder: Path, environment: Environment, port: int = 9) -> None:
        self.places = places.under(folder)
        self.places.environment.write_text(f"{environment}\n")
        self.spool = Spool(self.places.spool, self.places.spare)
        self.spool.make()
        self.tasks = {TASK.name: TASK}
        self.agent = Agent(
            host="books",
            environment=environment,
            diary="https://diary.example",
            alerting=Alerting(to=TO, server="127.0.0.1", port=port),
        )
        self.now = NOW

    def end(self, status: str = "succeeded", *, task: str = "export", **changes: Any) -> RunRecord:
        """A run that began and ended now, a minute after the one before."""
        changes.setdefault("reason", "" if status == "succeeded" else "exit 3")
        run = self.running(task)
        run = replace(run, status=Status(status), ended=run.started, **changes)
        self.spool.store(run)
        return run

    def running(self, task: str = "export") -> RunRecord:
        """A run that begins now, a minute after the one before."""
        self.now += timedelta(minutes=1)
        digits = f"{int(self.now.timestamp() * 1000):012x}"
        identifier = f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
        return make_running(id=identifier, task=task, started=self.now.isoformat())

    def look(self, *, failure: Failure | None = None, after: timedelta = timedelta(seconds=1)) -> str:
        self.now += after
        catalogue = Catalogue(self.agent, self.tasks)
        task = "export" if failure else None
        return alerting.alert(self.places, catalogue, task=task, failure=failure, now=self.now)

    def settings(self, **changes: Any) -> None:
        """Change what `agent: {alert: …}` says."""
        self.agent = replace(self.agent, alerting=replace(self.agent.alerting, **changes))

    def status(self) -> list[str]:
        return alerting.describe(self.places, Catalogue(self.agent, self.tasks), self.now)

    def outbox(self) -> list[EmailMessage]:
        return [
            message_from_bytes(path.read_bytes(), policy=policy.default)  # type: ignore[misc]  # the policy makes them
            for path in sorted(self.places.outbox.glob("*.eml"))
        ]

    def caught(self) -> list[OutboundRecord]:
        """What the diary is to hear of the outbox."""
        return [record for record in self.spool.records("done") if isinstance(record, OutboundRecord)]


def subjects(mails: list[EmailMessage]) -> list[str]:
    return [str(mail["Subject"]) for mail in mails]

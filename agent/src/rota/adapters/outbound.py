"""The one door by which mail leaves a host: to the mail server where the environment speaks, else into the outbox."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

from rota.adapters.spool import write_through
from rota.core.errors import RotaError
from rota.core.mail import Alerting, Tls

PATIENCE = 15.0
KEEP_AGE = timedelta(days=30)


class MailNotSent(RotaError):
    """The mail could not be handed to the mail server."""


class Door(Protocol):
    """Where a mail goes out."""

    @property
    def where(self) -> str:
        """The place in words."""

    def send(self, message: EmailMessage) -> None:
        """Raises MailNotSent."""


@dataclass
class MailServer:
    """The mail server of the settings. Once it could not be reached, further mails do not wait for it again."""

    settings: Alerting
    password: str | None = None
    unreachable: str = field(default="", init=False)

    @property
    def where(self) -> str:
        return f"{self.settings.server}:{self.settings.port}"

    def send(self, message: EmailMessage) -> None:
        if self.unreachable:
            raise MailNotSent(self.unreachable)
        try:
            with self._connected() as server:
                server.send_message(message)
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
            raise MailNotSent(f"{self.where} answers: {error}") from error
        except OSError as error:
            self.unreachable = f"{self.where}: {error}"
            raise MailNotSent(self.unreachable) from error

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        name, port = self.settings.server, self.settings.port
        with (
            smtplib.SMTP_SSL(name, port, timeout=PATIENCE, context=ssl.create_default_context())
            if self.settings.tls is Tls.TLS
            else smtplib.SMTP(name, port, timeout=PATIENCE)
        ) as server:
            if self.settings.tls is Tls.STARTTLS:
                server.starttls(context=ssl.create_default_context())
            if self.settings.user:
                server.login(self.settings.user, self.password or "")
            yield server


@dataclass(frozen=True)
class Outbox:
    """A folder that catches mails, one file each, where they must not leave."""

    folder: Path
    now: datetime

    @property
    def where(self) -> str:
        return str(self.folder)

    def send(self, message: EmailMessage) -> None:
        """A mail of the same name, sent again, replaces the first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = str(message["Message-ID"]).strip("<>").partition("@")[0]
        path = self.folder / f"{self.now:%Y%m%dT%H%M%SZ}-{name}.eml"
        beside = path.with_suffix(".new")
        write_through(beside, message.as_string())
        beside.replace(path)

    def caught(self) -> list[Path]:
        return sorted(self.folder.glob("*.eml")) if self.folder.is_dir() else []

    def remove_old(self) -> None:
        """Delete what was caught more than 30 days ago."""
        for path in self.caught():
            if self.now - datetime.fromtimestamp(path.lstat().st_mtime, UTC) > KEEP_AGE:
                path.unlink(missing_ok=True)

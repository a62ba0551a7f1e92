"""The lab's mail sink: an SMTP server on the bridge that delivers nothing and keeps everything."""

import smtplib
import sys
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from provision.lab import groups
from provision.lab.errors import LabFailed
from provision.lab.plan import Plan
from provision.lab.programs import start, wait_until

PORT = 25


def sink_command(listen: str, folder: Path) -> list[str]:
    """aiosmtpd keeps each message with its envelope (X-MailFrom, X-RcptTo) in a Maildir."""
    handler = ["--class", "aiosmtpd.handlers.Mailbox", str(folder)]
    return [sys.executable, "-m", "aiosmtpd", "--nosetuid", "--listen", f"{listen}:{PORT}", *handler]


def up(plan: Plan, listen: str) -> None:
    """Start the sink unless it runs."""
    if answers(listen):
        return
    groups.end(plan.mail_group)
    log = plan.folder / "mail.log"
    start(sink_command(listen, plan.mails), log, groups.make(plan.mail_group), {})
    wait_until(lambda: answers(listen), 15, f"the mail sink does not answer; see {log}", LabFailed)


def down(plan: Plan) -> None:
    groups.end(plan.mail_group)


def answers(listen: str) -> bool:
    try:
        with smtplib.SMTP(listen, PORT, timeout=2):
            return True
    except OSError:
        return False


def read(folder: Path) -> list[EmailMessage]:
    """Every message caught so far, oldest first."""
    paths = sorted((folder / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    parser = BytesParser(EmailMessage, policy=policy.default)
    return [parser.parsebytes(path.read_bytes()) for path in paths]

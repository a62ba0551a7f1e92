"""Sends letters to one mail server or channel, or asks for URLs, in a process of its own that can be ended.

It gets one JSON object on standard input, and says a line of JSON for each letter on standard output as soon as it
knows: an object with what went wrong by receiver, empty when all is well. Secrets come by standard input alone, and
no part of a URL that may be secret is in what it says.
"""

import email
import email.policy
import json
import logging
import re
import smtplib
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

AS_IT_IS = email.policy.SMTP.clone(max_line_length=998, refold_source="none")
NOT_SECRET = frozenset(("http", "https", "json", "jsons", "localhost", "127.0.0.1", "true", "false", "error"))
SHORTEST_SECRET = 4


def main() -> None:
    job = json.load(sys.stdin)
    work = {"mail": send_mails, "channel": send_to_channel, "heartbeats": ask_for_urls}[job["kind"]]
    for said in work(job):
        print(json.dumps(said), flush=True)


def send_mails(job: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Hand over each mail. A server that cannot be reached, or says nothing, is not tried again for the others."""
    where, server = f"{job['server']}:{job['port']}", None
    unreachable = ""
    for mail in job["mails"]:
        if unreachable:
            yield dict.fromkeys(mail["to"], unreachable)
            continue
        try:
            server = server or connect(job)
            message = email.message_from_string(mail["text"], policy=AS_IT_IS)
            refused = server.send_message(message, to_addrs=mail["to"])
        except smtplib.SMTPRecipientsRefused as error:
            yield {who: f"{where} answers: {answer}" for who, answer in error.recipients.items()}
            server.rset() if server else None
        except smtplib.SMTPResponseException as error:
            yield dict.fromkeys(mail["to"], f"{where} answers: {error}")
            server = None
        except (OSError, smtplib.SMTPException) as error:
            unreachable = f"{where}: {error}"
            yield dict.fromkeys(mail["to"], unreachable)
        else:
            yield {who: f"{where} answers: {answer}" for who, answer in refused.items()}
    if server:
        server.quit()


def connect(job: dict[str, Any]) -> smtplib.SMTP:
    name, port, patience = job["server"], job["port"], job["patience"]
    server = (
        smtplib.SMTP_SSL(name, port, timeout=patience, context=ssl.create_default_context())
        if job["tls"] == "tls"
        else smtplib.SMTP(name, port, timeout=patience)
    )
    if job["tls"] == "starttls":
        server.starttls(context=ssl.create_default_context())
    if job["user"]:
        server.login(job["user"], job["password"])
    return server


class Remembered(logging.Handler):
    """Keeps what Apprise logs: it alone says why a message was not sent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def send_to_channel(job: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Hand each letter to what the channel's URL names (https://github.com/caronc/apprise)."""
    name, url = job["channel"], job["url"]
    try:
        import apprise
    except ModuleNotFoundError:
        for _ in job["letters"]:
            yield {name: f"channel {name}: Apprise is not installed; the host needs the extra 'channels'"}
        return
    remembered = Remembered()
    logging.getLogger("apprise").addHandler(remembered)
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        app_id="Rota",
        app_desc="Rota",
        app_url="",
        async_mode=False,
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    sender = apprise.Apprise(asset=asset)
    is_known = sender.add(url)
    for letter in job["letters"]:
        remembered.lines.clear()
        is_sent = is_known and sender.notify(
            title=letter["title"], body=letter["body"], body_format=apprise.NotifyFormat.TEXT
        )
        why = "; ".join(remembered.lines) or ("it was not sent" if is_known else "its URL means nothing to Apprise")
        yield {} if is_sent else {name: f"channel {name}: {without_secrets(why, url)}"}


def ask_for_urls(job: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Ask for each URL once. A host that does not answer in time is not asked again for the others."""
    silent: set[str] = set()
    for name, url in job["urls"]:
        place = urllib.parse.urlsplit(url)
        if place.scheme not in ("http", "https"):
            yield {name: f"heartbeat {name}: its URL must begin with https:// or http://"}
        elif place.netloc in silent:
            yield {name: f"heartbeat {name}: its host did not answer before"}
        else:
            why = ask(url, job["patience"])
            if why and not why.startswith("HTTP"):
                silent.add(place.netloc)
            yield {name: f"heartbeat {name}: {without_secrets(why, url)}"} if why else {}


def ask(url: str, patience: float) -> str:
    """Why the URL could not be asked for; empty when it could."""
    request = urllib.request.Request(url, headers={"User-Agent": "Rota"})  # noqa: S310 - the scheme was looked at
    try:
        with urllib.request.urlopen(request, timeout=patience):  # noqa: S310 - as above
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def without_secrets(text: str, url: str) -> str:
    """The text without anything that stands in the URL: any part of it may be a token."""
    for part in sorted(set(re.split(r"[/?&=:@#,;]+", url) + urllib.parse.unquote(url).split("/")), key=len)[::-1]:
        if len(part) >= SHORTEST_SECRET and part.lower() not in NOT_SECRET:
            text = text.replace(part, "…")
    return text


if __name__ == "__main__":
    main()

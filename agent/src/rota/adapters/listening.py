"""Hearing from the diary what is asked of this host: the host asks, for nobody opens a connection to it.

Loaded every few seconds by `rota listen`, so it imports little: no catalogue, no YAML.
"""

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ADDRESS = "/api/v1/listen"
TIMEOUT = 15.0
MOST_ANSWER = 4 * 1024 * 1024
LONGEST_PAUSE = 10.0


class NoAnswer(Exception):
    """The diary does not answer, or not as a diary does."""


@dataclass
class Line:
    """One connection to the diary, kept open between questions. `certificate` as of `rota.adapters.diary.Diary`."""

    url: str
    token: str
    certificate: str | None = None
    connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def ask(self, said: Mapping[str, object] | None = None) -> dict[str, Any]:
        """What the diary answers; without anything said, only whether there is something. Raises NoAnswer."""
        try:
            connection = self.connection = self.connection or self._connect()
            body = None if said is None else json.dumps(said).encode()
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            path = urlsplit(self.url).path.rstrip("/") + ADDRESS
            connection.request("GET" if body is None else "POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read(MOST_ANSWER)
            if answer.status != 200:
                raise NoAnswer(f"{self.url} answers {answer.status} {answer.reason}")
            return read_answer(content)
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            raise NoAnswer(f"{self.url}: {error}") from error

    def close(self) -> None:
        if self.connection:
            self.connection.close()
            self.connection = None

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme != "https":
            return http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
        context = ssl.create_default_context(cafile=self.certificate)
        if self.certificate:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=context)


def read_answer(content: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    said = json.loads(content)
    if not isinstance(said, dict) or not isinstance(said.get("again"), int | float):
        raise ValueError("it answers, but not as a diary does")
    return said


def pause_of(answer: Mapping[str, Any]) -> float:
    """After how many seconds the diary wants to be asked again; 0 when there is nothing to stay for."""
    return min(max(float(answer["again"]), 0.0), LONGEST_PAUSE)


def read_token(places: Mapping[str, str]) -> str:
    """This host's token, from the unit's credentials. Raises NoAnswer."""
    path = Path(places.get("CREDENTIALS_DIRECTORY") or "/etc/rota/credentials") / "diary_token"
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise NoAnswer(f"the token {path} cannot be read: {error}") from error


def environ_token() -> str:
    return read_token(os.environ)

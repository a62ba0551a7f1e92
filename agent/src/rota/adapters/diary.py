"""The diary as the agent sees it: an address that takes records."""

import gzip
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rota.core.errors import RotaError
from rota.core.record import MAX_BYTES, Record, as_mapping

Answer = TypeVar("Answer")

LONGEST_WAIT = 3600.0
DEFAULT_WAIT = 30.0


class DiaryUnreachable(RotaError):
    """The diary does not answer; the records stay in the spool and are sent later."""


class DiaryRefused(RotaError):
    """The diary refuses this host's records; they stay in the spool."""


class DiaryBusy(RotaError):
    """The diary asks to be left alone for a while; the records stay in the spool."""

    def __init__(self, detail: str, wait: float) -> None:
        super().__init__(detail)
        self.wait = wait


class TooLarge(Exception):
    """The diary takes no request of this size."""


class Unchanged(Exception):
    """The diary has nothing newer."""


@dataclass(frozen=True)
class Verdict:
    """What the diary said of one record: `accepted`, `unchanged` or `quarantined` with a reason."""

    result: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Diary:
    """Where the records go, and as whom. `certificate` is the only one trusted; None trusts the system's."""

    url: str
    token: str
    certificate: Path | None = None
    timeout: float = 30.0

    def send(self, records: Sequence[Record]) -> dict[str, Verdict]:
        """Hand over these records. Raises DiaryUnreachable, DiaryRefused, DiaryBusy, TooLarge."""
        body = encode(records)
        if len(body) > MAX_BYTES:
            raise TooLarge
        return self.ask("/api/v1/records", read=verdicts, body=body)

    def ask(self, path: str, *, read: Callable[[Any], Answer], body: bytes | None = None, etag: str = "") -> Answer:
        """What `read` makes of the JSON that this path answers; `body` is sent to it, as JSON.

        `read` raises ValueError for what is no such answer. Raises DiaryUnreachable, DiaryRefused, DiaryBusy, TooLarge
        where something was sent, and Unchanged where the answer is still the one with this `etag`.
        """
        try:
            with urllib.request.urlopen(  # noqa: S310 - the catalogue admits https, and http to this host
                self._request(path, body, etag), timeout=self.timeout, context=self._context()
            ) as answer:
                return read(json.load(answer))
        except urllib.error.HTTPError as error:
            raise refusal(error, of_body=body is not None) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DiaryUnreachable(f"{self.url}: {getattr(error, 'reason', error)}") from error

    def _request(self, path: str, body: bytes | None, etag: str) -> urllib.request.Request:
        headers = {"Authorization": f"Bearer {self.token}"}
        if etag:
            headers["If-None-Match"] = etag
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
            body = gzip.compress(body, compresslevel=5)
        return urllib.request.Request(f"{self.url}{path}", data=body, headers=headers)  # noqa: S310 - as above

    def _context(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.certificate)
        except OSError as error:
            raise DiaryRefused(f"the certificate {self.certificate} cannot be read: {error.strerror}") from error
        if self.certificate:  # whoever else signed it, it vouches for itself; from Python 3.13 on without this
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def read_token(credentials: Path) -> str:
    """This host's token: from the unit's credentials, or from this folder for whoever may read it.

    Raises DiaryRefused.
    """
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY") or credentials) / "diary_token"
    try:
        return path.read_text("ascii").strip()
    except OSError as error:
        raise DiaryRefused(f"the token {path} cannot be read: {error.strerror}") from error


def encode(records: Sequence[Record]) -> bytes:
    return json.dumps({"version": 1, "records": [as_mapping(record) for record in records]}).encode()


def verdicts(answer: object) -> dict[str, Verdict]:
    """The diary's answer by id. Raises ValueError when it is none."""
    results = answer.get("results") if isinstance(answer, Mapping) else None
    if not isinstance(results, list) or not all(isinstance(each, Mapping) for each in results):
        raise ValueError("it answers, but not as a diary does")
    return {str(each.get("id")): Verdict(str(each.get("result")), str(each.get("reason") or "")) for each in results}


def refusal(error: urllib.error.HTTPError, *, of_body: bool) -> Exception:
    """The error that an HTTP status stands for; `of_body` where there was something that could be too large."""
    if error.code == 413 and of_body:
        return TooLarge()
    if error.code == 304:
        return Unchanged()
    if error.code in (429, 503):
        wait = parse_wait(error.headers.get("Retry-After"))
        return DiaryBusy(f"{error.url} answers {error.code}: not before {wait:.0f} s", wait)
    if error.code in (401, 403):
        return DiaryRefused(f"{error.url} answers {error.code}: is the token of this host known there?")
    if 400 <= error.code < 500:
        return DiaryRefused(f"{error.url} answers {error.code} {error.reason}")
    return DiaryUnreachable(f"{error.url} answers {error.code} {error.reason}")


def parse_wait(header: str | None) -> float:
    """The seconds of a Retry-After header (RFC 9110 section 10.2.3), at most an hour; a date counts as the default."""
    return min(float(header), LONGEST_WAIT) if header and header.strip().isdigit() else DEFAULT_WAIT

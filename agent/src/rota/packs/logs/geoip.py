"""MaxMind's databases: fetched, proven, and put in place of the ones before by one rename."""

import base64
import hashlib
import os
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

from rota.core.errors import RotaError
from rota.packs.logs.folders import synchronise

PATIENCE = 60.0
CHUNK = 1024 * 1024
WORKPLACE = ".geoip-"
LARGEST = 4 * 1024**3
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NotFetched(RotaError):
    """The database could not be fetched; the one before stays in use."""


class NotTheDatabase(RotaError):
    """What was fetched is not the database that was asked for; the one before stays in use."""


class NoReader(RotaError):
    """Databases cannot be checked here: the agent's extra `geoip` is not installed (agent_extras in group_vars)."""


class BadAccount(RotaError):
    """The credential must hold the account's id and a licence key, as ID:KEY."""


@dataclass(frozen=True)
class Source:
    """Where databases come from. `account` is `id:key`, or None for a mirror that asks for none."""

    base: str
    account: str | None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NotFetched(f"base_url is {self.base!r}; it must begin with https:// and name a host")
        if self.account and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise NotFetched(f"base_url is {self.base!r}; with an account it must begin with https://")

    def address(self, edition: str, suffix: str) -> str:
        base = self.base.rstrip("/") + "/"
        return urljoin(base, f"geoip/databases/{quote(edition, safe='')}/download?suffix={suffix}")


def account_of(text: str) -> str:
    """The account in a credential's text. Raises BadAccount without showing it."""
    number, colon, key = text.strip().partition(":")
    if not (colon and number.isdigit() and key and key.isprintable() and " " not in key):
        raise BadAccount
    return f"{number}:{key}"


@dataclass(frozen=True)
class Database:
    """What a database says of itself."""

    kind: str
    built: datetime


def update(source: Source, edition: str, folder: Path) -> Database | None:
    """Bring FOLDER/EDITION.mmdb to the newest state; None when it is that already.

    Its time is that of the server's, by which the server is asked for anything newer.
    Raises NotFetched, NotTheDatabase, NoReader.
    """
    target = folder / f"{edition}.mmdb"
    clear_away(folder)
    with tempfile.TemporaryDirectory(prefix=WORKPLACE, dir=folder) as name:
        workplace = Path(name)
        fetched = fetch(source, source.address(edition, "tar.gz"), workplace / "archive", since=age_of(target, edition))
        if fetched is None:
            return None
        require_checksum(source, edition, fetched)
        extract(workplace / "archive", edition, workplace / "database")
        database = examine(workplace / "database", edition)
        require_no_older(database, target, edition)
        put_in_place(workplace / "database", target, fetched.modified)
    return database


def clear_away(folder: Path) -> None:
    """Remove what runs left that were killed."""
    for left in folder.glob(f"{WORKPLACE}*"):
        if time.time() - left.lstat().st_mtime > 86400:
            shutil.rmtree(left, ignore_errors=True)


def age_of(target: Path, edition: str) -> datetime | None:
    """When the server last changed what is in place; None for what is not there, or no use. Raises NoReader."""
    try:
        examine(target, edition)
    except (NotTheDatabase, OSError):
        return None
    return datetime.fromtimestamp(target.stat().st_mtime, UTC)


def put_in_place(database: Path, target: Path, modified: datetime) -> None:
    database.chmod(0o644)
    os.utime(database, (modified.timestamp(), modified.timestamp()))
    with database.open("rb") as stream:
        os.fsync(stream.fileno())
    database.replace(target)
    synchronise(target.parent)


@dataclass(frozen=True)
class Fetched:
    """A file that came whole: its checksum, and when the server says it was modified."""

    sha256: str
    modified: datetime


def fetch(source: Source, address: str, target: Path, *, since: datetime | None) -> Fetched | None:
    """Write what the address holds into a file; None when it was not modified since. Raises NotFetched."""
    checksum, length = hashlib.sha256(), 0
    with asked(source, address, since) as answer, target.open("wb") as stream:
        if answer is None:
            return None
        while chunk := answer.read(CHUNK):
            length += len(chunk)
            if length > LARGEST:
                raise NotFetched(f"{shown(address)}: it is larger than {LARGEST} bytes")
            checksum.update(chunk)
            stream.write(chunk)
        said = answer.headers.get("Content-Length")
        if said and said.isdigit() and int(said) != length:
            raise NotFetched(f"{shown(address)}: {length} of {said} bytes came")
        return Fetched(checksum.hexdigest(), modified_of(answer.headers))


def modified_of(headers: Message) -> datetime:
    try:
        moment = parsedate_to_datetime(str(headers.get("Last-Modified", "")))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)  # then it is fetched again next time
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def asked(source: Source, address: str, since: datetime | None) -> Iterator[Any]:
    """The answer to a request; None when nothing was modified. Raises NotFetched."""
    request = urllib.request.Request(address, headers={"User-Agent": "rota"})  # noqa: S310 - Source lets http(s) alone pass
    if since:
        request.add_header("If-Modified-Since", format_datetime(since, usegmt=True))
    if source.account:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(source.account.encode()).decode()}")
    try:
        with urllib.request.build_opener(Redirects()).open(request, timeout=PATIENCE) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        if error.code != 304 or since is None:
            raise NotFetched(f"{shown(address)}: {explain(error.code, error.reason)}") from error
        yield None
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise NotFetched(f"{shown(address)}: {getattr(error, 'reason', '') or error!r}") from error


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect; the account goes along to the very same server alone, and never from TLS into the clear."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # as it passes on
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise NotFetched(f"{shown(req.full_url)}: it redirects to {shown(newurl)}, out of TLS")
        account = req.get_header("Authorization")
        if made and account and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            made.add_unredirected_header("Authorization", account)
        return made


def explain(code: int, reason: str) -> str:
    why = {
        401: "the account's id or licence key is refused",
        404: "there is no such edition",
        429: "the account has fetched as often as it may today",
    }
    return why.get(code, f"{code} {reason}")


def shown(address: str) -> str:
    """An address without its query, in which a server may put a signature."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def require_checksum(source: Source, edition: str, fetched: Fetched) -> None:
    """Raises NotFetched, NotTheDatabase."""
    address = source.address(edition, "tar.gz.sha256")
    with asked(source, address, None) as answer:
        said = answer.read(4096).decode("ascii", "replace").split()
    if not said or said[0].lower() != fetched.sha256:
        raise NotTheDatabase(f"its SHA-256 is {fetched.sha256}, not {said[0] if said else 'said'}")


def extract(archive: Path, edition: str, target: Path) -> None:
    """Write the archive's member EDITION.mmdb, wherever in it, into `target`. Raises NotTheDatabase."""
    try:
        with tarfile.open(archive, "r:gz") as source:
            for member in source:
                if member.isreg() and Path(member.name).name == f"{edition}.mmdb" and member.size <= LARGEST:
                    stream = source.extractfile(member)
                    if stream is not None:
                        with stream, target.open("wb") as out:
                            shutil.copyfileobj(stream, out)
                        return
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise NotTheDatabase(f"the archive of {edition} cannot be read: {error}") from error
    raise NotTheDatabase(f"the archive holds no {edition}.mmdb")


def examine(path: Path, edition: str) -> Database:
    """Open a database and look up an address in it. Raises NotTheDatabase, NoReader."""
    try:
        import maxminddb
    except ModuleNotFoundError as error:
        raise NoReader from error
    try:
        with maxminddb.open_database(path) as reader:
            found = Database(
                reader.metadata().database_type, datetime.fromtimestamp(reader.metadata().build_epoch, UTC)
            )
            reader.get("192.0.2.1")
    except (maxminddb.InvalidDatabaseError, ValueError) as error:
        raise NotTheDatabase(f"{edition}: {error}") from error
    if found.kind != edition:
        raise NotTheDatabase(f"it says that it is {found.kind}, not {edition}")
    return found


def require_no_older(database: Database, target: Path, edition: str) -> None:
    """Raises NotTheDatabase when the one in place was built later; one that cannot be read is older than any."""
    if not target.is_file():
        return
    try:
        present = examine(target, edition)
    except NotTheDatabase:
        return
    if database.built < present.built:
        raise NotTheDatabase(f"it was built at {database.built:%Y-%m-%d %H:%M}, before the one in place")

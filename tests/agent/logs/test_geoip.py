"""Laws of fetching databases: only what is proven gets into place, and the account is shown to one server alone."""

import base64
import gzip
import hashlib
import io
import os
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import maxminddb
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from rota.packs.logs import geoip
from rota.packs.logs.geoip import BadAccount, NotFetched
from rota.packs.logs.outcomes import SomeFailed
from rota.packs.logs.tasks import NoCredential, geoip_download
from tests import authority
from tests.agent.logs.conftest import Said, files, pack_broken

EDITION = "GeoLite2-Country"
ACCOUNT = "12345:licence-key"
BASIC = f"Basic {base64.b64encode(ACCOUNT.encode()).decode()}"
MODIFIED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def database(folder: Path, *, edition: str = EDITION, country: str = "CH", built: int = 1_772_000_000) -> bytes:
    """A database in MaxMind's format that knows one network."""
    path = folder / "made.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=edition, languages=["en"])
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": country}})
    writer.to_db_file(str(path))
    content = path.read_bytes()
    path.unlink()
    # The writer takes the time of writing; a known one stands in its place, as an unsigned 64-bit number.
    at = content.index(b"build_epoch") + len(b"build_epoch")
    length = content[at] & 0x1F
    return content[: at + 2] + built.to_bytes(length, "big") + content[at + 2 + length :]


def archive(name: str, content: bytes, *, link: str = "") -> bytes:
    """As MaxMind packs it: in a folder, beside other files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for each, text in (("COPYRIGHT.txt", b"(c)"), (name, content)):
            member = tarfile.TarInfo(f"{EDITION}_20260302/{each}")
            member.size = len(text)
            if link and each == name:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, link, 0
            packed.addfile(member, io.BytesIO(text))
    return out.getvalue()


class Server(ThreadingHTTPServer):
    """A server of databases; `asked` is what it was asked, with the account it was shown."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.archive = b""
        self.checksum = ""
        self.away = ""  # where downloads are redirected to
        self.account: str | None = BASIC
        self.status = 200
        self.cut = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, content: bytes) -> None:
        self.archive, self.checksum = content, hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers like download.maxmind.com."""

    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, shown = self.server, self.headers.get("Authorization")
        server.asked.append((self.path, shown))
        if server.account is not None and shown != server.account:
            return self.answer(401)
        if server.status != 200:
            return self.answer(server.status)
        if server.away and not self.path.endswith(".sha256"):
            return self.answer(302, Location=f"{server.away}{self.path}&signature=secret")
        if self.path.partition("?")[2].partition("&")[0] == "suffix=tar.gz.sha256":
            return self.answer(200, f"{server.checksum}  {EDITION}_20260302.tar.gz\n".encode())
        since = self.headers.get("If-Modified-Since")
        if since and parsedate_to_datetime(since) >= MODIFIED:
            return self.answer(304)
        return self.answer(200, server.archive, **{"Last-Modified": format_datetime(MODIFIED, usegmt=True)})

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.cut])


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server() as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving() as server:
        server.serve(archive(f"{EDITION}.mmdb", database(tmp_path)))
        yield server


class Host:
    """A host with a folder of databases."""

    def __init__(self, folder: Path, server: Server, new_report: Callable[[], Said]) -> None:
        self.folder, self.server, self.new_report = folder, server, new_report
        folder.mkdir()

    def fetch(self, **settings: Any) -> Said:
        said = self.new_report()
        given = {"editions": [EDITION], "folder": self.folder, "base_url": self.server.address}
        geoip_download(said, **(given | settings))
        return said

    @property
    def database(self) -> Path:
        return self.folder / f"{EDITION}.mmdb"

    def country(self) -> str:
        with maxminddb.open_database(self.database) as reader:
            found: Any = reader.get("192.0.2.77")
        return str(found["country"]["iso_code"])


@pytest.fixture
def host(tmp_path: Path, server: Server, new_report: Callable[[], Said], monkeypatch: pytest.MonkeyPatch) -> Host:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/maxmind").write_text(f"{ACCOUNT}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return Host(tmp_path / "geoip", server, new_report)


def test_a_database_is_fetched_and_others_can_read_it(host: Host) -> None:
    said = host.fetch()
    assert said.outcomes == {EDITION: "fetched"}
    look_up = ["mmdblookup", "--file", str(host.database), "--ip", "192.0.2.77", "country", "iso_code"]
    assert '"CH"' in subprocess.run(look_up, capture_output=True, text=True, check=True).stdout
    assert host.database.stat().st_mtime == MODIFIED.timestamp()
    assert files(host.folder) == {f"{EDITION}.mmdb"}
    assert [path for path, _ in host.server.asked] == [
        f"/geoip/databases/{EDITION}/download?suffix=tar.gz",
        f"/geoip/databases/{EDITION}/download?suffix=tar.gz.sha256",
    ]


def test_what_is_not_newer_is_not_fetched_again(host: Host) -> None:
    host.fetch()
    assert host.fetch().outcomes == {EDITION: "unchanged"}
    assert len(host.server.asked) == 3


def test_the_account_is_not_shown_to_another_server(host: Host) -> None:
    with serving() as other:
        other.account = None
        other.serve(host.server.archive)
        host.server.away = other.address
        host.fetch()
        assert [shown for _, shown in other.asked] == [None]
    assert {shown for _, shown in host.server.asked} == {BASIC}
    assert host.country() == "CH"


def test_the_account_goes_along_within_one_server_alone() -> None:
    request = Request("http://127.0.0.1:8080/x")
    request.add_unredirected_header("Authorization", BASIC)
    for target, shown in (("http://127.0.0.1:8080/y", BASIC), ("http://127.0.0.1:8081/y", None)):
        made = geoip.Redirects().redirect_request(request, io.BytesIO(), 302, "Found", Message(), target)
        assert made
        assert made.get_header("Authorization") == shown


def test_a_redirect_out_of_tls_is_refused(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = authority.issue("localhost")
    for name, text in (("chain", issued.chain), ("key", issued.key), ("root", issued.root)):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    with serving(context) as secure:
        base = f"https://localhost:{secure.server_port}"
        secure.away = host.server.address
        with pytest.raises(SomeFailed, match="out of TLS"):
            host.fetch(base_url=base)
        assert host.server.asked == []
        secure.away = ""
        secure.serve(host.server.archive)
        assert host.fetch(base_url=base).outcomes == {EDITION: "fetched"}


def outdated(host: Host) -> bytes:
    """The database in place, which the server has something newer than."""
    host.fetch()
    os.utime(host.database, (0, 0))
    return host.database.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (f"{EDITION}.mmdb", b"no database", "is not the database"),
        ("other.mmdb", b"", f"holds no {EDITION}.mmdb"),
    ],
)
def test_what_is_no_database_changes_nothing(host: Host, name: str, content: bytes, message: str) -> None:
    before = outdated(host)
    host.server.serve(archive(name, content))
    with pytest.raises(SomeFailed, match=message):
        host.fetch()
    assert (host.database.read_bytes(), files(host.folder)) == (before, {f"{EDITION}.mmdb"})


def test_a_database_in_place_that_is_no_use_is_fetched_again(host: Host) -> None:
    host.fetch()
    host.database.write_bytes(b"broken")
    os.utime(host.database, (MODIFIED.timestamp(), MODIFIED.timestamp()))
    assert host.fetch().outcomes == {EDITION: "fetched"}


def test_what_a_killed_run_left_is_cleared_away(host: Host) -> None:
    left = host.folder / ".geoip-x"
    left.mkdir()
    (left / "archive").write_bytes(b"half")
    os.utime(left, (0, 0))
    host.fetch()
    assert files(host.folder) == {f"{EDITION}.mmdb"}


def test_an_archive_that_is_broken_inside_keeps_no_other_from_its_turn(host: Host, tmp_path: Path) -> None:
    host.server.serve(pack_broken(gzip.decompress(archive(f"{EDITION}.mmdb", os.urandom(100_000)))))
    with pytest.raises(SomeFailed, match=rf"{EDITION}: .* cannot be read: .*; GeoLite2-City: "):
        host.fetch(editions=[EDITION, "GeoLite2-City"])
    assert files(host.folder) == set()


def test_a_server_that_has_nothing_newer_than_nothing_is_no_success(host: Host) -> None:
    host.server.status = 304
    with pytest.raises(SomeFailed, match="304"):
        host.fetch()


def test_a_link_in_the_archive_is_no_database(host: Host) -> None:
    host.server.serve(archive(f"{EDITION}.mmdb", b"", link="/etc/passwd"))
    with pytest.raises(SomeFailed, match="holds no"):
        host.fetch()
    assert files(host.folder) == set()


def test_a_checksum_that_differs_changes_nothing(host: Host) -> None:
    before = outdated(host)
    host.server.checksum = "0" * 64
    with pytest.raises(SomeFailed, match="its SHA-256 is"):
        host.fetch()
    assert host.database.read_bytes() == before


def test_another_edition_is_refused(host: Host, tmp_path: Path) -> None:
    host.server.serve(archive(f"{EDITION}.mmdb", database(tmp_path, edition="GeoLite2-City")))
    with pytest.raises(SomeFailed, match="it says that it is GeoLite2-City, not GeoLite2-Country"):
        host.fetch()


def test_a_database_built_earlier_is_refused_and_a_later_one_is_taken(host: Host, tmp_path: Path) -> None:
    outdated(host)
    host.server.serve(archive(f"{EDITION}.mmdb", database(tmp_path, country="FR", built=1_771_000_000)))
    with pytest.raises(SomeFailed, match="before the one in place"):
        host.fetch()
    assert host.country() == "CH"
    host.server.serve(archive(f"{EDITION}.mmdb", database(tmp_path, country="AT", built=1_773_000_000)))
    host.fetch()
    assert host.country() == "AT"


def test_a_download_that_breaks_off_changes_nothing(host: Host) -> None:
    before = outdated(host)
    host.server.cut = 10
    with pytest.raises(SomeFailed, match="could not be fetched"):
        host.fetch()
    assert host.database.read_bytes() == before


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "licence key is refused"), (404, "no such edition"), (429, "as often as it may today")],
)
def test_the_servers_refusals_are_explained(host: Host, status: int, message: str) -> None:
    host.server.status = status
    with pytest.raises(SomeFailed, match=message):
        host.fetch()


def test_one_edition_that_fails_keeps_no_other_from_its_turn(host: Host) -> None:
    with pytest.raises(SomeFailed, match="GeoLite2-ASN"):
        host.fetch(editions=["GeoLite2-ASN", EDITION])
    assert host.country() == "CH"


def test_the_account_never_appears_in_what_is_said(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.server.account = "another"
    with pytest.raises(SomeFailed) as refused:
        host.fetch()
    assert "licence-key" not in f"{refused.value}{capsys.readouterr()}"


@pytest.mark.parametrize("text", ["", "12345", "12345:", "abc:key", "12345:a key"])
def test_a_credential_that_is_no_account_is_refused_without_being_shown(host: Host, tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials/maxmind").write_text(text)
    with pytest.raises(BadAccount, match="as ID:KEY.$|as ID:KEY$"):
        host.fetch()


def test_a_credential_that_is_missing_is_named(host: Host) -> None:
    with pytest.raises(NoCredential, match="credentials/other: No such file"):
        host.fetch(credential="other")


def test_an_account_is_never_shown_in_the_clear() -> None:
    with pytest.raises(NotFetched, match="with an account it must begin with https"):
        geoip.Source("http://mirror.example.org", ACCOUNT)
    assert geoip.Source("http://mirror.example.org/a/", None).address("X", "tar.gz") == (
        "http://mirror.example.org/a/geoip/databases/X/download?suffix=tar.gz"
    )


def test_a_dry_run_asks_nobody(host: Host) -> None:
    assert host.fetch(dry_run=True).outcomes == {EDITION: "would be fetched"}
    assert (host.server.asked, files(host.folder)) == ([], set())

"""Handing out: one dump to one key, over real SSH, for a while."""

import getpass
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters import postgres
from rota.adapters.borg import Secure
from rota.packs.backup import handing, manifest, restoring, sources
from rota.packs.backup.configuration import Places
from rota.packs.backup.handing import Offer
from rota.packs.backup.manifest import Kind, Manifest, Source
from rota.packs.backup.restoring import Found
from rota.packs.backup.sources import digest
from tests.agent.neighbours import Door

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def dump(tmp_path: Path) -> Found:
    file = tmp_path / "library.dump"
    file.write_bytes(b"all books")
    tables = {"public.book": postgres.Fingerprint(1, "7")}
    source = Source(Kind.POSTGRESQL, "library", 9, sha256=digest(file), tables=tables)
    return Found("production-1", Manifest("production", "production", "", NOW, (source,)), source, file)


@pytest.fixture
def staging(tmp_path: Path) -> Places:
    return Places(etc=tmp_path / "etc", state=tmp_path / "state")


def offered(door: Door, places: Places, shelf: Path, line: str) -> Offer:
    door.authorized_keys.write_text(line)
    secure = Secure(handing.one_time_key(places), door.known_hosts)
    return Offer(f"{getpass.getuser()}@127.0.0.1", door.port, secure)


def shelve(dump: Found, shelf: Path) -> None:
    shelf.mkdir()
    dump.file.rename(shelf / dump.file.name)
    (shelf / "manifest.json").write_text(manifest.write(dump.manifest))
    (shelf / "archive").write_text(dump.archive + "\n")


def test_the_holder_of_the_key_gets_this_dump_and_nothing_else(
    door: Door, staging: Places, dump: Found, tmp_path: Path
) -> None:
    shelf, target = tmp_path / "shelf", tmp_path / "target"
    target.mkdir()
    shelve(dump, shelf)
    line = handing.authorization(handing.make_key(staging), shelf, NOW + timedelta(hours=1))
    offer = offered(door, staging, shelf, line)
    fetched = handing.fetch(offer, Kind.POSTGRESQL, "library", target)
    assert fetched == replace(dump, file=target / "library.dump")
    assert fetched.file.read_bytes() == b"all books"
    with pytest.raises(restoring.NotInBackup, match="another"):
        handing.fetch(offer, Kind.POSTGRESQL, "another", target)


def test_an_offer_ends(door: Door, staging: Places, dump: Found, tmp_path: Path) -> None:
    shelve(dump, tmp_path / "shelf")
    line = handing.authorization(handing.make_key(staging), tmp_path / "shelf", NOW - timedelta(seconds=1))
    offer = offered(door, staging, tmp_path / "shelf", line)
    with pytest.raises(handing.FetchFailed):
        handing.fetch(offer, Kind.POSTGRESQL, "library", tmp_path)


def test_a_dump_that_changed_on_its_way_is_refused(door: Door, staging: Places, dump: Found, tmp_path: Path) -> None:
    shelve(dump, tmp_path / "shelf")
    (tmp_path / "shelf" / "library.dump").write_bytes(b"all boots")
    line = handing.authorization(handing.make_key(staging), tmp_path / "shelf", NOW + timedelta(hours=1))
    (tmp_path / "target").mkdir()
    with pytest.raises(sources.DumpDamaged, match="SHA-256"):
        handing.fetch(offered(door, staging, tmp_path / "shelf", line), Kind.POSTGRESQL, "library", tmp_path / "target")


def test_what_is_no_key_does_not_reach_authorized_keys(tmp_path: Path) -> None:
    with pytest.raises(handing.KeyRefused):
        handing.authorization('command="sh" ssh-ed25519 AAAA', tmp_path, NOW)

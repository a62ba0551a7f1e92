"""Sending: one archive of everything over real SSH, or none at all."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters import borg, postgres
from rota.packs.backup import manifest, sending, sources, work
from rota.packs.backup.manifest import Kind
from rota.packs.backup.outcome import Outcome
from tests.agent.backup.conftest import Estate, with_sources

pytestmark = pytest.mark.servers

NOW = datetime.now(UTC).replace(microsecond=0)


def names(estate: Estate) -> list[str]:
    return [archive.name for archive in borg.archives(estate.kept())]


def test_an_archive_holds_the_dumps_the_directories_and_a_manifest_of_their_moment(estate: Estate) -> None:
    told: list[Outcome] = []
    work.back_up(estate.sender, estate.sender_places, NOW, told.append)
    [archive] = borg.archives(estate.kept())
    made = manifest.read(borg.read(estate.kept(), archive.name, "manifest.json"))
    dump = made.named(Kind.POSTGRESQL, "library")
    assert archive.name == f"production-{NOW:%Y%m%dT%H%M%SZ}"
    assert (made.host, made.environment, made.started) == ("production", "production", NOW)
    assert dump is not None
    assert {table: one.rows for table, one in (dump.tables or {}).items()} == {"public.book": 500, "public.loan": 100}
    assert told[0].counts["rows"] == 600
    assert told[0].counts["bytes stored"] > 0
    assert not list(estate.sender_places.work.glob("send/*"))


def test_a_failed_dump_makes_no_archive_and_leaves_the_good_ones_newest(estate: Estate) -> None:
    good = estate.here().send(NOW)
    broken = with_sources(estate.here(), postgresql=["library", "absent"])
    with pytest.raises(postgres.NoConnection, match="absent"):
        broken.send(NOW + timedelta(seconds=1))
    assert names(estate) == [good.name]


def test_a_missing_directory_makes_no_archive(estate: Estate, tmp_path: Path) -> None:
    broken = with_sources(estate.here(), postgresql=["library"], directories=[str(tmp_path / "absent")])
    with pytest.raises(sources.SourceMissing, match="absent"):
        broken.send(NOW)
    assert names(estate) == []


def test_the_first_backup_makes_the_repository_over_ssh(estate: Estate) -> None:
    shutil.rmtree(estate.store.repository("production"))
    sent = estate.send(NOW)
    assert names(estate) == [sent.name]


def test_what_borg_could_not_read_makes_the_archive_incomplete(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    def dump_and_lose(kind: Kind, name: str, folder: Path) -> manifest.Source:
        source = whole(kind, name, folder)
        (folder / source.path).unlink()
        return source

    whole = sources.dump
    monkeypatch.setattr(sources, "dump", dump_and_lose)
    with pytest.raises(sending.ArchiveIncomplete, match=r"postgresql/library\.dump"):
        with_sources(estate.here(), postgresql=["library"]).send(NOW)


def test_a_file_that_cannot_be_read_fails_the_backup(estate: Estate, tmp_path: Path) -> None:
    backed_up = with_sources(estate.here(), directories=[str(tmp_path / "media")])
    unread = borg.Created(1, 1, 1, unread=("media/cover.txt: read: [Errno 5] Input/output error: 'media/cover.txt'",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(borg, "create", lambda *_, **__: unread)
        with pytest.raises(sending.ArchiveIncomplete, match="Input/output error"):
            backed_up.send(NOW)


def test_of_borgs_warnings_only_changed_and_vanished_files_are_harmless() -> None:
    harmless = ["a: file changed while we backed it up", "a: stat: [Errno 2] No such file or directory: 'a'"]
    unread = ["a: open: [Errno 13] Permission denied: 'a'", "a: read: [Errno 5] Input/output error: 'a'"]
    assert [bool(borg.HARMLESS.search(text)) for text in harmless + unread] == [True, True, False, False]


def test_what_borg_leaves_out_of_a_directory_makes_the_archive_incomplete(estate: Estate, tmp_path: Path) -> None:
    (tmp_path / "media" / "link.txt").hardlink_to(tmp_path / "media" / "cover.txt")
    (tmp_path / "media" / "odd \udcff.txt").write_text("a name that is not UTF-8")
    (tmp_path / "media" / "loop").symlink_to(".")
    backed_up = with_sources(estate.here(), directories=[str(tmp_path / "media")])
    later = datetime.now(UTC) + timedelta(seconds=3)  # by then the files were there before
    whole = borg.create_command
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(borg, "create_command", lambda name, paths, _: whole(name, paths, ["*/cover.txt"]))
        with pytest.raises(sending.ArchiveIncomplete, match="media/cover.txt"):
            backed_up.send(later)
    backed_up.send(later + timedelta(seconds=1))


def test_nobody_takes_a_folder_out_of_the_backups_by_putting_a_file_there(estate: Estate, tmp_path: Path) -> None:
    (tmp_path / "media" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    sent = with_sources(estate.here(), directories=[str(tmp_path / "media")]).send(NOW)
    stored = borg.sizes(estate.kept(), sent.name, [])
    assert str(tmp_path / "media" / "cover.txt").lstrip("/") in stored


def test_backups_that_shrank_are_kept_and_fail_until_somebody_accepts_them(
    estate: Estate, cluster: postgres.Server
) -> None:
    def silent(_: Outcome) -> None: ...

    here = estate.here()
    here.send(NOW)
    with postgres.connect("library", cluster) as connection:
        connection.execute("TRUNCATE book, loan")
    for second in (1, 2):
        with pytest.raises(sending.BackupShrunken, match="postgresql library has .* bytes, the last good backup had"):
            work.back_up(here.sender, here.sender_places, NOW + timedelta(seconds=second), silent)
    work.back_up(here.sender, here.sender_places, NOW + timedelta(seconds=3), silent, accept_shrinking=True)
    work.back_up(here.sender, here.sender_places, NOW + timedelta(seconds=4), silent)
    assert len(names(estate)) == 5


def test_the_passphrase_is_in_no_argument_and_no_environment(estate: Estate) -> None:
    repository = estate.sender.open(estate.sender_places)
    assert "correct horse" not in str(repository)
    assert "correct horse" not in str(repository.environment())
    assert "correct horse" not in str(borg.create_command("name", ["path"]))


def test_nothing_readable_reaches_the_store(estate: Estate) -> None:
    estate.here().send(NOW)
    stored = b"".join(file.read_bytes() for file in estate.store.repository("production").rglob("*") if file.is_file())
    assert b"Book" not in stored
    assert b"a cover" not in stored

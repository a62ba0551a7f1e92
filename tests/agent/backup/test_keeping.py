"""Keeping: what a sender that was taken over can do, and what it cannot make the store do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters import borg
from rota.packs.backup import keeping, ledger, manifest, work
from rota.packs.backup.ledger import ArchivesVanished, DatesForged, Entry, Fate, KeyReplaced, Ledger, NameForged
from rota.packs.backup.naming import archive_name, is_archive, is_checkpoint
from tests.agent.backup.conftest import Estate

pytestmark = pytest.mark.servers

NOW = datetime.now(UTC).replace(microsecond=0)


def look(estate: Estate, now: datetime = NOW) -> list[str]:
    with keeping.looked_at(estate.store, "production", estate.store_places, now) as kept:
        return [archive.name for archive in kept.archives]


def archive(estate: Estate, name: str, moment: datetime) -> None:
    """As whoever has the sender's key can make one."""
    estate.here().as_sender("create", "--timestamp", f"{moment:%Y-%m-%dT%H:%M:%S}", f"::{name}", "/etc/hostname")


def prune(estate: Estate, now: datetime = NOW) -> list[str]:
    with keeping.looked_at(estate.store, "production", estate.store_places, now) as kept:
        return keeping.prune(kept, estate.store.keep, now)


def test_a_sender_that_deletes_everything_destroys_nothing(estate: Estate) -> None:
    good = estate.send(NOW)
    assert look(estate) == [good.name]
    [*_, before] = [one.number for one in keeping.transactions(estate.store, "production", estate.store_places)]
    estate.as_sender("delete", "--force", f"::{good.name}")
    estate.as_sender("compact")
    assert borg.archives(estate.sender.open(estate.sender_places)) == []
    with pytest.raises(ArchivesVanished, match=good.name):
        prune(estate)
    aside = keeping.roll_back(estate.store, "production", estate.store_places, before, NOW)
    assert look(estate) == [good.name]
    assert list(aside.iterdir())
    report = work.drill(estate.store, estate.store_places, NOW)
    assert [item.outcome for item in report.items] == ["done"]


def test_the_forced_command_opens_nothing_else(estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = str(tmp_path / "backup" / "store" / "other")
    location = estate.sender.repository.replace(str(estate.store.repository("production")), elsewhere)
    repository = borg.Repository(location, "x", tmp_path / "base", estate.sender.open(estate.sender_places).ssh)
    with pytest.raises(borg.BorgFailed, match="not allowed|PathNotAllowed|denied"):
        borg.init(repository)
    assert not Path(elsewhere).exists()
    monkeypatch.setenv("BORG_DELETE_I_KNOW_WHAT_I_AM_DOING", "YES")
    with pytest.raises(borg.BorgFailed, match="append-only"):
        estate.as_sender("delete", "--force", "::")


def test_a_sealed_key_that_was_overwritten_is_noticed_and_put_back(estate: Estate) -> None:
    sent = estate.here().send(NOW)
    look(estate)
    number = keeping.newest_transaction(estate.store.repository("production"))
    settings = estate.store.repository("production") / "config"
    settings.write_text(settings.read_text().replace("key = ", "key = AAAA"))
    with pytest.raises((KeyReplaced, borg.BorgFailed)):
        look(estate)
    keeping.roll_back(estate.store, "production", estate.store_places, number, NOW)
    assert look(estate) == [sent.name]


def test_an_archive_with_a_forged_date_stops_retention(estate: Estate) -> None:
    look(estate, NOW)
    archive(estate, "production-20200101T000000Z", datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(DatesForged, match="production-20200101T000000Z claims 2020-01-01"):
        prune(estate, NOW + timedelta(minutes=1))


def test_a_name_that_begins_with_another_archives_name_costs_no_archive(estate: Estate) -> None:
    """Borg allows blanks in names; what it announces in prose could be read as the name of the good one."""
    good = archive_name("production", NOW)
    archive(estate, good, NOW)
    archive(estate, f"{good} x", NOW - timedelta(minutes=1))
    with pytest.raises(NameForged, match=f"'{good} x'"):
        prune(estate)
    assert [one.name for one in borg.archives(estate.kept())] == [f"{good} x", good]


def test_retention_removes_what_borgs_own_rules_would_and_blames_nobody(estate: Estate) -> None:
    moments = [NOW - timedelta(hours=hours) for hours in (0, 1, 2, 3, 30, 60)]
    for moment in moments:
        archive(estate, archive_name("production", moment), moment)
    checkpoint = archive_name("production", NOW - timedelta(hours=90)) + ".checkpoint.1"
    archive(estate, checkpoint, NOW - timedelta(hours=90))
    rules = borg.command("prune", "--dry-run", "--list", "--keep-hourly=2", "--keep-daily=2")
    said = borg.run(estate.kept(), rules).messages
    expected = {line.split()[2] for line in said if line.startswith("Would prune")} - {checkpoint}
    assert expected
    assert set(prune(estate)) == expected
    names = {archive_name("production", moment) for moment in moments}
    assert set(look(estate)) == names - expected
    assert checkpoint not in {one.name for one in borg.archives(estate.kept(), checkpoints=True)}


def test_what_vanishes_while_old_archives_are_removed_stops_the_compaction(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [NOW - timedelta(hours=hours) for hours in range(5)]
    for moment in moments:
        archive(estate, archive_name("production", moment), moment)
    good, delete = archive_name("production", NOW), borg.delete_command
    # As if the sender had exchanged two names just then.
    monkeypatch.setattr(borg, "delete_command", lambda names: delete([good, *names[1:]]))
    with pytest.raises(ArchivesVanished, match=good):
        prune(estate)
    monkeypatch.undo()
    [*_, before] = [one.number for one in keeping.transactions(estate.store, "production", estate.store_places)]
    keeping.roll_back(estate.store, "production", estate.store_places, before, NOW)
    assert good in look(estate)


@pytest.mark.parametrize(
    "name", ["production-1", "other-20260101T000000Z", "production-20260101T000000Z.checkpoint{now}"]
)
def test_only_what_backups_are_called_is_an_archive_or_a_checkpoint(name: str) -> None:
    assert not is_archive("production", name)
    assert not is_checkpoint("production", name)


def test_no_name_or_path_of_a_sender_is_taken_for_an_option(estate: Estate, tmp_path: Path) -> None:
    estate.here().send(NOW)
    option = f"--debug-profile={tmp_path / 'written'}"
    with pytest.raises(borg.BorgFailed, match="pattern"):
        borg.read(estate.kept(), archive_name("production", NOW), option)
    assert not (tmp_path / "written").exists()
    for words in (
        borg.contents_command("name", [option]),
        borg.delete_command([option]),
        borg.create_command("n", [option]),
    ):
        assert words.index("--") < words.index(option if option in words else f"::{option}")


def test_where_a_dump_lies_is_not_for_the_manifest_to_say() -> None:
    fields = {
        "kind": "postgresql",
        "name": "../a/library",
        "path": "--option",
        "size": 1,
        "files": 1,
        "sha256": "",
        "tables": None,
    }
    made = manifest.Manifest("production", "production", "", NOW, ())
    text = json.dumps(json.loads(manifest.write(made)) | {"sources": [fields]})
    assert [source.path for source in manifest.read(text).sources] == ["postgresql/..-a-library.dump"]


def test_damage_in_a_segment_is_found_by_the_check(estate: Estate) -> None:
    estate.here().send(NOW)
    damage_most_data(estate)
    report = work.check(estate.store, estate.store_places, NOW)
    assert [item.outcome for item in report.items] == ["failed"]
    with pytest.raises(work.SomeFailed, match="production: Borg failed"):
        work.require_all(report)


def test_a_sender_that_sends_nothing_is_stale(estate: Estate) -> None:
    never = work.freshness(estate.store, estate.store_places, NOW)
    assert "has never been backed up" in never.items[0].message
    archive(estate, archive_name("production", NOW), NOW)
    assert work.freshness(estate.store, estate.store_places, NOW).items[0].outcome == "done"
    later = work.freshness(estate.store, estate.store_places, NOW + timedelta(hours=5))
    assert "h old, at most 3.0 h are right" in later.items[0].message


def test_an_interrupted_removal_blames_nobody() -> None:
    first, second = (borg.Archive(f"id{n}", f"production-2026030{n}T120000Z", NOW) for n in (1, 2))
    entries = tuple(Entry(one.id, one.name, NOW, NOW) for one in (first, second))
    announced = ledger.removing(Ledger(NOW, "settings", 7, 0, entries), [first, second])
    after = ledger.look(announced, "production", [second], "settings", 9, NOW)
    assert [entry.fate for entry in after.entries] == [Fate.REMOVED, Fate.KEPT]
    assert ledger.read(ledger.write(after)) == after


def damage_most_data(estate: Estate) -> None:
    """Turn over bytes in the middle of the biggest segment."""
    segments = (estate.store.repository("production") / "data").glob("*/*")
    segment = max(segments, key=lambda one: one.stat().st_size)
    content = bytearray(segment.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    segment.write_bytes(content)

"""Keeping: what a sender that was taken over can do, and what it cannot make the store do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters import borg
from rota.packs.backup import keeping, ledger, work
from rota.packs.backup.ledger import ArchivesVanished, DatesForged, Entry, Fate, KeyReplaced, Ledger
from tests.agent.backup.conftest import Estate

NOW = datetime.now(UTC).replace(microsecond=0)


def look(estate: Estate, now: datetime = NOW) -> list[str]:
    with keeping.looked_at(estate.store, "production", estate.store_places, now) as kept:
        return [archive.name for archive in kept.archives]


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
    estate.here().as_sender("create", "--timestamp", "2020-01-01T00:00:00", "::forged", "/etc/hostname")
    with pytest.raises(DatesForged, match="forged claims 2020-01-01"):
        prune(estate, NOW + timedelta(minutes=1))


def test_retention_removes_what_the_rules_have_no_use_for_and_blames_nobody(estate: Estate) -> None:
    here = estate.here()
    for hour in range(4):
        moment = f"{NOW - timedelta(hours=hour):%Y-%m-%dT%H:%M:%S}"
        here.as_sender("create", "--timestamp", moment, f"::hour-{hour}", "/etc/hostname")
    removed = prune(estate)
    assert {"hour-0", "hour-1"} & set(removed) == set()
    assert removed
    assert set(look(estate)) == {f"hour-{hour}" for hour in range(4)} - set(removed)


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
    estate.here().as_sender("create", "::one", "/etc/hostname")
    assert work.freshness(estate.store, estate.store_places, NOW).items[0].outcome == "done"
    later = work.freshness(estate.store, estate.store_places, NOW + timedelta(hours=5))
    assert "h old, at most 3.0 h are right" in later.items[0].message


def test_an_interrupted_removal_blames_nobody() -> None:
    one = Entry("id1", "one", NOW, NOW)
    two = Entry("id2", "two", NOW, NOW)
    announced = ledger.removing(Ledger(NOW, "settings", 7, 0, (one, two)), ["one", "two"])
    left = [borg.Archive("id2", "two", NOW)]
    after = ledger.look(announced, left, "settings", 9, NOW)
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

"""Laws of what happens to old files: logs are compressed and never lost, exports go, and nothing else does."""

import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.packs.logs import archive, folders
from rota.packs.logs.exports import BadPattern
from rota.packs.logs.outcomes import SomeFailed
from rota.packs.logs.tasks import compress_old_logs, cull_old_exports
from tests.agent.logs.conftest import Said, age, files

NAME = f"archive/Site-logs-{datetime.now(UTC):%Y-%m-%d}.zip"
WEEK = timedelta(days=6)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of logs, some old and some not."""
    folder = tmp_path / "Site"
    for name in ("old.log", "python/old.log", "new.log", "old.log.gz"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 100)
        age(path, days=0 if name == "new.log" else 7)
    return folder


# -- logs


def test_old_logs_go_into_one_archive_of_the_day_with_relative_names(site: Path, said: Said) -> None:
    compress_old_logs(said, folders=[site])
    assert files(site) == {"new.log", "old.log.gz", NAME}
    with zipfile.ZipFile(site / NAME) as packed:
        assert {member: packed.read(member) for member in packed.namelist()} == {
            each: each.encode() * 100 for each in ("old.log", "python/old.log")
        }
        assert packed.getinfo("old.log").date_time[:3] == tuple((datetime.now() - timedelta(days=7)).timetuple())[:3]  # noqa: DTZ005 - zip archives hold local times
    assert said.counts["files"] == 2


def test_a_log_is_old_after_six_days_and_not_before(site: Path, said: Said) -> None:
    for name, days in (("just", 5.99), ("over", 6.01)):
        (site / name).write_text(name)
        age(site / name, days=days)
    compress_old_logs(said, folders=[site])
    assert (site / "just").exists()
    assert not (site / "over").exists()


def test_a_second_archive_of_a_day_does_not_replace_the_first(site: Path, said: Said) -> None:
    compress_old_logs(said, folders=[site])
    age(site / "new.log", days=7)
    compress_old_logs(said, folders=[site])
    assert len(list((site / "archive").glob("*.zip"))) == 2


def test_with_nothing_old_there_is_no_archive(site: Path, said: Said) -> None:
    compress_old_logs(said, folders=[site], older_than_days=30)
    assert not (site / "archive").exists()


def test_a_log_that_a_program_has_open_for_writing_stays(site: Path, said: Said) -> None:
    with (site / "old.log").open("a"):
        compress_old_logs(said, folders=[site])
    assert (site / "old.log").exists()
    assert {entry["item"]: entry["outcome"] for entry in said.entries if "item" in entry}[
        str(site / "old.log")
    ] == "left"
    compress_old_logs(said, folders=[site])
    assert not (site / "old.log").exists()


def test_a_log_that_somebody_reads_goes_all_the_same(site: Path, said: Said) -> None:
    with (site / "old.log").open():
        compress_old_logs(said, folders=[site])
    assert not (site / "old.log").exists()


def test_links_are_neither_followed_nor_removed(site: Path, tmp_path: Path, said: Said) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.log").write_text("x")
    age(elsewhere / "precious.log", days=9)
    (site / "link.log").symlink_to(elsewhere / "precious.log")
    age(site / "link.log", days=9)
    (site / "linked").symlink_to(elsewhere)
    compress_old_logs(said, folders=[site])
    assert (site / "link.log").is_symlink()
    assert (elsewhere / "precious.log").exists()
    assert zipfile.ZipFile(site / NAME).namelist() == ["old.log", "python/old.log"]


def test_a_folder_may_be_named_by_a_link(site: Path, tmp_path: Path, said: Said) -> None:
    (tmp_path / "logs").symlink_to(site)
    compress_old_logs(said, folders=[tmp_path / "logs"])
    with zipfile.ZipFile(site / NAME.replace("Site", "logs")) as packed:
        assert packed.namelist() == ["old.log", "python/old.log"]
    assert not (site / "old.log").exists()


def test_a_folder_that_becomes_a_link_leads_nowhere(site: Path, tmp_path: Path) -> None:
    found = archive.find_old(site, now=datetime.now(UTC), age=WEEK, archive_folder="archive")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "old.log").write_text("secret")
    (site / "python").rename(tmp_path / "away")
    (site / "python").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="Not a directory"):
        archive.write_archive(site / "x.zip", found, base=site)
    assert files(site) & {"x.zip", "x.part"} == set()


@pytest.mark.parametrize("change", ["other" * 140, "old.log" * 99, "old.log" * 101])
def test_an_archive_that_differs_from_its_files_is_none(site: Path, tmp_path: Path, change: str) -> None:
    found = archive.find_old(site, now=datetime.now(UTC), age=WEEK, archive_folder="archive")
    stored = archive.store(tmp_path / "x.zip", found, base=site)
    (site / "old.log").write_text(change)
    with pytest.raises(archive.ArchiveBroken):
        archive.prove(tmp_path / "x.zip", stored, base=site)


def test_an_archive_that_cannot_be_read_back_removes_nothing(
    site: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: "old.log")  # a disk that does not keep what it is given
    before = files(site)
    with pytest.raises(SomeFailed, match=r"old\.log cannot be read back"):
        compress_old_logs(said, folders=[site])
    assert files(site) == before


def test_a_log_that_changed_after_it_was_archived_stays(site: Path) -> None:
    (found, *_) = archive.find_old(site, now=datetime.now(UTC), age=WEEK, archive_folder="archive")
    assert archive.write_archive(site / "x.zip", [found], base=site) == [found]
    (site / found.name).write_text("written after all")
    assert not archive.remove(site, found)
    assert (site / found.name).read_text() == "written after all"


def test_what_a_killed_run_left_is_cleared_away(site: Path, said: Said) -> None:
    (site / "archive").mkdir()
    (site / "archive/Site-logs-2026-01-01.part").write_text("half an archive")
    compress_old_logs(said, folders=[site])
    assert files(site) == {"new.log", "old.log.gz", NAME}


def test_archives_are_for_those_who_may_read_the_logs_folder(site: Path, said: Said) -> None:
    compress_old_logs(said, folders=[site])
    for path, mode in ((site / "archive", 0o750), (site / NAME, 0o640)):
        assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (mode, site.stat().st_gid)


def test_an_archive_folder_that_is_a_link_is_refused(site: Path, tmp_path: Path, said: Said) -> None:
    (tmp_path / "elsewhere").mkdir()
    (site / "archive").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SomeFailed, match="archive; it is a link"):
        compress_old_logs(said, folders=[site], archive_keep_days=1)
    assert files(tmp_path / "elsewhere") == set()
    assert (site / "old.log").exists()


def test_archives_are_removed_only_when_asked_and_old(site: Path, said: Said) -> None:
    compress_old_logs(said, folders=[site])
    (packed,) = (site / "archive").iterdir()
    (site / "archive/photographs.zip").write_text("somebody's own")
    for path in (packed, site / "archive/photographs.zip"):
        age(path, days=400)
    compress_old_logs(said, folders=[site])
    assert packed.exists()
    compress_old_logs(said, folders=[site], archive_keep_days=365)
    assert not packed.exists()
    assert (site / "archive/photographs.zip").exists()


def test_a_folder_that_is_missing_keeps_no_other_from_its_turn(site: Path, tmp_path: Path, said: Said) -> None:
    with pytest.raises(SomeFailed, match=rf"{tmp_path}/none: There is no such folder"):
        compress_old_logs(said, folders=[tmp_path / "none", site])
    assert not (site / "old.log").exists()


def test_names_that_are_no_text_are_archived(site: Path, said: Said) -> None:
    name = os.fsdecode(b"caf\xe9.log")
    (site / name).write_text("coffee")
    age(site / name, days=9)
    compress_old_logs(said, folders=[site])
    assert not (site / name).exists()
    assert zipfile.ZipFile(site / NAME).read("caf\\xe9.log") == b"coffee"


def test_a_dry_run_compresses_nothing(site: Path, said: Said) -> None:
    before = files(site)
    compress_old_logs(said, folders=[site], dry_run=True)
    assert files(site) == before
    assert said.outcomes == {"old.log": "would be compressed"}


def test_whoever_may_not_ask_whether_a_log_is_in_use_leaves_it(
    site: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> bool:
        raise folders.CannotTell("Permission denied")

    monkeypatch.setattr(archive, "is_being_written", refuse)
    with pytest.raises(SomeFailed, match="CAP_LEASE: Permission denied"):
        compress_old_logs(said, folders=[site])
    assert (site / "old.log").exists()


# -- exports

EXPORTS = [
    "jane_doe_260809103412exc.csv",
    "x_260809103412mrv2.xml",
    "x_260809103412sh.xml.zip",
    "x_260809103412exc.htm",
]
DOWNLOADS = ["AlphaCIC1.zip", "AlphaStats2025VOL12.zip", ".gitignore", ".hidden_260809103412exc.csv"]
STRANGE = [
    "notes.txt",
    "_260809103412exc.csv",
    "x_26080910341exc.csv",
    "x_260809103412exc.csv.bak",
    "x_260809103412EXC.CSV",
]


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A download folder in which everything is old."""
    folder = tmp_path / "download"
    folder.mkdir()
    for name in EXPORTS + DOWNLOADS + STRANGE:
        (folder / name).write_text(name)
        age(folder / name, days=7.01)
    return folder


def test_only_exports_go_and_strange_names_are_told(download: Path, said: Said) -> None:
    cull_old_exports(said, folders=[download])
    assert files(download) == {*DOWNLOADS, *STRANGE}
    assert {name for name, outcome in said.outcomes.items() if outcome == "removed"} == set(EXPORTS)
    assert {name for name, outcome in said.outcomes.items() if outcome == "unknown"} == set(STRANGE)


def test_exports_are_kept_for_as_long_as_the_setting_says(download: Path, said: Said) -> None:
    cull_old_exports(said, folders=[download], export_keep_days=8)
    assert files(download) >= set(EXPORTS)


def test_a_link_named_like_an_export_stays_and_so_does_what_it_leads_to(
    download: Path, tmp_path: Path, said: Said
) -> None:
    (tmp_path / "precious").write_text("x")
    link = download / "y_260809103412exc.csv"
    link.symlink_to(tmp_path / "precious")
    age(link, days=30)
    (download / "z_260809103412exc.csv").mkdir()
    cull_old_exports(said, folders=[download])
    assert link.is_symlink()
    assert (tmp_path / "precious").exists()
    assert (said.outcomes[link.name], said.outcomes["z_260809103412exc.csv"]) == ("unknown", "unknown")


def test_patterns_and_what_is_kept_are_the_estates_own(tmp_path: Path, said: Said) -> None:
    for name in ("report-1.pdf", "report-keep.pdf", "x_260809103412exc.csv"):
        (tmp_path / name).touch()
        age(tmp_path / name, days=30)
    cull_old_exports(said, folders=[tmp_path], patterns=[r"report-.*\.pdf"], keep=[r".*-keep\.pdf"])
    assert {path.name for path in tmp_path.glob("*[fv]")} == {"report-keep.pdf", "x_260809103412exc.csv"}


def test_a_pattern_that_is_none_is_told_before_anything_goes(download: Path, said: Said) -> None:
    with pytest.raises(BadPattern, match=r"'\*\.csv': nothing to repeat"):
        cull_old_exports(said, folders=[download], patterns=["*.csv"])
    assert files(download) >= set(EXPORTS)


def test_a_dry_run_removes_no_export(download: Path, said: Said) -> None:
    cull_old_exports(said, folders=[download], dry_run=True)
    assert files(download) >= set(EXPORTS)
    assert said.outcomes[EXPORTS[0]] == "would be removed"


def test_a_download_folder_that_is_missing_keeps_no_other_from_its_turn(
    download: Path, tmp_path: Path, new_report: Callable[[], Said]
) -> None:
    with pytest.raises(SomeFailed, match="none: .*No such file"):
        cull_old_exports(new_report(), folders=[tmp_path / "none", download])
    assert files(download) == {*DOWNLOADS, *STRANGE}

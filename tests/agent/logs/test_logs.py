"""Laws of the logs pack."""

import json
import os
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters.report import Report
from rota.packs.logs import archive, health
from rota.packs.logs.tasks import HostUnwell, NoSuchFolder, check_certificates, check_host, compress_old_logs

SILENT = Report(None)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of logs, some old and some not."""
    folder = tmp_path / "Site"
    for name in ("old.log", "sub/old.log", "new.log", "old.log.gz"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 100)
        age(path, days=0 if name == "new.log" else 7)
    return folder


def age(path: Path, *, days: float) -> None:
    moment = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_old_logs_go_into_one_archive_of_the_day_with_relative_names(site: Path) -> None:
    compress_old_logs(SILENT, folders=[site])
    name = f"archive/Site-logs-{datetime.now(UTC):%Y-%m-%d}.zip"
    assert files(site) == {"new.log", "old.log.gz", name}
    with zipfile.ZipFile(site / name) as packed:
        assert {member: packed.read(member) for member in packed.namelist()} == {
            each: each.encode() * 100 for each in ("old.log", "sub/old.log")
        }


def test_a_second_archive_of_a_day_does_not_replace_the_first(site: Path) -> None:
    compress_old_logs(SILENT, folders=[site])
    age(site / "new.log", days=7)
    compress_old_logs(SILENT, folders=[site])
    assert len(list((site / "archive").glob("*.zip"))) == 2


def test_with_nothing_old_there_is_no_archive(site: Path) -> None:
    compress_old_logs(SILENT, folders=[site], older_than_days=30)
    assert not (site / "archive").exists()


def test_links_are_not_followed(site: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x")
    (site / "link.log").symlink_to(tmp_path / "elsewhere")
    age(tmp_path / "elsewhere", days=9)
    compress_old_logs(SILENT, folders=[site])
    assert (site / "link.log").is_symlink()


def test_an_archive_that_differs_from_its_files_removes_none(site: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.zip"
    archive.write_archive(target, [site / "old.log"], base=site)
    for change in ("other" * 100, "old.log" * 99, "old.log" * 101):
        (site / "old.log").write_text(change)
        with pytest.raises(archive.ArchiveBroken):
            archive.prove(target, [site / "old.log"], base=site)


def test_archives_are_removed_only_when_asked_and_old(site: Path) -> None:
    compress_old_logs(SILENT, folders=[site])
    (packed,) = (site / "archive").iterdir()
    age(packed, days=400)
    compress_old_logs(SILENT, folders=[site])
    assert packed.exists()
    compress_old_logs(SILENT, folders=[site], archive_keep_days=365)
    assert not packed.exists()


def test_a_folder_that_is_missing_stops_the_task_before_it_touches_another(site: Path, tmp_path: Path) -> None:
    with pytest.raises(NoSuchFolder):
        compress_old_logs(SILENT, folders=[site, tmp_path / "none"])
    assert (site / "old.log").exists()


def test_a_well_host_is_well_and_reports_its_measures(tmp_path: Path) -> None:
    out = tmp_path / "report"
    with out.open("wb") as stream:
        check_host(
            Report(stream.fileno()), space_percent=100, inodes_percent=100, memory_available_percent=0,
            certificate_folders=[], clock=False, failed_units=False,
        )  # fmt: skip
    counts = {entry["count"] for entry in map(json.loads, out.read_text().splitlines()) if "count" in entry}
    assert {"file systems too full", "memory available percent", "certificates expiring"} <= counts


def test_each_limit_that_is_passed_is_named() -> None:
    with pytest.raises(HostUnwell, match=r"% full of data, more than 0.*% of memory is available, less than 101"):
        check_host(
            SILENT,
            space_percent=0,
            memory_available_percent=101,
            certificate_folders=[],
            clock=False,
            failed_units=False,
        )


@pytest.mark.parametrize("days", [3, 30, 40_000])
def test_certificates_are_told_in_time(tmp_path: Path, days: int) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
         "/CN=x", "-days", str(days), "-keyout", f"{tmp_path}/x.key", "-out", f"{tmp_path}/x.pem"],
        check=True, capture_output=True)  # fmt: skip
    said = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-dateopt", "iso_8601", "-in", f"{tmp_path}/x.pem"],
        check=True, capture_output=True, text=True)  # fmt: skip
    end = health.expiry((tmp_path / "x.pem").read_text())
    assert end == datetime.fromisoformat(said.stdout.strip().partition("=")[2])
    assert bool(check_certificates(SILENT, [tmp_path], 14, now=datetime.now(UTC))) is (days == 3)


def test_a_key_is_no_certificate() -> None:
    assert health.expiry("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----") is None


def test_each_device_counts_once_and_pseudo_file_systems_never() -> None:
    text = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/a /srv/a\\040b ext4 rw 0 0\n/dev/b /b xfs rw 0 0\n"
    assert health.mounts(text) == ["/", "/b"]

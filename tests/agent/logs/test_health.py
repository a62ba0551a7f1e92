"""Laws of what is measured on a host."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters.report import Report
from rota.packs.logs import health, tasks
from rota.packs.logs.tasks import CannotAsk, HostUnwell, check_certificates, check_host
from tests.agent.logs.conftest import Said

SILENT = Report(None)


def test_a_well_host_is_well_and_reports_its_measures(tmp_path: Path) -> None:
    out = tmp_path / "report"
    with out.open("wb") as stream:
        check_host(
            Report(stream.fileno()), space_percent=100, inodes_percent=100, memory_available_percent=0,
            certificate_folders=[], clock=False, failed_units=False, security_updates=False,
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
            security_updates=False,
        )


def make_certificate(folder: Path, *, days: int) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
         "/CN=x", "-days", str(days), "-keyout", f"{folder}/x.key", "-out", f"{folder}/x.pem"],
        check=True, capture_output=True)  # fmt: skip


@pytest.mark.parametrize("days", [3, 30, 40_000])
def test_certificates_are_told_in_time(tmp_path: Path, days: int) -> None:
    make_certificate(tmp_path, days=days)
    said = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-dateopt", "iso_8601", "-in", f"{tmp_path}/x.pem"],
        check=True, capture_output=True, text=True)  # fmt: skip
    end = health.expiry((tmp_path / "x.pem").read_text())
    assert end == datetime.fromisoformat(said.stdout.strip().partition("=")[2])
    assert bool(check_certificates(SILENT, [tmp_path], 14, now=datetime.now(UTC))) is (days == 3)


def test_a_check_that_cannot_be_made_hides_no_other(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise CannotAsk("apt-get: no space left")

    monkeypatch.setattr(tasks, "answer", refuse)
    monkeypatch.setattr(tasks, "CONTAINER", tmp_path / "none")
    with pytest.raises(HostUnwell) as raised:
        check_host(said, space_percent=0, memory_available_percent=101, certificate_folders=[], state=tmp_path)
    for word in ("full of data", "memory is available", "units cannot be looked at", "security updates", "clock"):
        assert word in str(raised.value)


def test_on_a_full_disk_everything_is_looked_at(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{tasks.UPDATES}").with_suffix(".new").symlink_to("/dev/full")
    monkeypatch.setattr(tasks, "ask_apt", lambda: {"openssl": "1"})
    (finding,) = tasks.check_updates(said, tmp_path, 3, now=datetime.now(UTC), dry_run=False)
    assert "No space left on device" in finding
    assert said.outcomes == {"openssl": "waits"}


@pytest.mark.parametrize(
    "text", ["!!!!", "AAA", "AAAA", "F" * 64, "FwhaWlpaWlpaFw1aWlpaWlpaWlpaWlpaFw1aWlpaWlpaWlpaWlpa"]
)
def test_a_certificate_that_is_broken_is_told_and_hides_no_other(tmp_path: Path, said: Said, text: str) -> None:
    (tmp_path / "a.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    make_certificate(tmp_path, days=3)
    broken, ending = check_certificates(said, [tmp_path], 14, now=datetime.now(UTC))
    assert broken.startswith(f"the certificate {tmp_path}/a.pem cannot be read")
    assert "x.pem ends on" in ending
    assert said.counts["certificates expiring"] == 1


def test_a_folder_of_certificates_that_is_closed_to_us_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.os, "access", lambda path, mode: Path(path) != tmp_path / "closed")
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
    folders = [tmp_path / "closed", tmp_path / "open", tmp_path / "none"]
    (found,) = check_certificates(SILENT, folders, 14, now=datetime.now(UTC))
    assert found == f"the folder {tmp_path}/closed of certificates cannot be read"


def test_a_key_is_no_certificate() -> None:
    assert health.expiry("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----") is None


def test_each_device_counts_once_and_pseudo_file_systems_never() -> None:
    text = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/a /srv/a\\040b ext4 rw 0 0\n/dev/b /b xfs rw 0 0\n"
    assert health.mounts(text) == ["/", "/b"]


# As apt-get --simulate writes it on Debian 12 and on Ubuntu 24.04.
SIMULATED = """NOTE: This is only a simulation!
Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Inst liblzma-dev [5.4.1-1] (5.4.1-1+deb12u2 Debian-Security:12/oldstable-security [amd64]) []
Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
Inst libnew (1.0 Debian-Security:12/oldstable-security [amd64])
Inst openssl [3.0.13-0ubuntu3.4] (3.0.13-0ubuntu3.5 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])
Conf openssl (3.0.13-0ubuntu3.5 Ubuntu:24.04/noble-security [amd64])
"""
SECURITY = {"liblzma-dev": "5.4.1-1+deb12u2", "libgcrypt20": "1.10.1-3+deb12u1", "openssl": "3.0.13-0ubuntu3.5"}


def test_security_updates_are_told_from_others() -> None:
    assert health.security_updates(SIMULATED) == SECURITY


def test_apt_answers_from_the_lists_it_has() -> None:
    said = subprocess.run(health.upgrade_command(), capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_a_security_update_may_wait_for_a_while(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {"openssl": "1"}
    monkeypatch.setattr(tasks, "ask_apt", lambda: waiting)
    lists = tmp_path / "lists"
    lists.mkdir()
    monkeypatch.setattr(tasks, "PACKAGE_LISTS", (lists,))
    began = datetime(2026, 3, 2, tzinfo=UTC)

    def findings(days: float) -> list[str]:
        return tasks.check_updates(said, tmp_path, 3, now=began + timedelta(days=days), dry_run=False)

    assert findings(0) == findings(2.9) == []
    assert findings(3.1) == ["the security update openssl 1 waits since 2026-03-02"]
    waiting["openssl"] = "2"
    assert findings(4) != [], "nobody asks apt again before its lists have changed"
    (lists / "new").touch()
    assert findings(5) == findings(7.9) == [], "another version waits anew"
    del waiting["openssl"]
    (lists / "new").unlink()
    assert findings(9) == []


def test_without_a_folder_to_remember_in_updates_are_told_and_fail_nothing(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ask_apt", lambda: {"openssl": "1"})
    assert tasks.check_updates(said, tmp_path / "none", 0.5, now=datetime.now(UTC), dry_run=False) == []
    assert said.outcomes == {"openssl": "waits"}

"""The tasks of the logs pack."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.core.errors import RotaError
from rota.packs import Report, task
from rota.packs.logs import archive, health

CONTAINER = Path("/run/systemd/container")


class HostUnwell(RotaError):
    """Something on this host needs attention."""


class CannotAsk(RotaError):
    """A program that knows about this host does not answer."""


class NoSuchFolder(RotaError):
    """A folder in the settings does not exist."""


@task(schedule="*-*-* 01:10:00", zone="UTC", catch_up="latest", spread="10min", timeout="2h", memory="512M")
def compress_old_logs(
    report: Report,
    *,
    folders: list[Path],
    older_than_days: int = 6,
    archive_folder: str = "archive",
    archive_keep_days: int | None = None,
) -> None:
    """Put log files that were modified more than 6 days ago into a dated zip archive.

    One archive a day for each folder, `ARCHIVE_FOLDER/NAME-logs-YYYY-MM-DD.zip` below it. A log is removed only when
    the archive is on disk and compared with it. Archives older than `archive_keep_days` are removed, if that is set.
    """
    now = datetime.now(UTC)
    for folder in folders:
        if not folder.is_dir():
            raise NoSuchFolder(str(folder))
    for folder in folders:
        compress(report, folder, folder / archive_folder, now=now, age=timedelta(days=older_than_days))
        if archive_keep_days is not None:
            remove_archives(report, folder / archive_folder, now=now, age=timedelta(days=archive_keep_days))


def compress(report: Report, folder: Path, archive_folder: Path, *, now: datetime, age: timedelta) -> None:
    files = archive.find_old(folder, now=now, age=age, archive_folder=archive_folder)
    report.count("files", len(files))
    if not files:
        return
    target = archive.unused_name(archive_folder, f"{folder.name}-logs-{now:%Y-%m-%d}")
    archive.write_archive(target, files, base=folder)
    report.count("bytes before", sum(path.stat().st_size for path in files))
    report.count("bytes after", target.stat().st_size)
    for path in files:
        path.unlink()
        report.item(str(path), "compressed", str(target))
    print(f"{target}: {len(files)} files")


def remove_archives(report: Report, folder: Path, *, now: datetime, age: timedelta) -> None:
    for path in sorted(folder.glob("*-logs-*.zip")):
        if archive.is_old(path, now=now, age=age):
            path.unlink()
            report.item(str(path), "removed")
            report.count("archives removed", 1)


# As a user the host knows: dbus refuses users that are made for one run where libnss-systemd is missing.
@task(schedule="*-*-* *:05:00", zone="UTC", catch_up="none", spread="2min", timeout="2min", memory="256M", user="rota")
def check_host(
    report: Report,
    *,
    space_percent: float = 90,
    inodes_percent: float = 90,
    memory_available_percent: float = 5,
    certificate_days: float = 14,
    certificate_folders: list[Path] = [Path("/etc/ssl/rota"), Path("/etc/nginx"), Path("/etc/rota")],  # noqa: B006 - never changed
    clock: bool = True,
    failed_units: bool = True,
) -> None:
    """Look at disks, inodes, memory, failed units, certificates and the clock of this host.

    Fails when one of them is beyond its limit, naming each. `clock` and `failed_units` switch those checks off where
    there is no systemd to ask.
    """
    findings = [
        *check_disks(report, space_percent, inodes_percent),
        *check_memory(report, memory_available_percent),
        *check_certificates(report, certificate_folders, certificate_days, now=datetime.now(UTC)),
        *(check_units(report) if failed_units else ()),
        *(check_clock(report) if clock else ()),
    ]
    if findings:
        raise HostUnwell("; ".join(findings))
    print("Everything is within its limits.")


def check_disks(report: Report, space: float, inodes: float) -> list[str]:
    findings: list[str] = []
    mounts = health.mounts(Path("/proc/self/mounts").read_text("utf-8"))
    for mount in filter(os.path.isdir, mounts):  # a single file may be mounted as well
        filled = health.fill(mount)
        too_full = [
            f"{mount} is {found:g} % full of {what}, more than {limit:g}"
            for what, found, limit in (("data", filled.space, space), ("inodes", filled.inodes, inodes))
            if found > limit
        ]
        report.item(mount, "too full" if too_full else "fine", f"data {filled.space:g} %, inodes {filled.inodes:g} %")
        findings += too_full
    report.count("file systems too full", len(findings))
    return findings


def check_memory(report: Report, limit: float) -> list[str]:
    available = health.memory_available(Path("/proc/meminfo").read_text("utf-8"))
    report.count("memory available percent", available)
    return [f"{available:g} % of memory is available, less than {limit:g}"] if available < limit else []


def check_certificates(report: Report, folders: list[Path], days: float, *, now: datetime) -> list[str]:
    findings: list[str] = []
    for path in health.certificates(folders):
        end = health.expiry(path.read_text("ascii", errors="replace"))
        if end is None:
            continue
        is_soon = end - now < timedelta(days=days)
        report.item(str(path), "expires soon" if is_soon else "valid", f"until {end:%Y-%m-%d}")
        if is_soon:
            findings.append(f"the certificate {path} ends on {end:%Y-%m-%d}")
    report.count("certificates expiring", len(findings))
    return findings


def check_units(report: Report) -> list[str]:
    """Units that failed, other than our tasks': their failures have records of their own."""
    text = answer(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend"])
    failed = [unit for unit in health.first_words(text) if not unit.startswith("rota-task-")]
    report.count("units failed", len(failed))
    for unit in failed:
        report.item(unit, "failed")
    return [f"{unit} has failed" for unit in failed]


def check_clock(report: Report) -> list[str]:
    """Whether the clock is synchronised; in a container it is the machine's outside, which answers for it."""
    if CONTAINER.exists():
        return []
    is_in_step = health.properties(answer(["timedatectl", "show"])).get("NTPSynchronized") == "yes"
    report.count("clock out of step", 0 if is_in_step else 1)
    return [] if is_in_step else ["the clock is not kept in step with others (see timedatectl)"]


def answer(command: list[str]) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        raise CannotAsk(f"{command[0]}: {said.stderr.strip()}")
    return said.stdout

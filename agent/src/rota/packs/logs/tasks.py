"""The tasks of the logs pack."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.adapters.outbound import Failures
from rota.core.errors import RotaError
from rota.packs import Report, task
from rota.packs.logs import archive, exports, geoip, health, logged, mailing, visits
from rota.packs.logs import state as remembered
from rota.packs.logs.logged import Finding, Memory, Watched
from rota.packs.logs.outcomes import Troubles
from rota.packs.logs.visits import Desk, Site

PROGRAMS = ("awstats", "goaccess")
CONTAINER = Path("/run/systemd/container")
STATE = Path("/var/lib/rota/logs")
UPDATES = "security_updates.json"
PACKAGE_LISTS = (Path("/var/lib/dpkg/status"), Path("/var/lib/apt/lists"))
MOST_NAMED = 5


class HostUnwell(RotaError):
    """Something on this host needs attention."""


class CannotAsk(RotaError):
    """A program that knows about this host does not answer."""


class NoCredential(RotaError):
    """A secret that this task needs cannot be read."""


class BadSetting(RotaError):
    """A setting of this task cannot be used."""


# -- old files


@task(
    schedule="*-*-* 01:10:00", zone="UTC", catch_up="latest", spread="10min", timeout="2h", memory="512M",
    parameters=["older_than_days"],
)  # fmt: skip
def compress_old_logs(
    report: Report,
    *,
    folders: list[Path],
    older_than_days: float = 6,
    archive_folder: str = "archive",
    archive_keep_days: float | None = None,
    dry_run: bool = False,
) -> None:
    """Put log files that were modified more than 6 days ago into a dated zip archive.

    One archive a day for each folder, `ARCHIVE_FOLDER/NAME-logs-YYYY-MM-DD.zip` below it. A log is removed only when
    the archive is on disk and compared with it; one that a program has open for writing stays. Archives older than
    `archive_keep_days` are removed, if that is set.
    """
    now, troubles = datetime.now(UTC), Troubles(report)
    for folder in folders:
        with troubles.with_(folder):
            compress(report, folder, archive_folder, now=now, age=timedelta(days=older_than_days), dry_run=dry_run)
            if archive_keep_days is not None:
                age = timedelta(days=archive_keep_days)
                remove_archives(report, folder, archive_folder, now=now, age=age, dry_run=dry_run)
    troubles.require_none()


def compress(
    report: Report, folder: Path, archive_folder: str, *, now: datetime, age: timedelta, dry_run: bool
) -> None:
    old = archive.find_old(folder, now=now, age=age, archive_folder=archive_folder)
    files, in_use = archive.not_being_written(folder, old)
    for found in in_use:
        report.item(str(folder / found.name), "left", "a program has it open for writing")
    target = archive.unused_name(folder / archive_folder, f"{folder.name}-logs-{now:%Y-%m-%d}")
    if dry_run:
        for found in files:
            report.item(str(folder / found.name), "would be compressed", str(target))
        print(f"{folder}: {len(files)} files would go into {target}")
        return
    packed = archive.write_archive(target, files, base=folder) if files else []
    gone = {found for found in packed if archive.remove(folder, found)}
    for found in packed:
        is_gone = found in gone
        report.item(
            str(folder / found.name),
            "compressed" if is_gone else "copied",
            str(target) if is_gone else "it changed meanwhile, so it stays as well",
        )
    report.count("files", len(gone))
    if packed:
        report.count("bytes before", sum(found.size for found in packed))
        report.count("bytes after", target.stat().st_size)
        print(f"{target}: {len(packed)} files")
    else:
        print(f"{folder}: nothing is older than {age / timedelta(days=1):g} days")


def remove_archives(
    report: Report, folder: Path, archive_folder: str, *, now: datetime, age: timedelta, dry_run: bool
) -> None:
    for path in archive.find_outlived(folder, archive_folder, now=now, age=age):
        report.item(str(path), "would be removed" if dry_run else "removed")
        if not dry_run:
            path.unlink()
            report.count("archives removed", 1)


@task(
    schedule="*-*-* 00:50:00", zone="UTC", catch_up="latest", spread="10min", timeout="30min", memory="256M",
    parameters=["export_keep_days"],
)  # fmt: skip
def cull_old_exports(
    report: Report,
    *,
    folders: list[Path],
    export_keep_days: float = 7,
    patterns: list[str] = list(exports.EXPORTS),  # noqa: B006 - never changed
    keep: list[str] = list(exports.KEPT),  # noqa: B006 - never changed
    dry_run: bool = False,
) -> None:
    """Remove exports that are older than 7 days from download folders.

    Only plain files directly in a folder go, and only those whose whole name matches one of `patterns`. What matches
    one of `keep`, and what begins with a dot, stays whatever its age; any other name is reported and stays.
    """
    now, troubles = datetime.now(UTC), Troubles(report)
    old, kept = exports.compile_all(patterns), exports.compile_all(keep)
    for folder in folders:
        with troubles.with_(folder):
            here = exports.open_folder(folder)
            try:
                entries = exports.look_through(here, old, kept, now=now, age=timedelta(days=export_keep_days))
                for entry in list(entries):
                    cull(report, folder, here, entry, dry_run=dry_run)
            finally:
                os.close(here)
    troubles.require_none()


def cull(report: Report, folder: Path, here: int, entry: exports.Entry, *, dry_run: bool) -> None:
    name = str(folder / entry.name)
    if entry.kind is exports.Kind.UNKNOWN:
        report.item(name, "unknown", f"{entry.reason}; it stays")
        report.count("unknown", 1)
        print(f"{name}: {entry.reason}; it stays")
    elif entry.kind is exports.Kind.OLD and dry_run:
        report.item(name, "would be removed")
        print(f"{name} would be removed")
    elif entry.kind is exports.Kind.OLD:
        os.unlink(entry.name, dir_fd=here)
        report.item(name, "removed")
        report.count("removed", 1)
        report.count("bytes", entry.size)
    else:
        report.count("kept", 1)


# -- errors


# As a user the host knows, for what the task remembers and what is caught in the outbox outlive the run.
@task(
    schedule="*:0/15", zone="UTC", catch_up="none", timeout="10min", memory="512M", user="rota",
    groups=["adm", "systemd-journal"], network="any", write=[str(STATE), "/var/lib/rota/outbox"],
)  # fmt: skip
def process_logged_errors(
    report: Report,
    *,
    python: list[str] = [],  # noqa: B006 - never changed
    nginx: list[str] = [],  # noqa: B006 - never changed
    apache: list[str] = [],  # noqa: B006 - never changed
    w3c: list[str] = [],  # noqa: B006 - never changed
    units: list[str] = [],  # noqa: B006 - never changed
    ignore: list[str] = [],  # noqa: B006 - never changed
    notify: list[str] | None = None,
    limit: int = 20,
    journal: Path | None = None,
    state: Path = STATE,
    dry_run: bool = False,
) -> None:
    """Look for errors in logs, and mail those that were not told yet.

    `python`, `nginx`, `apache` and `w3c` list files of those kinds, with `*` where names differ, their rotated ones
    included; `units` lists systemd units whose journal is read. The first look at a log begins at its end. Errors that
    differ only in numbers, addresses and ids are one kind; at most `limit` kinds are told in full, and what one of
    `ignore` is found in is not told at all.
    """
    now = datetime.now(UTC)
    files = {"python": python, "nginx": nginx, "apache": apache, "w3c": w3c}
    watched = Watched(files, units, journal, exports.compile_all(ignore))
    if not units and not any(watched.files.values()):
        raise BadSetting("nothing is watched: name files under python, nginx, apache or w3c, or units")
    name = os.environ.get("ROTA_TASK") or "process_logged_errors"
    places = mailing.find_places()
    agent, troubles = mailing.find_agent(places), Troubles(report)
    to = agent.alerting.to if notify is None else tuple(notify)

    def post(finding: Finding) -> tuple[str, Failures]:
        lines = [f"The task {name} found {finding.subject}:", *finding.lines]
        at = datetime.fromisoformat(finding.at)
        letter = mailing.compose(agent, finding.subject, lines, name=finding.name, at=at)
        return mailing.send(places, agent, letter, finding.to, now)

    def found_in(memory: Memory) -> Memory:
        after, groups = logged.look(watched, memory, troubles, now=now)
        if not groups.total:
            print("There are no new errors.")
            return after
        finding = logged.finding_of(groups, task=name, host=agent.host, to=to, limit=limit, now=now)
        return replace(after, finding=finding)

    if dry_run:
        memory = Memory.load(state / name / "memory.json")
        finding = found_in(memory).finding
        print("\n".join((finding.subject, *finding.lines)) if finding else "Nobody would be told.")
        return
    file = remembered.own_folder(state, "process_logged_errors") / "memory.json"
    memory = Memory.load(file)
    if memory.finding:
        with troubles.with_("the mail of an earlier run"):
            logged.tell(memory, file, report, post)
        memory = Memory.load(file)
    if memory.finding is None:
        memory = found_in(memory)
        memory.store(file)
        with troubles.with_("mail"):
            logged.tell(memory, file, report, post)
    troubles.require_none()


# -- visits


@task(
    schedule="*-*-* 01:40:00", zone="UTC", catch_up="latest", spread="10min", timeout="6h", memory="1G", user="rota",
    groups=["adm"], write=[str(STATE)], parameters=["today", "carry_on"],
)  # fmt: skip
def process_logs(
    report: Report,
    *,
    sites: dict[str, str],
    aliases: dict[str, list[str]] = {},  # noqa: B006 - never changed
    formats: dict[str, str] = {},  # noqa: B006 - never changed
    reports: list[str] = ["awstats", "goaccess"],  # noqa: B006 - never changed
    anonymise: bool = True,
    geoip_database: Path | None = None,
    today: bool = False,
    carry_on: bool = True,
    archive_folder: str = "archive",
    report_folder: Path | None = None,
    state: Path = STATE,
    dry_run: bool = False,
) -> None:
    """Count the visits of web sites, with AWStats and GoAccess.

    `sites` says for each site where its access logs lie, with `*` where names differ, rotated and compressed ones
    included. Every day that is over and was not counted yet is counted, the oldest first. With `carry_on` the other
    sites have their turn when one fails; without it the first failure ends the run.
    """
    now, troubles = datetime.now(UTC), Troubles(report)
    for program in reports:
        if program not in PROGRAMS:
            raise BadSetting(f"reports names {program!r}; it must name some of {', '.join(PROGRAMS)}")
    for name in [*aliases, *formats]:
        if name not in sites:
            raise BadSetting(f"aliases and formats speak of {name!r}, which is not among sites")
    own = (
        state / (os.environ.get("ROTA_TASK") or "process_logs")
        if dry_run
        else remembered.own_folder(state, "process_logs")
    )
    for name, logs in sites.items():
        with troubles.with_(name):
            desk = Desk(
                site=Site(name, logs, tuple(aliases.get(name, ())), formats.get(name, "combined")),
                folder=own / name,
                reports=(report_folder or own / "reports") / name,
                archive_folder=archive_folder,
                programs=tuple(reports),
                is_anonymous=anonymise,
                geoip=geoip_database,
            )
            visit(report, desk, now=now, with_today=today, dry_run=dry_run)
        if troubles.told and not carry_on:
            break
    troubles.require_none()


def visit(report: Report, desk: Desk, *, now: datetime, with_today: bool, dry_run: bool) -> None:
    if dry_run:
        for date, lines in visits.foresee(desk, now=now, with_today=with_today):
            report.item(f"{desk.site.name} {date}", "would be counted", f"{lines} lines")
            print(f"{desk.site.name} {date}: {lines} lines would be counted")
        return

    def tell(name: str, outcome: str, message: str) -> None:
        report.item(name, outcome, message)
        print(f"{name}: {message}", flush=True)

    total = visits.work_on(desk, tell, now=now, with_today=with_today)
    report.count("requests", total)
    report.count("sites", 1)
    print(f"{desk.site.name}: {total} new requests; the reports are in {desk.reports}")


# -- databases of addresses


@task(
    schedule="*-*-02 05:30:00", zone="UTC", catch_up="latest", spread="1h", timeout="1h", memory="512M", user="rota",
    network="any", credentials=["maxmind"], write=[str(STATE)],
)  # fmt: skip
def geoip_download(
    report: Report,
    *,
    editions: list[str] = ["GeoLite2-Country"],  # noqa: B006 - never changed
    folder: Path = STATE,
    base_url: str = "https://download.maxmind.com",
    credential: str = "maxmind",
    dry_run: bool = False,
) -> None:
    """Fetch MaxMind's databases of where addresses are.

    Asks for what is newer than the one in `folder`, compares its checksum, opens it, and only then puts it in place of
    the one before, in one step. The credential holds the account's id and a licence key, as ID:KEY; an empty
    `credential` is for a mirror that asks for none.
    """
    account = geoip.account_of(secret(credential)) if credential else None
    source, troubles = geoip.Source(base_url, account), Troubles(report)
    for edition in editions:
        if dry_run:
            report.item(edition, "would be fetched", geoip.shown(source.address(edition, "tar.gz")))
            print(f"{edition} would be fetched from {geoip.shown(source.address(edition, 'tar.gz'))}")
            continue
        with troubles.with_(edition):
            found = geoip.update(source, edition, folder)
            said = f"built at {found.built:%Y-%m-%d %H:%M}" if found else ""
            report.item(edition, "fetched" if found else "unchanged", said)
            report.count("databases fetched", 1 if found else 0)
            print(f"{edition}: {said or 'there is nothing newer'}")
    troubles.require_none()


def secret(name: str) -> str:
    """A credential of this run. Raises NoCredential."""
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY") or mailing.find_places().credentials) / name
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise NoCredential(f"{path}: {error.strerror}") from error


# -- the host


# As a user the host knows: dbus refuses users that are made for one run where libnss-systemd is missing.
@task(
    schedule="*-*-* *:05:00", zone="UTC", catch_up="none", spread="2min", timeout="2min", memory="256M", user="rota",
    write=[str(STATE)],
)  # fmt: skip
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
    security_updates: bool = True,
    security_days: float = 3,
    state: Path = STATE,
    dry_run: bool = False,
) -> None:
    """Look at disks, inodes, memory, failed units, certificates, security updates and the clock of this host.

    Fails when one is beyond its limit or cannot be looked at, naming each. A security update may wait for
    `security_days`, which is for the host to install it by itself; since when it waits is kept in `state`. `clock`,
    `failed_units` and `security_updates` switch those checks off where there is no systemd or no apt to ask.
    """
    now = datetime.now(UTC)
    checks: dict[str, Callable[[], list[str]]] = {
        "disks": lambda: check_disks(report, space_percent, inodes_percent),
        "memory": lambda: check_memory(report, memory_available_percent),
        "certificates": lambda: check_certificates(report, certificate_folders, certificate_days, now=now),
    }
    if failed_units:
        checks["units"] = lambda: check_units(report)
    if security_updates:
        checks["security updates"] = lambda: check_updates(report, state, security_days, now=now, dry_run=dry_run)
    if clock:
        checks["clock"] = lambda: check_clock(report)
    findings = [finding for name, check in checks.items() for finding in found_by(check, report, name)]
    if findings:
        raise HostUnwell("; ".join(findings))
    print("Everything is within its limits.")


def found_by(check: Callable[[], list[str]], report: Report, name: str) -> list[str]:
    """What a check finds; one that cannot be made is a finding, and hides no other."""
    try:
        return check()
    except (RotaError, OSError) as error:
        report.item(name, "failed", str(error))
        return [f"{name} cannot be looked at: {error}"]


def check_disks(report: Report, space: float, inodes: float) -> list[str]:
    findings: list[str] = []
    mounts = health.mounts(Path("/proc/self/mounts").read_text("utf-8"))
    for mount in filter(os.path.isdir, mounts):  # a single file may be mounted as well
        try:
            filled = health.fill(mount)
        except OSError as error:
            findings.append(f"{mount} cannot be looked at: {error.strerror}")
            continue
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
    findings = [f"the folder {folder} of certificates cannot be read" for folder in health.closed(folders)]
    expiring = 0
    for path in health.certificates(folders):
        try:
            end = health.expiry(path.read_text("ascii", errors="replace"))
        except (OSError, ValueError) as error:
            report.item(str(path), "unreadable", str(error))
            findings.append(f"the certificate {path} cannot be read: {error}")
            continue
        if end is None:
            continue
        is_soon = end - now < timedelta(days=days)
        report.item(str(path), "expires soon" if is_soon else "valid", f"until {end:%Y-%m-%d}")
        if is_soon:
            expiring += 1
            findings.append(f"the certificate {path} ends on {end:%Y-%m-%d}")
    report.count("certificates expiring", expiring)
    return findings


def check_units(report: Report) -> list[str]:
    """Units that failed, other than our tasks': their failures have records of their own."""
    text = answer(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend"])
    failed = [unit for unit in health.first_words(text) if not unit.startswith("rota-task-")]
    report.count("units failed", len(failed))
    for unit in failed:
        report.item(unit, "failed")
    return [f"{unit} has failed" for unit in failed]


def check_updates(report: Report, state: Path, days: float, *, now: datetime, dry_run: bool) -> list[str]:
    """Security updates that have waited for too long, as the lists say that the host fetched last.

    Without a folder to remember it in, none has waited at all.
    """
    known = remembered.read(state / UPDATES)
    lists = [path.stat().st_mtime_ns for path in PACKAGE_LISTS if path.exists()]
    # apt takes two seconds of processor time for an answer that changes once a day.
    is_as_before = known.get("lists") == lists
    said = known.get("waiting", {})
    versions = {name: at[0] for name, at in said.items()} if is_as_before else ask_apt()
    since = {
        name: said[name][1] if name in said and said[name][0] == version else now.timestamp()
        for name, version in versions.items()
    }
    findings: list[str] = []
    if not dry_run and not is_as_before and os.access(state, os.W_OK):
        waiting = {name: [version, since[name]] for name, version in versions.items()}
        try:
            remembered.write(state / UPDATES, {"lists": lists, "waiting": waiting})
        except OSError as error:
            findings.append(f"{state / UPDATES}: {error.strerror}")
    for package, version in sorted(versions.items()):
        waits = datetime.fromtimestamp(since[package], UTC)
        is_late = now - waits > timedelta(days=days)
        message = f"security update {version}, since {waits:%Y-%m-%d}"
        report.item(package, "not installed" if is_late else "waits", message)
        if is_late:
            findings.append(f"the security update {package} {version} waits since {waits:%Y-%m-%d}")
    report.count("security updates waiting", len(versions))
    if len(findings) > MOST_NAMED:
        findings = [*findings[:MOST_NAMED], f"and {len(findings) - MOST_NAMED} more security updates"]
    return findings


def ask_apt() -> dict[str, str]:
    return health.security_updates(answer(health.upgrade_command()))


def check_clock(report: Report) -> list[str]:
    """Whether the clock is synchronised; in a container it is the machine's outside, which answers for it."""
    if CONTAINER.exists():
        return []
    is_in_step = health.properties(answer(["timedatectl", "show"])).get("NTPSynchronized") == "yes"
    report.count("clock out of step", 0 if is_in_step else 1)
    return [] if is_in_step else ["the clock is not kept in step with others (see timedatectl)"]


def answer(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotAsk(f"{command[0]} is not installed; switch this check off in the task's settings") from error
    if said.returncode:
        raise CannotAsk(f"{command[0]}: {said.stderr.strip()}")
    return said.stdout

"""The tasks of the reports pack: a night's reports, and those that somebody asks for."""

import os
import socket
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rota.adapters.diary import Diary, DiaryBusy, DiaryRefused, DiaryUnreachable, read_token
from rota.core.places import on_host, under
from rota.packs import Report, task
from rota.packs.reports import asked, ledger, nightly, source
from rota.packs.reports.attempt import Attempt, Trigger
from rota.packs.reports.database import Database, Engine
from rota.packs.reports.definitions import Definitions
from rota.packs.reports.folder import read_folder
from rota.packs.reports.publishing import Export
from rota.packs.reports.running import Desk, Guard, sweep_trees
from rota.packs.reports.sandbox import MEBIBYTE, Limits
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.workplace import STATE, Workplace

# What differs from every other task's unit: scripts run in namespaces that bubblewrap makes, by these calls.
SANDBOXES = {
    "RestrictNamespaces": "user mnt pid net ipc uts cgroup",
    "SystemCallFilter": "mount umount2 pivot_root",
    # What is published is read by the group of its folder.
    "UMask": "0027",
}
EXPOSURE = 2.3


@task(
    schedule="*-*-* 02:00:00", zone="UTC", catch_up="latest", timeout="6h", memory="2G", user="rota-reports",
    network="any", credentials=["diary_token"], write=[str(STATE)], processes=512, service=SANDBOXES,
    exposure=EXPOSURE, parameters=["reports", "day"],
)  # fmt: skip
def reports_nightly(
    report: Report,
    *,
    reports: list[str] = [],  # noqa: B006 - never changed
    day: str = "",
    zone: str = "UTC",
    folder: Path | None = None,
    diary: str = "",
    certificate: Path | None = None,
    at_once: int = 2,
    seconds: float = 3600,
    memory_mb: int = 512,
    forks: bool = False,
    guard: str = "on",
    libraries: Path | None = None,
    database: str = "",
    database_engine: str = "postgresql",
    database_user: str = "rota-reports",
    database_socket: Path = Path("/var/run/postgresql"),
    state: Path = STATE,
    dry_run: bool = False,
) -> None:
    """Make all reports that are due, each in a sandbox of its own, and publish what came of them.

    Definitions come from the `diary` at this address, or from a `folder` of files. `reports` names some instead, as
    CLIENT/FILE, due or not; `day` is another day than today in `zone`. Of each at most `seconds` and `memory_mb` are
    taken, `at_once` at a time; with `forks` a script may start processes, and each may take as much memory. Scripts
    read the `database` over its server's socket, as a user that may only read.
    """
    limits, read = limits_of(seconds, memory_mb, forks), libraries_of(report, libraries)
    desk = desk_of(state, limits, guard, read, database_of(
        database, database_engine, database_user, database_socket
    ))  # fmt: skip
    teller = diary_at(diary, certificate)
    definitions = definitions_of(report, desk, folder, teller)
    today = date.fromisoformat(day) if day else datetime.now(ZoneInfo(zone)).date()
    if reports:
        orders = nightly.chosen(definitions, reports, today)
    else:
        orders = nightly.due(definitions, today, last=nightly.last_day(desk.places))
    if dry_run:
        for order in orders:
            report.item(definitions.report_name(order.task), "would be made", f"for {order.planned}")
            print(f"{definitions.report_name(order.task)} would be made, for {order.planned}")
        return
    Export(desk.places.exports).sweep()
    sweep_trees(desk.places.trees)
    asked.sweep(desk.places, now=time.time())
    try:
        failed = nightly.make_all(desk, definitions, orders, at_once=at_once, tell=teller_of(report, len(orders)))
    except ledger.NotNoted:
        hand_over(report, desk, teller)
        raise
    hand_over(report, desk, teller)  # first, for it makes room on a full disk
    if not reports:
        nightly.remember_day(desk.places, today)
    if failed:
        raise nightly.SomeFailed(f"{failed} of {len(orders)}")
    if not orders:
        print(f"No report is due on {today}.")


@task(
    watch=[str(STATE / "asked")], timeout="6h", memory="2G", user="rota-reports", network="any",
    credentials=["diary_token"], write=[str(STATE)], processes=512, service=SANDBOXES, exposure=EXPOSURE, asking=False,
)  # fmt: skip
def reports_asked(
    report: Report,
    *,
    diary: str = "",
    certificate: Path | None = None,
    at_once: int = 2,
    seconds: float = 3600,
    memory_mb: int = 512,
    forks: bool = False,
    guard: str = "on",
    libraries: Path | None = None,
    database: str = "",
    database_engine: str = "postgresql",
    database_user: str = "rota-reports",
    database_socket: Path = Path("/var/run/postgresql"),
    state: Path = STATE,
) -> None:
    """Make the reports that somebody asked for in the diary, now or to look at them first.

    Its settings are those of `reports_nightly`. A dry run publishes nothing; what it says is kept for two days, for
    whoever asked.
    """
    limits, read = limits_of(seconds, memory_mb, forks), libraries_of(report, libraries)
    desk = desk_of(state, limits, guard, read, database_of(
        database, database_engine, database_user, database_socket
    ))  # fmt: skip
    asked.close_interrupted(desk.places)
    asked.sweep(desk.places, now=time.time())
    try:
        number = asked.answer_all(desk, at_once=at_once, tell=teller_of(report, None))
        print(f"{number} requests were answered.")
    finally:
        hand_over(report, desk, diary_at(diary, certificate))


def desk_of(state: Path, limits: Limits, guard: str, libraries: Path | None, database: Database | None) -> Desk:
    places = Workplace(state)
    places.make()
    return Desk(
        places=places,
        sandbox=Bubblewrap(libraries=libraries, database=database),
        limits=limits,
        host=socket.gethostname(),
        run=os.environ.get("ROTA_RUN_ID"),
        guard=Guard(guard),
        database=database,
    )


def libraries_of(report: Report, folder: Path | None) -> Path | None:
    """None where there are none; that a release lacks them is told, for their importers alone will fail.

    Resolved, so that a run that began under one release keeps its libraries when another comes into use.
    """
    found = folder.resolve() if folder else None
    if found is None or found.is_dir():
        return found
    reason = f"there is no folder {folder}; scripts find only what Python has of its own"
    report.item("libraries", "missing", reason)
    print(f"Libraries: {reason}")
    return None


def limits_of(seconds: float, memory_mb: int, forks: bool) -> Limits:
    return Limits(seconds=seconds, memory=memory_mb * MEBIBYTE, forks=forks)


def database_of(name: str, engine: str, user: str, where: Path) -> Database | None:
    return Database(engine=Engine(engine), name=name, user=user, socket=where) if name else None


def definitions_of(report: Report, desk: Desk, folder: Path | None, diary: Diary | None) -> Definitions:
    """Raises NoDefinitions, BadDefinitions."""
    if folder is not None:
        return read_folder(folder)
    if diary is None:
        raise source.NoDefinitions("neither a folder nor a diary is set")
    definitions, doubt = source.from_diary(diary, desk.places.known)
    if doubt:
        report.item("definitions", "as of earlier", doubt)
        print(doubt)
    return definitions


def diary_at(url: str, certificate: Path | None) -> Diary | None:
    """The diary of this address, where there is one. Raises DiaryRefused."""
    if not url:
        return None
    home = os.environ.get("ROTA_HOME")
    credentials = (under(Path(home)) if home else on_host()).credentials
    return Diary(url=url.rstrip("/"), token=read_token(credentials), certificate=certificate)


def teller_of(report: Report, number: int | None) -> Callable[[Attempt], None]:
    """Tells each attempt as an item, with counts of rows and bytes, and says how far it is.

    Of a dry run no more than its name, outcome and seconds, for whoever reads runs may read this, and a dry run is for
    whoever asked alone.
    """
    made, of = 0, f" of {number}" if number else ""

    def tell(attempt: Attempt) -> None:
        nonlocal made
        made += 1
        is_good, is_private = attempt.outcome.is_good, attempt.trigger is Trigger.DRY_RUN
        report.item(attempt.report, attempt.outcome, "" if is_good or is_private else attempt.message[:500])
        report.count("reports", 1 if is_good else 0)
        report.count("seconds", round(attempt.seconds, 3))
        said = f"{made}{of}: {attempt.report}: {attempt.outcome} in {attempt.seconds:.1f} s"
        if not is_private:
            report.count("rows", attempt.rows or 0)
            report.count("bytes", attempt.bytes or 0)
            said += f": {attempt.rows} lines, {attempt.bytes} bytes" if is_good else f": {attempt.message}"
        print(said, flush=True)

    return tell


def hand_over(report: Report, desk: Desk, diary: Diary | None) -> None:
    """Tell the diary of every attempt it has not heard of; what it cannot hear now it hears next time."""
    if diary is None:
        return
    try:
        _, refused = ledger.deliver(desk.places.ledger, diary)
    except (DiaryUnreachable, DiaryBusy, DiaryRefused) as error:
        report.count("attempts not told", sum(1 for _ in ledger.waiting(desk.places.ledger)))
        print(f"The diary hears of these attempts later: {error.args[0]}")
        return
    if refused:  # of reports that the diary does not know: those of a folder, or of somebody who deleted them meanwhile
        report.count("attempts refused by the diary", len(refused))
        print(f"The diary refused {len(refused)} attempts; the first: {next(iter(refused.values()))}")

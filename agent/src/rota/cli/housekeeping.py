"""The commands that keep units, spool, diary and people in step; systemd starts most of them."""

import argparse
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rota import alerting, checks, units
from rota.adapters import systemd
from rota.adapters.cataloguing import release_at, tell_catalogue
from rota.adapters.diary import Diary, DiaryRefused, read_token
from rota.adapters.pauses import Pauses
from rota.adapters.progress import Progress
from rota.adapters.reconciling import read_boot, reconcile
from rota.adapters.shipping import ship
from rota.adapters.spool import turn_in
from rota.catalogue import BadConfiguration, discover, gather, origins_of
from rota.cli.finding import PACKAGE, compile_units, examine_catalogue, find_catalogue, find_places, find_spool, holding
from rota.cli.parsing import command
from rota.cli.printing import local, print_json, print_table
from rota.core.catalogue import Catalogue
from rota.core.errors import RotaError
from rota.core.places import Places
from rota.planning import account_now

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


class ProblemsFound(RotaError):
    """The catalogue has problems."""


def add_commands(commands: "Commands") -> None:
    sync = command(commands, "sync", sync_units, "Bring this host's units in step with its catalogue; fires no task.")
    sync.add_argument("--check", action="store_true", help="change nothing")
    sync.add_argument("--diff", action="store_true", help="show the differences")
    sync.add_argument("--json", action="store_true", help="print what changed as JSON")
    check = command(commands, "check", check_catalogue, "Look for mistakes in the catalogue and its units.")
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    check.add_argument(
        "--elsewhere",
        action="store_true",
        help="leave out what only the host can tell: programs, users, files, secrets",
    )
    command(commands, "ship", ship_records, "Send finished runs to the diary.")
    alerts = command(commands, "alert", alert_people, "Tell the people of tasks that fail or have recovered.")
    alerts.add_argument("task", nargs="?", help="the task whose unit failed, as systemd's OnFailure= gives it")
    alerts.add_argument("--test", action="store_true", help="only send everybody, and every channel, a trial")
    alerts.add_argument("--list", action="store_true", help="only list the open incidents, and who knows of them")
    alerts.add_argument("--caught", action="store_true", help="only list what did not leave this host, and would have")
    alerts.add_argument("--json", action="store_true", help="with --list or --caught: print JSON")
    command(commands, "reconcile", reconcile_spool, "Close lost runs and remove old records.")


def sync_units(options: argparse.Namespace) -> None:
    places = find_places(options)
    if places.is_embedded:
        raise RotaError("an embedded Rota has no units; its tasks run by rota run")
    if options.check:
        changes = find_changes(options, places, find_catalogue(places))
    else:
        places.units.mkdir(parents=True, exist_ok=True)
        # Two at once would stop, write and start the same units under each other's hands.
        with turn_in(places.units):
            changes = bring_in_step(options, places, find_catalogue(places))
    if options.json:
        said = [{"unit": change.unit, "action": action_of(change)} for change in changes]
        diff = "".join(change.diff for change in changes) if options.diff else ""
        print_json({"changed": bool(changes), "units": said, "diff": diff})
        return
    for change in changes:
        print(f"{action_of(change)} {change.unit}")
        if options.diff:
            print(change.diff, end="")


def find_changes(options: argparse.Namespace, places: Places, catalogue: Catalogue) -> list[units.Change]:
    """What a sync would change; says which units stay as they are although they differ."""
    wanted = compile_units(catalogue, places)
    for name in wanted:
        if units.is_masked(places.units / name):
            print(f"rota: {name} is masked, and stays so until its link to /dev/null is gone", file=sys.stderr)
    return units.find_changes(wanted, places.units, units.units_behind(wanted) if is_live(options) else ())


def bring_in_step(options: argparse.Namespace, places: Places, catalogue: Catalogue) -> list[units.Change]:
    """Change what differs; returns what that was."""
    changes = find_changes(options, places, catalogue)
    compile_runner()
    if is_live(options):
        plan_anew(places, catalogue)
    units.apply(changes, catalogue, places, is_live=is_live(options))
    return changes


def is_live(options: argparse.Namespace) -> bool:
    """Whether the units are those of the systemd that runs here."""
    return options.root == Path("/") and systemd.is_booted()


def plan_anew(places: Places, catalogue: Catalogue) -> None:
    """Account for what passed as it was planned then, and plan what comes; what fails does not keep the units back."""
    try:
        account_now(places, catalogue, is_live=True, starts=False)
    except (RotaError, OSError) as error:
        print(f"rota: {error}", file=sys.stderr)


def action_of(change: units.Change) -> str:
    if change.after is None:
        return "remove"
    if change.before is None:
        return "add"
    if change.before != change.after:
        return "change"
    if not change.is_behind:
        return "enable"
    return "start" if change.path.suffix in units.INSTALLED_IN else "reload"


def compile_runner() -> None:
    """Leave the runner compiled, for its users may not write beside it."""
    runner = PACKAGE / "runner.py"
    if not Path(importlib.util.cache_from_source(str(runner))).exists() and os.access(PACKAGE, os.W_OK):
        py_compile.compile(str(runner), quiet=1)


def check_catalogue(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = examine_catalogue(places)
    if isinstance(catalogue, Catalogue):
        tasks, found = len(catalogue.tasks), list(problems_of(catalogue, places, is_elsewhere=options.elsewhere))
    else:
        tasks, found = 0, [refusal(error) for error in catalogue]
    if options.json:
        print_json({"tasks": tasks, "problems": [asdict(each.problem) | {"file": each.file} for each in found]})
    else:
        for each in found:
            print(each.text, file=sys.stderr)
    if found:
        raise ProblemsFound(f"{len(found)} in {places.configuration}")
    if not options.json:
        print(f"{tasks} tasks, no problems.")


@dataclass(frozen=True)
class Found:
    """A problem, the file in which it is to be mended, and all of it in a line."""

    problem: checks.Problem
    file: str
    text: str


def refusal(error: BadConfiguration) -> Found:
    """What keeps the catalogue from being read, as a problem like any other."""
    return Found(checks.Problem(error.task, error.key, error.said), str(error.file), str(error.args[0]))


def problems_of(catalogue: Catalogue, places: Places, *, is_elsewhere: bool) -> Iterator[Found]:
    units, packs = compile_units(catalogue, places), discover()
    said = gather(places.configuration, [])[1]
    for problem in checks.find_problems(catalogue, places, units, now=datetime.now(UTC), is_elsewhere=is_elsewhere):
        # The file in which the field stands, or else the first that names the task, or the folder of all.
        own = origins_of(said[problem.task], packs) if problem.task else {}
        files = [own.get(problem.key, ""), *own.values(), str(places.configuration)]
        file = next(file for file in files if file.startswith("/"))
        yield Found(problem, file, f"{file}: {problem.text}")


def ship_records(options: argparse.Namespace) -> None:
    places, now = find_places(options), datetime.now(UTC)
    catalogue = find_catalogue(places)
    agent = catalogue.agent
    if agent.diary is None:
        raise DiaryRefused(f"agent: diary: url is not set in {places.configuration}/*.yml, so there is none to send to")
    spool = find_spool(places)
    diary = Diary(url=agent.diary, token=read_token(places.credentials), certificate=agent.certificate)
    progress = Progress("records")
    with holding(spool.folder / "sent", "rota ship"):
        try:
            pauses, release = Pauses(places.pauses).all(), release_at(places.current)
            confined = units.told_units(catalogue, places.units)
            tell_catalogue(spool, catalogue, pauses, release, now, units=confined, has_timers=not places.is_embedded)
            sent = ship(spool, diary, pause=spool.folder / "sent" / "pause", now=now, tell=progress.tell)
        finally:
            progress.end()
    said = f"{sent.acknowledged} records acknowledged, {sent.quarantined} put aside, {sent.running} still running"
    print(f"{said}{left_alone(sent.left)}.")


def alert_people(options: argparse.Namespace) -> None:
    places = find_places(options)
    now = datetime.now(UTC)
    if options.list or options.caught:
        list_alerts(options, places, now)
        return
    catalogue = find_catalogue(places)
    find_spool(places)
    if options.test:
        print(alerting.try_out(places, catalogue, now))
        return
    failure = alerting.failure_of(os.environ)
    print(alerting.alert(places, catalogue, task=options.task, failure=failure, now=now))


def list_alerts(options: argparse.Namespace, places: Places, now: datetime) -> None:
    if options.caught:
        caught = alerting.list_caught(places)
        if options.json:
            print_json([dict(zip(("at", "to", "subject"), each, strict=True)) for each in caught])
            return
        print_table(("at", "to", "subject"), caught, empty=f"Nothing was caught; it would lie in {places.outbox}.")
        return
    incidents = alerting.list_incidents(places, now)
    if options.json:
        print_json(incidents)
        return
    rows = [
        (each["task"], each["kind"], local(datetime.fromisoformat(each["since"])), str(each["failures"]),
         ", ".join(each["told"]) or "nobody", each["reason"])
        for each in incidents
    ]  # fmt: skip
    print_table(("task", "what", "since", "times", "told", "reason"), rows, empty="No incidents.")


def reconcile_spool(options: argparse.Namespace) -> None:
    places = find_places(options)
    spool = find_spool(places)
    agent = find_catalogue(places).agent
    with holding(spool.folder / "quarantine", "rota reconcile"):
        done = reconcile(
            places, boot=read_boot(), now=datetime.now(UTC), has_diary=agent.diary is not None, keep=agent.keep
        )
    said = f"{done.lost} lost, {done.recovered} recovered, {done.removed} removed, {done.quarantined} put aside"
    print(f"{said}{left_alone(done.left)}.")
    if done.discarded:
        print(f"rota: {done.discarded} of them the diary never had: there was no more room (agent: keep: unsent)")


def left_alone(number: int) -> str:
    """What is to be said of entries of the spool that cannot be moved; a task may have put them there."""
    return f", {number} left alone that cannot be moved" if number else ""

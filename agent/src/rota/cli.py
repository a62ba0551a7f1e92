"""The command `rota`: runs tasks, shows what became of them, and keeps units, spool and diary in step."""

import argparse
import importlib.util
import json
import os
import py_compile
import runpy
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota import alerting, checks, starting, units
from rota.adapters import systemd
from rota.adapters.diary import Diary, DiaryRefused
from rota.adapters.reconciling import read_boot, reconcile
from rota.adapters.shipping import ship
from rota.adapters.spool import Record, Spool, SpoolUnreadable, runs, spool_of
from rota.catalogue import discover, load
from rota.core import places as layout
from rota.core.catalogue import Catalogue
from rota.core.errors import RotaError
from rota.core.places import Places
from rota.core.quantities import parse_duration, show_duration
from rota.core.record import RunRecord, as_mapping
from rota.core.status import Status, Trigger
from rota.core.task import Task
from rota.runner import try_lock

PACKAGE = Path(__file__).resolve().parent
EVERYWHERE = ("running", "done", "sent")


class ProblemsFound(RotaError):
    """The catalogue has problems."""


class NotNow(RotaError):
    """This is being done already."""


def main() -> None:
    if pack_has_commands(sys.argv[1:2]):
        sys.argv = [f"rota {sys.argv[1]}", *sys.argv[2:]]
        runpy.run_module(f"rota.packs.{sys.argv[0].removeprefix('rota ')}", run_name="__main__")
        return
    options = parser().parse_args()
    try:
        sys.exit(options.command(options) or 0)
    except RotaError as error:
        print(f"rota: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def pack_has_commands(words: Sequence[str]) -> bool:
    """Whether the first word names a pack with commands of its own, as in `rota backup list`."""
    return bool(words and words[0].isidentifier() and importlib.util.find_spec(f"rota.packs.{words[0]}")) and bool(
        importlib.util.find_spec(f"rota.packs.{words[0]}.__main__")
    )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="rota", description="Run, record and explain the scheduled work of this host.")
    top.add_argument(
        "--home",
        type=Path,
        default=os.environ.get("ROTA_HOME"),
        help="keep configuration, spool and locks under this folder, without systemd (also: ROTA_HOME)",
    )
    top.add_argument("--root", type=Path, default=Path("/"), help="the file system of the host; systemd is left alone")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    run = command(commands, "run", run_task, "Run a task now: same lock, user and limits; its exit code is passed on.")
    run.add_argument("task", help="the task's name")
    tasks = command(commands, "tasks", list_tasks, "List the tasks of this host.")
    tasks.add_argument("--json", action="store_true", help="print JSON")
    listing = command(commands, "runs", list_runs, "List runs, newest first.")
    listing.add_argument("task", nargs="?", help="only of this task")
    listing.add_argument("--status", choices=[each.value for each in Status], help="only with this status")
    listing.add_argument("--trigger", choices=[each.value for each in Trigger], help="only started by this")
    listing.add_argument("--since", type=duration, metavar="DURATION", help="only begun within this time, like 2d")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (default %(default)s)")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = command(commands, "show", show_run, "Show one run.")
    show.add_argument("run", help="the run's id, or how it begins or ends; or a task, for its latest run")
    show.add_argument("--log", action="store_true", help="only what the run printed")
    show.add_argument("--json", action="store_true", help="print the record as JSON")
    status = command(commands, "status", show_status, "Show every task with its last run and next slot.")
    status.add_argument("--json", action="store_true", help="print JSON")
    sync = command(commands, "sync", sync_units, "Bring this host's units in step with its catalogue; fires no task.")
    sync.add_argument("--check", action="store_true", help="change nothing")
    sync.add_argument("--diff", action="store_true", help="show the differences")
    sync.add_argument("--json", action="store_true", help="print what changed as JSON")
    command(commands, "check", check_catalogue, "Look for mistakes in the catalogue and its units.")
    command(commands, "ship", ship_records, "Send finished runs to the diary.")
    alerts = command(commands, "alert", alert_people, "Tell the people of tasks that fail or have recovered.")
    alerts.add_argument("task", nargs="?", help="the task whose unit failed, as systemd's OnFailure= gives it")
    alerts.add_argument("--test", action="store_true", help="only send everybody a trial mail")
    command(commands, "reconcile", reconcile_spool, "Close lost runs and remove old records.")
    return top


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    function: Callable[[argparse.Namespace], int | None],
    sentence: str,
) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=sentence, description=sentence)
    made.set_defaults(command=function)
    return made


def duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be {error}") from error


def find_places(options: argparse.Namespace) -> Places:
    return layout.under(Path(options.home).absolute()) if options.home else layout.on_host(options.root)


def find_catalogue(places: Places) -> Catalogue:
    """The catalogue of this host, or the one under the embedded home."""
    environment = places.environment.read_text("utf-8").strip() if places.environment.is_file() else "development"
    return load(
        places.configuration,
        host=socket.gethostname(),
        environment=environment,
        python=interpreter(places),
        packs=discover(),
    )


def interpreter(places: Places) -> list[str]:
    """How a pack's task is started: by the release's own Python, or by the one at hand."""
    path = units.through_current(Path(sys.executable), places)
    return [str(path), "-I"] if path != Path(sys.executable) else [sys.executable]


def find_spool(places: Places) -> Spool:
    spool = spool_of(places)
    if places.is_embedded:
        spool.make()
        places.locks.mkdir(exist_ok=True)
    return spool


def compile_units(catalogue: Catalogue, places: Places) -> dict[str, str]:
    """The units of this host; with a root elsewhere their text still speaks of the host itself."""
    return units.compile_units(catalogue, layout.on_host(), package=units.through_current(PACKAGE, layout.on_host()))


def run_task(options: argparse.Namespace) -> int:
    places = find_places(options)
    catalogue = find_catalogue(places)
    task = catalogue.task(options.task)
    spool = find_spool(places)
    if starting.has_unit(task, places):
        return starting.run_unit(task, places, spool)
    arguments = units.runner_arguments(task, catalogue.agent, places, trigger="manual", unit_hash="")
    return starting.run_here([*units.runner_command(PACKAGE), *arguments, "echo=yes", "--", *task.command])


def list_tasks(options: argparse.Namespace) -> None:
    tasks = find_catalogue(find_places(options)).tasks.values()
    if options.json:
        print_json([asdict(task) for task in tasks])
        return
    rows = [(task.name, ", ".join(task.calendars) or "by hand", task.description) for task in tasks]
    print_table(("task", "schedule", "description"), rows, empty="No tasks. docs/tasks.md says how to declare one.")


def list_runs(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    found = [
        run
        for run in runs(find_spool(find_places(options)).records("sent", "done", "running"))
        if options.task in (None, run.task)
        and options.status in (None, run.status)
        and options.trigger in (None, run.trigger)
        and (options.since is None or now - run.started <= options.since)
    ][: options.limit]
    if options.json:
        print_json([as_mapping(run) for run in found])
        return
    rows = [
        (local(run.started), run.task, run.status, run.reason, show_duration(run.duration), str(run.id))
        for run in found
    ]
    print_table(("started", "task", "status", "reason", "duration", "run"), rows, empty="No runs.")


def find_run(spool: Spool, word: str) -> Record:
    """The run that is meant: the latest of the task of this name, else the one with this id. Raises NoSuchRun."""
    name = word.replace("-", "_")
    latest = next((run for run in runs(spool.records("sent", "done", "running")) if run.task == name), None)
    return latest or spool.find(word)


def show_run(options: argparse.Namespace) -> None:
    spool = find_spool(find_places(options))
    record = find_run(spool, options.run)
    output = spool.output(record) if isinstance(record, RunRecord) else ""
    if options.json:
        print_json(as_mapping(replace(record, output=output) if isinstance(record, RunRecord) else record))
        return
    if not options.log:
        for key, value in as_mapping(record).items():
            if key not in ("version", "kind", "output", "items", "counts") and value not in (None, ""):
                print(f"{key:15}{value}")
    if isinstance(record, RunRecord) and not options.log:
        for name, count in record.counts.items():
            print(f"{'count':15}{name} = {count:g}")
        for item in record.items:
            print(f"{'item':15}{item.name}: {item.outcome} {item.message}".rstrip())
        print()
    print(output, end="" if output.endswith("\n") else "\n")


def show_status(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    last: dict[str, RunRecord] = {}
    for run in runs(find_spool(places).records("sent", "done", "running")):
        last.setdefault(run.task, run)
    slots = systemd.next_slots() if not places.is_embedded and systemd.is_booted() else {}
    rows = [status_row(task, last.get(task.name), slots.get(task.name)) for task in catalogue.tasks.values()]
    if options.json:
        keys = ("task", "status", "reason", "started", "duration", "next", "run")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    print(f"{catalogue.agent.host} ({catalogue.agent.environment})\n")
    print_table(("task", "status", "reason", "last run", "duration", "next slot", "run"), rows, empty="No tasks.")
    for line in alerting.describe(places, catalogue, datetime.now(UTC)):
        print(f"\n{line}")


def status_row(task: Task, run: RunRecord | None, slot: int | None) -> tuple[str, ...]:
    coming = local(datetime.fromtimestamp(slot / 1e6, UTC)) if slot else "-"
    if run is None:
        return (task.name, "never ran", "", "-", "-", coming, "-")
    return (task.name, run.status, run.reason, local(run.started), show_duration(run.duration), coming, str(run.id))


def sync_units(options: argparse.Namespace) -> None:
    places = find_places(options)
    if places.is_embedded:
        raise RotaError("an embedded Rota has no units; its tasks run by rota run")
    catalogue = find_catalogue(places)
    changes = units.find_changes(compile_units(catalogue, places), places.units)
    if not options.check:
        compile_runner()
        is_live = options.root == Path("/") and systemd.is_booted()
        units.apply(changes, catalogue, places, is_live=is_live)
    if options.json:
        said = [{"unit": change.unit, "action": action_of(change)} for change in changes]
        diff = "".join(change.diff for change in changes) if options.diff else ""
        print_json({"changed": bool(changes), "units": said, "diff": diff})
        return
    for change in changes:
        print(f"{action_of(change)} {change.unit}")
        if options.diff:
            print(change.diff, end="")


def action_of(change: units.Change) -> str:
    if change.after is None:
        return "remove"
    if change.before is None:
        return "add"
    return "change" if change.before != change.after else "enable"


def compile_runner() -> None:
    """Leave the runner compiled, for its users may not write beside it."""
    runner = PACKAGE / "runner.py"
    if not Path(importlib.util.cache_from_source(str(runner))).exists() and os.access(PACKAGE, os.W_OK):
        py_compile.compile(str(runner), quiet=1)


def check_catalogue(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    problems = list(checks.find_problems(catalogue, places, compile_units(catalogue, places)))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise ProblemsFound(f"{len(problems)} in {places.configuration}")
    print(f"{len(catalogue.tasks)} tasks, no problems.")


def ship_records(options: argparse.Namespace) -> None:
    places = find_places(options)
    agent = find_catalogue(places).agent
    if agent.diary is None:
        raise DiaryRefused(f"agent: diary: url is not set in {places.configuration}/*.yml, so there is none to send to")
    spool = find_spool(places)
    diary = Diary(url=agent.diary, token=read_token(places), certificate=agent.certificate)
    with holding(spool.folder / "sent", "rota ship"):
        sent = ship(spool, diary, pause=spool.folder / "sent" / "pause", now=datetime.now(UTC))
    said = f"{sent.acknowledged} records acknowledged, {sent.quarantined} put aside, {sent.running} still running"
    print(f"{said}{left_alone(sent.left)}.")


@contextmanager
def holding(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a housekeeping command: on a folder of the spool that no task can open.

    Raises NotNow, SpoolUnreadable.
    """
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SpoolUnreadable(f"{error}; become root or join the group rota") from error
    try:
        if not try_lock(file):
            raise NotNow(f"another {what} holds the lock")
        yield
    finally:
        os.close(file)


def read_token(places: Places) -> str:
    """This host's token: from the unit's credentials, or the file itself for whoever may read it."""
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY") or places.credentials)
    try:
        return (folder / "diary_token").read_text("ascii").strip()
    except OSError as error:
        raise DiaryRefused(f"the token {folder / 'diary_token'} cannot be read: {error.strerror}") from error


def alert_people(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    find_spool(places)
    now = datetime.now(UTC)
    if options.test:
        print(alerting.try_out(places, catalogue, now))
        return
    failure = alerting.failure_of(os.environ)
    print(alerting.alert(places, catalogue, task=options.task, failure=failure, now=now))


def reconcile_spool(options: argparse.Namespace) -> None:
    places = find_places(options)
    spool = find_spool(places)
    has_diary = find_catalogue(places).agent.diary is not None
    with holding(spool.folder / "quarantine", "rota reconcile"):
        done = reconcile(places, boot=read_boot(), now=datetime.now(UTC), has_diary=has_diary)
    said = f"{done.lost} lost, {done.recovered} recovered, {done.removed} removed, {done.quarantined} put aside"
    print(f"{said}{left_alone(done.left)}.")


def left_alone(number: int) -> str:
    """What is to be said of entries of the spool that cannot be moved; a task may have put them there."""
    return f", {number} left alone that cannot be moved" if number else ""


def local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    if not rows:
        print(empty)
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()

"""The commands for what is to come: the plan of tasks, pausing them, and the accounting for slots that passed."""

import argparse
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rota import catching_up, pausing
from rota.adapters import systemd
from rota.adapters.pauses import Pauses
from rota.adapters.requests import Requests
from rota.cli.finding import find_catalogue, find_places, find_spool
from rota.cli.parsing import command, duration, moment
from rota.cli.printing import local, print_json, print_table, short
from rota.core.accounting import SLOTS_COUNT
from rota.core.catalogue import Catalogue
from rota.core.due import planned
from rota.core.errors import RotaError
from rota.core.pause import Pause
from rota.core.places import Places
from rota.core.record import RunRecord, format_moment
from rota.core.status import Trigger
from rota.core.task import Task
from rota.planning import Accounted, account_now, disarm, load_runs, schedule_here
from rota.starting import who_asks

if TYPE_CHECKING:
    from rota.cli.parsing import Commands

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MOST_LISTED = 5_000
LONGEST_REASON = 200


class BadSpan(RotaError):
    """The plan has no such time."""


class BadPause(RotaError):
    """The task cannot be paused like this."""


class NothingAsked(RotaError):
    """Nobody asked for this run."""


class NotAllowed(RotaError):
    """This needs another user."""


def add_commands(commands: "Commands") -> None:
    plan = command(
        commands, "plan", show_plan, "Show the slots of tasks: what became of the past ones, and what comes."
    )
    plan.add_argument("task", nargs="?", help="only of this task")
    plan.add_argument("--days", type=float, metavar="N", help="so many days back and ahead (a task: 7, the host: 1)")
    plan.add_argument(
        "--since", type=moment, metavar="TIME", help="from this time, like 2026-12-01 or '2026-12-01 08:00'"
    )
    plan.add_argument("--until", type=moment, metavar="TIME", help="until this time")
    plan.add_argument("--json", action="store_true", help="print JSON")
    pause = command(commands, "pause", pause_task, "Let the slots of a task pass without runs, until it is resumed.")
    pause.add_argument("task", help="the task's name")
    end = pause.add_mutually_exclusive_group()
    end.add_argument("--until", type=moment, metavar="TIME", help="resume by itself then, as at '2026-12-01 08:00'")
    end.add_argument("--for", type=duration, metavar="DURATION", dest="for_", help="resume by itself after this, as 3d")
    pause.add_argument("--reason", default="", metavar="TEXT", help="shown wherever the pause is")
    resume = command(commands, "resume", resume_task, "End the pause of a task.")
    resume.add_argument("task", help="the task's name")
    cancel = command(commands, "cancel", cancel_run, "Take back a run that somebody asked for with rota run --at.")
    cancel.add_argument("task", help="the task's name")
    cancel.add_argument("--at", type=moment, metavar="TIME", help="its time, where several are asked for")
    command(commands, "account", account_slots, "Record each slot that passed without a run, and plan those to come.")
    catch_up = command(commands, "catch-up", catch_up_task, "Run a task for the slots that it missed and may catch up.")
    catch_up.add_argument("task", help="the task's name")


# -- the plan


@dataclass(frozen=True, kw_only=True)
class Line:
    """One slot as it is shown. `run` is the record's id, empty for what is to come; `slots` more than one in a fold."""

    task: str
    slot: datetime
    status: str
    reason: str = ""
    run: str = ""
    slots: int = 1


def show_plan(options: argparse.Namespace) -> None:
    places, now = find_places(options), datetime.now(UTC)
    catalogue = find_catalogue(places)
    tasks = [catalogue.task(options.task)] if options.task else list(catalogue.tasks.values())
    since, until = span_of(options, now)
    every = sorted(lines(tasks, catalogue, places, since, until, now), key=lambda line: (line.slot, line.task))
    shown = every if options.json else every[:MOST_LISTED]
    if options.json:
        print_json([asdict(line) | {"slot": format_moment(line.slot)} for line in shown])
        return
    head = ("slot", "task", "status", "reason", "run")
    rows = [(local(line.slot), line.task, line.status, line.reason, short(line.run)) for line in shown]
    print_table(head, rows, empty=nothing_planned(tasks, since, until), names=[1], texts=[3], coloured=2)
    if len(every) > len(shown):
        print(f"… and {len(every) - len(shown)} more; --since and --until choose others, --json shows all.")


def span_of(options: argparse.Namespace, now: datetime) -> tuple[datetime, datetime]:
    """From when until when. Raises BadSpan."""
    days = options.days if options.days is not None else 7 if options.task else 1
    if not 0 <= days <= 400:
        raise BadSpan(f"--days is {days:g}; it must be a number from 0 to 400")
    since, until = options.since or now - days * DAY, options.until or now + days * DAY
    if options.since and options.until is None:
        until = max(until, since)
    if until < since:
        raise BadSpan(f"it ends at {local(until)}, before it begins at {local(since)}")
    if until - since > 400 * DAY:
        raise BadSpan(f"from {local(since)} to {local(until)} are more than 400 days; choose a shorter time")
    return since, until


def nothing_planned(tasks: Sequence[Task], since: datetime, until: datetime) -> str:
    if len(tasks) == 1 and not tasks[0].schedule:
        return f"{tasks[0].name} has no schedule, so it has no slots; rota run {tasks[0].name} --at TIME gives it one."
    return f"No slots between {local(since)} and {local(until)}; tasks with a schedule would have theirs here."


def lines(
    tasks: Sequence[Task], catalogue: Catalogue, places: Places, since: datetime, until: datetime, now: datetime
) -> Iterator[Line]:
    """What is known of every slot of these tasks from `since` to `until`, in no order."""
    names = {task.name for task in tasks}
    runs = load_runs(find_spool(places), since - DAY) if since <= now else {}
    for asked in Requests(places.asked).all():
        if asked.task in names and since <= asked.at <= until:
            yield Line(task=asked.task, slot=asked.at, status="asked for", reason=f"by {asked.asked_by}")
    for task in tasks:
        found = [run for run in runs.get(task.name, ()) if run.slot and since <= run.slot <= until]
        yield from map(line_of, latest_attempts(found))
        yield from unanswered_lines(task, catalogue, places, found, max(since, now - DAY), until, now)


def latest_attempts(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Of several runs for one slot the last: a retry, or what caught up."""
    by_slot: dict[datetime | None, RunRecord] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.attempt)):
        by_slot[run.slot] = run
    return list(by_slot.values())


def line_of(run: RunRecord) -> Line:
    slots = int(run.counts.get(SLOTS_COUNT, 1)) if run.status.value == "skipped" else 1
    status = f"{run.status} (caught up)" if run.trigger is Trigger.CATCH_UP else run.status.value
    slot = run.slot or run.started
    return Line(task=run.task, slot=slot, status=status, reason=run.reason, run=str(run.id), slots=slots)


def unanswered_lines(
    task: Task,
    catalogue: Catalogue,
    places: Places,
    runs: Sequence[RunRecord],
    since: datetime,
    until: datetime,
    now: datetime,
) -> Iterator[Line]:
    """What comes, and what passed so lately that it has not been accounted for; the plan file tells what is due."""
    plan, pause = catching_up.load_plan(places, task.name), Pauses(places.pauses).load(task.name)
    told = {run.slot for run in runs}
    for slot in plan.missed:
        if since <= slot.moment <= until and slot.moment not in told:
            yield Line(task=task.name, slot=slot.moment, status="to be caught up", reason=slot.reason)
    for slot in plan.past(now):
        if since <= slot.moment <= until and slot.moment not in told:
            yield Line(task=task.name, slot=slot.moment, status="due", reason=slot.reason)
    schedule = schedule_here(task, catalogue.agent)
    coming = planned(schedule, pause, max(now, since - SECOND), until) if schedule else iter(())
    for slot in itertools.islice(coming, MOST_LISTED * 10):
        yield Line(
            task=task.name, slot=slot.moment, status="will be skipped" if slot.reason else "planned", reason=slot.reason
        )


# -- pausing


def pause_task(options: argparse.Namespace) -> None:
    places, now = find_places(options), datetime.now(UTC)
    catalogue = find_catalogue(places)
    task = catalogue.task(options.task)
    until = options.until if options.for_ is None else now + options.for_
    reason = " ".join(options.reason.split())
    if until is not None and until <= now:
        raise BadPause(f"until {local(until)} is past; it must be a time to come")
    if len(reason) > LONGEST_REASON:
        raise BadPause(f"its reason has {len(reason)} characters; it may have {LONGEST_REASON}")
    pause = Pause(since=now, until=until, by=who_asks(os.environ), reason=reason)
    find_spool(places)
    with writing():
        pausing.pause_task(task, catalogue, places, pause, is_live=is_live(options, places))
    print(f"{task.name} is paused {pause.words}; a run by hand goes ahead all the same.")


def resume_task(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    task = catalogue.task(options.task)
    find_spool(places)
    with writing():
        pausing.resume_task(task, catalogue, places, is_live=is_live(options, places))
    print(f"{task.name} runs again as planned.")


def cancel_run(options: argparse.Namespace) -> None:
    places = find_places(options)
    task = find_catalogue(places).task(options.task)
    asked = [each for each in Requests(places.asked).all() if each.task == task.name]
    meant = [each for each in asked if options.at in (None, each.at)]
    known = ", ".join(local(each.at) for each in asked) or "none"
    if not meant:
        raise NothingAsked(f"{task.name}; asked for are: {known}")
    if len(meant) > 1:
        raise NothingAsked(f"which of {task.name} is meant? Say --at TIME, one of {known}")
    with writing():
        Requests(places.asked).remove(meant[0])
    if is_live(options, places):
        disarm(meant[0])
    print(f"{task.name} will not run at {local(meant[0].at)}.")


# -- accounting


def account_slots(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    with writing():
        done = bring_up_to_date(options, places, catalogue)
    behind = f"; to be caught up: {', '.join(done.behind)}" if done.behind else ""
    print(f"{done.skipped} slots recorded as skipped{behind}.")


def catch_up_task(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    task = catalogue.task(options.task)
    if not is_live(options, places):
        raise RotaError("an embedded Rota has no units; its tasks run by rota run")
    with writing():
        number = catching_up.catch_up(task, places, find_spool(places))
        bring_up_to_date(options, places, catalogue)
    print(f"{number} runs of {task.name} were made up for.")


def bring_up_to_date(options: argparse.Namespace, places: Places, catalogue: Catalogue) -> Accounted:
    find_spool(places)
    return account_now(places, catalogue, is_live=is_live(options, places))


def is_live(options: argparse.Namespace, places: Places) -> bool:
    return not places.is_embedded and options.root == Path("/") and systemd.is_booted()


@contextmanager
def writing() -> Iterator[None]:
    """Say in a line who may do this. Raises NotAllowed."""
    try:
        yield
    except PermissionError as error:
        raise NotAllowed(f"{error.filename or error}: {error.strerror or 'not permitted'}; become root") from error

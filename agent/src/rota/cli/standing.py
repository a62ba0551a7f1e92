"""The commands that show how tasks stand: all of them on one screen, and the definition of each."""

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rota import alerting
from rota.adapters.pauses import Pauses
from rota.adapters.plans import Plans
from rota.adapters.requests import Requests
from rota.adapters.spool import Spool
from rota.adapters.standings import Standings, load_arrived
from rota.catalogue import discover, origins
from rota.cli.finding import find_catalogue, find_places, find_spool
from rota.cli.parsing import command
from rota.cli.printing import print_json, print_table
from rota.core.catalogue import Catalogue
from rota.core.definition import plain, yaml_name
from rota.core.history import Ended, Standing
from rota.core.identifier import first_identifier
from rota.core.incident import Incident
from rota.core.objective import Attainment
from rota.core.outlook import Concern, Known, Outlook, look
from rota.core.pause import Pause
from rota.core.places import Places
from rota.core.plan import BadPlan, Plan
from rota.core.quantities import show_duration
from rota.core.record import RunRecord, format_moment
from rota.core.status import Status
from rota.core.task import Task
from rota.core.wording import schedule_in_words
from rota.starting import find_run

if TYPE_CHECKING:
    from rota.cli.parsing import Commands

NO_TASKS = "No tasks on this host. One takes four lines in a file of {folder}; docs/tasks.md says how."
SOON = timedelta(days=300)
"""Within which a date needs no year."""
DEFAULT = "Rota"
LEFT_OUT = ("name",)


def add_commands(commands: "Commands") -> None:
    status = command(
        commands, "status", show_status, "Show every task: its last run, its next slot, and what is wrong."
    )
    status.add_argument("--fail", action="store_true", help="exit with 1 when a task needs somebody")
    status.add_argument("--json", action="store_true", help="print JSON")
    tasks = command(commands, "tasks", show_tasks, "List the tasks of this host, or show all of one's definition.")
    tasks.add_argument("task", nargs="?", help="the task to show whole, with where each value comes from")
    tasks.add_argument("--json", action="store_true", help="print JSON")


# -- how they stand


def show_status(options: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    places = find_places(options)
    catalogue = find_catalogue(places)
    outlooks = sorted(look_at_all(places, catalogue, now), key=lambda each: (each.concern, each.task))
    notes = [
        *pause_notes(outlooks),
        *catch_up_notes(outlooks),
        *objective_notes(outlooks),
        *alerting.describe(places, catalogue, now),
    ]
    needing = sum(each.concern is Concern.NEEDS_SOMEBODY for each in outlooks)
    if options.json:
        agent = catalogue.agent
        tasks = [as_mapping(each) for each in outlooks]
        print_json(
            {
                "host": agent.host,
                "environment": agent.environment.value,
                "needs_somebody": needing,
                "tasks": tasks,
                "notes": notes,
            }
        )
    else:
        print_status(catalogue, places, outlooks, notes, now)
    return int(bool(options.fail and needing))


def look_at_all(places: Places, catalogue: Catalogue, now: datetime) -> list[Outlook]:
    """Every task's outlook, from what is remembered of it and the few records that came since: never all of them."""
    spool, memory = find_spool(places), Standings(places.alerts)
    news, incidents = memory.look(spool, now=now), alerting.incidents_of(places).load()
    asked = {each.task: each.at for each in reversed(Requests(places.asked).all())}
    retrying = find_retrying(spool, news.present, catalogue, now)
    running, pauses, plans = find_running(spool), Pauses(places.pauses).all(), Plans(places.plans)
    found = []
    for name, task in catalogue.tasks.items():
        standing = news.standings.get(name, Standing())
        known = Known(
            standing=standing,
            plan=load_plan(plans, name),
            pause=pauses.get(name),
            running=running.get(name),
            retrying=None if name in running else retrying.get(name),
            asked=asked.get(name),
            incident=incidents.get(name),
            unexpected=unexpected_of(spool, standing.latest),
        )
        found.append(look(task, known, now, environment=catalogue.agent.environment))
    return found


def load_plan(plans: Plans, task: str) -> Plan:
    try:
        return plans.load(task) or Plan()
    except BadPlan:
        return Plan()  # the accounting says so, and writes it anew


def find_running(spool: Spool) -> dict[str, RunRecord]:
    """The runs that are under way, by task; of several of a task the latest."""
    found = spool.records("running")
    return {run.task: run for run in found if isinstance(run, RunRecord) and run.status is Status.RUNNING}


def find_retrying(spool: Spool, present: Collection[str], catalogue: Catalogue, now: datetime) -> dict[str, RunRecord]:
    """The failed attempts after which another is waited for, by task: looked for among the youngest ids alone."""
    spans = [task.timeout + task.retry.longest for task in catalogue.tasks.values() if task.retry]
    first = first_identifier(now - max(spans)) if spans else "~"
    youngest = (load_arrived(spool, name) for name in present if name >= first)
    return {run.task: run for run in youngest if run and run.retry_at and run.retry_at > now}


def unexpected_of(spool: Spool, latest: Ended | None) -> tuple[str, ...]:
    """What is suspicious about the latest run, as its record has it."""
    record = find_run(spool, latest.run) if latest and latest.status is Status.SUCCEEDED else None
    return record.unexpected if record else ()


def print_status(
    catalogue: Catalogue, places: Places, outlooks: Sequence[Outlook], notes: Sequence[str], now: datetime
) -> None:
    agent, fine = catalogue.agent, sum(each.concern is Concern.IS_FINE for each in outlooks)
    print(f"{agent.host} ({agent.environment}): {summary(outlooks)}\n")
    rows = [(each.task, each.result, *times(each, now)) for each in outlooks]
    head = ("task", "result", "last run", "took", "usually", "next")
    empty = NO_TASKS.format(folder=places.configuration)
    print_table(head, rows, empty=empty, names=[0], texts=[1], coloured=1)
    if outlooks:
        rest = "" if fine == len(outlooks) else "other "
        print(f"\nThe {rest}{fine} are fine." if fine else "\nNone is simply fine.")
    for note in notes:
        print(note)


def summary(outlooks: Sequence[Outlook]) -> str:
    """`14 tasks; 2 need somebody, 1 runs`."""
    numbers = [sum(each.concern is concern for each in outlooks) for concern in Concern]
    words = ("needs somebody|need somebody", "runs now|run now", "is paused|are paused", "is handled|are handled")
    said = [f"{number} {word.split('|')[number > 1]}" for number, word in zip(numbers, words, strict=False) if number]
    tasks = f"{len(outlooks)} task{'' if len(outlooks) == 1 else 's'}"
    return f"{tasks}; {', '.join(said)}" if said else tasks


def times(outlook: Outlook, now: datetime) -> tuple[str, str, str, str]:
    """When it ran last, how long that took or has taken so far, how long it usually takes, and when it runs next."""
    running, latest = outlook.known.running, outlook.known.retrying or outlook.known.standing.latest
    usually = show_duration(outlook.median)
    if running:
        so_far = show_duration((now - running.started).total_seconds())
        return f"since {brief(running.started, now)}", so_far, usually, coming(outlook, now)
    if latest:
        return brief(latest.started, now), show_duration(latest.duration), usually, coming(outlook, now)
    return "-", "-", usually, coming(outlook, now)


def coming(outlook: Outlook, now: datetime) -> str:
    if outlook.overdue:
        return f"due {brief(outlook.overdue, now)}"
    if pause := outlook.known.pause:
        return f"paused to {brief(pause.until, now)}" if pause.until else "paused"
    if not outlook.is_here:
        return "not here"
    if outlook.next is None:
        return "-"
    return "due now" if outlook.next <= now else brief(outlook.next, now)


def brief(moment: datetime, now: datetime) -> str:
    """A moment in at most 12 characters: the time today, with the day within a year, else the date."""
    here, today = moment.astimezone(), now.astimezone()
    if here.date() == today.date():
        return f"{here:%H:%M}"
    return f"{here:%b %d %H:%M}" if abs(here - today) < SOON else f"{here:%Y-%m-%d}"


def pause_notes(outlooks: Sequence[Outlook]) -> list[str]:
    return [f"{each.task} is paused {each.known.pause.words}." for each in outlooks if each.known.pause]


def catch_up_notes(outlooks: Sequence[Outlook]) -> list[str]:
    return [
        f"{each.task} has {len(missed)} missed slot{'' if len(missed) == 1 else 's'} to catch up."
        for each in outlooks
        if (missed := each.known.plan.missed)
    ]


def objective_notes(outlooks: Sequence[Outlook]) -> list[str]:
    return [f"{each.task}: {each.attainment.words}." for each in outlooks if each.attainment]


def as_mapping(outlook: Outlook) -> dict[str, object]:
    """The outlook as plain values: seconds, and moments in UTC."""
    known, latest = outlook.known, outlook.known.standing.latest
    success = known.standing.success
    return {
        "task": outlook.task,
        "needs_somebody": bool(outlook.why),
        "why": list(outlook.why),
        "run": latest.run if latest else None,
        "status": latest.status.value if latest else None,
        "reason": latest.reason if latest else "",
        "unexpected": list(known.unexpected),
        "started": shown(latest.started if latest else None),
        "ended": shown(latest.ended if latest else None),
        "duration": latest.duration if latest else None,
        "median": outlook.median,
        "succeeded": shown(success.ended if success else None),
        "running": running_mapping(known.running),
        "retrying": retrying_mapping(known.retrying),
        "next": shown(outlook.next),
        "asked_for": shown(known.asked),
        "overdue": shown(outlook.overdue),
        "paused": pause_mapping(known.pause),
        "objective": objective_mapping(outlook.attainment),
        "incident": incident_mapping(known.incident),
    }


def running_mapping(run: RunRecord | None) -> dict[str, object] | None:
    return {"run": str(run.id), "started": shown(run.started), "asked_by": run.asked_by} if run else None


def retrying_mapping(run: RunRecord | None) -> dict[str, object] | None:
    if run is None:
        return None
    return {"run": str(run.id), "attempt": run.attempt, "reason": run.reason, "next": shown(run.retry_at)}


def pause_mapping(pause: Pause | None) -> dict[str, object] | None:
    if pause is None:
        return None
    return {"since": shown(pause.since), "until": shown(pause.until), "by": pause.by, "reason": pause.reason}


def objective_mapping(attainment: Attainment | None) -> dict[str, object] | None:
    """What is wanted, and how far the task is from it; ages in seconds."""
    if attainment is None:
        return None
    wanted, age = attainment.objective, attainment.age
    return {
        "success": wanted.success,
        "fresh": wanted.fresh.total_seconds() if wanted.fresh else None,
        "success_ratio": attainment.rate,
        "error_budget_left": attainment.budget,
        "age": age.total_seconds() if age is not None else None,
        "attained": attainment.is_attained,
    }


def incident_mapping(incident: Incident | None) -> dict[str, object] | None:
    if incident is None or not incident.is_open:
        return None
    handled = incident.handled
    return {
        "since": shown(incident.since),
        "failures": incident.failures,
        "told": bool(incident.told),
        "handled_by": handled.by if handled else None,
        "handled": shown(handled.at if handled else None),
    }


def shown(moment: datetime | None) -> str | None:
    return format_moment(moment) if moment else None


# -- how they are declared


def show_tasks(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    if options.task:
        show_task(catalogue.task(options.task), places, as_json=options.json)
        return
    now = datetime.now(UTC)
    rows = []
    for task in catalogue.tasks.values():
        known = Known(plan=load_plan(Plans(places.plans), task.name), pause=Pauses(places.pauses).load(task.name))
        rows.append((task, look(task, known, now, environment=catalogue.agent.environment)))
    if options.json:
        print_json([task_mapping(task, outlook) for task, outlook in rows])
        return
    cells = [row for task, outlook in rows for row in task_rows(task, outlook, now)]
    print_table(
        ("task", "does", "next"), cells, empty=NO_TASKS.format(folder=places.configuration), names=[0], texts=[1]
    )


def task_mapping(task: Task, outlook: Outlook) -> dict[str, object]:
    own = {"words": schedule_in_words(task), "is_here": outlook.is_here, "paused": pause_mapping(outlook.known.pause)}
    values = {yaml_name(field.name): jsonable(getattr(task, field.name)) for field in fields(task)}
    return values | own | {"next": None if task.every else shown(outlook.next)}


def task_rows(task: Task, outlook: Outlook, now: datetime) -> Iterator[tuple[str, str, str]]:
    """The task with what it does, and below it each expression of its schedule in words."""
    is_unknown = task.every is not None and outlook.known.pause is None
    yield task.name, task.description, "-" if is_unknown else coming(outlook, now)
    here = f", on {' and '.join(task.environments)} only" if task.environments else ""
    if len(task.schedule) < 2:
        yield f"  {''.join(task.calendars)}".rstrip(), schedule_in_words(task) + here, ""
        return
    for expression, shown_as in zip(task.schedule, task.calendars, strict=True):
        yield f"  {shown_as}", schedule_in_words(replace(task, schedule=(expression,))) + here, ""


def show_task(task: Task, places: Places, *, as_json: bool) -> None:
    """All fields of a task as units are made from them, each with the file that says it."""
    said = origins(places.configuration, task.name, discover())
    names = [field.name for field in fields(task) if field.name not in LEFT_OUT]
    if as_json:
        values = {
            yaml_name(name): {"value": jsonable(getattr(task, name)), "from": origin(name, said)} for name in names
        }
        print_json({"task": task.name, "words": schedule_in_words(task), "fields": values})
        return
    print(f"{task.name}: {task.description}\n{schedule_in_words(task)}\n")
    rows = [(yaml_name(name), origin(name, said), plain(getattr(task, name))) for name in names]
    rows.sort(key=lambda row: row[1] == DEFAULT)
    print_table(("field", "from", "value"), rows, empty="")


def origin(name: str, said: Mapping[str, str]) -> str:
    return said.get(yaml_name(name), DEFAULT)


def jsonable(value: object) -> object:
    """A value as JSON holds it; durations are seconds."""
    match value:
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(key): jsonable(each) for key, each in value.items()}
        case tuple() | list():
            return [jsonable(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
    if is_dataclass(value) and not hasattr(value, "text"):
        return {each.name: jsonable(getattr(value, each.name)) for each in fields(value)}
    return plain(value)

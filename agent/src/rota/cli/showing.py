"""The commands that show runs: by filters, one in full or while it goes on, and how it differs from another."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from rota import starting
from rota.adapters.comparing import find_hunks
from rota.adapters.reviews import reviews_of
from rota.adapters.spool import Spool
from rota.cli import following
from rota.cli.finding import find_catalogue, find_places, find_run, find_spool
from rota.cli.parsing import command, how_many, moment_or_age, pattern
from rota.cli.printing import local, print_json, print_table, short
from rota.core.comparison import CONTEXT, Comparison, find_changes, outcome, unified
from rota.core.errors import RotaError
from rota.core.nearest import nearest
from rota.core.normalising import normalise
from rota.core.places import Places
from rota.core.quantities import show_duration, show_size
from rota.core.record import KINDS, Item, Record, RunRecord, as_mapping
from rota.core.review import Handled
from rota.core.status import Status, Trigger

if TYPE_CHECKING:
    from rota.cli.parsing import Commands

SLOT_MARGIN = 1.0
"""How many seconds after its slot a run may begin without a word about it."""
LISTED_ITEMS = 20


class NothingToCompare(RotaError):
    """There is nothing to compare with."""


def add_commands(commands: "Commands") -> None:
    listing = command(commands, "runs", list_runs, "List runs, newest first.")
    listing.add_argument("task", nargs="*", help="only of these tasks")
    listing.add_argument(
        "--status", action="append", choices=[each.value for each in Status], help="only with this status; repeatable"
    )
    listing.add_argument(
        "--trigger", action="append", choices=[each.value for each in Trigger], help="only started by this; repeatable"
    )
    listing.add_argument("--reason", metavar="TEXT", help="only where the reason has this text in it")
    listing.add_argument("--since", type=moment_or_age, metavar="WHEN", help="only begun since: a time, or 2d ago")
    listing.add_argument("--until", type=moment_or_age, metavar="WHEN", help="only begun before: a time, or 2d ago")
    listing.add_argument("--grep", type=pattern, metavar="PATTERN", help="only where the output has a match, any case")
    listing.add_argument("--asked-by", metavar="NAME", help="only what this person started")
    listing.add_argument("--dry-run", action="store_true", help="only dry runs")
    listing.add_argument("--retries", action="store_true", help="only attempts after the first")
    listing.add_argument("--unexpected", action="store_true", help="only successes that need analysis")
    listing.add_argument("--limit", type=how_many, default=50, help="at most so many, 0 for all (default %(default)s)")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = command(commands, "show", show_run, "Show one run, or follow one that is under way.")
    show.add_argument("run", help="the run's id, or how it begins or ends; or a task, for its latest run")
    show.add_argument("--log", action="store_true", help="only what the run printed")
    show.add_argument(
        "--follow", action="store_true", help="go on showing its output until it ends; the exit code is the run's"
    )
    show.add_argument("--json", action="store_true", help="print the record as JSON")
    diff = command(commands, "diff", diff_runs, "Show in what a run differs from the last good one, or from another.")
    diff.add_argument("run", help="the run's id, or how it begins or ends; or a task, for its latest run")
    diff.add_argument("other", nargs="?", help="the run to compare with; else the last good one before it")
    diff.add_argument(
        "--context", type=how_many, default=CONTEXT, metavar="LINES", help="lines around each difference (%(default)s)"
    )
    diff.add_argument("--exact", action="store_true", help="times, ids, paths and the like are differences as well")
    diff.add_argument("--json", action="store_true", help="print JSON")


# -- many


def list_runs(options: argparse.Namespace) -> None:
    places = find_places(options)
    found = list(islice(chosen(find_spool(places), options), options.limit or None))
    reviews = reviews_of(places).load()
    if options.json:
        print_json([as_mapping(run) for run in found])
        return
    rows = [
        (
            local(run.started),
            run.task,
            run.status,
            shown_reason(run, reviews.get(str(run.id))),
            show_duration(run.duration),
            short(run.id),
        )
        for run in found
    ]
    print_table(
        ("started", "task", "status", "reason", "duration", "run"),
        rows,
        empty="" if found else no_runs(options, places),
        names=[1],
        texts=[3],
        coloured=2,
    )
    if options.limit and len(found) == options.limit:
        print(f"\nThere may be more than these {options.limit}: --limit 0 for all, or --until {rows[-1][0]!r}.")


def chosen(spool: Spool, options: argparse.Namespace) -> Iterator[RunRecord]:
    """The runs that fit the filters, newest first, each read only when it is asked for."""
    tasks = {name.replace("-", "_") for name in options.task}
    only = next(iter(tasks)) if len(tasks) == 1 else None
    for run in spool.newest(since=options.since, until=options.until, task=only):
        if (
            (not tasks or run.task in tasks)
            and run.status in (options.status or (run.status,))
            and run.trigger in (options.trigger or (run.trigger,))
            and (not options.reason or options.reason.lower() in run.reason.lower())
            and options.asked_by in (None, run.asked_by)
            and (run.dry_run or not options.dry_run)
            and (run.attempt > 1 or not options.retries)
            and (run.unexpected or not options.unexpected)
            and (options.grep is None or options.grep.search(spool.output(run)))
        ):
            yield run


def shown_reason(run: RunRecord, handled: Handled | None) -> str:
    """The reason, or what is suspicious of a success; and what is out of the ordinary of the run."""
    said = [run.reason or "; ".join(run.unexpected)]
    said += [f"attempt {run.attempt}"] if run.attempt > 1 else []
    said += ["dry run"] if run.dry_run else []
    said += [f"handled by {handled.by}"] if handled else []
    return ", ".join(each for each in said if each)


def no_runs(options: argparse.Namespace, places: Places) -> str:
    """What to say where nothing is found."""
    names = ("status", "trigger", "reason", "since", "until", "grep", "asked_by", "dry_run", "retries", "unexpected")
    if any(getattr(options, name) for name in names):
        return "No runs that fit. With fewer filters there may be some."
    if options.task:
        known, said = find_catalogue(places).tasks, ", ".join(options.task)
        unknown = next((name for name in options.task if name.replace("-", "_") not in known), None)
        if unknown:
            return f"No runs of {said}, and no task of this name{nearest(unknown, known)}"
        return f"No runs of {said} yet. `rota run {options.task[0]}` runs it now."
    return "No runs yet. They appear when a task's slot comes, or by `rota run TASK`."


# -- one


def show_run(options: argparse.Namespace) -> int:
    places = find_places(options)
    spool = find_spool(places)
    record = find_run(spool, options.run)
    if not isinstance(record, RunRecord):
        show_other(record, options)
        return 0
    if options.json:
        print_json(as_mapping(replace(record, output=spool.output(record))))
        return 0
    if not options.log:
        handled = reviews_of(places).load().get(str(record.id))
        for line in described(record, spool, handled, datetime.now(UTC)):
            print(line)
        print()
    if options.follow and record.status is Status.RUNNING:
        return following.follow_run(spool, record, is_brief=options.log)
    output = spool.output(record)
    if output or options.log:
        print(output, end="" if output.endswith("\n") else "\n")
    elif record.status is Status.RUNNING:
        print("It has printed nothing yet; --follow waits for it.")
    else:
        print("It printed nothing.")
    return starting.exit_code(record) if options.follow else 0


def show_other(record: Record, options: argparse.Namespace) -> None:
    """A deploy, or what was caught: its values, and a text below them."""
    mapping = as_mapping(record)
    if options.json:
        print_json(mapping)
        return
    text = mapping.pop("text", "")
    for key, value in mapping.items():
        if key not in ("version", "kind") and value not in (None, ""):
            print(f"{key:12}{', '.join(value) if isinstance(value, list) else value}")
    if text:
        print(f"\n{text}")


def described(run: RunRecord, spool: Spool, handled: Handled | None, now: datetime) -> Iterator[str]:
    """A run in lines: what it was, what came of it, and what it differs in from the last good one."""
    for label, texts in facts(run, spool, handled, now):
        for number, text in enumerate(texts):
            yield f"{label if not number else '':12}{text}"


def facts(run: RunRecord, spool: Spool, handled: Handled | None, now: datetime) -> Iterator[tuple[str, list[str]]]:
    yield "run", [str(run.id)]
    yield "task", [f"{run.task} of the pack {run.pack}" if run.pack else run.task]
    yield "host", [f"{run.host} ({run.environment})"]
    yield "result", [outcome(replace(run, unexpected=()))]
    yield from ([("suspicious", list(run.unexpected))] if run.unexpected else [])
    yield from ([("handled", [f"by {handled.by}, {local(handled.at)}"])] if handled else [])
    yield "began", [began(run)]
    yield "took", [took(run, now)]
    yield "trigger", [asked(run)]
    if run.parameters or run.dry_run:
        words = [f"{name} = {value}" for name, value in sorted(run.parameters.items())]
        yield "asked for", [*words, *(["a dry run: it changes nothing"] if run.dry_run else [])]
    if run.attempt > 1 or run.retry_at:
        yield "attempt", list(attempts(run, spool))
    yield "release", [", ".join(filter(None, (run.release, run.unit_hash and f"unit {run.unit_hash[:12]}"))) or "-"]
    if run.invocation_id:
        yield "journal", [f"journalctl _SYSTEMD_INVOCATION_ID={run.invocation_id}"]
    yield from ((("counts" if not number else ""), [f"{name} = {value:.15g}"]) for number, (name, value) in counts(run))
    if run.items:
        yield "items", list(listed(run.items))
    good = last_good(spool, run) if run.status.is_final else None
    if good:
        yield (
            "compared",
            [f"with the last good run {short(good.id)} of {local(good.started)}:", str(compare(spool, run, good))],
        )


def counts(run: RunRecord) -> Iterable[tuple[int, tuple[str, float]]]:
    return enumerate(sorted(run.counts.items()))


def began(run: RunRecord) -> str:
    """When it began, and how long after its slot."""
    if run.slot is None:
        return local(run.started)
    late = (run.started - run.slot).total_seconds()
    after = f", {show_duration(late)} after it" if late >= SLOT_MARGIN else ""
    return f"{local(run.started)}, for the slot of {local(run.slot)}{after}"


def took(run: RunRecord, now: datetime) -> str:
    if not run.status.is_final:
        return f"{show_duration((now - run.started).total_seconds())} so far"
    parts = [show_duration(run.duration)]
    parts += [f"{show_duration(run.cpu)} of processor time"] if run.cpu is not None else []
    parts += [f"at most {show_size(run.memory_peak)} of memory"] if run.memory_peak else []
    parts += [f"{show_size(run.output_bytes)} of output"] if run.output_bytes else []
    return ", ".join(parts)


def asked(run: RunRecord) -> str:
    words = {Trigger.MANUAL: "by hand", Trigger.PATH: "a file that came", Trigger.CATCH_UP: "catching up"}
    said = words.get(run.trigger, str(run.trigger))
    return f"{said}, asked for by {run.asked_by}" if run.asked_by else said


def attempts(run: RunRecord, spool: Spool) -> Iterator[str]:
    """This attempt's number, the others of the same slot, and when the next one begins."""
    yield str(run.attempt) + (f"; the next begins {local(run.retry_at)}" if run.retry_at else "")
    for other in sorted(others(run, spool), key=lambda each: each.attempt):
        yield f"{other.attempt}: {outcome(other)}, {local(other.started)}, run {short(other.id)}"


def others(run: RunRecord, spool: Spool) -> Iterator[RunRecord]:
    """The other attempts at the same: they share the invocation of their unit, or the slot and the asking process."""
    around = following.ATTEMPTS_WITHIN
    for other in spool.newest(since=run.started - around, until=run.started + around, task=run.task):
        same = other.invocation_id == run.invocation_id if run.invocation_id else other.slot == run.slot
        if same and other.id != run.id and (other.attempt > 1 or other.retry_at):
            yield other


def listed(items: tuple[Item, ...]) -> Iterator[str]:
    """How many came to which outcome, then the first of them, those of the rarest outcomes before the others."""
    tally = Counter(item.outcome for item in items)
    yield ", ".join(f"{number} {said}" for said, number in tally.most_common())
    for item in sorted(items, key=lambda item: tally[item.outcome])[:LISTED_ITEMS]:
        yield f"  {item.name}: {item.outcome} {item.message}".rstrip()
    if len(items) > LISTED_ITEMS:
        yield f"  and {len(items) - LISTED_ITEMS} more; --json has all"


# -- two


def last_good(spool: Spool, run: RunRecord) -> RunRecord | None:
    """The latest run of the same task before this one that succeeded and was not suspicious."""
    for other in spool.newest(until=run.started, task=run.task):
        if other.status is Status.SUCCEEDED and not other.unexpected and not other.dry_run and other.id != run.id:
            return other
    return None


def compare(spool: Spool, run: RunRecord, other: RunRecord, *, is_exact: bool = False) -> Comparison:
    texts = spool.output(other), spool.output(run)
    before, after = (lines_of(text) for text in texts)
    seen = (before, after) if is_exact else tuple(lines_of(normalise(text)) for text in texts)
    return Comparison(find_changes(run, other), before, after, find_hunks(*seen))


def lines_of(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def diff_runs(options: argparse.Namespace) -> None:
    spool = find_spool(find_places(options))
    run = require_run(find_run(spool, options.run), options.run)
    other = require_run(find_run(spool, options.other), options.other) if options.other else last_good(spool, run)
    if other is None:
        raise NothingToCompare(f"{run.task} has no good run before {short(run.id)}; name another run to compare with")
    comparison = compare(spool, run, other, is_exact=options.exact)
    lines = unified(comparison, (title(other), title(run)), options.context)
    if options.json:
        print_json(
            {
                "run": str(run.id),
                "other": str(other.id),
                "changes": [
                    {"what": each.what, "before": each.before, "after": each.after} for each in comparison.changes
                ],
                "added": comparison.added,
                "removed": comparison.removed,
                "diff": "\n".join(lines),
            }
        )
        return
    print(f"{title(run)}\nbeside {'' if options.other else 'the last good one, '}{title(other)}\n")
    rows = [(each.what.rstrip(":"), each.before or "none", each.after or "none") for each in comparison.changes]
    print_table(
        ("what", "before", "now"), rows, empty="Result, counts, items and release are the same.", texts=[0, 1, 2]
    )
    print()
    if not comparison.hunks:
        print(
            "The outputs are the same."
            if options.exact
            else "The outputs are the same, but for times, ids and the like."
        )
    for line in lines:
        print(line)


def require_run(record: Record, word: str) -> RunRecord:
    if not isinstance(record, RunRecord):
        raise NothingToCompare(f"{word!r} is of the kind {KINDS[type(record)]}; only runs can be compared")
    return record


def title(run: RunRecord) -> str:
    return f"{run.task} {local(run.started)} {short(run.id)}"

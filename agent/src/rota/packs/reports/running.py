"""Making one report: from its definition to the file that its client downloads, or to why there is none."""

import fcntl
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import BinaryIO
from uuid import uuid4

from rota.core.errors import RotaError
from rota.packs.reports import guard
from rota.packs.reports.attempt import Attempt, Outcome, Trigger
from rota.packs.reports.bundle import bundle, write_tree
from rota.packs.reports.checks import check
from rota.packs.reports.database import Database
from rota.packs.reports.definitions import Definitions, Script, Task
from rota.packs.reports.dependencies import collect
from rota.packs.reports.publishing import Content, Export, read_through
from rota.packs.reports.sandbox import MEBIBYTE, Ending, Limits, Reason, Sandbox
from rota.packs.reports.workplace import Workplace

MOST_MESSAGE = 60_000
"""Bytes of a message: the run log's column takes 65,535."""

MOST_SHOWN = 64 * MEBIBYTE
"""Of a dry run's output, for anybody may ask for many, and each is kept."""


class AlreadyRuns(RotaError):
    """This report is being made already."""


class NothingToRun(RotaError):
    """There is nothing to run."""


class InItsWords(RotaError):
    """Said in the words of the system that this pack replaces, without more."""

    def __str__(self) -> str:
        return str(self.args[0])


class Illegal(InItsWords):
    """A script says what it must not."""


class ScriptFailed(InItsWords):
    """A script did not come to a good end; the message says how."""


class Guard(StrEnum):
    """How scripts are looked through before they run: on the syntax tree, as was once done, or not at all."""

    ON = "on"
    LEGACY = "legacy"
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for. `shown` is the folder that takes the output of a dry run, which publishes nothing."""

    task: Task
    trigger: Trigger = Trigger.SCHEDULE
    planned: date | None = None
    id: str = field(default_factory=lambda: str(uuid4()))
    asked_by: str | None = None
    shown: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where and how reports are made on this host. `run` is the run that this is part of."""

    places: Workplace
    sandbox: Sandbox
    limits: Limits
    host: str
    run: str | None = None
    guard: Guard = Guard.ON
    database: Database | None = None
    stop: Event = field(default_factory=Event)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def make(desk: Desk, definitions: Definitions, order: Order) -> Attempt:
    """Make a report; whatever is wrong with it, or with us, is told by the attempt. Raises AlreadyRuns."""
    started, made = desk.now(), None
    try:
        with locked(desk.places.locks / f"{order.task.id}.lock", definitions.report_name(order.task)):
            with tree_of(desk, definitions, order.task) as tree:
                made = work(desk, definitions, order, tree)
            outcome, message = Outcome.SHOWN if order.shown else Outcome.PUBLISHED, "OK"
    except AlreadyRuns:
        raise
    except ScriptFailed as error:
        outcome, message = Outcome.FAILED, str(error)
    except RotaError as error:
        outcome, message = Outcome.REFUSED, str(error)
    except OSError as error:
        outcome, message = Outcome.FAILED, plainly(error)
    except Exception as error:  # a fault of ours is this report's failure alone
        traceback.print_exc()
        outcome, message = Outcome.FAILED, f"{type(error).__name__}: {error}"
    return attempt_of(desk, definitions, order, started, outcome, message, made)


def plainly(error: OSError) -> str:
    """As in "No space left on device: FILE"."""
    return ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)


def attempt_of(
    desk: Desk,
    definitions: Definitions,
    order: Order,
    started: datetime,
    outcome: Outcome,
    message: str,
    made: Content | None = None,
) -> Attempt:
    """What came of this order, by now."""
    return Attempt(
        id=order.id,
        task=order.task.id,
        report=definitions.report_name(order.task),
        host=desk.host,
        run=desk.run,
        trigger=order.trigger,
        planned=order.planned,
        started=started,
        ended=desk.now(),
        outcome=outcome,
        message=fitting(message),
        bytes=made.bytes if made else None,
        rows=made.rows if made else None,
        sha256=made.sha256 if made else None,
        asked_by=order.asked_by,
    )


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Hold the report's lock, which ends with whoever holds it. Raises AlreadyRuns."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRuns(name) from None
        yield
    finally:
        os.close(file)


@contextmanager
def tree_of(desk: Desk, definitions: Definitions, task: Task) -> Iterator[Path]:
    """The folder of files that the sandbox sees. Raises NothingToRun, Illegal, and what `collect` raises."""
    script = script_to_run(definitions, task)
    needed = collect(script, definitions)
    look_through(desk.guard, [script, *needed.snippets])
    trees = desk.places.trees
    with folder_held(trees, fcntl.LOCK_SH), tempfile.TemporaryDirectory(dir=trees) as folder:
        tree = Path(folder) / "tree"
        write_tree(bundle(script, needed.snippets, needed.queries, desk.database), tree)
        yield tree


def sweep_trees(trees: Path) -> None:
    """Remove what runs that were killed left; unless others go on at this moment, for it may be theirs."""
    with suppress(BlockingIOError), folder_held(trees, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for left in trees.iterdir():
            shutil.rmtree(left)


@contextmanager
def folder_held(folder: Path, how: int) -> Iterator[None]:
    """A lock on a folder, as `flock` names it. Raises BlockingIOError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def script_to_run(definitions: Definitions, task: Task) -> Script:
    """Raises NothingToRun."""
    script = definitions.script_of(task)
    if script is None or not script.body.strip():
        raise NothingToRun("the report has no script" if script is None else f"the script {script.name} is empty")
    return script


def look_through(mode: Guard, scripts: list[Script]) -> None:
    """Raises Illegal, in the words of the system that this pack replaces."""
    found = {script.name: words for script in scripts if (words := illegal_words(mode, script))}
    if found:
        raise Illegal(guard.message(found))


def illegal_words(mode: Guard, script: Script) -> tuple[str, ...]:
    match mode:
        case Guard.ON:
            return guard.words_of(guard.inspect(script.body, script.name))
        case Guard.LEGACY:
            return guard.legacy_words(script.body)
    return ()


def work(desk: Desk, definitions: Definitions, order: Order, tree: Path) -> Content:
    """Raises ScriptFailed, BadOutput."""
    if order.shown:
        return show(desk, order.task, tree, order.shown)
    exports, target = Export(desk.places.exports), definitions.report_name(order.task)
    before = exports.current(target)
    temporary = exports.open_new(definitions.client_of(order.task).username)
    try:
        with os.fdopen(os.dup(temporary.descriptor), "r+b") as output:
            run_script(desk, order.task, tree, output)
            path = desk.places.exports / temporary.username / temporary.name
            check(path, order.task, before.size if before else None)
        published = exports.publish(temporary, target, order.task.keep)
    except BaseException:  # whatever it was, it goes on
        exports.discard(temporary)
        raise
    return published.content


def show(desk: Desk, task: Task, tree: Path, folder: Path) -> Content:
    """Run it for whoever asked alone: what it says grows in this folder, and nothing is published.

    Raises ScriptFailed, BadOutput.
    """
    with (folder / "output").open("w+b") as output, (folder / "errors").open("wb", buffering=0) as live:
        for each in (output, live):
            os.fchmod(each.fileno(), 0o640)  # the diary reads it by its group, whatever the umask here
        limits = replace(desk.limits, output=min(MOST_SHOWN, desk.limits.output))
        run_script(replace(desk, limits=limits), task, tree, output, live)
        check(folder / "output", task)
        return read_through(output.fileno())


def limits_for(task: Task, limits: Limits) -> Limits:
    """The host's limits, or what the report says of itself where that is less."""
    return replace(
        limits,
        seconds=min(task.timeout or limits.seconds, limits.seconds),
        memory=min(task.memory * MEBIBYTE or limits.memory, limits.memory),
    )


def run_script(desk: Desk, task: Task, tree: Path, output: BinaryIO, live: BinaryIO | None = None) -> None:
    """Raises ScriptFailed."""
    limits = limits_for(task, desk.limits)
    ending = desk.sandbox.run(tree, output, limits, live=live, stop=desk.stop)
    output.flush()
    if not ending.is_success:
        raise ScriptFailed(why(ending, limits))


def why(ending: Ending, limits: Limits) -> str:
    """How it ended, and the end of what it said on standard error."""
    match ending.reason:
        case Reason.ENDED if ending.signal is not None:
            how = f"signal {ending.signal}"
        case Reason.ENDED:
            how = f"exit value {ending.exit_code}"
        case Reason.TIMEOUT:
            how = f"timeout after {limits.seconds:g} s"
        case Reason.TOO_MUCH_OUTPUT:
            how = f"more than {limits.output} bytes of output"
        case _:
            how = str(ending.reason)
    return f"{how}: {ending.errors}" if ending.errors else how


def fitting(message: str) -> str:
    """What the run log has room for: the end, where what went wrong stands."""
    content = message.encode()
    return message if len(content) <= MOST_MESSAGE else content[-MOST_MESSAGE:].decode(errors="ignore")

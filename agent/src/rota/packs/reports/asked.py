"""Runs that somebody asked for: each a file that the diary's pages leave, claimed by a rename, answered by a file.

A request carries the definitions that it needs, so that what is being written can be tried before it is saved. Its
results have a folder of their own: `request.json`, of a dry run `output` and `errors`, which grow while it goes on, and
in the end `result.json`. Until then whoever answers holds a lock on `request.json`, which ends with them. The diary
reads these by its group, whatever the umask here.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from rota.adapters.spool import replace_through
from rota.core.errors import RotaError
from rota.packs.reports import ledger
from rota.packs.reports.attempt import Attempt, Trigger, as_mapping
from rota.packs.reports.definitions import Definitions, from_json
from rota.packs.reports.running import AlreadyRuns, Desk, Order, make, plainly
from rota.packs.reports.workplace import Workplace

LINGER = 2.0
LOOK_EVERY = 0.1
MOST_BYTES = 16 << 20
KEPT = timedelta(days=2)
UNREADABLE = "the host may not read the request; the folder `asked` must hand its group on (mode 2770)"
INTERRUPTED = "the host stopped before it was over"


class BadRequest(RotaError):
    """This is no request for a report."""


def answer_all(desk: Desk, *, at_once: int, tell: Callable[[Attempt], None], linger: float = LINGER) -> int:
    """Carry out all that is asked for, until nothing was for a moment. Returns how many.

    What no worker is free for is left where it waits: there it counts as waiting, and can be withdrawn.
    What a full disk keeps from being noted is noted in the end. Raises NotNoted where it cannot be then.
    """
    going: set[Future[Attempt | None]] = set()
    last, number = time.monotonic(), 0
    with ledger.noting(desk.places.ledger) as note, ThreadPoolExecutor(at_once, thread_name_prefix="asked") as pool:
        while going or time.monotonic() - last < linger:
            claimed = list(islice(claim_all(desk.places), at_once - len(going)))
            going |= {pool.submit(answer, desk, each, note) for each in claimed}
            number += len(claimed)
            done, going = wait(going, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
            for attempt in filter(None, (each.result() for each in done)):
                tell(attempt)
            if claimed or done:
                last = time.monotonic()
            elif not going:
                time.sleep(LOOK_EVERY)  # between two looks at an empty folder
    return number


@dataclass(frozen=True)
class Claimed:
    """A request that is ours: its folder, and the open file on which we hold its lock."""

    folder: Path
    lock: int


def claim_all(places: Workplace) -> Iterator[Claimed]:
    """Take away what waits, one at a time, the oldest first; what is no request is removed, or it waited for ever."""
    for path in waiting(places):
        if not is_request(path):
            remove(path)
        elif claimed := claim(path, places.results / path.stem):
            yield claimed


def waiting(places: Workplace) -> list[Path]:
    """What lies there, without what is still being written; anything may be taken back at any moment."""
    found = []
    for path in places.asked.iterdir():
        with suppress(FileNotFoundError):
            found.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(found) if not path.name.startswith(".")]


def claim(path: Path, folder: Path) -> Claimed | None:
    """None where it was taken back at this moment, or another has it; one that has results already is removed."""
    if (folder / "request.json").exists():
        remove(path)
        return None
    try:
        lock = opened(path)
    except FileNotFoundError:
        return None
    make_shared(folder)
    if lock is None:
        path.rename(folder / "request.json")
        say(folder, {"refused": UNREADABLE})
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.rename(folder / "request.json")
    except (BlockingIOError, FileNotFoundError):
        os.close(lock)
        with suppress(OSError):  # another has it, and has put something there
            folder.rmdir()
        return None
    return Claimed(folder, lock)


def make_shared(folder: Path) -> None:
    """Make it, if nobody was killed after that, for a group that is the outer folder's where that hands its own on.

    Not by a change of mode, which would end that: only the kernel gives a folder that bit in a hardened unit.
    """
    before = os.umask(0o027)
    try:
        folder.mkdir(exist_ok=True)
    finally:
        os.umask(before)


def opened(path: Path) -> int | None:
    """None where we may not read it. Raises FileNotFoundError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except PermissionError:
        return None


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_request(path: Path) -> bool:
    try:
        named = str(UUID(path.stem)) == path.stem and path.suffix == ".json"
    except ValueError:
        return False
    return named and path.is_file() and not path.is_symlink()


def answer(desk: Desk, claimed: Claimed, note: Callable[[Attempt], None]) -> Attempt | None:
    """Carry out one request and say what came of it; None where it was refused."""
    try:
        return answer_in(desk, claimed.folder, note)
    finally:
        os.close(claimed.lock)


def answer_in(desk: Desk, folder: Path, note: Callable[[Attempt], None]) -> Attempt | None:
    try:
        definitions, order = read_request(folder)
    except RotaError as error:
        say(folder, {"refused": str(error)})
        return None
    try:
        attempt = make(desk, definitions, order)
    except AlreadyRuns as error:
        say(folder, {"refused": str(error), "is_running": True})
        return None
    if order.trigger is not Trigger.DRY_RUN:
        note(attempt)
    say(folder, {"attempt": as_mapping(attempt)})
    return attempt


def read_request(folder: Path) -> tuple[Definitions, Order]:
    """Raises BadRequest, BadDefinitions, UnknownReport."""
    path = folder / "request.json"
    if path.stat().st_size > MOST_BYTES:
        raise BadRequest(f"it has more than {MOST_BYTES} bytes")
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        trigger, asked_by = Trigger(value["trigger"]), str(value["asked_by"])
        wanted, said = str(value["task"]), value["definitions"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"{type(error).__name__}: {error}") from None
    if trigger is Trigger.SCHEDULE:
        raise BadRequest("nobody asks for what is planned")
    definitions = from_json(said)
    shown = folder if trigger is Trigger.DRY_RUN else None
    task = definitions.report(wanted)
    return definitions, Order(task=task, trigger=trigger, id=folder.name, asked_by=asked_by, shown=shown)


def say(folder: Path, result: dict[str, Any]) -> None:
    """Write the result; whoever follows sees it whole, or not at all.

    Where it cannot be written it counts as interrupted, and no other has to suffer for it.
    """
    try:
        replace_through(folder / "result.json", json.dumps(result))
    except OSError as error:
        print(f"The result of {folder.name} cannot be written: {plainly(error)}", flush=True)


def close_interrupted(places: Workplace) -> int:
    """Answer what an earlier worker was killed over. Returns how many there were."""
    number = 0
    for folder in places.results.iterdir():
        if is_interrupted(folder):
            say(folder, {"refused": INTERRUPTED})
            number += 1
    return number


def is_interrupted(folder: Path) -> bool:
    """Whether it was begun, and nobody goes on with it. Until its request is there it has not begun."""
    try:
        lock = opened(folder / "request.json")
    except FileNotFoundError:
        return False
    if lock is None:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return not (folder / "result.json").exists()


def sweep(places: Workplace, *, now: float, kept: timedelta = KEPT) -> int:
    """Remove results that nobody needs any more, and what was half written when a diary or a task was killed.

    `now` is in seconds since 1970. Returns how many there were. Several may do so at once.
    """
    number = 0
    for each in (*places.results.iterdir(), *places.asked.glob(".*"), *places.ledger.glob("*.new")):
        with suppress(FileNotFoundError):  # another has removed it meanwhile
            if now - each.lstat().st_mtime > kept.total_seconds():
                remove(each)
                number += 1
    return number

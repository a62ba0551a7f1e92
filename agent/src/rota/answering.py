"""Carrying out what somebody asked of this host in the diary: judged by its own catalogue, and at most once.

What was fetched are files of the user `rota`, who speaks to the network; this runs as root and never does. Every word
in them is whoever asks's. A request is claimed by a rename before anything is done, so whatever interrupts this, it is
not carried out twice, and what was interrupted is told.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from rota.adapters.spool import Spool, UnsafeFile, read_plain
from rota.core.catalogue import Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.host_request import Action, BadRequest, HostRequest, parse_request
from rota.core.identifier import parse_identifier
from rota.core.parameter import choose
from rota.core.pause import Pause
from rota.core.places import Places
from rota.core.record import MAX_TEXT, AnswerRecord, fitting
from rota.core.task import Task
from rota.pausing import pause_task, resume_task
from rota.runner import make_identifier
from rota.starting import find_run, has_unit, new_request, start_only

LIMIT = 1024 * 1024
REMEMBERED = timedelta(days=7)
"""How long an answered request is remembered; it cannot begin after its deadline, which is minutes away."""


class NotAsked(RotaError):
    """This is not to be asked for in the diary."""


class TooLate(RotaError):
    """It was to begin earlier."""


class Interrupted(RotaError):
    """It was interrupted, and it is not known how far it got."""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """One look at all that was fetched. `agent` is who answers, `catalogue` raises RotaError where it cannot be read.

    `is_live` where systemd runs.
    """

    places: Places
    spool: Spool
    agent: Agent
    catalogue: Callable[[], Catalogue]
    now: Callable[[], datetime]
    is_live: bool


def answer_all(work: Answering) -> int:
    """Carry out, or refuse, everything that was fetched; look again until nothing is left. Returns how many."""
    work.places.answered.mkdir(parents=True, exist_ok=True)
    forget(work.places.answered, work.now())
    number = 0
    for path in sorted(work.places.answered.glob("*.json")):
        tell_interrupted(work, path)
        number += 1
    while paths := waiting(work.places.fetched):
        for path in paths:
            if claimed := claim(path, work.places.answered):
                reply(work, claimed)
                number += 1
    return number


def waiting(folder: Path) -> list[Path]:
    """Whatever lies there, oldest first: anything that stayed would have the path unit begin again and again."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def claim(path: Path, answered: Path) -> Path | None:
    """Take a request away from those that wait; None for one that was answered before, or is none."""
    identifier = path.name.removesuffix(".json")
    claimed = answered / f"{identifier}.json"
    is_new = parse_identifier(identifier) and not (claimed.exists() or done_mark(claimed).exists())
    if path.is_dir() and not path.is_symlink():
        path.rmdir()  # only `rota` can have made it; one that is full stays, and this fails visibly
        return None
    if not is_new:
        path.unlink()
        return None
    path.replace(claimed)
    return claimed


def reply(work: Answering, claimed: Path) -> None:
    """Do what the request says, and tell what came of it."""
    try:
        carry_out(work, read_request(claimed))
        store_answer(work, claimed, is_done=True, reason="")
    except RotaError as error:
        store_answer(work, claimed, is_done=False, reason=said_by(error))


def said_by(error: RotaError) -> str:
    return fitting(" ".join(str(error).split()), MAX_TEXT)


def read_request(path: Path) -> HostRequest:
    """Raises BadRequest."""
    try:
        request = parse_request(json.loads(read_plain(path, LIMIT)))
    except (FileNotFoundError, UnsafeFile, ValueError, RecursionError) as error:
        raise BadRequest(f"it is no file of JSON: {error}") from None
    if str(request.id) != path.stem:
        raise BadRequest("its id is not the one under which it was fetched")
    return request


def carry_out(work: Answering, request: HostRequest) -> None:
    """Raises RotaError with the reason for which it is refused."""
    catalogue = work.catalogue()
    if not catalogue.agent.asking:
        raise NotAsked(f"{catalogue.agent.host} refuses all such requests (agent: asking: false)")
    if work.now() > request.deadline:
        raise TooLate(f"by {request.deadline:%H:%M:%S} UTC; it is {work.now():%H:%M:%S} UTC on the host")
    task = catalogue.task(request.task)
    if not task.may_be_asked:
        raise NotAsked(f"{task.name}; asking: true in its declaration would allow it")
    match request.action:
        case Action.RUN:
            start(work, task, request)
        case Action.PAUSE:
            pause(work, catalogue, task, request)
        case Action.RESUME:
            resume_task(task, catalogue, work.places, is_live=work.is_live)


def start(work: Answering, task: Task, request: HostRequest) -> None:
    """Begin the run as `rota run --no-wait` does, under the request's own id."""
    values = choose(task.name, task.all_parameters, request.values)
    wishes = {"id": str(request.id), "asked_by": request.who, "is_dry_run": request.is_dry_run}
    asked = new_request(task, values, **wishes)
    if not has_unit(task, work.places):
        raise NotAsked(f"{task.name} has no unit on this host; rota sync makes it")
    if (work.spool.folder / "output" / asked.id).exists():
        raise Interrupted("a run of this id has begun before")
    start_only(task, work.places, work.spool, asked)


def pause(work: Answering, catalogue: Catalogue, task: Task, request: HostRequest) -> None:
    now = work.now()
    if request.until is not None and request.until <= now:
        raise TooLate(f"until {request.until:%Y-%m-%d %H:%M} UTC is past on the host")
    wanted = Pause(since=now, until=request.until, by=request.who, reason=" ".join(request.reason.split()))
    pause_task(task, catalogue, work.places, wanted, is_live=work.is_live)


def tell_interrupted(work: Answering, claimed: Path) -> None:
    """Tell of what was claimed and never answered: the host, or this, went down meanwhile."""
    has_begun = find_run(work.spool, claimed.stem) is not None
    why = "" if has_begun else said_by(Interrupted("ask for it again if it is still wanted"))
    store_answer(work, claimed, is_done=has_begun, reason=why)


def store_answer(work: Answering, claimed: Path, *, is_done: bool, reason: str) -> None:
    """Put the answer among the records for the diary, then remember that there is one."""
    work.spool.store(
        AnswerRecord(
            id=UUID(make_identifier(time.time_ns() // 1_000_000, os.urandom(10))),
            host=work.agent.host,
            environment=work.agent.environment,
            at=work.now(),
            request=UUID(claimed.stem),
            is_done=is_done,
            reason=reason,
        )
    )
    claimed.replace(done_mark(claimed))


def done_mark(claimed: Path) -> Path:
    return claimed.with_suffix(".done")


def forget(answered: Path, now: datetime) -> None:
    for path in answered.glob("*.done"):
        if now - datetime.fromtimestamp(path.lstat().st_mtime, UTC) > REMEMBERED:
            path.unlink()

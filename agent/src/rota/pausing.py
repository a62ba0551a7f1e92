"""Pausing a task and resuming it: what passed is judged as it was planned then, what comes is planned anew."""

from rota.adapters.pauses import Pauses
from rota.core.catalogue import Catalogue
from rota.core.errors import RotaError
from rota.core.pause import Pause
from rota.core.places import Places
from rota.core.task import Task
from rota.planning import account_now, look_again, stop_looking


class NotPaused(RotaError):
    """The task is not paused."""


def pause_task(task: Task, catalogue: Catalogue, places: Places, pause: Pause, *, is_live: bool) -> None:
    account_now(places, catalogue, is_live=is_live)
    Pauses(places.pauses).store(task.name, pause)
    account_now(places, catalogue, is_live=is_live)
    if is_live:
        stop_looking(task)


def resume_task(task: Task, catalogue: Catalogue, places: Places, *, is_live: bool) -> None:
    """Raises NotPaused."""
    if Pauses(places.pauses).load(task.name) is None:
        raise NotPaused(f"{task.name}; rota plan {task.name} shows when it runs next")
    account_now(places, catalogue, is_live=is_live)
    Pauses(places.pauses).remove(task.name)
    account_now(places, catalogue, is_live=is_live)
    if is_live:
        look_again(task)

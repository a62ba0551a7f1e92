"""Asking for one run of a task at a time to come."""

from datetime import UTC, datetime

from rota.adapters import systemd
from rota.adapters.requests import Asked, Requests
from rota.core.errors import RotaError
from rota.core.places import Places
from rota.core.request import Request
from rota.core.task import Task
from rota.planning import arm


class BadTime(RotaError):
    """The task cannot run at this time."""


class NotPossible(RotaError):
    """No run can be asked for here."""


def ask_for(task: Task, places: Places, at: datetime, request: Request, *, is_booted: bool) -> None:
    """Keep what is asked for until then, and have systemd begin it; the accounting does so again after a boot.

    Raises BadTime, NotPossible.
    """
    if not is_booted:
        raise NotPossible(f"{task.name} has no unit; only a host's systemd starts it at a time, after rota sync")
    at = at.astimezone(UTC).replace(microsecond=0)
    if at <= datetime.now(UTC):
        raise BadTime(f"{at.astimezone():%Y-%m-%d %H:%M:%S} is past; it must be a time to come")
    asked = Asked(
        task=task.name,
        at=at,
        asked_by=request.asked_by,
        parameters=request.parameters,
        environment=request.environment,
        arguments=request.arguments,
        is_dry_run=request.is_dry_run,
    )
    try:
        Requests(places.asked).store(asked)
        arm(asked)
    except FileExistsError:
        raise BadTime(f"somebody asked for {at.astimezone():%Y-%m-%d %H:%M:%S} already; see rota plan") from None
    except PermissionError as error:
        raise NotPossible(f"{error}; become root") from error
    except systemd.SystemdRefused:
        Requests(places.asked).remove(asked)
        raise

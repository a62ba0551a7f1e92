"""A night's work: which reports are due, and making them side by side, each by itself."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date

from rota.adapters.spool import replace_through
from rota.core.errors import RotaError
from rota.packs.reports import ledger
from rota.packs.reports.attempt import Attempt, Outcome, Trigger
from rota.packs.reports.definitions import Definitions, Task
from rota.packs.reports.frequency import is_due, missed
from rota.packs.reports.running import AlreadyRuns, Desk, Order, attempt_of, make
from rota.packs.reports.workplace import Workplace


class SomeFailed(RotaError):
    """Not every report could be made."""


Tell = Callable[[Attempt], None]


def due(definitions: Definitions, day: date, *, last: date | None) -> list[Order]:
    """What is to be made on this day, in the order of names, each report once.

    `last` is the last day that was seen to; what was due since then, and is to be caught up, is made for its latest
    day.
    """
    orders = (order_of(task, day, last) for task in definitions.reports.values())
    return [order for order in orders if order]


def order_of(task: Task, day: date, last: date | None) -> Order | None:
    if is_due(task, day):
        return Order(task=task, planned=day)
    if task.catch_up and last is not None and (days := missed(task, last, day)):
        return Order(task=task, planned=days[-1])
    return None


def chosen(definitions: Definitions, names: Sequence[str], day: date) -> list[Order]:
    """What was named, due or not. Raises UnknownReport."""
    return [Order(task=definitions.report(name), planned=day, trigger=Trigger.RUN_NOW) for name in names]


def make_all(desk: Desk, definitions: Definitions, orders: Iterable[Order], *, at_once: int, tell: Tell) -> int:
    """Make them, so many at once; each is noted in the ledger and told as it ends. Returns how many failed.

    Nothing that happens to one keeps another from being made. What a full disk keeps from being noted is noted after
    the last one. Raises NotNoted where it cannot be then.
    """
    failed = 0
    with ledger.noting(desk.places.ledger) as note, ThreadPoolExecutor(at_once, thread_name_prefix="report") as pool:
        try:
            going = [pool.submit(make_one, desk, definitions, order, note) for order in orders]
            for done in as_completed(going):
                attempt = done.result()
                failed += not attempt.outcome.is_good
                tell(attempt)
        except BaseException:  # whatever it was, it goes on
            desk.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def make_one(desk: Desk, definitions: Definitions, order: Order, note: Tell) -> Attempt:
    """One report; that it is being made already is its failure as well."""
    started = desk.now()
    try:
        attempt = make(desk, definitions, order)
    except AlreadyRuns as error:
        attempt = attempt_of(desk, definitions, order, started, Outcome.FAILED, str(error))
    note(attempt)
    return attempt


def last_day(places: Workplace) -> date | None:
    """The last day that was seen to; None where none was."""
    try:
        return date.fromisoformat((places.state / "last_day").read_text("ascii").strip())
    except FileNotFoundError:
        return None


def remember_day(places: Workplace, day: date) -> None:
    """Never an earlier one than before: a night that is made once more by hand changes nothing."""
    before = last_day(places)
    if before is None or day > before:
        replace_through(places.state / "last_day", f"{day}\n")

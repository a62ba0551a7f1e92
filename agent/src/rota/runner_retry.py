"""When a failed run is tried again, and the wait until then; imported for tasks that retry."""

import select
import time

MOMENT = 1_000_000
SHORTEST = 1.0
"""An attempt for which there are fewer seconds does not begin."""
CLEARING = 2.0
"""How many seconds before the next slot an attempt is over: its unit has to be, or systemd starts no other."""


def next_moment(waits: str, attempt: int, plan: str, grace: float) -> int:
    """The microsecond of the next attempt; 0 when there is none: all were made, or there is no time for it.

    It has to be over before the next slot, also when it is asked to end and takes all its grace.
    """
    each = waits.split(",")
    if attempt > len(each):
        return 0
    moment = time.time_ns() // 1000 + int(float(each[attempt - 1]) * MOMENT)
    latest = next_slot(plan) - CLEARING - grace - SHORTEST
    return 0 if 0 < latest * MOMENT < moment else moment


def next_slot(plan: str) -> int:
    """The second of the first slot that is still to come; 0 where none is known."""
    now = f"{int(time.time()):010d}"
    lines = (line for line in plan.split("\n") if line[:10].isdigit() and line[:10] > now)
    return int(next(lines, "0")[:10])


def seconds_left(plan: str, grace: float) -> float:
    """After how long an attempt is asked to end, so that it is over before the next slot; 0 for no such limit."""
    following = next_slot(plan)
    return max(SHORTEST, following - CLEARING - grace - time.time()) if following else 0.0


def wait(moment: int, wakes: int) -> None:
    """Sleep until this microsecond, or until a signal's byte arrives."""
    deadline = time.monotonic() + (moment - time.time_ns() // 1000) / MOMENT
    poll = select.poll()
    poll.register(wakes, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(min(left * 1000 + 1, 60_000)):
            return

"""When a failed run is tried again, and the wait until then; imported for tasks that retry."""

import select
import time

MOMENT = 1_000_000


def next_moment(waits: str, attempt: int, plan: str) -> int:
    """The microsecond of the next attempt; 0 when there is none: all were made, or the next slot comes before."""
    each = waits.split(",")
    if attempt > len(each):
        return 0
    moment = time.time_ns() // 1000 + int(float(each[attempt - 1]) * MOMENT)
    following = next_slot(plan)
    return 0 if following and moment >= following * MOMENT else moment


def next_slot(plan: str) -> int:
    """The second of the first slot that is still to come; 0 where none is known."""
    now = f"{int(time.time()):010d}"
    lines = (line for line in plan.split("\n") if line[:10].isdigit() and line[:10] > now)
    return int(next(lines, "0")[:10])


def seconds_left(plan: str) -> float:
    """How long an attempt may take before the next slot comes; 0 for as long as it may otherwise."""
    following = next_slot(plan)
    return max(1.0, following - time.time()) if following else 0.0


def wait(moment: int, wakes: int) -> None:
    """Sleep until this microsecond, or until a signal's byte arrives."""
    deadline = time.monotonic() + (moment - time.time_ns() // 1000) / MOMENT
    poll = select.poll()
    poll.register(wakes, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(min(left * 1000 + 1, 60_000)):
            return

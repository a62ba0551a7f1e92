"""Following a run that is under way, whoever started it, until it ends."""

import time
from datetime import timedelta

from rota import starting
from rota.adapters.reconciling import has_ended, is_locked
from rota.adapters.spool import Spool
from rota.cli.printing import local, short
from rota.core.comparison import outcome
from rota.core.quantities import show_duration
from rota.core.record import RunRecord

ATTEMPTS_WITHIN = timedelta(days=1)
"""How far from a run the other attempts at the same may lie."""
INTERRUPTED = 130


def follow_run(spool: Spool, run: RunRecord, *, is_brief: bool) -> int:
    """Print the run's output as it comes and return the exit code of the run. Raises NeverEnded.

    An interrupt ends the watching only.
    """
    try:
        starting.follow(spool.folder / "output" / str(run.id), is_over=lambda: is_over(spool, str(run.id)))
    except KeyboardInterrupt:
        print(f"\nThe run goes on: rota show {short(run.id)} --follow")
        return INTERRUPTED
    ended = starting.find_run(spool, str(run.id))
    if ended is None or not ended.status.is_final:
        raise starting.NeverEnded(f"{run.task}: {run.id} will be closed as lost by rota reconcile")
    if not is_brief:
        again = f"; the next attempt begins {local(ended.retry_at)}" if ended.retry_at else ""
        print(f"\n{outcome(ended)} after {show_duration(ended.duration)}{again}")
    return starting.exit_code(ended)


def is_over(spool: Spool, name: str) -> bool:
    """Whether the run has left its end record, or its runner is gone without; waits a moment where neither is so.

    The runner holds a kernel lock on the output until it ends, and writes its end record before.
    """
    if has_ended(spool, name) or is_locked(spool.folder / "output" / name) is False:
        return True
    time.sleep(starting.LOOK_EVERY)  # between two looks at the run
    return False

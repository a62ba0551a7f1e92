"""One line per stage with the seconds it took, on a terminal and in a log alike."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    """Write one line of progress."""
    print(f"lab: {line}", file=sys.stderr, flush=True)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Name a stage when it begins (on a terminal) and its duration when it is over."""
    begun = time.monotonic()
    if sys.stderr.isatty():
        print(f"lab: {what} …", end="\r", file=sys.stderr, flush=True)
    yield
    say(f"{what}, {time.monotonic() - begun:.1f} s")

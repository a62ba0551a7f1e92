"""How long work tells how far it is: a line that changes on a terminal, a line now and then elsewhere."""

import sys
import time

SOON, SELDOM = 0.2, 10.0
"""How many seconds lie between two words of it, on a terminal and elsewhere."""


class Progress:
    """So many of so many things, on standard error."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.is_terminal = sys.stderr.isatty()
        self.spoke = time.monotonic()
        self.said = ""

    def tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.spoke < (SOON if self.is_terminal else SELDOM):
            return
        self.spoke = now
        said = f"{done:,} of {total:,} {self.what}"
        if self.is_terminal:
            print(f"\r{said.ljust(len(self.said))}", end="", file=sys.stderr, flush=True)
            self.said = said
        else:
            print(said, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away again, for what comes after it."""
        if self.said:
            print(f"\r{' ' * len(self.said)}\r", end="", file=sys.stderr, flush=True)
            self.said = ""

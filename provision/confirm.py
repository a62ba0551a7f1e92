"""The question asked before anything in production is destroyed."""

import sys
from typing import TextIO

from provision.errors import OperatorError


class NotConfirmed(OperatorError):
    """Nothing was done."""


def confirm_destruction(
    environment: str, what: str, *, yes: bool, terminal: TextIO | None = None, out: TextIO | None = None
) -> None:
    """Ask for the word `production` before `what` happens there; other environments are not asked.

    Raises NotConfirmed when the word is not typed, or when there is no terminal to type it on.
    """
    if environment != "production" or yes:
        return
    terminal = terminal or sys.stdin
    if not terminal.isatty():
        raise NotConfirmed(f"{what}. There is no terminal to confirm on; --yes-destroy-production says it beforehand")
    print(f"{what}. Type the word production to go on:", end=" ", file=out or sys.stderr, flush=True)
    if terminal.readline().strip() != "production":
        raise NotConfirmed("the word production was not typed")

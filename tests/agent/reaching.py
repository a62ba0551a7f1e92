"""Which lines of a file a piece of code reaches, and which lines say that something is wrong."""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


def lines_that_complain(file: Path, *names: str) -> set[int]:
    """Where the file raises, or makes, one of these."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        call = node.exc if isinstance(node, ast.Raise) else node
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
            found.add(node.lineno)  # type: ignore[attr-defined]  # of a statement or an expression
    return found


@contextmanager
def reached(file: Path) -> Iterator[set[int]]:
    """The lines of this file that are reached meanwhile."""
    found: set[int] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != str(file):
            return None
        if event == "line":
            found.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(before)


def told(file: Path, lines: set[int]) -> list[str]:
    """These lines as their author wrote them."""
    written = file.read_text(encoding="utf-8").splitlines()
    return [f"{number}: {written[number - 1].strip()}" for number in sorted(lines)]

"""The syntax tree of a script, or where and why it has none, whatever text somebody wrote.

It is made of the bytes that will be run, so that a declared encoding cannot make Python read another script than ours.
"""

import ast
import io
import tokenize
from dataclasses import dataclass

from rota.core.errors import RotaError

LARGEST = 256 * 1024
"""Bytes; four times what the original could keep. Trees are a hundred times larger than their text."""


class BadScript(RotaError):
    """This script cannot be run."""

    def __init__(self, reason: str, *, name: str = "", line: int = 0, column: int = 0) -> None:
        self.reason, self.name, self.line, self.column = reason, name, line, column
        where = [name, f"line {line}" if line else "", f"column {column}" if column else ""]
        super().__init__(f"{', '.join(filter(None, where)) or 'script'}: {reason}")


@dataclass(frozen=True)
class Tree:
    """A parsed script, with the lines that columns are counted in."""

    module: ast.Module
    lines: tuple[bytes, ...]

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Line and column of a node, from 1, in characters."""
        line = getattr(node, "lineno", 1)
        before = self.lines[line - 1][: getattr(node, "col_offset", 0)] if line <= len(self.lines) else b""
        return line, len(before.decode("utf-8", "replace")) + 1


def parse(body: str, name: str = "") -> Tree:
    """The tree of a script that Python would compile. Raises BadScript, with the line where that can be told."""
    content = in_bytes(body, name)
    require_utf8(content, name)
    try:
        module = ast.parse(content, name or "script")
        compile(content, name or "script", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise BadScript(error.msg, name=name, line=error.lineno or 0, column=max(error.offset or 0, 0)) from None
    except (RecursionError, MemoryError):
        raise BadScript("it is nested too deeply", name=name) from None
    except (ValueError, OverflowError) as error:
        raise BadScript(str(error), name=name) from None
    return Tree(module, tuple(content.splitlines()))


def in_bytes(body: str, name: str) -> bytes:
    try:
        content = body.encode("utf-8")
    except UnicodeEncodeError as error:
        line = body.count("\n", 0, error.start) + 1
        raise BadScript("it has half a character, which no file can hold", name=name, line=line) from None
    if len(content) > LARGEST:
        raise BadScript(f"it has {len(content)} bytes; {LARGEST} at most", name=name)
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise BadScript("it has a NUL character", name=name, line=line)
    return content


def require_utf8(content: bytes, name: str) -> None:
    """Refuse a declared encoding: by one such as UTF-7, what looks like a comment is read as code."""
    try:
        encoding, lines = tokenize.detect_encoding(io.BytesIO(content).readline)
    except SyntaxError as error:
        raise BadScript(str(error.msg), name=name, line=1) from None
    if encoding not in ("utf-8", "utf-8-sig"):
        raise BadScript(f"it declares the encoding {encoding}; it is kept as UTF-8", name=name, line=len(lines) or 1)

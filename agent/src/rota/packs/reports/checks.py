"""What an output must be before it is published, read once from its beginning to its end, block by block.

However long a file is, little of it is in memory. XML may declare no entities, so nothing in it can grow. JSON is read
by a reader of our own, for the one of Python takes a whole text, of which it makes ten times as much.
"""

import codecs
import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from rota.core.errors import RotaError
from rota.packs.reports.definitions import Check, Task
from rota.packs.reports.names import extension_of

BLOCK = 1 << 16
DEEPEST = 500
"""How deeply elements, arrays and objects may lie in each other."""
LONGEST_LINE = 1 << 20
LONGEST_TOKEN = 1 << 24
"""Bytes of a line of CSV, and of one string or number of JSON."""
TABULAR = {"tsv", "kbart"}


class BadOutput(RotaError):
    """The output is not published."""

    def __init__(self, reason: str, *, line: int = 0, column: int = 0) -> None:
        self.reason, self.line, self.column = reason, line, column
        where = f"line {line}, column {column}: " if line and column else f"line {line}: " if line else ""
        super().__init__(f"{where}{reason}")


def check(path: Path, task: Task, previous_size: int | None = None) -> None:
    """Whether it is all that its task asks for; `previous_size`, in bytes, is that of what is published now.

    Raises BadOutput, with line and column where there are any.
    """
    refuse_shrunk(path.stat().st_size, task.shrink_percent, previous_size)
    for each in task.checks:
        with path.open("rb") as stream:
            CHECKS[each](stream, task.file_name)


def refuse_shrunk(size: int, percent: int | None, previous: int | None) -> None:
    if percent is None or not previous:
        return
    if size * 100 < previous * (100 - percent):
        lost = (previous - size) * 100 // previous
        raise BadOutput(f"{size} bytes are {lost} % less than the {previous} before; {percent} % are allowed")


def require_content(stream: BinaryIO, file_name: str) -> None:
    while block := stream.read(BLOCK):
        if not block.isspace():
            return
    raise BadOutput("it is empty" if stream.tell() == 0 else "it has nothing but blanks")


# -- XML


def require_xml(stream: BinaryIO, file_name: str) -> None:
    parser = expat.ParserCreate()
    depth = 0

    def begin(name: str, attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            refuse(f"its elements lie in each other more than {DEEPEST} deep")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(reason: str) -> None:
        raise BadOutput(reason, line=parser.CurrentLineNumber, column=parser.CurrentColumnNumber + 1)

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.EntityDeclHandler = lambda *declared: refuse(f"it declares the entity {str(declared[0])[:40]!r}")
    try:
        parser.ParseFile(stream)
    except expat.ExpatError as error:
        reason = expat.errors.messages.get(error.code, "not well-formed")
        raise BadOutput(f"XML: {reason}", line=error.lineno, column=error.offset + 1) from None
    except (ValueError, LookupError) as error:  # of an encoding that it declares
        raise BadOutput(f"XML: {error}", line=1) from None


# -- JSON

WS = rb"[ \t\r\n]*"
STRING = rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
SCALAR = rb"(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?=[] \t\r\n},])"
"""It ends where something else begins, so that none is taken for whole that the next block goes on."""
TOKEN = re.compile(rb"%b(?:(?P<mark>[][{}:,])|(?P<string>%b)|(?P<scalar>%b))" % (WS, STRING, SCALAR))


def small_value(depth: int) -> bytes:
    """A pattern of a value with so many levels of arrays and objects in it."""
    if depth == 0:
        return rb"(?:%b|%b)" % (STRING, SCALAR)
    inner = small_value(depth - 1)
    items = rb"%b%b(?:%b,%b%b)*" % (WS, inner, WS, WS, inner)
    pairs = rb"%b(?:%b,%b)*" % (small_pair(inner), WS, small_pair(inner))
    return rb"(?:%b|%b|\[(?:%b)?%b\]|\{(?:%b)?%b\})" % (STRING, SCALAR, items, WS, pairs, WS)


def small_pair(value: bytes) -> bytes:
    return rb"%b%b%b:%b%b" % (WS, STRING, WS, WS, value)


RUNS = {
    ord("["): re.compile(rb"(?:%b,%b%b)*" % (WS, WS, small_value(3))),
    ord("{"): re.compile(rb"(?:%b,%b)*" % (WS, small_pair(small_value(2)))),
}
"""What may follow a value in an array or object and need not be taken piece by piece, which is several times slower."""
BLANK = re.compile(rb"[ \t\r\n]*")
VALUE, FIRST_OR_END, COMMA_OR_END, KEY, FIRST_KEY_OR_END, COLON, DONE = range(7)


def require_json(stream: BinaryIO, file_name: str) -> None:
    reader = JsonReader()
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in iter(lambda: stream.read(BLOCK), b""):
        reader.feed(block, decoder)
    reader.feed(b"", decoder, final=True)


class JsonReader:
    """Reads one JSON text (RFC 8259), of which it keeps what is open, and where it is."""

    def __init__(self) -> None:
        self.rest = b""
        self.open: list[int] = []
        self.expected = VALUE
        self.line, self.column = 1, 0

    def feed(self, block: bytes, decoder: codecs.IncrementalDecoder, *, final: bool = False) -> None:
        """Read on. A token that may go on in the next block waits for it. Raises BadOutput."""
        begun = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final)
        except UnicodeDecodeError as error:
            self.advance((self.rest + block)[: len(self.rest) - begun + error.start])
            self.refuse("it is not UTF-8")
        text = self.rest + block + (b"\n" if final else b"")
        place = 0
        while found := TOKEN.match(text, place):
            self.take(found, text, place)
            place = found.end()
            if self.expected == COMMA_OR_END and (run := RUNS[self.open[-1]].match(text, place)):
                place = run.end()
        self.advance(text[:place])
        self.rest = text[place:]
        blank = BLANK.match(self.rest)
        if len(self.rest) > LONGEST_TOKEN or (final and blank and blank.end() < len(self.rest)):
            self.advance(self.rest[: blank.end() if blank else 0])
            self.refuse(f"JSON: unexpected {self.rest.strip()[:20].decode('utf-8', 'replace')!r}")
        if final and self.expected != DONE:
            self.refuse("JSON: it ends too early")

    def take(self, found: re.Match[bytes], text: bytes, begin: int) -> None:
        kind, mark = found.lastgroup, found["mark"]
        if not self.step(kind, mark):
            self.advance(text[: found.start(kind or 0)])
            self.refuse(f"JSON: unexpected {found[kind or 0][:20].decode('utf-8', 'replace')!r}")
        if len(self.open) > DEEPEST:
            self.advance(text[: found.start(kind or 0)])
            self.refuse(f"its arrays and objects lie in each other more than {DEEPEST} deep")

    def step(self, kind: str | None, mark: bytes | None) -> bool:
        """Whether the token may stand here; what may follow it."""
        expected = self.expected
        if mark is None:
            if kind == "string" and expected in (KEY, FIRST_KEY_OR_END):
                self.expected = COLON
                return True
            return expected in (VALUE, FIRST_OR_END) and self.end_value()
        if mark == b"{" or mark == b"[":
            if expected not in (VALUE, FIRST_OR_END):
                return False
            self.open.append(mark[0])
            self.expected = FIRST_KEY_OR_END if mark == b"{" else FIRST_OR_END
            return True
        if mark == b":":
            self.expected = VALUE
            return expected == COLON
        if mark == b",":
            self.expected = KEY if self.open and self.open[-1] == ord("{") else VALUE
            return expected == COMMA_OR_END
        return self.close(mark, expected)

    def close(self, mark: bytes, expected: int) -> bool:
        opening, first = (ord("{"), FIRST_KEY_OR_END) if mark == b"}" else (ord("["), FIRST_OR_END)
        if expected not in (COMMA_OR_END, first) or not self.open or self.open.pop() != opening:
            return False
        return self.end_value()

    def end_value(self) -> bool:
        self.expected = COMMA_OR_END if self.open else DONE
        return True

    def advance(self, passed: bytes) -> None:
        """Count lines and characters of what was read."""
        if lines := passed.count(b"\n"):
            self.line, self.column = self.line + lines, 0
            passed = passed[passed.rindex(b"\n") + 1 :]
        self.column += len(passed) - sum(1 for byte in passed if byte & 0xC0 == 0x80)

    def refuse(self, reason: str) -> None:
        raise BadOutput(reason, line=self.line, column=self.column + 1)


# -- CSV


def require_csv(stream: BinaryIO, file_name: str) -> None:
    """A header of names that differ, and every row as long as it."""
    lines = decoded_lines(stream)
    first = next(lines, "")
    reader = csv.reader(chained(first, lines), delimiter=delimiter_of(file_name, first), strict=True)
    try:
        header = next(reader, [])
        require_header(header)
        for row in reader:
            if row and len(row) != len(header):
                raise BadOutput(f"CSV: {len(row)} columns, and {len(header)} in the header", line=reader.line_num)
    except csv.Error as error:
        raise BadOutput(f"CSV: {error}", line=reader.line_num) from None


def require_header(header: list[str]) -> None:
    if not header:
        raise BadOutput("CSV: there is no header", line=1)
    for place, name in enumerate(header, 1):
        if not name.strip():
            raise BadOutput(f"CSV: column {place} has no name", line=1)
        if name in header[: place - 1]:
            raise BadOutput(f"CSV: two columns are called {name[:40]!r}", line=1)


def delimiter_of(file_name: str, header: str) -> str:
    """A tab for what is called so; else a comma, or a semicolon where the header has only that."""
    if extension_of(file_name).lower() in TABULAR:
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def decoded_lines(stream: BinaryIO) -> Iterator[str]:
    """With their ends, without a byte order mark. Raises BadOutput for what is no text, or endless."""
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), 1):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise BadOutput(f"CSV: a line is longer than {LONGEST_LINE} bytes", line=number)
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadOutput("it is not UTF-8", line=number, column=error.start + 1) from None


def chained(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


CHECKS: dict[Check, Callable[[BinaryIO, str], None]] = {
    Check.XML: require_xml,
    Check.JSON: require_json,
    Check.CSV: require_csv,
    Check.NOT_EMPTY: require_content,
}

"""A run's output made safe to show: control sequences become marked text, never markup and never invisible."""

import re
import unicodedata
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from rota.core.plain import ESCAPE

SHOWN_LINES = 4_000
"""More lines than this are shown as their first and last halves; the whole is offered as text."""
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
HELD = 256
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*\x1b?)?\Z")
"""A control sequence of which more may come."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a stretch of text is shown; each value is a class of the style sheet."""

    bold: bool = False
    dim: bool = False
    underlined: bool = False
    colour: str = ""

    @property
    def words(self) -> list[str]:
        said = {"bold": self.bold, "dim": self.dim, "underlined": self.underlined, self.colour: bool(self.colour)}
        return [word for word, is_so in said.items() if is_so]

    @property
    def classes(self) -> str:
        return " ".join(f"ansi-{word}" if word in COLOURS else word for word in self.words)


PLAIN = Look()


def parse_look(words: list[str]) -> Look | None:
    """The look that has these words; None where there is none."""
    colour = next((word for word in words if word in COLOURS), "")
    look = Look("bold" in words, "dim" in words, "underlined" in words, colour)
    return look if look.words == words else None


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    html: SafeString


@dataclass(frozen=True, slots=True)
class Rendered:
    head: list[Line]
    tail: list[Line]
    left_out: int


def render(text: str) -> Rendered:
    """Return the output's lines as HTML, numbered from 1."""
    lines = split_lines(text)
    if len(lines) <= SHOWN_LINES:
        return Rendered(render_lines(lines, first=1)[0], [], 0)
    half = SHOWN_LINES // 2
    tail_from = len(lines) - half
    head, look = render_lines(lines[:half], first=1)
    look = look_after(lines[half:tail_from], look)
    return Rendered(head, render_lines(lines[tail_from:], first=tail_from + 1, look=look)[0], tail_from - half)


def without_unfinished(text: str) -> str:
    """The text up to a control sequence at its end of which more may come; one that is very long is none."""
    held = UNFINISHED.search(text, max(0, len(text) - HELD))
    return text[: held.start()] if held else text


def split_lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [overwritten(line) for line in lines] if "\r" in text else lines


def overwritten(line: str) -> str:
    """Return what a terminal leaves of a line that returned to its beginning, as progress displays do."""
    line = line.removesuffix("\r")
    return line.rpartition("\r")[2]


def render_lines(lines: list[str], *, first: int, look: Look = PLAIN) -> tuple[list[Line], Look]:
    """The lines as HTML, numbered from `first`, that go on in this look; and the look in which they end."""
    shown = []
    for number, line in enumerate(lines, first):
        html, look = render_line(line, look)
        shown.append(Line(number, html))
    return shown, look


def look_after(lines: list[str], look: Look) -> Look:
    """The look in which these lines end that begin in this one."""
    for line in lines:
        for escape in ESCAPE.finditer(line):
            look = look_by(escape, look)
    return look


def look_by(escape: re.Match[str], look: Look) -> Look:
    return changed(look, escape[1]) if escape[2] == "m" else look


def render_line(line: str, look: Look) -> tuple[SafeString, Look]:
    pieces: list[tuple[str, SafeString]] = []
    position = 0
    for escape in ESCAPE.finditer(line):
        pieces.append((look.classes, render_text(line[position : escape.start()])))
        position = escape.end()
        look = look_by(escape, look)
    pieces.append((look.classes, render_text(line[position:])))
    shown = [piece for piece in pieces if piece[1]]
    if all(not classes for classes, _ in shown):
        return format_html_join("", "{}", ((html,) for _, html in shown)), look
    return format_html_join("", '<span class="{}">{}</span>', shown), look


def changed(look: Look, parameters: str) -> Look:
    """Return the look after an SGR sequence with these parameters; what it does not know it leaves out."""
    codes = [int(code) if code.isdecimal() and len(code) < 4 else 0 for code in re.split("[;:]", parameters)]
    while codes:
        code = codes.pop(0)
        if code in (38, 48):
            # An extended colour: 5;N or 2;R;G;B. It is read over and not shown.
            codes = codes[2:] if codes[:1] == [5] else codes[4:]
        else:
            look = step(look, code)
    return look


def step(look: Look, code: int) -> Look:
    bold, dim, underlined, colour = look.bold, look.dim, look.underlined, look.colour
    if code == 0:
        return Look()
    if code in (1, 2):
        bold, dim = bold or code == 1, dim or code == 2
    elif code == 22:
        bold = dim = False
    elif code in (4, 24):
        underlined = code == 4
    elif 30 <= code <= 37 or 90 <= code <= 97:
        colour = COLOURS[code % 10]
    elif code == 39:
        colour = ""
    return Look(bold, dim, underlined, colour)


def render_text(text: str) -> SafeString:
    """Return the text escaped, with every character that would be invisible or turn the reading direction marked."""
    if text.isprintable():
        return format_html("{}", text)
    return format_html_join("", "{}", ((shown(character),) for character in text))


def shown(character: str) -> str | SafeString:
    if character == "\t" or character.isprintable() or character == "\N{NO-BREAK SPACE}":
        return character
    code = ord(character)
    if code < 0x20:
        return format_html('<span class="mark">{}</span>', chr(0x2400 + code))
    if unicodedata.category(character) == "Zs":
        return character
    return format_html('<span class="mark">U+{}</span>', f"{code:04X}")

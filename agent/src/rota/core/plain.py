"""What programs print, made safe to read as plain text: nothing in it steers a terminal, or hides."""

import re

# ECMA-48: CSI with parameters and a final byte; OSC up to BEL or ST; any other two-character escape.
ESCAPE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -~]?)")


def plain(line: str) -> str:
    """The line without colours and the like; any other character that is not printable has a mark in its place.

    That goes for marks that turn the direction of writing as well.
    """
    return "".join(map(shown, ESCAPE.sub("", line)))


def shown(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return " " if character.isspace() else "\ufffd"


def plain_lines(output: str) -> list[str]:
    """The lines that are not empty, as a terminal leaves them: what was written over is gone."""
    lines = (plain(line.rstrip("\r").rpartition("\r")[2]) for line in output.split("\n"))
    return [line for line in lines if line.strip()]

"""The commands that are quick to start: what a shell script says of its run, and the look for what the diary wants.

All other commands of `rota` are loaded only when one of them is meant: a script may report a thousand items, and a host
looks every few seconds.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from rota.runner import quote

USAGE = {
    "item": "rota item NAME OUTCOME [MESSAGE]",
    "count": "rota count NAME [VALUE]",
}


def main() -> None:
    """The program `rota`."""
    words = sys.argv[1:]
    if words[:1] and words[0] in USAGE and not {"-h", "--help"}.intersection(words):
        sys.exit(report(words, os.environ))
    if words[:1] == ["listen"] and words[1:2] and not words[1].startswith("-"):
        from rota.listening import is_wanted

        if not is_wanted(*words[1:3]):
            return
        sys.argv = [sys.argv[0], "listen"]
    from rota.cli import main as whole

    whole()


def report(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write one line to the runner of the run at hand. Returns an exit code; a mistake is told in a line."""
    try:
        line = item(words[1:]) if words[0] == "item" else count(words[1:])
        write(descriptor(environ), line)
    except ValueError as error:
        print(f"rota: {error}", file=sys.stderr)
        return 2
    return 0


def item(words: Sequence[str]) -> str:
    if not 2 <= len(words) <= 3 or not words[0].strip() or not words[1].strip():
        raise ValueError(f"{len(words)} words were given, or an empty one; it must be: {USAGE['item']}")
    message = f',"message":{quote(words[2])}' if len(words) == 3 else ""
    return f'{{"item":{quote(words[0])},"outcome":{quote(words[1])}{message}}}\n'


def count(words: Sequence[str]) -> str:
    if not 1 <= len(words) <= 2 or not words[0].strip():
        raise ValueError(f"{len(words)} words were given, or an empty one; it must be: {USAGE['count']}")
    said = words[1] if len(words) == 2 else "1"
    try:
        value = float(said)
    except ValueError:
        value = float("nan")
    if not -1e300 < value < 1e300:
        raise ValueError(f"the value of {words[0]!r} is {said!r}; it must be a number")
    return f'{{"count":{quote(words[0])},"value":{value!r}}}\n'


def descriptor(environ: Mapping[str, str]) -> int:
    """The descriptor that the runner reads. Raises ValueError where there is no runner."""
    said = environ.get("ROTA_REPORT_FD", "")
    if not said.isdigit():
        raise ValueError("there is no run to report to: ROTA_REPORT_FD is not set; only a task's own work can report")
    return int(said)


def write(file: int, line: str) -> None:
    """Whole lines of several writers never mix: a pipe takes up to 4096 bytes at once (pipe(7))."""
    try:
        os.write(file, line.encode())
    except OSError as error:
        raise ValueError(f"the run cannot be reported to: {error.strerror} (file descriptor {file})") from None

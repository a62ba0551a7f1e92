"""What the made-up tasks print: lines of the usual kinds, tracebacks where they fail, from nothing to the limit."""

import math
from random import Random

from rota.core.record import MAX_OUTPUT
from rota.diary.estate.tasks import MadeTask

MOST = MAX_OUTPUT - 200
SPREAD = 0.9
"""Of the logarithm of an output's size."""
FULL = 0.0004
"""How many outputs reach the limit."""

VERBS = "reading writing comparing checking sending storing opening closing skipping updating".split()
NOUNS = """
account address archive article author balance batch bill binding border branch building bundle calendar catalogue
chapter city client colour column contract copy country county customer date deadline delivery district document
draft edition editor entry error estimate event fee figure file folder form group house image index invoice issue
item journal key language ledger letter library licence limit list loan mail manager map margin mark meeting member
message mirror model month name network newsletter night note notice number object office order owner page paper
parcel partner payment person picture place plate portrait poster price print product profile proof quarter queue
reader receipt record region register reminder renewal report request reservation result road room row rule sample
schedule school season section series server sheet shelf size source square staff stamp station statement stock
store street subject subscription summary table tariff tax team template term text ticket title town transfer type
unit update user value version visit volume voucher warehouse week window word year zone
""".split()
RARE = "quire vellum colophon incunabula palimpsest rubric foolscap deckle galley ligature octavo signature".split()
ERRORS = (
    ("ConnectionResetError", "[Errno 104] Connection reset by peer"),
    ("TimeoutError", "timed out after 30 s"),
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/srv/in/a-{}.pdf'"),
    ("PermissionError", "[Errno 13] Permission denied: '/srv/exports/members-{}.csv'"),
    ("psycopg.OperationalError", 'connection to server at "/run/postgresql" failed: server closed the connection'),
    ("ValueError", "row {} has 7 columns, expected 9"),
    ("UnicodeDecodeError", "'utf-8' codec can't decode byte 0xe4 in position {}: invalid continuation byte"),
    ("KeyError", "'member_{}'"),
)
SUDDEN = ("OSError", "[Errno 28] No space left on device")


def output(task: MadeTask, status: str, source: Random) -> str:
    """What one run of this task prints: seldom nothing, mostly its usual size, now and then up to the limit."""
    if status == "skipped" or (status == "lost" and source.random() < 0.3) or not task.size:
        return ""
    if status == "succeeded" and source.random() < 0.08:
        return ""
    wanted = MOST if source.random() < FULL else min(MOST, task.size * math.exp(source.gauss(0, SPREAD)))
    lines = [f"{task.name}: begins on {int(source.random() * 9000) + 1000} {noun(source)}s"]
    size = len(lines[0])
    while size < wanted:
        line = a_line(task, source)
        lines.append(line)
        size += len(line) + 1
    lines += ending(task, status, source)
    return "\n".join(lines)[:MOST] + "\n"


def a_line(task: MadeTask, source: Random) -> str:
    kind, number = source.random(), int(source.random() * 100_000)
    verb = VERBS[int(source.random() * len(VERBS))]
    if kind < 0.45:
        took = f"{number % 997} bytes in {number % 89}.{number % 10} s"
        return f"{verb} {noun(source)} {number}: {noun(source)} {noun(source)}, {took}"
    if kind < 0.7 and task.things:
        return f"{verb} {task.things.format(number)} ok"
    if kind < 0.85:
        return f"[{number % 24:02}:{number % 60:02}:{number % 59:02}] {verb} {noun(source)} for {noun(source)}"
    if kind < 0.9:
        return f"GET https://api.example.org/v2/{noun(source)}s/{number} 200 {number % 512} ms"
    if kind < 0.9995:
        return f"{noun(source)} {source.getrandbits(40):010x} is unchanged"
    return f"{RARE[number % len(RARE)]} {noun(source)} {number} was met for the first time"


def noun(source: Random) -> str:
    """One of the nouns, the earlier ones far more often, as words are distributed in texts."""
    draw = source.random()
    return NOUNS[int(len(NOUNS) * draw * draw)]


def ending(task: MadeTask, status: str, source: Random) -> list[str]:
    if status == "failed":
        return traceback(task, source)
    if status == "lost":
        return []
    done = "\x1b[32mdone\x1b[0m" if source.random() < 0.5 else "done"
    return [f"{done}, receipt {source.getrandbits(48):012x}"]


def traceback(task: MadeTask, source: Random) -> list[str]:
    name, message = ERRORS[int(source.random() * len(ERRORS))] if source.random() < 0.97 else SUDDEN
    number = int(source.random() * 100_000)
    lines = ["Traceback (most recent call last):"]
    file = f"/opt/rota/current/venv/lib/python3.11/site-packages/rota/packs/{task.pack}/work.py"
    for depth in range(2 + int(source.random() * 5)):
        lines += [
            f'  File "{file}", line {number % 400 + depth}, in {VERBS[(number + depth) % len(VERBS)]}',
            f"    {noun(source)} = {noun(source)}.{noun(source)}({noun(source)}, timeout=30)",
        ]
    return [*lines, f"\x1b[1;31m{name}\x1b[0m: {message.format(number)}", f"giving up after {number % 4 + 1} attempts"]

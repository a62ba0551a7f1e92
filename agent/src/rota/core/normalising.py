"""What of a run's output changes from run to run by nature: times, ids, paths, addresses, durations and sizes.

`normalise` puts a mark in the place of each, so that two outputs can be compared by what they say.
"""

import re

COLOURS = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z])?")
BLANKS = re.compile(r"[ \t\r]+")

DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
OFFSET = r"(?: ?(?:Z|UTC|GMT|CES?T|[+-]\d\d:?\d\d))?"
NUMBER = r"\d+(?:[.,]\d+)*"
UNIT_OF_TIME = (
    r"(?: ?(?:ns|us|µs|ms|s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?|days?|weeks?)|m)"  # 5 m may be metres
)
UNIT_OF_SIZE = r"(?: ?(?:[kKMGTP]i?B|[Bb]ytes?|B)|[kKMGTP])"  # 5 M may be anything
HEX = r"[0-9a-fA-F]"

# In this order: of two that begin at the same place, the first is taken.
KINDS = {
    "time": (
        rf"\d{{4}}-\d\d-\d\d(?:[T _]{CLOCK}{OFFSET})?",
        rf"\d{{4}}/\d\d/\d\d {CLOCK}{OFFSET}",
        rf"\d{{1,2}}/{MONTH}/\d{{4}}(?::{CLOCK}{OFFSET})?",
        rf"{DAY} {MONTH} \d{{1,2}} {CLOCK}(?: (?:AM|PM))?{OFFSET} \d{{4}}",
        rf"(?:{DAY},? )?{MONTH} \d{{1,2}},? {CLOCK}(?: (?:AM|PM))?{OFFSET}",
        rf"(?:{DAY},? )?\d{{1,2}} {MONTH} \d{{4}}(?: {CLOCK}(?: (?:AM|PM))?{OFFSET})?",
        rf"{CLOCK}{OFFSET}(?!:)",
    ),
    "address": (
        rf"0x{HEX}+",
        r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2}|:\d{1,5})?",
        rf"(?:{HEX}{{2}}:){{5}}{HEX}{{2}}",
        rf"(?:{HEX}{{1,4}}:){{7}}{HEX}{{1,4}}",
        rf"(?:{HEX}{{1,4}}:){{1,6}}(?::{HEX}{{1,4}}){{1,6}}",
    ),
    "size": (rf"{NUMBER}{UNIT_OF_SIZE}",),  # before ids, for B is a digit of theirs
    "id": (
        rf"{HEX}{{8}}-(?:{HEX}{{4}}-){{3}}{HEX}{{12}}",
        r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}",
        r"(?=[A-F]*\d)(?=\d*[A-F])[0-9A-F]{7,64}",
        r"(?<=[A-Za-z]\[)\d+(?=\])",
    ),
    "duration": (rf"(?:{NUMBER}{UNIT_OF_TIME})+",),
    "path": (r"(?:/[\w.@%+~=,-]*\w)+/?",),
}
# Whatever follows a value must not be part of one when the value has become a mark: hence no word character and no
# `>` before a value, and no word character after it. A path ends with its last name.
VALUE = re.compile(
    r"(?<![\w>.,:/~])(?=[\d/A-Za-z]|(?<=\[)\d)"
    + "(?:"
    + "|".join(f"(?P<{kind}>(?:{'|'.join(patterns)})(?!\\w))" for kind, patterns in KINDS.items())
    + ")"
)
SUM = re.compile(r"<duration>(?:(?:,| and)? <duration>)+")  # 2 h 05 min
PROCESS = re.compile(r"\b((?:pid|PID|process|thread|tid)[ =:#]{1,2})\d+\b")
FLEETING = ("/tmp/", "/var/tmp/", "/run/", "/proc/", "/dev/shm/")  # noqa: S108 - told apart, not used
PLAIN_NAME = re.compile(r"[A-Za-z_.+-]+")


def normalise(text: str) -> str:
    """The text with a mark like `<time>` for each value that changes by nature, and single blanks.

    Of a path its last name is kept where it has no digits and no temporary folder: `<path>/books.csv`.
    Normalising what is normalised changes nothing.
    """
    text = BLANKS.sub(" ", COLOURS.sub("", text))
    return SUM.sub("<duration>", VALUE.sub(mark, PROCESS.sub(r"\1<id>", text)))


def mark(match: re.Match[str]) -> str:
    if match.lastgroup != "path":
        return f"<{match.lastgroup}>"
    path = match[0]
    name = path.rstrip("/").rpartition("/")[2]
    is_kept = PLAIN_NAME.fullmatch(name) and not path.startswith(FLEETING)
    return f"<path>/{name}" if is_kept else "<path>"

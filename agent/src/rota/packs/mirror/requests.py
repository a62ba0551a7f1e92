"""What the mirror's key may ask of production: five exact sentences; everything else is refused."""

import re
from dataclasses import dataclass
from enum import StrEnum

from rota.core.errors import RotaError

RELEASE_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}"

# What rsync says to the far side for the options we start it with. Among the letters left out are those that
# would follow links out of the folder (L, k, K) and the one that would bring arguments past us (s). The letters
# after the dot only tell what the caller's rsync is capable of.
RSYNC = re.compile(rf"rsync --server --sender -[vlogDtprx]+e\.[A-Za-z]* \. (media/|release/({RELEASE_ID})/)")


class Ask(StrEnum):
    ABOUT = "about"  # the release in use, the size of the database and all its columns, as JSON
    STRUCTURE = "structure"  # a dump without rows
    ROWS = "rows"  # a dump of nothing but rows, as it is
    ROWS_ZSTD = "rows zstd"  # the same, compressed
    FILES = "files"  # the far side of an rsync that reads


class Refused(RotaError):
    """This key serves the mirror and nothing else."""


@dataclass(frozen=True)
class Request:
    """One thing asked for; `words` are rsync's, without the folder, and `release` is set when its folder is meant."""

    ask: Ask
    words: tuple[str, ...] = ()
    release: str = ""


def parse(command: str) -> Request:
    """The request that an SSH client's original command stands for; raises `Refused`.

    Nothing of the command reaches another program but letters that `RSYNC` lets through: no shell, no path.
    """
    if command in set(Ask) - {Ask.FILES}:
        return Request(Ask(command))
    # fullmatch and an ASCII check: `$` would let a newline pass, and \d other scripts' digits.
    found = RSYNC.fullmatch(command) if command.isascii() else None
    if found is None:
        raise Refused(f"{command[:80]!r}")
    return Request(Ask.FILES, tuple(command.split(" ")[:-1]), found[2] or "")

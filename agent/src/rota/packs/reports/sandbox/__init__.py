"""The wall: each script runs in a sandbox of its own; this is what all kinds of sandboxes take and give."""

import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from rota.core.errors import RotaError

SCRIPTS = "/scripts"
LIBRARIES = "/libraries"
MEBIBYTE = 1 << 20


class ProgramMissing(RotaError):
    """A program that sandboxes need is not there."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run may take. Sizes are bytes."""

    seconds: float = 3600
    memory: int = 512 * MEBIBYTE
    """Of address space. A script that may fork can take as much for each process, where the sandbox has no cgroup."""
    forks: bool = False
    """Whether it may have processes beside its first one; threads it may have in any case."""
    processes: int = 32
    """Threads count."""
    file_size: int = 256 * MEBIBYTE
    """Of each file, and of all in the script's /tmp together."""
    output: int = 2048 * MEBIBYTE
    """Of standard output, and of standard error: whoever prints more is killed."""
    errors: int = 64 * 1024
    """How much of the end of standard error is kept."""
    live: int = 4 * MEBIBYTE
    """How much of the beginning of standard error is shown to those who follow."""


class Reason(StrEnum):
    """How a run came to its end."""

    ENDED = "ended"
    TIMEOUT = "timeout"
    TOO_MUCH_OUTPUT = "too much output"
    OUT_OF_MEMORY = "out of memory"
    STOPPED = "stopped"
    NEVER_STARTED = "never started"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What came of a run. A script that was ended by a signal has no exit code, one that was cut short neither."""

    reason: Reason
    exit_code: int | None = None
    signal: int | None = None
    seconds: float = 0
    output_bytes: int = 0
    errors: str = ""
    """The end of standard error, without characters that databases refuse."""

    @property
    def is_success(self) -> bool:
        return self.reason is Reason.ENDED and self.exit_code == 0


class Sandbox(Protocol):
    """Runs the script tree of a bundle; several threads may at once."""

    def run(
        self,
        tree: Path,
        output: BinaryIO,
        limits: Limits,
        *,
        live: BinaryIO | None = None,
        stop: threading.Event | None = None,
    ) -> Ending:
        """Runs `main.py` of `tree` and returns when nothing of it is left. Standard output goes to `output`.

        Raises ProgramMissing, and OSError where `output` cannot be written; then the script is gone, too.
        """
        ...

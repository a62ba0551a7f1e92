"""Watches one sandbox: streams what it prints, bounded, and ends it at its limits."""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from rota.core.errors import RotaError
from rota.packs.reports.sandbox import Ending, Limits, Reason

BLOCK = 1 << 18
LOOK_AT_STOP = 0.1  # seconds: how often a request to stop is looked for
TO_BE_GONE = 10.0  # seconds that a killed sandbox has
SHELL_SIGNAL = 128  # bubblewrap and podman tell of a signal as shells do, by an exit code above this


class StillThere(RotaError):
    """A sandbox was killed and is still there."""


def watchable(command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start what is watched next: it reads nothing, and is read as it prints."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd="/",
        **how,
    )
    return process


@dataclass
class Watch:
    """One run while it lasts. `kill` ends all of it; `told` gets what bubblewrap says of it on a pipe of its own."""

    process: subprocess.Popen[bytes]
    output: BinaryIO
    limits: Limits
    kill: Callable[[], None]
    live: BinaryIO | None = None
    stop: threading.Event | None = None
    told: Callable[[bytes], None] | None = None
    began: float = field(default_factory=time.monotonic)
    deadline: float = 0
    cut: Reason | None = None
    output_bytes: int = 0
    error_bytes: int = 0
    errors: bytearray = field(default_factory=bytearray)

    def follow(self, told: int | None = None) -> None:
        """Returns when the process has ended and its streams are closed. Raises StillThere."""
        self.deadline = self.began + self.limits.seconds
        ended = os.pidfd_open(self.process.pid)
        with selectors.DefaultSelector() as selector:
            streams = ((self.process.stdout, self.take_output), (self.process.stderr, self.take_errors))
            for source, take in (*streams, (told, self.told), (ended, None)):
                if source is not None:
                    selector.register(source, selectors.EVENT_READ, take)
            try:
                while selector.get_map():
                    self.look(selector)
            finally:
                os.close(ended)
        self.process.wait()

    def look(self, selector: selectors.BaseSelector) -> None:
        """Takes what has come, or waits for it; then ends what is to be ended."""
        left = max(0, self.deadline - time.monotonic())
        for key, _ in selector.select(left if self.stop is None else min(left, LOOK_AT_STOP)):
            block = os.read(key.fd, BLOCK) if key.data else b""
            if block:
                key.data(block)
            else:
                selector.unregister(key.fileobj)
        if self.stop is not None and self.stop.is_set():
            self.end(Reason.STOPPED)
        if time.monotonic() >= self.deadline:
            if self.cut is not None:
                raise StillThere(f"process {self.process.pid}")
            self.end(Reason.TIMEOUT)

    def take_output(self, block: bytes) -> None:
        """A block that would pass the limit is written up to it."""
        room = self.limits.output - self.output_bytes
        if self.cut is None:
            self.output.write(block[:room])
            self.output.flush()
            self.output_bytes += min(len(block), room)
        if len(block) > room:
            self.end(Reason.TOO_MUCH_OUTPUT)

    def take_errors(self, block: bytes) -> None:
        shown = block[: max(0, self.limits.live - self.error_bytes)]
        if self.live is not None and shown:
            self.live.write(shown)
            self.live.flush()
        self.error_bytes += len(block)
        self.errors += block
        del self.errors[: -self.limits.errors]
        if self.error_bytes > self.limits.output:
            self.end(Reason.TOO_MUCH_OUTPUT)

    def end(self, reason: Reason) -> None:
        """Kills all of it, once; what it has printed by then is still taken."""
        if self.cut is None:
            self.cut = reason
            self.deadline = time.monotonic() + TO_BE_GONE
            self.kill()

    def ending(self, code: int | None) -> Ending:
        """`code` is the script's exit code as shells tell it, or None where there never was a script."""
        reason, died_of = self.cut, None
        if reason is None:
            died_of = code - SHELL_SIGNAL if code is not None and code > SHELL_SIGNAL else None
            reason = Reason.NEVER_STARTED if code is None else self.reason_of(died_of)
        return Ending(
            reason=reason,
            exit_code=code if self.cut is None and died_of is None else None,
            signal=died_of,
            seconds=time.monotonic() - self.began,
            output_bytes=self.output_bytes,
            errors=self.errors.decode(errors="replace").replace("\0", "\ufffd"),
        )

    def reason_of(self, died_of: int | None) -> Reason:
        """Nobody but the kernel, short of memory, kills a script that we did not; Python mostly notices before it."""
        last = self.errors.rstrip().rpartition(b"\n")[2]
        short = died_of == signal.SIGKILL or last.startswith(b"MemoryError")
        return Reason.OUT_OF_MEMORY if short else Reason.ENDED

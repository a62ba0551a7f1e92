"""What a run reports, written where somebody who watches it can read it at once; imported when somebody does."""

import posix

LIMIT = 4 * 1024 * 1024
"""How long the file may become; whoever watches learns what comes after it from the record."""


class Progress(bytearray):
    """Report lines as they come: kept for the record like any others, and in a file while the run goes on."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.written = 0
        try:
            self.file = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o640)
            posix.fchmod(self.file, 0o640)  # the unit's umask would keep it from the agent, who tells the diary of it
        except OSError:
            self.file = -1

    def __iadd__(self, chunk: memoryview) -> "Progress":  # type: ignore[override, misc]  # of what a runner adds
        if self.file >= 0 and self.written < LIMIT:
            try:
                self.written += posix.write(self.file, chunk)
            except OSError:
                self.file = -1
        super().__iadd__(chunk)
        return self

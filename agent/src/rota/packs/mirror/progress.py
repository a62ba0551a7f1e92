"""What the mirror says while it works: one line per stage as it ends, and a few while a long one lasts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BETWEEN_LINES = 5.0  # seconds
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass
class Stage:
    """One stage under way; its words and bytes are told when it ends."""

    name: str
    write: Callable[[str], None]
    began: float
    words: str = ""
    told: float = field(default=0.0)

    def moved(self, received: int) -> None:
        """Tell how much has come so far, every few seconds."""
        now = time.monotonic()
        if now - max(self.began, self.told) >= BETWEEN_LINES:
            self.told = now
            self.write(f"{self.name}: {size(received)} so far, {now - self.began:.0f} s")


@dataclass
class Progress:
    """The stages so far, and where their lines go."""

    write: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        stage = Stage(name, self.write, time.monotonic())
        self.write(f"{name} …")
        yield stage
        self.seconds[name] = time.monotonic() - stage.began
        self.write(f"{name}: {stage.words or 'done'}, {self.seconds[name]:.1f} s")


def size(count: float) -> str:
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"

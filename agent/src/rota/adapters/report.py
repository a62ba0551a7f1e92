"""How a Python task tells its runner what it did: items and counts on an inherited file descriptor."""

import json
import os
from collections.abc import Mapping


class Report:
    """Items and counts of the run at hand; without a runner they go nowhere."""

    def __init__(self, file: int | None) -> None:
        self._file = file

    def item(self, name: str, outcome: str, message: str = "") -> None:
        """Say what came of one thing the run worked on."""
        self._write({"item": name, "outcome": outcome, "message": message})

    def count(self, name: str, value: float) -> None:
        """Add to the count of this name."""
        self._write({"count": name, "value": value})

    def _write(self, entry: Mapping[str, object]) -> None:
        if self._file is None:
            return
        rest = json.dumps(entry).encode() + b"\n"
        while rest:
            rest = rest[os.write(self._file, rest) :]


def report_of(environ: Mapping[str, str]) -> Report:
    """The report of the run whose environment this is."""
    file = environ.get("ROTA_REPORT_FD", "")
    return Report(int(file) if file.isdigit() else None)

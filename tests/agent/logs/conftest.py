"""What the tests of the logs pack share: a report that can be read, and a host under a folder."""

import json
import os
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters.report import Report


class Said(Report):
    """A report of a run, and what was said to it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.stream = file.open("ab")
        super().__init__(self.stream.fileno())

    @property
    def entries(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    @property
    def outcomes(self) -> dict[str, str]:
        """What became of each item, by the last part of its name."""
        return {
            str(entry["item"]).rpartition("/")[2]: str(entry["outcome"]) for entry in self.entries if "item" in entry
        }

    @property
    def counts(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for entry in self.entries:
            if "count" in entry:
                found[str(entry["count"])] = found.get(str(entry["count"]), 0) + float(str(entry["value"]))
        return found


@pytest.fixture
def new_report(tmp_path: Path) -> Iterator[Callable[[], Said]]:
    """Makes the report of a further run."""
    made: list[Said] = []

    def make() -> Said:
        made.append(Said(tmp_path / f"report-{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.stream.close()


@pytest.fixture
def said(new_report: Callable[[], Said]) -> Said:
    return new_report()


def age(path: Path, *, days: float) -> None:
    moment = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment), follow_symlinks=False)


def pack_broken(content: bytes) -> bytes:
    """Packed by gzip up to the middle, where a block of a type that there is not begins (RFC 1951 section 3.2.3)."""
    packer = zlib.compressobj(wbits=31)
    half = packer.compress(content[: len(content) // 2]) + packer.flush(zlib.Z_FULL_FLUSH)
    return half + b"\x07" * 100


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}

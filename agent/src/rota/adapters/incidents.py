"""What alerting remembers: a file for each incident, and one of what was sent; in memory while the disk is full."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rota.adapters.spool import UnsafeFile, read_plain, replace_through
from rota.core.incident import Incident, Kind, Told
from rota.core.review import parse_handled
from rota.core.telling import Receiver

LIMIT = 4 * 1024 * 1024
SUFFIX = ".incident"
JOURNAL = "told.json"


@dataclass(kw_only=True)
class Journal:
    """What was sent, and what was seen, besides incidents.

    `pinged` is the run that each heartbeat spoke of last. `in_a_row` counts slots that were skipped because something
    was in the way, `excused` is when a task last did not run because somebody wished so; both by task.
    `judged` are the runs that were judged and are not in the standings yet, for the disk is full.
    """

    receivers: dict[str, Receiver] = field(default_factory=dict)
    pinged: dict[str, str] = field(default_factory=dict)
    in_a_row: dict[str, int] = field(default_factory=dict)
    excused: dict[str, datetime] = field(default_factory=dict)
    judged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Incidents:
    """The files in `folder`. What cannot be written there goes to `spare`, which is memory, until it can.

    What cannot be read counts as absent.
    """

    folder: Path
    spare: Path

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Incident]:
        """The incidents that are open, or closed and not told to all yet, by task. Raises PermissionError."""
        folders = [folder for folder in (self.folder, self.spare) if folder.is_dir()]
        names = {path.name for folder in folders for path in folder.iterdir() if path.suffix == SUFFIX}
        found = (parse_incident(self._read(name)) for name in sorted(names))
        return {incident.task: incident for incident in found if incident}

    def keep(self, incident: Incident) -> None:
        self._write(f"{incident.task}{SUFFIX}", asdict(incident))

    def forget(self, task: str) -> None:
        name = f"{task}{SUFFIX}"
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError:
            self._write_spare(name, {})  # the file system is read-only: what is empty there counts as absent
        else:
            (self.spare / name).unlink(missing_ok=True)

    def journal(self) -> Journal:
        return parse_journal(self._read(JOURNAL))

    def keep_journal(self, journal: Journal) -> None:
        self._write(JOURNAL, asdict(journal) | {"judged": sorted(journal.judged)})

    def _read(self, name: str) -> dict[str, Any]:
        spared = read_mapping(self.spare / name)
        return read_mapping(self.folder / name) or {} if spared is None else spared

    def _write(self, name: str, value: Mapping[str, object]) -> None:
        """Raises OSError when neither the disk nor memory takes it."""
        try:
            replace_file(self.folder / name, value)
        except OSError:
            self._write_spare(name, value)
        else:
            (self.spare / name).unlink(missing_ok=True)

    def _write_spare(self, name: str, value: Mapping[str, object]) -> None:
        self.spare.mkdir(parents=True, exist_ok=True)
        replace_file(self.spare / name, value)


def parse_incident(values: Mapping[str, Any]) -> Incident | None:
    try:
        handled = values.get("handled")  # a release before this one leaves it out
        return Incident(
            task=values["task"],
            since=datetime.fromisoformat(values["since"]),
            failures=int(values["failures"]),
            run=values["run"],
            reason=values["reason"],
            kind=Kind(values["kind"]),
            due=parse_moment(values["due"]),
            told={
                str(who): Told(at=datetime.fromisoformat(told["at"]), letter=str(told["letter"]))
                for who, told in values["told"].items()
            },
            recovered=parse_moment(values["recovered"]),
            closed_for=tuple(map(str, values["closed_for"])),
            handled=parse_handled(str((handled or {}).get("run")), handled),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def parse_journal(values: Mapping[str, Any]) -> Journal:
    journal = Journal()
    with suppress(KeyError, ValueError, TypeError, AttributeError):
        journal.judged = frozenset(map(str, values["judged"]))
        journal.pinged = {str(name): str(run) for name, run in values["pinged"].items()}
        journal.in_a_row = {str(task): int(number) for task, number in values["in_a_row"].items()}
        journal.excused = {str(task): datetime.fromisoformat(moment) for task, moment in values["excused"].items()}
        journal.receivers = {str(name): parse_receiver(each) for name, each in values["receivers"].items()}
    return journal


def parse_receiver(values: Mapping[str, Any]) -> Receiver:
    return Receiver(
        recent=tuple(datetime.fromisoformat(moment) for moment in values["recent"]),
        digested=parse_moment(values["digested"]),
        failures=int(values["failures"]),
        again=parse_moment(values["again"]),
        why=str(values["why"]),
    )


def parse_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def read_mapping(path: Path) -> dict[str, Any] | None:
    """The JSON object in this file; None when there is none."""
    try:
        found = json.loads(read_plain(path, LIMIT))
    except (FileNotFoundError, UnsafeFile, ValueError):
        return None
    return found if isinstance(found, dict) else None


def replace_file(path: Path, value: Mapping[str, object]) -> None:
    replace_through(path, json.dumps(value, default=datetime.isoformat) + "\n")

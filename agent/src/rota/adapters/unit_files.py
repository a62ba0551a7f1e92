"""Unit files on disk: written whole, enabled by a link, and made known to a running systemd without firing anything."""

import os
from collections.abc import Iterable
from pathlib import Path

from rota.adapters import systemd
from rota.core.needed import NEVER


def write(path: Path, text: str, link: Path | None) -> None:
    """Replace the unit, and enable it where it has a link to be enabled by."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    beside.chmod(0o644)
    beside.replace(path)
    if link and not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../{path.name}")


def remove(path: Path, link: Path | None) -> None:
    for each in (link, path):
        if each:
            each.unlink(missing_ok=True)


def make_locks(locks: Iterable[Path]) -> None:
    """Make the lock files that are missing; runs only read them, so one that is there may be held at this moment."""
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        lock.chmod(0o644)


def make_successes(files: Iterable[Path], group: int = -1) -> None:
    """Make the missing files that tell a task's latest success; runs, which are of this group, write them.

    Without a group they stay in whose they are.
    """
    for file in files:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(NEVER, encoding="ascii")
        os.chown(file, -1, group)
        file.chmod(0o664)


def stop(units: Iterable[str]) -> None:
    """Stop these timers and path units; one that systemd never loaded is stopped already."""
    active = [unit for unit in units if systemd.is_active(unit)]
    if active:
        systemd.ask(systemd.stop_command(active))


def forget_failures(units: Iterable[str]) -> None:
    """Have systemd forget units that are gone: one that failed would be listed as failed until the next boot."""
    wanted = list(units)
    states = systemd.show(wanted, ["ActiveState"]) if wanted else []
    failed = [unit for unit, told in zip(wanted, states, strict=True) if told.get("ActiveState") == "failed"]
    if failed:
        systemd.ask(systemd.forget_command(failed))


def reload_and_start(units: Iterable[str]) -> None:
    systemd.ask(systemd.reload_command())
    wanted = list(units)
    if wanted:
        systemd.ask(systemd.start_command(wanted))

"""Control groups as the register of a lab's processes: what was started in one can be found there, and nothing else."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from provision.lab.errors import LabFailed
from provision.lab.programs import wait_until

MOUNT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """The hierarchies in which systemd-nspawn places a container: one, or two where old and new are mixed."""
    return [folder for folder in (MOUNT / "systemd", MOUNT / "unified", MOUNT) if (folder / "cgroup.procs").exists()]


def make(group: str) -> Callable[[], None]:
    """Make a group; returns the function with which a new process enters it."""
    entries = [folder / group / "cgroup.procs" for folder in hierarchies()]
    for entry in entries:
        entry.parent.mkdir(exist_ok=True)

    def enter() -> None:
        for entry in entries:
            entry.write_text("0")

    return enter


def members(group: str) -> set[int]:
    """The pids of all processes in a group and in the groups below it."""
    pids: set[int] = set()
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / group):
            with suppress(OSError):  # the group went away while we looked
                pids.update(int(line) for line in (Path(folder) / "cgroup.procs").read_text().split())
    return pids - {0}


def first_process(group: str) -> int | None:
    """The pid, as seen from here, of the process that is number 1 in the container of this group."""
    for pid in sorted(members(group)):
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            inner = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
            if len(inner) == 2 and inner[1] == "1":
                return pid
    return None


def end(group: str) -> None:
    """Kill every process of a group at once and remove the group. A group that is not there is fine."""

    def is_empty() -> bool:
        for pid in members(group):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not members(group)

    wait_until(is_empty, 20, f"processes of {group} do not end", LabFailed)
    wait_until(lambda: remove(group), 5, f"control group {group} stays", LabFailed)


def exists(group: str) -> bool:
    return any((hierarchy / group).exists() for hierarchy in hierarchies())


def remove(group: str) -> bool:
    """Remove an empty group with the groups below it; returns whether it is gone."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / group, topdown=False):
            with suppress(OSError):  # still busy for a moment, or already gone
                Path(folder).rmdir()
    return not exists(group)

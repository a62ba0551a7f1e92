"""systemd: the commands Rota gives it, as lists, and what it answers."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rota.core.errors import RotaError

BOOTED = Path("/run/systemd/system")


class SystemdRefused(RotaError):
    """systemd did not do what it was asked."""


def is_booted() -> bool:
    """Whether systemd runs this host (sd_booted(3))."""
    return BOOTED.is_dir()


def start_command(units: Iterable[str], *, is_waited_for: bool = True) -> list[str]:
    return ["systemctl", "start", *([] if is_waited_for else ["--no-block"]), "--", *units]


def reload_command() -> list[str]:
    return ["systemctl", "daemon-reload"]


def stop_command(units: Iterable[str]) -> list[str]:
    return ["systemctl", "stop", "--", *units]


def forget_command(units: Iterable[str]) -> list[str]:
    return ["systemctl", "reset-failed", "--", *units]


def timers_command() -> list[str]:
    return ["systemctl", "list-timers", "--all", "--output=json", "rota-*"]


def start_soon_command(units: Iterable[str]) -> list[str]:
    return ["systemctl", "start", "--no-block", "--", *units]


def show_command(units: Iterable[str], properties: Iterable[str]) -> list[str]:
    return ["systemctl", "show", "--timestamp=unix", f"--property={','.join(properties)}", "--", *units]


def start_at_command(timer: str, moment: datetime, unit: str) -> list[str]:
    """Have a timer of this name, which lives until the next boot, start the unit at this moment."""
    at = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return [
        *("systemd-run", "--quiet", f"--unit={timer}", f"--on-calendar={at}", "--timer-property=AccuracySec=1s"),
        *("--", "systemctl", "start", "--no-block", unit),
    ]


def verify_command(paths: Iterable[Path]) -> list[str]:
    return ["systemd-analyze", "verify", "--man=no", *map(str, paths)]


def exposure_command(path: Path) -> list[str]:
    return ["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=off", str(path)]


def calendar_command(expression: str, *, base: str | None = None, iterations: int = 1) -> list[str]:
    since = [f"--base-time={base}"] if base else []
    return ["systemd-analyze", "calendar", f"--iterations={iterations}", *since, "--", expression]


def ask(command: Sequence[str]) -> str:
    """What the command prints. Raises SystemdRefused with its own words."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SystemdRefused(f"{command[0]} is not installed") from error
    if answer.returncode:
        raise SystemdRefused(f"{' '.join(command)}: {answer.stderr.strip() or answer.stdout.strip()}")
    return answer.stdout


def is_active(unit: str) -> bool:
    """Whether the unit runs or is being started."""
    answer = subprocess.run(["systemctl", "is-active", "--", unit], capture_output=True, text=True, check=False)
    return answer.stdout.strip() in ("active", "activating", "reloading", "deactivating")


def is_enabled(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-enabled", "--quiet", "--", unit], check=False).returncode == 0


def show(units: Iterable[str], properties: Iterable[str]) -> list[dict[str, str]]:
    """These properties of each unit, in the order asked for; moments are shown as `@` and seconds since 1970."""
    blocks = ask(show_command(units, properties)).rstrip("\n").split("\n\n")
    return [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]


def read_moment(text: str) -> datetime | None:
    """A moment as `show` has it; None where there is none."""
    return datetime.fromtimestamp(float(text[1:]), UTC) if text.startswith("@") and text != "@0" else None


def next_slots() -> dict[str, int]:
    """The next elapse of each of our timers, in microseconds since 1970, by task."""
    timers = json.loads(ask(timers_command()) or "[]")
    prefix, suffix = "rota-task-", ".timer"
    return {
        timer["unit"][len(prefix) : -len(suffix)]: timer["next"]
        for timer in timers
        if timer["unit"].startswith(prefix) and timer.get("next")
    }


def complaints(command: Sequence[str]) -> list[str]:
    """The lines a checking command writes to standard error: `systemd-analyze verify` exits 0 with warnings."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stderr.splitlines()

"""What `fab words` does: translations brought up to date with the strings of pages, compiled, their gaps told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from provision.errors import OperatorError


class ToolFailed(OperatorError):
    """The translations could not be brought up to date"""


def update(root: Path, *apps: Path) -> int:
    """Bring the catalogues of all apps, or of these, up to date; returns 1 where something is to be translated."""
    apps = apps or tuple(apps_of(root))
    for app in apps:
        call(collect_command(), app, root / "agent" / "src")
        for catalogue in catalogues(app):
            call(compile_command(catalogue), app)
    gaps = [gap for app in apps for gap in gaps_of(app)]
    print("\n\n".join(gaps) or "Everything is translated.", flush=True)
    return 1 if gaps else 0


def apps_of(root: Path) -> list[Path]:
    """The folders that people's words are in: the diary, and the pages of each pack that has some."""
    agent = root / "agent" / "src" / "rota"
    return [agent / "diary", *(file.parent for file in sorted(agent.glob("packs/*/diary/apps.py")))]


def collect_command() -> list[str]:
    """Without the places of strings: they would make of each change of a page one of every catalogue."""
    options = ["--all", "--no-obsolete", "--no-wrap", "--no-location", "--verbosity=0"]
    return [sys.executable, "-m", "rota.diary.manage", "makemessages", *options]


def compile_command(catalogue: Path) -> list[str]:
    return ["msgfmt", "--check-format", f"--output-file={catalogue.with_suffix('.mo')}", str(catalogue)]


def catalogues(app: Path) -> list[Path]:
    return sorted(app.glob("locale/*/LC_MESSAGES/django.po"))


def gaps_of(app: Path) -> Iterator[str]:
    """What a catalogue lacks, or only guesses, as it stands there."""
    for catalogue in catalogues(app):
        for which in ("--untranslated", "--only-fuzzy"):
            found = call(["msgattrib", which, "--no-wrap", str(catalogue)], app)
            if entries := found.partition("\n\n")[2].strip():
                yield f"── {catalogue}\n\n{entries}"


def call(command: list[str], folder: Path, source: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(source)} if source else {})
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ToolFailed(f"{command[0]} is not there; on Debian: apt-get install gettext") from None
    if done.returncode:
        raise ToolFailed(f"{' '.join(command)}:\n{done.stderr.strip()}")
    return done.stdout

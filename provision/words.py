"""What `fab words` does: the diary's translations brought up to date with its strings, compiled, their gaps told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from provision.errors import OperatorError


class ToolFailed(OperatorError):
    """The translations could not be brought up to date"""


def update(root: Path, diary: Path | None = None) -> int:
    """Bring the catalogues below `diary` up to date with its strings; returns 1 where something is to be translated."""
    diary = diary or root / "agent" / "src" / "rota" / "diary"
    call(collect_command(), diary, root / "agent" / "src")
    for catalogue in catalogues(diary):
        call(compile_command(catalogue), diary)
    gaps = list(gaps_of(diary))
    print("\n\n".join(gaps) or "Everything is translated.", flush=True)
    return 1 if gaps else 0


def collect_command() -> list[str]:
    """Without the places of strings: they would make of each change of a page one of every catalogue."""
    options = ["--all", "--no-obsolete", "--no-wrap", "--no-location", "--verbosity=0"]
    return [sys.executable, "-m", "rota.diary.manage", "makemessages", *options]


def compile_command(catalogue: Path) -> list[str]:
    return ["msgfmt", "--check-format", f"--output-file={catalogue.with_suffix('.mo')}", str(catalogue)]


def catalogues(diary: Path) -> list[Path]:
    return sorted(diary.glob("locale/*/LC_MESSAGES/django.po"))


def gaps_of(diary: Path) -> Iterator[str]:
    """What a catalogue lacks, or only guesses, as it stands there."""
    for catalogue in catalogues(diary):
        for which in ("--untranslated", "--only-fuzzy"):
            found = call(["msgattrib", which, "--no-wrap", str(catalogue)], diary)
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

"""The entry script on a fresh clone, in an empty home."""

import os
import pwd
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's files as a clone would have them, with a home of its own beside."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / "rota" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "rota" / name)
    (folder / "home").mkdir()
    return folder / "rota"


def run(clone: Path, *words: str, path: str = "/usr/sbin:/usr/bin:/sbin:/bin") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return subprocess.run(
        ["./run", *words],
        cwd=clone,
        env={**environment, "HOME": str(clone.parent / "home"), "PATH": path, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_fresh_clone_lists_its_commands(clone: Path) -> None:
    first = run(clone)
    assert first.returncode == 0, first.stderr
    assert "deploy" in first.stdout
    assert "Making .venv" in first.stderr


def test_a_second_run_makes_nothing_and_says_nothing(clone: Path) -> None:
    run(clone)
    again = run(clone)
    assert again.stderr == ""
    assert "deploy" in again.stdout


def test_a_changed_lock_is_installed(clone: Path) -> None:
    run(clone)
    with (clone / "requirements" / "control.txt").open("a") as lock:
        lock.write("# one more line\n")
    assert "Installing requirements/control.txt" in run(clone).stderr


def test_an_ordinary_user_is_told_what_to_install_and_goes_on(clone: Path) -> None:
    """With a dpkg-query that knows nothing, every package is missing."""
    tools = clone.parent / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in {"dpkg-query": "exit 1", "id": "echo 1000"}.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(stat.S_IRWXU)
    for stamp in (clone / ".cache").glob("packages-*"):
        stamp.unlink()
    answer = run(clone, path=f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin")
    assert answer.returncode == 0, answer.stderr
    assert "apt-get install git openssh-client python3-venv rsync" in answer.stderr
    assert "deploy" in answer.stdout


def test_the_environment_belongs_to_the_user_who_made_it(clone: Path) -> None:
    run(clone)
    assert (clone / ".venv").owner() == pwd.getpwuid(os.geteuid()).pw_name


def pins(lock: str) -> set[str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return {line.split()[0] for line in text.splitlines() if re.match(r"[a-z0-9]", line)}


def test_the_development_lock_holds_all_that_the_control_side_needs() -> None:
    """So one environment serves both, and `./run` need not switch between them."""
    assert pins("control") <= pins("dev")

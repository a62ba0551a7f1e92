"""Laws of completion, asked of bash itself: commands, options, their values, tasks and runs."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from rota import cli
from rota.cli.completion import bash, commands_of
from rota.runner import make_identifier

SOURCE = Path(cli.__file__).parents[2]
# As readline does: the words so far and the one in hand. The script is loaded in a function, as bash-completion does.
ASK = r"""
load() { source "$1"; }
load "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
_rota
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "rota.bash"
    path.write_text(bash(cli.parser()))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tasks.yml").write_text(
        "tasks: {greet: {description: G, command: [/bin/true]}, fail: {description: F, command: [/bin/true]}}"
    )
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "rota"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m rota.cli "$@"\n')
    program.chmod(0o755)
    return tmp_path


def offered(script: Path, *words: str, home: Path | None = None) -> list[str]:
    path = f"{home}/bin:{os.environ['PATH']}" if home else os.environ["PATH"]
    environ = {"PATH": path} | ({"ROTA_HOME": str(home)} if home else {})
    command = ["bash", "--norc", "-c", ASK, "bash", str(script), "rota", *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert answer.stderr == ""
    return answer.stdout.split()


def test_every_command_is_offered(script: Path) -> None:
    assert {name for name, _ in commands_of(cli.parser())} | {"backup", "mirror"} <= set(offered(script, ""))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["stat"], ["status"]),
        (["runs", "--un"], ["--until", "--unexpected"]),
        (["runs", "--status", "f"], ["failed"]),
        (["runs", "--status", "=", "s"], ["succeeded", "skipped"]),
        (["runs", "--status", "failed", "--trigger", "m"], ["manual"]),
        (["--ho"], ["--home"]),
        (["runs", "--limit", ""], []),
        (["backup", "restore-"], ["restore-db", "restore-files"]),
        (["completion", "b"], ["bash"]),
        (["no_such", ""], []),
    ],
)
def test_commands_options_and_their_values_are_completed(script: Path, words: list[str], expected: list[str]) -> None:
    assert offered(script, *words) == expected


def test_tasks_are_completed_also_several(script: Path, home: Path) -> None:
    assert offered(script, "run", "", home=home) == ["fail", "greet"]
    assert offered(script, "runs", "fail", "g", home=home) == ["greet"]
    assert offered(script, "run", "fail", "g", home=home) == []


def test_runs_are_completed_by_their_beginning_and_by_their_end_the_newest_first(script: Path, home: Path) -> None:
    ids = [make_identifier(1_700_000_000_000 + number, uuid.uuid4().bytes[:10]) for number in range(40)]
    for number, name in enumerate(ids):
        folder = home / "spool" / ("running", "done", "sent")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").touch()
    assert offered(script, "show", ids[0][:8], home=home) == sorted(ids, reverse=True)[:30]
    assert offered(script, "diff", ids[1], ids[7][:-4], home=home) == [ids[7]]
    assert offered(script, "show", ids[5][-8:], home=home) == [ids[5]]


def test_the_names_of_a_host_s_tasks_come_from_its_units(script: Path, tmp_path: Path) -> None:
    """Python is not started for them."""
    text = script.read_text()
    assert "/etc/systemd/system/rota-task-*.service" in text
    for name in ("greet", "check_host"):
        (tmp_path / f"rota-task-{name}.service").touch()
    moved = tmp_path / "moved.bash"
    moved.write_text(text.replace("/etc/systemd/system", str(tmp_path)))
    assert offered(moved, "run", "") == ["check_host", "greet"]

"""What `rota check` asks of a task's program."""

import sys
from pathlib import Path

from rota.checks import command_problems
from rota.core import places
from rota.core.task import Task


def task_of(program: Path) -> Task:
    return Task(name="t", description="d", command=(str(program),))


def test_a_program_of_the_release_is_looked_for_in_the_release_that_asks(tmp_path: Path) -> None:
    """On a host's first deploy nothing is in use yet."""
    here = places.on_host(tmp_path)
    name = Path(sys.executable).name
    assert not list(command_problems(task_of(here.current / "venv" / "bin" / name), here))
    assert list(command_problems(task_of(here.current / "venv" / "bin" / "no-such-program"), here))


def test_a_program_of_the_host_is_looked_for_where_it_says(tmp_path: Path) -> None:
    here = places.on_host(tmp_path)
    assert not list(command_problems(task_of(Path("/bin/true")), here))
    assert list(command_problems(task_of(tmp_path / "true"), here))

"""Laws of `rota item` and `rota count`, with which a shell script says what it did."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rota import reporting
from tests.agent.test_runner import Bench, bench

__all__ = ["bench"]

SOURCE = Path(reporting.__file__).parents[1]
ROTA = f"{sys.executable} -c 'from rota.reporting import main; main()'"


def script(bench: Bench, text: str) -> str:
    """The text as a program in which `rota` is the command."""
    path = bench.locks / "script"
    path.write_text(f'#!/bin/sh\nexport PYTHONPATH={SOURCE}\nrota() {{ {ROTA} "$@"; }}\n{text}\n')
    path.chmod(0o755)
    return str(path)


def test_a_script_says_what_it_did(bench: Bench) -> None:
    text = "rota item books.csv written '1,204 \"rows\"'\nrota item maps skipped\nrota count rows 1204\n"
    _, record = bench.run(script(bench, text + "rota count rows 0.5\nrota count files"))
    told = [(item.name, item.outcome, item.message) for item in record.items]
    assert told == [("books.csv", "written", '1,204 "rows"'), ("maps", "skipped", "")]
    assert record.counts == {"rows": 1204.5, "files": 1}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("item books.csv", "1 words were given, or an empty one; it must be: rota item NAME OUTCOME [MESSAGE]"),
        ("item a b c d", "4 words were given"),
        ("count", "it must be: rota count NAME [VALUE]"),
        ("count rows many", "the value of 'rows' is 'many'; it must be a number"),
        ("count rows nan", "the value of 'rows' is 'nan'; it must be a number"),
    ],
)
def test_a_mistake_is_one_line_and_no_report(bench: Bench, words: str, expected: str) -> None:
    _, record = bench.run(script(bench, f"rota {words} || exit 2"))
    assert record.exit_code == 2
    assert bench.spool.output(record).count("\n") == 1
    assert expected in bench.spool.output(record)
    assert (record.items, record.counts) == ((), {})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "rota: there is no run to report to: ROTA_REPORT_FD is not set; only a task's own work can report"),
        ({"ROTA_REPORT_FD": "77"}, "rota: the run cannot be reported to: Bad file descriptor (file descriptor 77)"),
    ],
)
def test_outside_a_run_there_is_nobody_to_tell(environ: dict[str, str], expected: str) -> None:
    command = [sys.executable, "-m", "rota.cli", "count", "rows", "3"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), **environ}
    answer = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr.strip()) == (2, expected)


def test_telling_loads_nothing_of_the_other_commands() -> None:
    show = (
        "import sys; sys.argv = ['rota', 'count', 'rows']; from rota.reporting import report; "
        "print(*sorted(name for name in sys.modules if name.startswith(('rota', 'yaml', 'argparse', 'json'))))"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
    told = subprocess.run([sys.executable, "-c", show], env=environ, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["rota", "rota.reporting", "rota.runner"]

"""The embedded form: what `./run demo` shows where the lab cannot run."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import signal, sys
from pathlib import Path
from provision import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
embedded.run(Path(sys.argv[1]), Path(sys.argv[2]), days=1)
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running demonstration, and what it has printed up to its last word."""
    home = tmp_path_factory.mktemp("embedded") / "home"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as program:
        said = ""
        for line in program.stdout or ():
            said += line
            if line.startswith("End:"):
                break
        yield program, said
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=20) == 0


def test_the_example_tasks_run_and_one_fails_on_purpose(shown: tuple[subprocess.Popen[str], str]) -> None:
    said = shown[1]
    assert "example-logs" in said
    assert "This failure is meant." in said


def test_every_record_reaches_the_diary(shown: tuple[subprocess.Popen[str], str]) -> None:
    assert "5 records acknowledged" in shown[1]


def test_the_examples_reports_are_made_and_can_be_fetched(shown: tuple[subprocess.Popen[str], str]) -> None:
    assert "museum/opening.csv: published" in shown[1]
    found = re.search(r"The diary: +(http://127\.0\.0\.1:\d+/)", shown[1])
    assert found, shown[1]
    with urllib.request.urlopen(f"{found[1]}reports/file/museum/opening.csv", timeout=10) as answer:  # noqa: S310 - the address is our own
        assert answer.read().startswith(b"day,weekday\n2026-01-01,Thursday\n")


def test_the_diary_answers_where_it_says(shown: tuple[subprocess.Popen[str], str]) -> None:
    found = re.search(r"The diary: +(http://127\.0\.0\.1:\d+/)", shown[1])
    assert found, shown[1]
    with urllib.request.urlopen(f"{found[1]}readyz", timeout=10) as answer:  # noqa: S310 - the address is our own
        assert json.load(answer)["status"] == "ok"


def test_the_login_is_printed(shown: tuple[subprocess.Popen[str], str]) -> None:
    assert re.search(r"Login: +admin@example\.com +\S{20,}", shown[1])

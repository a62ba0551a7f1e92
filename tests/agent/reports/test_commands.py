"""Laws of `rota reports`: what it prints, and with which exit code."""

import re
from pathlib import Path

import pytest

from rota.packs.reports.__main__ import main, parser
from rota.packs.reports.definitions import Task
from tests.agent.reports.test_folder import put

PAGE = (Path(__file__).resolve().parents[3] / "docs/reports.md").read_text(encoding="utf-8")


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_what_is_due_on_a_day_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(put(tmp_path))
    assert ask(capsys, "due", "--date", "2024-02-07", "--folder", folder) == (0, "abc/titles.xml\n", "")
    assert ask(capsys, "due", "--date", "2024-02-08", "--folder", folder) == (0, "", "")


def test_a_sound_folder_passes_and_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, "check", str(put(tmp_path))) == (0, "", "")


def test_what_is_found_says_its_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, **{"abc/titles.xml.py": "import os\nfrom sniplets import conect", "libraries/odd.py": "1 1"})
    code, said, _ = ask(capsys, "check", str(tmp_path))
    assert code == 1
    assert said.splitlines() == [
        "abc/titles.xml.py:1: guard: os.[any method]",
        "abc/titles.xml.py:2: import: sniplets has no 'conect', did you mean 'connect'?",
        "libraries/odd.py:1: syntax: invalid syntax",
    ]


def test_a_report_that_imports_another_clients_query_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, **{
        "other/client.yml": "name: Other", "other/a.csv.yml": "start_date: 2026-01-01",
        "other/a.csv.py": "from queries.abc import titles_xml",
    })  # fmt: skip
    code, said, _ = ask(capsys, "check", str(tmp_path))
    assert code == 1
    assert said.startswith("other/a.csv.py:1: import: queries has no 'abc:titles_xml'; ")
    assert "a library query" in said


def test_the_guard_alone_fails_no_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "a.py"
    script.write_text("x = 1\nopen(x)\n")
    assert ask(capsys, "lint", str(script)) == (0, f"{script}:2: guard: open()\n", "")
    script.write_text("x y")
    assert ask(capsys, "lint", str(script))[0] == 1


@pytest.mark.parametrize(
    "words",
    [("lint", "/no/such.py"), ("check", "/no/such"), ("due", "--folder", "/no/such"), ("import", "x://a:b@c/d")],
)
def test_what_cannot_be_read_is_one_line_and_code_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, said, error = ask(capsys, *words)
    assert (code, said) == (2, "")
    assert "Traceback" not in error
    assert ":b@" not in error


@pytest.mark.parametrize(
    "url", ["mysql://a@localhost/memo?socket=/no/such", "postgresql://a@localhost/memo?socket=/no/such"]
)
def test_a_server_that_is_not_there_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = ask(capsys, "import", url, "--dry-run")
    assert code == 2
    assert error.startswith("This database cannot be imported: memo: ")


def test_every_command_and_field_is_named_on_the_page() -> None:
    (commands,) = (action for action in parser()._actions if action.choices)
    assert set(re.findall(r"`rota reports (\w+)", PAGE)) >= set(commands.choices or ())
    fields = set(Task.__dataclass_fields__) - {"id", "id_homedir", "file_name", "extension", "id_script"}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) >= fields

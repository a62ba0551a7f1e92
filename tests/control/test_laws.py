"""Laws over whatever the repository holds, so that a new file is checked without anybody adding it to a list."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
]
PYTHON = [path for path in TRACKED if path.suffix == ".py" and path.exists() and path.read_text().strip()]
PRODUCT = [path for path in PYTHON if "tests" not in path.parts and "migrations" not in path.parts]


def lines_with(pattern: str, paths: list[Path]) -> list[str]:
    """`file:line` of every line that matches and gives no reason behind a `#`."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line) and not re.search(r"#\s*(noqa: \S+ +(- )?|type: ignore\S* # )?\w+ \w+", line)
    ]


def test_nothing_lies_at_the_top_but_what_belongs_there() -> None:
    """Such as a key or a command line that a trial left behind, and that `git add --all` took."""
    known = {
        "run", "fabfile.py", "fabric.yml", "pyproject.toml", "ansible.cfg", "Vagrantfile", "README.md", "CHANGELOG.md",
        "CONTRIBUTING.md", "LICENSE", ".gitignore",
    }  # fmt: skip
    assert {path.name for path in TRACKED if path.parent == ROOT and path.exists()} == known


WRITTEN = [path for path in PYTHON if "migrations" not in path.parts]  # Django writes the rest


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_shell_is_given_a_string() -> None:
    assert not lines_with(r"shell\s*=\s*True|os\.system\(|os\.popen\(", PRODUCT)


def test_nothing_sleeps_without_saying_why() -> None:
    assert not lines_with(r"\btime\.sleep\(", PYTHON)


def test_nothing_catches_everything_without_saying_why() -> None:
    assert not lines_with(r"^\s*except( Exception| BaseException)?( as \w+)?:", PYTHON)


def test_nothing_silences_a_tool_without_saying_why() -> None:
    assert not lines_with(r"#\s*(noqa|type:\s*ignore)(?!: [A-Z0-9]+ +(- )?\w+ \w+|\S* # \w+ \w+)", PYTHON)


def test_no_test_is_skipped() -> None:
    marks = "|".join(("mark.skip", "mark.xfail", r"pytest.skip\("))
    assert not lines_with(rf"\b({marks})", [path for path in PYTHON if path != Path(__file__)])


def test_no_private_key_and_no_vault_password_is_tracked() -> None:
    marker = "BEGIN OPENSSH " + "PRIVATE KEY"
    text = [path for path in TRACKED if path.is_file() and path.suffix not in (".png", ".mo", ".woff2")]
    assert not [path for path in text if marker in path.read_text(errors="replace")]
    assert not [path for path in TRACKED if path.name.startswith("vault_password")]


def test_scripts_are_executable() -> None:
    scripts = [path for path in TRACKED if path.is_file() and path.read_bytes()[:2] == b"#!" and path.suffix != ".py"]
    assert not [path for path in scripts if not path.stat().st_mode & 0o100]


def test_no_empty_file_is_tracked_but_the_marks_of_packages() -> None:
    empty = [path for path in TRACKED if path.is_file() and not path.stat().st_size]
    assert not [path for path in empty if path.name not in ("__init__.py", "py.typed")]

"""What is derived is derived, and what can be tested of the prose is."""

import re
from pathlib import Path

import pytest

from provision import documentation

ROOT = Path(__file__).resolve().parents[2]
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_generated_pages_are_as_generated() -> None:
    stale = [
        path.name for path, text in documentation.pages(ROOT).items() if not path.exists() or path.read_text() != text
    ]
    assert not stale, "run `./run docs`"


def test_every_role_is_in_the_overview_with_the_hosts_that_have_it() -> None:
    played = documentation.hosts_of_roles(ROOT)
    assert set(played) == {path.name for path in (ROOT / "roles").iterdir()}
    assert played["base"] == "every host"
    assert played["backup_store"] == "backup"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ([], "every host"),
        ("base_environment != 'backup'", "all but backup"),
        (["base_environment in ['staging', 'production']", "groups.backup is defined"], "staging, production"),
    ],
)
def test_conditions_of_a_step_are_told_as_environments(when: str | list[str], expected: str) -> None:
    assert documentation.environments_where(when) == expected


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert documentation.table(("a",), [("x|y",)]).splitlines()[-1] == "| x\\|y |"


def test_every_fault_that_is_tried_is_told_with_its_record() -> None:
    """A test of the lab whose docstring is `fault | record` is a row."""
    tried = [
        row
        for path in sorted((ROOT / "tests/lab").glob("test_*.py"))
        for row in re.findall(r'^    """(.* \| .*)"""$', path.read_text(), re.MULTILINE)
    ]
    told = re.findall(r"^\| (.*) \|$", (ROOT / "docs/faults.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(["fault | record", *tried])


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not dead


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.name)
def test_every_command_that_the_prose_names_exists(page: Path) -> None:
    from fabfile import namespace

    known = set(namespace.task_names)
    named = {
        word
        for line in re.findall(r"(?:\./run|\bfab) ((?:[a-z][a-z_.]*)(?: [a-z][a-z_.]*)?)", page.read_text())
        for word in line.split()[: 2 if line.split()[0] in ("development", "staging", "production", "backup") else 1]
    }
    assert named <= known


def test_the_readme_names_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "./run demo" in text
    assert "./run test" in text

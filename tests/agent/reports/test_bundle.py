"""The files of a run: what scripts find, and that nothing is written elsewhere."""

import ast
import json
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports.bundle import BadBundle, Bundle, bundle, query_module, write_tree
from rota.packs.reports.database import Database, Engine
from rota.packs.reports.definitions import Query, Script, ScriptType

DATABASE = Database(engine=Engine.POSTGRESQL, name="library", user="rota-reports", socket=Path("/run/postgresql/x"))


def test_a_bundle_has_the_files_that_scripts_import_from(tmp_path: Path) -> None:
    main = Script(id="1", name="abc:books_xml", body="print(1)\r\n\t# as it is")
    library = Script(id="2", name="tools", type=ScriptType.SNIP, body="x = 1")
    queries = [Query(id="3", name="abc:books_xml", body="SELECT 1"), Query(id="4", name="shared", body="SELECT 2")]
    write_tree(bundle(main, [library], queries), tmp_path / "tree")
    files = {str(path.relative_to(tmp_path / "tree")): path for path in (tmp_path / "tree").rglob("*.py")}
    assert set(files) == {"main.py", "sniplets/tools.py", "queries/abc/books_xml.py", "queries/shared.py"}
    assert files["main.py"].read_bytes() == main.body.encode()
    assert runpy.run_path(str(files["queries/abc/books_xml.py"]))["query"] == "\nSELECT 1\n"


def test_a_tree_is_its_owners_alone(tmp_path: Path) -> None:
    write_tree(Bundle({"queries/abc/x.py": "1"}), tmp_path / "tree")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "tree", *(tmp_path / "tree").rglob("*"))}
    assert modes == {0o700, 0o600}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_is_in_a_query_stays_text(body: str) -> None:
    tree = ast.parse(query_module(body))
    assert len(tree.body) == 1
    names: dict[str, str] = {}
    exec(query_module(body).encode(), names)  # noqa: S102 - what a script's import does
    assert names["query"] == f"\n{body}\n"


@pytest.mark.parametrize(
    "body", ["'''\nimport os\n'''", "LIKE '50\\%'", '"""', "\\", "'", "\\N{DIGIT ONE}", "\r", "\x00"]
)
def test_quotes_and_backslashes_of_a_query_survive(body: str) -> None:
    names: dict[str, str] = {}
    exec(query_module(body).encode(), names)  # noqa: S102 - what is tried
    assert names["query"] == f"\n{body}\n"


@pytest.mark.parametrize(
    "name",
    ["../x.py", "/etc/x.py", "a/../../x.py", "a//b.py", "./x.py", "", ".", "..", "a/", "a\0b.py", "a\nb.py", "x" * 256],
)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadBundle):
        write_tree(Bundle({"main.py": "", name: ""}), tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_text_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"main\.py: character 2"):
        write_tree(Bundle({"main.py": "a\ud800"}), tmp_path / "tree")


def test_nothing_is_written_through_a_link_that_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "tree").symlink_to(tmp_path)
    with pytest.raises(FileExistsError):
        write_tree(Bundle({"main.py": ""}), tmp_path / "tree")


def test_scripts_are_told_of_the_database_only_what_they_need() -> None:
    files = bundle(Script(id="1", name="x"), database=DATABASE).files
    assert json.loads(files["database.json"]) == {
        "engine": "postgresql",
        "database": "library",
        "user": "rota-reports",
        "port": 5432,
        "socket": "/database/x",
        "seconds": 600,
    }
    assert "def connect(" in files["database.py"]
    assert set(bundle(Script(id="1", name="x")).files) == {"main.py"}

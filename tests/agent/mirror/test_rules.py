"""The estate's own masking rules, beside the diary's migrations in a real database."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rota.adapters import postgres
from rota.adapters.postgres import Server
from rota.core import masking
from rota.core.masking import Column, Rule, RulesDoNotFit
from rota.packs.mirror.structure import read_columns
from tests.agent.mirror.conftest import HERE, SOURCES, let_anybody_in, reachable_folder
from tests.agent.neighbours import postgres_cluster

RULES_FILE = HERE.parents[2] / "group_vars" / "all" / "masking.yml"


@pytest.fixture(scope="module")
def columns() -> Iterator[list[Column]]:
    """The columns that the diary's migrations make."""
    with reachable_folder() as folder, postgres_cluster(folder) as server:
        let_anybody_in(server)
        migrate(server, folder)
        with postgres.connect("postgres", server) as connection:
            yield read_columns(connection)


def migrate(server: Server, folder: Path) -> None:
    database = {"engine": "postgresql", "name": "postgres", "host": server.host, "user": "postgres"}
    (folder / "diary.yml").write_text(yaml.safe_dump({"diary": {"database": database}}))
    subprocess.run(
        [sys.executable, "-m", "rota.diary.manage", "migrate", "--verbosity=0"],
        env=os.environ | {"PYTHONPATH": str(SOURCES), "ROTA_HOME": str(folder)},
        check=True,
    )


@pytest.fixture(scope="module")
def rules() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(RULES_FILE.read_text())["mirror_rules"]
    return found


def test_every_column_of_the_diary_has_a_rule_and_every_rule_a_column(
    columns: list[Column], rules: dict[str, dict[str, Any]]
) -> None:
    assert len(columns) > 50
    assert masking.plan(rules, columns).tables


def test_a_migration_that_adds_a_column_is_noticed(columns: list[Column], rules: dict[str, dict[str, Any]]) -> None:
    new = Column("public", "diary_person", "birthday", "date")

    with pytest.raises(RulesDoNotFit, match=r"diary_person\.birthday has no rule$"):
        masking.plan(rules, [*columns, new])


CODE = {"reports_query.body", "reports_script.body"}
"""What people write to be run: staging is where it is tried."""


def test_no_free_text_and_no_person_is_kept(columns: list[Column], rules: dict[str, dict[str, Any]]) -> None:
    kept = {one.label for one in columns if rules[one.table_label][one.name] == Rule.KEEP}
    texts = {one.label for one in columns if one.type == "text"}
    personal = {one.label for one in columns if one.name in ("email", "password", "address", "who", "session_data")}

    assert not kept & (texts - CODE | personal)

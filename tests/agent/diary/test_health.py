"""Health says whether the process is up; readiness, whether it can serve."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rota.diary.configuration import Database, Engine
from tests.agent.diary.conftest import visitor


@pytest.mark.each_engine
def test_a_migrated_database_makes_the_diary_ready(database: Database) -> None:
    response = visitor().get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "release": "", "environment": "development"}


def test_an_unmigrated_database_does_not(use_database: Callable[[Database], None], tmp_path: Path) -> None:
    use_database(Database(name=str(tmp_path / "empty.sqlite3")))
    response = visitor().get("/readyz")
    assert response.status_code == 503
    assert "migrations are not applied" in response.json()["problem"]


def test_an_unreachable_database_does_not_but_the_process_is_up(
    use_database: Callable[[Database], None], tmp_path: Path
) -> None:
    use_database(Database(engine=Engine.POSTGRESQL, name="diary", host=str(tmp_path)))
    response = visitor().get("/readyz")
    assert response.status_code == 503
    assert response.json()["problem"] == "the database cannot be reached"
    assert visitor().get("/healthz").status_code == 200


def test_health_asks_nothing_of_the_database(database: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert visitor().get("/healthz").content == b"ok\n"

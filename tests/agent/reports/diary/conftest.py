"""The diary's cast and database, and one client with a report."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from rota.diary.models import Person, TaskDefinition
from rota.packs.reports.diary.keeping import remember
from rota.packs.reports.diary.models import Client, Query, RunLog, Script, Task
from rota.packs.reports.publishing import Export
from tests.agent.diary.conftest import (
    Cast,
    Shipper,
    cast,
    configured,
    database,
    empty_diary,
    migrated,
    postgresql,
    production,
    pytest_generate_tests,
    use_database,
)

__all__ = [
    "cast",
    "configured",
    "database",
    "empty_diary",
    "migrated",
    "postgresql",
    "production",
    "pytest_generate_tests",
    "use_database",
]


@pytest.fixture
def shelf(database: object) -> Task:
    """`library/books.csv`, with a script and a query."""
    client = Client.objects.create(name="The library", username="library")
    query = Query.objects.create(name="library:books_csv", body="SELECT 1")
    script = Script.objects.create(name="library:books_csv", query=query, body="print(1)\n")
    task = Task.objects.create(
        client=client,
        script=script,
        file_name="books.csv",
        extension="csv",
        start_date=date(2026, 1, 31),
        frequency="M",
        is_active=True,
        description="All books",
    )
    for row in (client, task):
        remember(row, by=None)
    return task


@pytest.fixture
def editor(cast: Cast, shelf: Task) -> Person:
    """A viewer of the diary who edits the library's reports."""
    person = Person.objects.create_user("editor@example.org", None, name="Editor")
    shelf.client.editors.add(person)
    return person


@pytest.fixture
def maker(production: Shipper) -> Shipper:
    """The host that makes reports, in the diary's own environment."""
    production.host.environment = django_settings.CONFIGURATION.environment
    production.host.save()
    TaskDefinition.objects.create(
        host=production.host, task="reports_nightly", digest="", definition={"pack": "reports"}, since=timezone.now()
    )
    return production


Publish = Callable[..., None]


@pytest.fixture
def publish(settings: Any, tmp_path: Path) -> Publish:
    """Puts a content where clients get it, as a night would; its run log included."""
    settings.CONFIGURATION = replace(settings.CONFIGURATION, home=tmp_path)
    export = Export(tmp_path / "reports" / "exports")
    export.folder.mkdir(parents=True)

    def put(task: Task, content: bytes, *, keep: int = 3) -> None:
        new = export.open_new(task.client.username)
        os.write(new.descriptor, content)
        export.publish(new, f"{task.client.username}/{task.file_name}", keep)
        RunLog.objects.create(task=task, date=datetime(2026, 1, 31, 2, tzinfo=UTC), is_success=True, message="OK")

    return put

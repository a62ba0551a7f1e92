"""The diary's cast and database, and one client with a report."""

from datetime import date

import pytest

from rota.diary.models import Person
from rota.packs.reports.diary.models import Client, Query, Script, Task
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
    return Task.objects.create(
        client=client,
        script=script,
        file_name="books.csv",
        extension="csv",
        start_date=date(2026, 1, 31),
        frequency="M",
        is_active=True,
        description="All books",
    )


@pytest.fixture
def editor(cast: Cast, shelf: Task) -> Person:
    """A viewer of the diary who edits the library's reports."""
    person = Person.objects.create_user("editor@example.org", None, name="Editor")
    shelf.client.editors.add(person)
    return person


@pytest.fixture
def maker(production: Shipper, settings: object) -> Shipper:
    """The host that makes reports, in the diary's own environment."""
    from django.conf import settings as django
    from django.utils import timezone

    from rota.diary.models import TaskDefinition

    production.host.environment = django.CONFIGURATION.environment
    production.host.save()
    TaskDefinition.objects.create(
        host=production.host, task="reports_nightly", digest="", definition={"pack": "reports"}, since=timezone.now()
    )
    return production

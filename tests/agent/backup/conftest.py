"""What the tests of backups share: one PostgreSQL server for all, one database for each."""

from collections.abc import Iterator

import pytest

from rota.adapters import postgres
from tests.agent.neighbours import postgres_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    with postgres_cluster(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def library(cluster: postgres.Server) -> Iterator[str]:
    """A database of books and readers; everything named after it is gone afterwards."""
    with postgres.connect("postgres", cluster) as connection:
        connection.execute("CREATE DATABASE library TEMPLATE template0")
    with postgres.connect("library", cluster) as connection:
        connection.execute("CREATE TABLE book (id int PRIMARY KEY, title text NOT NULL, cover bytea)")
        connection.execute(
            "INSERT INTO book SELECT n, 'Book ' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 500) n"
        )
        connection.execute("CREATE TABLE loan (id bigserial PRIMARY KEY, book int REFERENCES book, at timestamptz)")
        connection.execute(
            "INSERT INTO loan (book, at) SELECT n, timestamptz '2024-02-29 12:00+02' FROM generate_series(1, 100) n"
        )
    yield "library"
    with postgres.connect("postgres", cluster) as connection:
        for name in postgres.databases(cluster):
            if name != "postgres":
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

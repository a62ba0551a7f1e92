"""The columns of a database, read from its catalogue."""

from collections.abc import Iterable
from importlib import resources

from psycopg import sql

from rota.adapters.postgres import TABLES, Connection
from rota.core.masking import Column

Shape = set[tuple[str, str, str, str]]
Rows = dict[str, int]
COUNT = "SELECT count(*) FROM ONLY {}"


def read_columns(connection: Connection) -> list[Column]:
    """Every column whose rows a dump copies; what extensions own comes with the extension."""
    query = resources.files(__package__).joinpath("columns.sql").read_bytes()
    return [Column(*row) for row in connection.execute(query).fetchall()]


def read_extensions(connection: Connection) -> list[str]:
    """The extensions that a new database lacks."""
    query = "SELECT extname FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
    return [str(name) for (name,) in connection.execute(query)]


def count_rows(connection: Connection) -> Rows:
    """The rows of every table, by `schema.table`, as this connection's transaction sees them."""
    found: Rows = {}
    for schema, table in connection.execute(TABLES.encode()).fetchall():
        query = sql.SQL(COUNT).format(sql.Identifier(schema, table))
        found[f"{schema}.{table}"] = sum(int(count) for (count,) in connection.execute(query))
    return found


def shape(columns: Iterable[Column]) -> Shape:
    """What two databases must have alike for a plan made for one to hold for the other.

    Uniqueness and foreign keys are left out: a database under restore gets them last.
    """
    return {(column.schema, column.table, column.name, column.type) for column in columns}

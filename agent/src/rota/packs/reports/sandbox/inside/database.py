"""The report database, for scripts: `from database import connect`.

    cursor = connect().cursor()
    cursor.execute(query)
    for row in cursor: …

The connection can only read, and each statement has a time limit. Which database it is says database.json beside this.
"""

import json
from pathlib import Path
from typing import Any

SETTINGS = json.loads(Path(__file__).with_name("database.json").read_text(encoding="utf-8"))


def connect(**more: Any) -> Any:
    """A connection of psycopg or PyMySQL, as the database is; `more` is handed to their own `connect`."""
    return {"postgresql": to_postgresql, "mariadb": to_mariadb}[SETTINGS["engine"]](more)


def to_postgresql(more: dict[str, Any]) -> Any:
    import psycopg

    options = f"-c default_transaction_read_only=on -c statement_timeout={round(SETTINGS['seconds'] * 1000)}"
    folder = str(Path(SETTINGS["socket"]).parent)
    places = {"host": folder, "port": SETTINGS["port"], "dbname": SETTINGS["database"], "user": SETTINGS["user"]}
    connection = psycopg.connect(**{**places, "options": options, **more})
    connection.read_only = True
    return connection


def to_mariadb(more: dict[str, Any]) -> Any:
    import pymysql

    places = {"unix_socket": SETTINGS["socket"], "database": SETTINGS["database"], "user": SETTINGS["user"]}
    connection = pymysql.connect(**{**places, "charset": "utf8mb4", **more})
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION max_statement_time = %s", (SETTINGS["seconds"],))
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
    return connection

"""Where the report database is: what scripts are told of it, and the one socket that a sandbox lets through."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

INSIDE = "/database"
"""The folder that holds the socket inside a sandbox."""


class Engine(StrEnum):
    """The database servers that reports can read."""

    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"


@dataclass(frozen=True, kw_only=True)
class Database:
    """The report database. `socket` is a file or the folder of it; no password: the server knows the system user."""

    engine: Engine
    name: str
    user: str
    socket: Path
    port: int = 5432
    """PostgreSQL's, which is part of its socket's name."""
    seconds: float = 600
    """How long one statement may take."""

    @property
    def socket_file(self) -> Path:
        if not self.socket.is_dir():
            return self.socket
        return self.socket / (f".s.PGSQL.{self.port}" if self.engine is Engine.POSTGRESQL else "mysqld.sock")

    def to_json(self) -> str:
        """For database.json of a script's tree; of places only the one inside the sandbox."""
        values = {"engine": self.engine, "database": self.name, "user": self.user, "port": self.port}
        socket = f"{INSIDE}/{self.socket_file.name}"
        return json.dumps({**values, "socket": socket, "seconds": self.seconds}, indent=2) + "\n"

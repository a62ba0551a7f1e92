"""MariaDB: dumps that are consistent within one transaction, and what their tables hold.

Unlike PostgreSQL, MariaDB cannot lend a transaction's moment to a second session. So a dump has one line per row,
and the rows are counted and hashed as they go by: exactly those of the dump's own moment.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rota.core.errors import RotaError
from rota.core.fingerprint import Fingerprint, hash_of

ROW = re.compile(rb"INSERT INTO `((?:[^`]|``)+)` VALUES")
TABLE = re.compile(rb"CREATE TABLE `((?:[^`]|``)+)` \(")
NAME = re.compile(r"[A-Za-z0-9_$][A-Za-z0-9_$-]{0,63}")


class ProgramFailed(RotaError):
    """A MariaDB program failed."""


class NameRefused(RotaError):
    """This is no name for a MariaDB database: letters, digits, `_`, `$` and, not at first, `-` are."""


@dataclass(frozen=True)
class Server:
    """Which MariaDB server; `None` leaves it to the programs' own settings, which know Debian's socket."""

    socket: Path | None = None

    def options(self) -> list[str]:
        """For every MariaDB program. Root and others are known to the server by their system user."""
        return [] if self.socket is None else ["--protocol=socket", f"--socket={self.socket}"]


LOCAL = Server()


def dump_command(database: str, server: Server = LOCAL) -> list[str]:
    """`mariadb-dump` of one database to standard output: one moment, one line per row, nothing that only dates it."""
    return [
        "mariadb-dump", *server.options(), "--single-transaction", "--quick", "--skip-extended-insert", "--hex-blob",
        "--no-autocommit", "--routines", "--triggers", "--events", "--skip-dump-date", "--no-tablespaces",
        "--default-character-set=utf8mb4", _checked(database),
    ]  # fmt: skip


def client_command(server: Server = LOCAL, *, database: str | None = None, execute: str | None = None) -> list[str]:
    """`mariadb` reading statements from standard input, or executing one."""
    into = [f"--database={_checked(database)}"] if database else []
    statement = [f"--execute={execute}"] if execute else []
    return [
        "mariadb", *server.options(), "--batch", "--skip-column-names", "--default-character-set=utf8mb4",
        *into, *statement,
    ]  # fmt: skip


def dump(database: str, file: Path, server: Server = LOCAL) -> dict[str, Fingerprint]:
    """Dump `database` into `file`, which appears whole or not at all, and fingerprint it on the way."""
    beside = file.with_name(file.name + ".part")
    with beside.open("wb") as out, _running(dump_command(database, server), stdout=subprocess.PIPE) as lines:
        found = fingerprint_lines(_written(lines, out))
    beside.replace(file)
    return found


def fingerprint(database: str, server: Server = LOCAL) -> dict[str, Fingerprint]:
    """What every table of a database holds, by the lines of a dump that nobody keeps."""
    with _running(dump_command(database, server), stdout=subprocess.PIPE) as lines:
        return fingerprint_lines(lines)


def fingerprint_lines(lines: Iterable[bytes]) -> dict[str, Fingerprint]:
    """Count and hash the rows of a dump, table by table; an empty table counts as well."""
    rows: Counter[bytes] = Counter()
    sums: Counter[bytes] = Counter()
    for line in lines:
        if inserted := ROW.match(line):
            rows[inserted[1]] += 1
            sums[inserted[1]] += hash_of(line)
        elif created := TABLE.match(line):
            rows[created[1]] += 0
    return {table.decode(): Fingerprint(rows[table], str(sums[table])) for table in rows}


def create(database: str, server: Server = LOCAL) -> None:
    """Make an empty database."""
    _execute(f"CREATE DATABASE `{_checked(database)}` CHARACTER SET utf8mb4", server)


def drop(database: str, server: Server = LOCAL) -> None:
    """Drop a database if it is there."""
    _execute(f"DROP DATABASE IF EXISTS `{_checked(database)}`", server)


def restore_into(database: str, file: Path, server: Server = LOCAL) -> None:
    """Restore a dump into an existing database."""
    command = client_command(server, database=database)
    with file.open("rb") as source, _running(command, stdin=source, stdout=subprocess.DEVNULL):
        pass


def _execute(statement: str, server: Server) -> None:
    with _running(client_command(server, execute=statement), stdout=subprocess.DEVNULL):
        pass


def _checked(database: str) -> str:
    if not NAME.fullmatch(database):
        raise NameRefused(repr(database))
    return database


def _written(lines: Iterable[bytes], out: IO[bytes]) -> Iterator[bytes]:
    for line in lines:
        out.write(line)
        yield line


@contextmanager
def _running(command: Sequence[str], **streams: Any) -> Iterator[Iterable[bytes]]:
    """Run a program while the block runs, yielding its lines; raises `ProgramFailed` with its own words."""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, cwd="/", stderr=said, **streams) as program:
            try:
                yield program.stdout or ()
            except BaseException:  # an interruption as well
                program.kill()
                raise
        if program.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
            raise ProgramFailed(f"{command[0]} exited with {program.returncode}: {words}")

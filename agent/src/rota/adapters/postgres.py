"""PostgreSQL: consistent dumps, fingerprints of what tables hold, and databases restored beside and swapped in.

Connections and programs use libpq's own settings (`PGHOST`, `PGPORT`, …) and otherwise the local socket with
peer authentication. Root becomes the system user of `Server` for that: no password, no role for root.
"""

import os
import pwd
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeAlias

import psycopg
from psycopg import sql

from rota.core.errors import RotaError
from rota.core.fingerprint import Fingerprint as Fingerprint

STAMP = "%Y%m%dT%H%M%SZ"
LONGEST_NAME = 63  # bytes: NAMEDATALEN - 1
SCRATCH = "_scratch_"
BEFORE = "_before_"  # put aside by a restore, for who regrets it
REPLACED = "_replaced_"  # put aside by a mirror, until it has proven itself
HOLDER_GONE = "2s"  # how long a server may take to notice that a restore was killed

# A row's text depends on these, so both sides of a comparison must have them alike.
FINGERPRINT_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "row_security": "off",
    "search_path": "",
}

# Tables that extensions own are left out: pg_dump leaves them to CREATE EXTENSION.
TABLES = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""

# The sum does not care in which order the rows come; md5 is the one strong enough hash every version has built in.
TABLE_FINGERPRINT = """
SELECT count(*), coalesce(sum(('x' || left(md5(rota_row::text), 16))::bit(64)::bigint), 0)::text
FROM ONLY {} AS rota_row
"""

LARGE_OBJECTS = "(large objects)"
LARGE_OBJECTS_FINGERPRINT = """
SELECT count(*), coalesce(sum(('x' || left(md5(oid::text || ' ' || md5(lo_get(oid))), 16))::bit(64)::bigint), 0)::text
FROM pg_catalog.pg_largeobject_metadata
"""

DATABASE_SETTINGS = """
SELECT r.rolname, split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole,
     unnest(s.setconfig) AS one
WHERE d.datname = %s
"""

# GUC_LIST_QUOTE in PostgreSQL's guc_tables.c, as far as a database may set them.
QUOTED_LISTS = {"local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces"}

DATABASE_PRIVILEGES = """
SELECT r.rolname, a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
     LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE d.datname = %s
"""

# What PostgreSQL puts in quotes after one of these is a name; after anything else it may be a value of a row.
NAMED = {
    "column", "constraint", "database", "domain", "encoding", "extension", "function", "host", "index", "language",
    "relation", "role", "schema", "sequence", "server", "socket", "table", "trigger", "type", "user", "view",
}  # fmt: skip

# A line of `pg_restore --list` that speaks of an extension or of its comment.
OF_EXTENSION = re.compile(r"\d+; \d+ \d+ (?P<comment>COMMENT - )?EXTENSION (?:- )?(?P<name>\S+)")

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]


class ProgramFailed(RotaError):
    """A PostgreSQL program failed."""


class NoConnection(RotaError):
    """PostgreSQL cannot be reached, or has no such database."""


class NameTooLong(RotaError):
    """PostgreSQL would cut this database name short."""


class RestoreUnderWay(RotaError):
    """Another restore of this database is under way."""


class NobodyLogsIn(RotaError):
    """Nobody can log in as this PostgreSQL role: by peer authentication it is the system's user of that name."""


class ExtensionMissing(RotaError):
    """A PostgreSQL extension that the database uses cannot be made here."""


class DatabaseBusy(RotaError):
    """The database could not be swapped in: sessions came back faster than they were ended."""


@dataclass(frozen=True)
class Server:
    """Which PostgreSQL server, and as which system user root speaks to it; `None` leaves a setting to libpq."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    system_user: str = "postgres"

    def settings(self) -> dict[str, str]:
        """The settings as libpq's environment variables."""
        named = {"PGHOST": self.host, "PGPORT": self.port, "PGUSER": self.user}
        return {name: str(value) for name, value in named.items() if value is not None}


LOCAL = Server()


@dataclass(frozen=True)
class Dump:
    """A finished dump, and what the tables held at its one moment."""

    database: str
    file: Path
    size: int
    tables: Mapping[str, Fingerprint]


@dataclass(frozen=True)
class Snapshot:
    """One moment of a database, shared by everything that reads with this id while the connection is open."""

    id: str
    connection: Connection


def dump_command(database: str, *, snapshot: str | None = None, options: Sequence[str] = ()) -> list[str]:
    """`pg_dump` to standard output in the custom format, uncompressed: what stores it compresses it better."""
    shared = [f"--snapshot={snapshot}"] if snapshot else []
    return ["pg_dump", "--format=custom", "--compress=0", "--no-password", *shared, *options, f"--dbname={database}"]


def restore_command(database: str, *, owners: bool = True, options: Sequence[str] = ()) -> list[str]:
    """`pg_restore` from standard input, which rules out parallel jobs but needs no file its user may read."""
    without_owners = [] if owners else ["--no-owner", "--no-privileges"]
    return [
        "pg_restore", "--exit-on-error", "--no-password", *without_owners, *options, f"--dbname={database}",
    ]  # fmt: skip


def connect(
    database: str, server: Server = LOCAL, *, autocommit: bool = True, settings: Mapping[str, str] | None = None
) -> Connection:
    """A connection whose session bears Rota's name. Raises `NoConnection`.

    `settings` hold from the first moment, and before what a database or a role was given by `ALTER … SET`.
    """
    try:
        with _as_system_user(server):
            return psycopg.connect(
                dbname=database,
                host=server.host,
                port=server.port,
                user=server.user,
                autocommit=autocommit,
                application_name="rota",
                options=_options(settings) if settings else None,
            )
    except psycopg.OperationalError as error:
        raise NoConnection(f"{database!r}: {' '.join(str(error).split())}") from error


def start(command: Sequence[str], server: Server = LOCAL, **streams: Any) -> subprocess.Popen[bytes]:
    """Start a PostgreSQL program as the system user, without a shell; `streams` are Popen's stdin, stdout, stderr."""
    environment = {**os.environ, **server.settings(), "PGAPPNAME": "rota", "LC_ALL": "C.UTF-8"}
    # The program runs from / because its user may not enter our working folder.
    return subprocess.Popen(command, env=environment, cwd="/", **_identity(server), **streams)


@contextmanager
def snapshot(database: str, server: Server = LOCAL) -> Iterator[Snapshot]:
    """One moment of `database`, exported for pg_dump and open for reading until the block ends."""
    with connect(database, server, autocommit=False) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield Snapshot(_value(connection, "SELECT pg_export_snapshot()"), connection)
        connection.rollback()


def fingerprint(connection: Connection) -> dict[str, Fingerprint]:
    """What every table holds, by `schema.table`, as this connection's transaction sees it.

    Changes session settings until the end of the transaction (or for good, in autocommit).
    """
    for name, value in FINGERPRINT_SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, %s)", (name, value, not connection.autocommit))
    names = [(str(schema), str(table)) for schema, table in connection.execute(TABLES).fetchall()]
    found = {f"{schema}.{table}": _table_fingerprint(connection, schema, table) for schema, table in names}
    objects = _one_fingerprint(connection, sql.SQL(LARGE_OBJECTS_FINGERPRINT))
    return found | ({LARGE_OBJECTS: objects} if objects.rows else {})


def snapshot_dump(database: str, file: Path, server: Server = LOCAL, *, options: Sequence[str] = ()) -> Dump:
    """Dump `database` into `file` and fingerprint it meanwhile, both at the same moment.

    `file` appears whole or not at all. Raises `ProgramFailed` with pg_dump's own words.
    """
    beside = file.with_name(file.name + ".part")
    with snapshot(database, server) as moment, beside.open("wb") as out:
        command = dump_command(database, snapshot=moment.id, options=options)
        with _running(command, server, stdout=out):
            tables = fingerprint(moment.connection)
        os.fsync(out.fileno())
    beside.replace(file)
    return Dump(database, file, file.stat().st_size, tables)


def restore_into(
    name: str,
    source: Path | IO[bytes],
    server: Server = LOCAL,
    *,
    owners: bool = True,
    options: Sequence[str] = (),
) -> None:
    """Restore a dump into the existing database `name`, from a file or from a stream of it.

    `owners=False` is for a server that lacks the roles. Raises `ProgramFailed` with pg_restore's own words.
    """
    command = restore_command(name, owners=owners, options=options)
    if isinstance(source, Path):
        with source.open("rb") as stream, _running(command, server, stdin=stream, stdout=subprocess.DEVNULL):
            return
    with _running(command, server, stdin=source, stdout=subprocess.DEVNULL):
        return


def run(command: Sequence[str], server: Server = LOCAL, **streams: Any) -> None:
    """Run a PostgreSQL program to its end. Raises `ProgramFailed` with its reasons."""
    with _running(command, server, **streams):
        return


def reasons(said: str) -> str:
    """The errors among a PostgreSQL program's or server's words, without anything that may be a value of a row.

    Details and contexts quote whole rows, and some errors the value they could not read.
    """
    errors = [line.strip() for line in said.splitlines() if re.search(r"\b(error|ERROR|FATAL):", line)]
    return "; ".join(without_values(line) for line in errors) or "it did not say why"


def without_values(message: str) -> str:
    """One error message, its quoted values and what looks like a mail address cut out."""
    message = re.sub(r': ".*', ": …", message)
    message = re.sub(r'(\w*) ?"[^"]*"', lambda found: found[0] if found[1] in NAMED else f"{found[1]} …", message)
    return re.sub(r"\S+@\S+", "…", message)


def as_role(role: str, server: Server = LOCAL) -> Server:
    """The server as a role of no other rights sees it: by logging in, for a role that a superuser takes on can be put
    off again by any function of a dump. Raises `NobodyLogsIn`.
    """
    try:
        pwd.getpwnam(role)
    except KeyError as error:
        raise NobodyLogsIn(f"{role!r} is no user of this host") from error
    return replace(server, user=role, system_user=role)


def owner_of(name: str, server: Server = LOCAL) -> str:
    """The role that owns a database. Raises `NoConnection` where there is none."""
    with connect("postgres", server) as connection:
        owner = _value(connection, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", name)
    if owner is None:
        raise NoConnection(f"{name!r}; provision this host first, which makes it with its owner")
    return str(owner)


def forget_settings(role: str, session: Connection) -> None:
    """Take back what a dump that was restored as this role may have set for its sessions, which is all it could."""
    session.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(role)))


def restore_as(role: Server, scratch: str, file: Path, server: Server = LOCAL, *, privileges: bool = True) -> None:
    """Restore a dump into an empty database that was lent to `role`, and as that role.

    A dump holds code of whoever filled the database, and restoring runs it. Only the extensions are made by the
    server's own user: by their names, before anything of the dump is there. Raises `ProgramFailed`.
    """
    listed = _contents(file, role)
    with connect(scratch, server) as connection:
        for name in filter(None, map(_extension, listed)):
            create_extension(connection, name)
    with tempfile.TemporaryFile() as chosen, file.open("rb") as dump:
        chosen.write("".join(f"{line}\n" for line in listed if not OF_EXTENSION.match(line)).encode())
        chosen.flush()
        os.fchmod(chosen.fileno(), 0o644)  # the role opens it by the path below
        options = ["--no-owner", *([] if privileges else ["--no-privileges"])]
        command = restore_command(scratch, options=[*options, f"--use-list=/proc/self/fd/{chosen.fileno()}"])
        with _running(command, role, stdin=dump, stdout=subprocess.DEVNULL, pass_fds=[chosen.fileno()]):
            return


def create_extension(connection: Connection, name: str) -> None:
    """Make an extension in a database that nothing of a dump is in yet. Raises `ExtensionMissing`."""
    try:
        connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise ExtensionMissing(f"{name!r}: {str(error).splitlines()[0]}") from error


@contextmanager
def restoring(name: str, server: Server = LOCAL) -> Iterator[Connection]:
    """Hold the one place for restores of `name`; frees itself when its holder dies. Drops what dead ones left.

    Yields the session that holds it. Raises `RestoreUnderWay`.
    """
    with connect("postgres", server) as connection:
        connection.execute(f"SET lock_timeout = '{HOLDER_GONE}'".encode())
        try:
            connection.execute("SELECT pg_advisory_lock(hashtext('rota restore'), hashtext(%s))", (name,))
        except psycopg.errors.LockNotAvailable as error:
            raise RestoreUnderWay(repr(name)) from error
        connection.execute("RESET lock_timeout")
        for leftover in scratches(name, server):
            drop_scratch(leftover, server)
        yield connection


def create_scratch(
    name: str,
    now: datetime,
    server: Server = LOCAL,
    *,
    role: str | None = None,
    session: Connection | None = None,
) -> str:
    """Make the empty database in which `name` will be restored, and return its own name.

    Given a `role`, the database is lent to it: it may do there what an owner may, but let others in, and nobody else
    but superusers may enter. Made by `session`, the one that `restoring` yields, it is there or not before the place
    is free, whenever its maker is killed.
    """
    scratch = f"{name}{SCRATCH}{now.strftime(STAMP)}"
    _require_short(scratch)
    with nullcontext(session) if session else connect("postgres", server) as connection:
        create = _create_statement(connection, name, scratch)
        if role is None:
            connection.execute(create)
        else:
            _create_lent(connection, create, scratch, role)
    if role is not None:
        _give_public(scratch, role, server)
    return scratch


def hand_over(scratch: str, role: str, owner: str, server: Server = LOCAL) -> None:
    """Give all that is in a scratch database from `role`, to which it was lent, to `owner`, and leave `role` nothing.

    The database itself goes to the owner when it is swapped in. The superuser who does this runs nothing of what is
    in it, and finds no function there by its bare name.
    """
    lent, given = sql.Identifier(role), sql.Identifier(owner)
    with connect(scratch, server, autocommit=False, settings={"search_path": ""}) as connection:
        if role != owner:
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(lent, given))
            connection.execute(sql.SQL("DROP OWNED BY {}").format(lent))
        connection.execute("ALTER SCHEMA public OWNER TO pg_database_owner")
        connection.commit()


def swap(
    scratch: str, name: str, now: datetime, server: Server = LOCAL, *, keep: int = 1, aside: str = BEFORE
) -> str | None:
    """Make the database `scratch` become `name`, in one transaction that ends the sessions of both.

    What was `name` is kept as the returned `NAME_before_TIMESTAMP`, `None` where there was none; older ones than
    the newest `keep` are dropped. The new database takes over owner, settings and privileges of the old.
    """
    before = f"{name}{aside}{now.strftime(STAMP)}"
    _require_short(before)
    with connect("postgres", server, autocommit=False) as connection:
        existing = name in databases(server)
        if existing:
            _take_over_properties(connection, name, scratch)
        with _sessions_ending([name, scratch], server):
            _rename_pair(connection, scratch, name, before if existing else None)
    for old in kept(name, server, aside=aside)[keep:]:
        drop_scratch(old, server)
    return before if existing and keep > 0 else None


def drop_scratch(scratch: str, server: Server = LOCAL) -> None:
    """Drop a database made by `create_scratch` or put aside by `swap`; refuses any other."""
    if not any(word in scratch for word in (SCRATCH, BEFORE, REPLACED)):
        raise ValueError(f"{scratch!r} is neither a scratch database nor one put aside")
    with connect("postgres", server) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(scratch)))


def databases(server: Server = LOCAL) -> list[str]:
    """Every database that may be connected to, by name."""
    query = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
    with connect("postgres", server) as connection:
        return [str(name) for (name,) in connection.execute(query)]


def scratches(name: str, server: Server = LOCAL) -> list[str]:
    """The scratch databases of `name`, newest first: leftovers, unless a restore is under way."""
    return sorted((one for one in databases(server) if one.startswith(name + SCRATCH)), reverse=True)


def kept(name: str, server: Server = LOCAL, *, aside: str = BEFORE) -> list[str]:
    """The databases that earlier swaps put aside, newest first."""
    return sorted((one for one in databases(server) if one.startswith(name + aside)), reverse=True)


def _options(settings: Mapping[str, str]) -> str:
    """The settings as libpq's `options`, in which a backslash takes the meaning from a blank."""
    quoted = {name: value.replace("\\", "\\\\").replace(" ", "\\ ") for name, value in settings.items()}
    return " ".join(f"-c {name}={value}" for name, value in quoted.items())


def _contents(file: Path, server: Server) -> list[str]:
    """The entries of a dump, one line each, as `pg_restore --use-list` takes them."""
    with tempfile.TemporaryFile() as out, file.open("rb") as dump:
        with _running(["pg_restore", "--list"], server, stdin=dump, stdout=out):
            pass
        out.seek(0)
        return out.read().decode(errors="surrogateescape").splitlines()


def _extension(line: str) -> str | None:
    found = OF_EXTENSION.match(line)
    return found["name"] if found and not found["comment"] else None


def _value(connection: Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else row[0]


def _one_fingerprint(connection: Connection, query: sql.SQL | sql.Composed) -> Fingerprint:
    row = connection.execute(query).fetchone()
    if row is None:
        raise AssertionError("an aggregate always returns a row")
    return Fingerprint(int(row[0]), str(row[1]))


def _table_fingerprint(connection: Connection, schema: str, table: str) -> Fingerprint:
    return _one_fingerprint(connection, sql.SQL(TABLE_FINGERPRINT).format(sql.Identifier(schema, table)))


def _require_short(name: str) -> None:
    if len(name.encode()) > LONGEST_NAME:
        raise NameTooLong(f"{name!r} has more than {LONGEST_NAME} bytes; a shorter database name would do")


def _create_statement(connection: Connection, name: str, scratch: str) -> sql.Composed:
    """The scratch gets the encoding and locale of the database it is to become, or else UTF-8."""
    query = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = %s"
    properties = connection.execute(query, (name,)).fetchone()
    values = dict(zip(("ENCODING", "LC_COLLATE", "LC_CTYPE"), properties or ("UTF8",), strict=False))
    options = sql.SQL(" ").join(sql.SQL("{} {}").format(sql.SQL(key), value) for key, value in values.items())
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(scratch), options)


def _create_lent(connection: Connection, create: sql.Composed, scratch: str, role: str) -> None:
    """Make a database that at no moment anybody but superusers and the role can enter."""
    database, lent = sql.Identifier(scratch), sql.Identifier(role)
    connection.execute(create + sql.SQL(" CONNECTION LIMIT 0"))  # which superusers alone do not heed
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(database, lent))
    connection.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(database))


def _give_public(scratch: str, role: str, server: Server) -> None:
    with connect(scratch, server) as connection:
        connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(role)))


def _take_over_properties(connection: Connection, name: str, scratch: str) -> None:
    """What belongs to a database and is in no dump: its owner, privileges and `ALTER DATABASE … SET`."""
    target = sql.Identifier(scratch)
    owner = _value(connection, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", name)
    connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(target, sql.Identifier(owner)))
    for role, setting, value in connection.execute(DATABASE_SETTINGS, (name,)).fetchall():
        whose = sql.SQL("ROLE {} IN ").format(sql.Identifier(role)) if role else sql.SQL("")
        change = sql.SQL("ALTER {}DATABASE {} SET {} = {}")
        # The server keeps a list already quoted as SQL wants it; quoting it again would make one element of it.
        new = sql.SQL(value) if setting in QUOTED_LISTS else sql.Literal(value)
        connection.execute(change.format(whose, target, sql.Identifier(setting), new))
    privileges = connection.execute(DATABASE_PRIVILEGES, (name,)).fetchall()
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(target))
    for grantee, privilege, grantable in privileges:
        to = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
        option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
        connection.execute(sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(sql.SQL(privilege), target, to, option))


def _rename_pair(connection: Connection, scratch: str, name: str, before: str | None) -> None:
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    try:
        if before:
            connection.execute(rename.format(sql.Identifier(name), sql.Identifier(before)))
        connection.execute(rename.format(sql.Identifier(scratch), sql.Identifier(name)))
        connection.commit()
    except psycopg.errors.ObjectInUse as error:
        raise DatabaseBusy(f"{name!r}; stop what uses it and try again") from error


@contextmanager
def _sessions_ending(names: list[str], server: Server) -> Iterator[None]:
    """End every session of these databases, again and again until the block is left.

    A rename first takes the lock that new sessions wait for, then gives those that were there five seconds to
    leave. Whoever came between our ending sessions and that lock must be ended while the rename waits.
    """
    done = threading.Event()
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)"

    def end_until_done(connection: Connection) -> None:
        while not done.is_set():
            connection.execute(query, (names,))
            done.wait(0.05)

    with connect("postgres", server) as connection:
        connection.execute(query, (names,))
        ending = threading.Thread(target=end_until_done, args=(connection,), name="ends sessions")
        ending.start()
        try:
            yield
        finally:
            done.set()
            ending.join()


@contextmanager
def _running(command: Sequence[str], server: Server, **streams: Any) -> Iterator[None]:
    """Run a program while the block runs; then wait for it. Ends it when the block fails."""
    with tempfile.TemporaryFile() as said:
        with start(command, server, stderr=said, **streams) as program:
            try:
                yield
            except BaseException:  # whatever it was, the program ends with it
                program.kill()
                raise
        if program.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace")
            raise ProgramFailed(f"{command[0]} exited with {program.returncode}: {reasons(words)}")


def _identity(server: Server) -> dict[str, Any]:
    """Popen's arguments for becoming the system user; none where we are not root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam(server.system_user)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid)}


# The effective user belongs to the whole process, so threads must take turns.
_turn = threading.Lock()


@contextmanager
def _as_system_user(server: Server) -> Iterator[None]:
    """Peer authentication asks for the effective user at the moment of connecting."""
    if os.getuid() != 0:
        yield
        return
    with _turn:
        os.seteuid(pwd.getpwnam(server.system_user).pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)

"""One mirror, from the questions to production to the switch on this host.

Nothing that this host serves is touched before the last stage, and that one can be undone at every moment.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql

from rota.adapters import postgres
from rota.core import masking
from rota.core.errors import RotaError
from rota.core.masking import Masked, MaskedTable, Plan
from rota.packs.mirror import media, source, switch
from rota.packs.mirror.configuration import Destination
from rota.packs.mirror.progress import Progress, size
from rota.packs.mirror.requests import Ask
from rota.packs.mirror.source import About
from rota.packs.mirror.structure import Rows, Shape, count_rows, read_columns, shape

ENVIRONMENT_FILE = Path("/etc/rota/environment")
DESTINATIONS = frozenset({"staging", "development"})
MARGIN = 2.2  # the scratch grows to twice its size while it is masked


class NotADestination(RotaError):
    """This host is no destination for a mirror."""


class NotProvisioned(RotaError):
    """This host lacks what is to be replaced."""


class NotEnoughSpace(RotaError):
    """The mirror would not fit beside what this host serves."""


class StructureChanged(RotaError):
    """The database that arrived has other columns than the one that was asked about; try again."""


class CopyDiffers(RotaError):
    """What arrived is not what production sent."""


class StillUnmasked(RotaError):
    """Mail addresses are left after masking, so nothing of the mirror becomes visible."""


class MaskingFailed(RotaError):
    """The database refused masked values."""


@dataclass
class Result:
    """What a mirror did, for the run's record: numbers by name, and the columns it masked."""

    counts: dict[str, float] = field(default_factory=dict)
    masked: list[Masked] = field(default_factory=list)


def require_destination() -> str:
    """This host's environment. The one place that decides; it takes no argument, so none can change its mind.

    Raises `NotADestination` anywhere but on staging and development, and where a host does not know what it is.
    """
    try:
        environment = ENVIRONMENT_FILE.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise NotADestination(f"there is no {ENVIRONMENT_FILE} to say which environment it belongs to") from error
    if environment not in DESTINATIONS:
        raise NotADestination(f"it belongs to {environment!r}; a mirror goes to {' or '.join(sorted(DESTINATIONS))}")
    return environment


def mirror(destination: Destination, progress: Progress, now: datetime) -> Result:
    """Copy, mask, check and switch. Raises `RotaError`; then this host is as it was."""
    require_destination()
    prepare_folder(destination)
    with postgres.restoring(destination.database, destination.server):
        switch.recover(destination, now)
        clear(destination)
        require_provisioned(destination)
        result = Result()
        with progress.stage("ask") as stage:
            about, plan = ask(destination)
            stage.words = f"release {about.release or 'none'}, database of {size(about.database_bytes)}"
        scratch = create_scratch(destination, about.extensions, now)
        copy_database(destination, scratch, shape(about.columns), progress, result)
        mask_database(destination, scratch, plan, progress, result)
        finish_database(destination, scratch, plan, progress)
        copy_media(destination, progress, result)
        copy_release(destination, about.release, progress, result)
        with progress.stage("switch") as stage:
            switch.switch(destination, scratch, about.release, now)
            stage.words = "in use and ready"
        forget(destination)
    return result


def prepare_folder(destination: Destination) -> None:
    """The working folder: its files are for root and PostgreSQL alone."""
    destination.work.mkdir(mode=0o755, parents=True, exist_ok=True)


def clear(destination: Destination) -> None:
    """Remove the folders that an earlier mirror left behind; its scratch databases are gone already."""
    media.remove(media.beside(destination.media))
    for part in (destination.release / "releases").glob(".*.mirror"):
        media.remove(part)


def forget(destination: Destination) -> None:
    """Remove what the mirror has replaced."""
    clear(destination)
    for before in postgres.kept(destination.database, destination.server):
        postgres.drop_scratch(before, destination.server)


def require_provisioned(destination: Destination) -> None:
    if not switch.database_identity(destination, destination.database):
        raise NotProvisioned(f"there is no database {destination.database!r}")
    if not destination.media.is_dir():
        raise NotProvisioned(f"there is no folder {destination.media}")


def ask(destination: Destination) -> tuple[About, Plan]:
    """What production has, and whether the rules speak of all of it. Nothing is copied before that is known."""
    about = source.about(destination.source)
    plan = masking.plan(destination.rules, about.columns)
    require_space(destination, about.database_bytes)
    return about, plan


def require_space(destination: Destination, database_bytes: int) -> None:
    with postgres.connect("postgres", destination.server) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    needed, free = int(database_bytes * MARGIN), shutil.disk_usage(row[0] if row else "/").free
    if free < needed:
        raise NotEnoughSpace(f"the database needs {size(needed)} for a while, {size(free)} are free")


def copy_database(
    destination: Destination,
    scratch: str,
    shape_there: Shape,
    progress: Progress,
    result: Result,
) -> None:
    """Tables first, then their rows. Indexes, keys and triggers wait until the rows are masked."""
    with progress.stage("structure"):
        fetch_structure(destination)
        restore_structure(destination, scratch, "pre-data")
        with postgres.connect(scratch, destination.server) as connection:
            if shape(read_columns(connection)) != shape_there:
                raise StructureChanged("production was probably deployed to meanwhile")
    with progress.stage("rows") as stage:
        compressed = destination.compression == "zstd"
        with source.rows(destination.source, compressed=compressed, progress=stage.moved) as arriving:
            options = [*as_owner(destination), "--section=data"]
            postgres.restore_into(scratch, arriving.stream, destination.server, owners=False, options=options)
        require_rows(destination, scratch, arriving.rows)
        result.counts |= {"tables": len(arriving.rows), "rows": sum(arriving.rows.values())}
        result.counts["database_bytes"] = arriving.received
        stage.words = f"{result.counts['rows']} in {len(arriving.rows)} tables, {size(arriving.received)} received"


def create_scratch(destination: Destination, extensions: Iterable[str], now: datetime) -> str:
    """An empty database of the service's role, with production's extensions, which only a superuser may make."""
    scratch = postgres.create_scratch(destination.database, now, destination.server)
    give = sql.SQL("ALTER DATABASE {} OWNER TO {}")
    with postgres.connect("postgres", destination.server) as connection:
        connection.execute(give.format(sql.Identifier(scratch), sql.Identifier(destination.owner)))
    with postgres.connect(scratch, destination.server) as connection:
        for name in extensions:
            create_extension(connection, name)
    return scratch


def create_extension(connection: postgres.Connection, name: str) -> None:
    try:
        connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise NotProvisioned(f"production's PostgreSQL extension {name!r}: {str(error).splitlines()[0]}") from error


def structure_file(destination: Destination) -> Path:
    return destination.work / "structure.dump"


def fetch_structure(destination: Destination) -> None:
    """Keep production's structure in a file: it is read three times, once by several processes."""
    file = structure_file(destination)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(source.ask(destination.source, Ask.STRUCTURE))
    if os.getuid() == 0:
        shutil.chown(file, destination.server.system_user)


def as_owner(destination: Destination) -> list[str]:
    """Restored objects belong to the service's role and are made by it: what a dump contains never runs as more."""
    return [f"--role={destination.owner}"]


def restore_structure(destination: Destination, scratch: str, section: str) -> None:
    """Restore one section of the kept structure, with several jobs where that helps."""
    jobs = [f"--jobs={destination.jobs}"] if section == "post-data" else []
    options = [*as_owner(destination), f"--section={section}", *jobs, str(structure_file(destination))]
    command = postgres.restore_command(scratch, owners=False, options=options)
    with tempfile.TemporaryFile() as said:
        code = postgres.start(command, destination.server, stdin=subprocess.DEVNULL, stderr=said).wait()
        said.seek(0)
        if code:
            words = said.read().decode(errors="replace").strip()
            raise postgres.ProgramFailed(f"pg_restore of {section} exited with {code}: {words}")


def require_rows(destination: Destination, scratch: str, sent: Rows) -> None:
    with postgres.connect(scratch, destination.server) as connection:
        arrived = count_rows(connection)
    wrong = [name for name in sorted({*sent, *arrived}) if sent.get(name) != arrived.get(name)]
    if wrong:
        shown = [f"{name} has {arrived.get(name)} rows of {sent.get(name)}" for name in wrong]
        raise CopyDiffers("; ".join(shown))


def mask_database(destination: Destination, scratch: str, plan: Plan, progress: Progress, result: Result) -> None:
    with progress.stage("mask") as stage:
        with postgres.connect(scratch, destination.server) as connection:
            prepare_masking(connection, destination.owner, secrets.token_hex(32))
            for table in plan.tables:
                result.masked += mask_table(connection, table)
        result.counts["masked_columns"] = len(result.masked)
        stage.words = f"{len(result.masked)} columns in {len(plan.tables)} tables"


def prepare_masking(connection: postgres.Connection, owner: str, key: str) -> None:
    """Give the session its key, out of reach of logs and of what other sessions can see, and the owner's rights."""
    connection.execute("SET log_parameter_max_length = 0")
    connection.execute("SET log_parameter_max_length_on_error = 0")
    connection.execute("SET search_path = public")
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
    connection.execute("SELECT set_config(%s, %s, false)", (masking.SETTING, key))
    connection.execute(masking.CREATE_DIGEST.encode())


def mask_table(connection: postgres.Connection, table: MaskedTable) -> list[Masked]:
    try:
        connection.execute(masking.update_statement(table))
    except psycopg.Error as error:
        raise MaskingFailed(f"{table.label}: {str(error).splitlines()[0]}") from error
    connection.execute(masking.rewrite_statement(table))
    counts = connection.execute(masking.count_statement(table)).fetchone()
    return masking.reported(table, counts or ())


def finish_database(destination: Destination, scratch: str, plan: Plan, progress: Progress) -> None:
    """Indexes and keys, which also prove uniqueness and references; statistics; and a look for what was missed."""
    with progress.stage("indexes"):
        restore_structure(destination, scratch, "post-data")
        with postgres.connect(scratch, destination.server) as connection:
            connection.execute("ANALYZE")
    with progress.stage("check") as stage:
        with postgres.connect(scratch, destination.server) as connection:
            require_masked(connection, plan)
        stage.words = f"no address left in {len(plan.watched)} columns"


def require_masked(connection: postgres.Connection, plan: Plan) -> None:
    found = {column.label: one(connection, masking.residue_statement(column)) for column in plan.watched}
    if left := [f"{label} ({rows} rows)" for label, rows in found.items() if rows]:
        raise StillUnmasked(f"{', '.join(left)}; give these columns a rule that removes them")


def one(connection: postgres.Connection, query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def copy_media(destination: Destination, progress: Progress, result: Result) -> None:
    """Let the new media grow beside the current; unchanged files are links to it and never travel."""
    with progress.stage("media") as stage:
        into = media.beside(destination.media)
        copied = media.copy(source.rsync_command(destination.source, "media", into, destination.media))
        media.sync(into)
        result.counts |= {"media_files": copied.all_files, "media_files_copied": copied.files}
        result.counts["media_bytes"] = copied.received
        stage.words = f"{copied.files} of {copied.all_files} travelled, {size(copied.received)} received"


def copy_release(destination: Destination, release: str, progress: Progress, result: Result) -> None:
    """Bring production's release, unless it is here: it holds no secret, and lies at the same path everywhere."""
    place = destination.release / "releases" / release
    if not release or place.exists():
        return
    with progress.stage("release") as stage:
        part = place.with_name(f".{release}.mirror")
        copied = media.copy(source.rsync_command(destination.source, f"release/{release}", part))
        media.sync(part)
        part.rename(place)
        result.counts["release_bytes"] = copied.received
        stage.words = f"{release}, {size(copied.received)} received"


def report(masked: Iterable[Masked]) -> list[str]:
    """The report of masked columns, a line each."""
    return [f"masked {one.table}.{one.column}: {one.rule}, {one.rows} rows" for one in masked]

"""One mirror, from the questions to production to the switch on this host.

Nothing that this host serves is touched before the last stage, and that one can be undone at every moment.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg

from rota.adapters import postgres
from rota.adapters.postgres import Server
from rota.core import masking
from rota.core.errors import RotaError
from rota.core.masking import Column, Masked, MaskedTable, Plan
from rota.packs.mirror import media, source, statements, switch
from rota.packs.mirror.configuration import Destination
from rota.packs.mirror.progress import Progress, size
from rota.packs.mirror.requests import Ask
from rota.packs.mirror.source import About
from rota.packs.mirror.structure import Rows, Shape, count_rows, read_columns, shape

ENVIRONMENT_FILE = Path("/etc/rota/environment")
DESTINATIONS = frozenset({"staging", "development"})
SESSION = {"search_path": "public", "row_security": "off", "bytea_output": "escape"}
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
    with postgres.restoring(destination.database, destination.server) as session:
        switch.recover(destination, now)
        clear(destination)
        require_provisioned(destination)
        try:
            return make(destination, session, progress, now)
        finally:
            clear(destination)


def make(destination: Destination, session: postgres.Connection, progress: Progress, now: datetime) -> Result:
    """Each stage of the mirror in turn; who calls removes what they leave."""
    result = Result()
    with progress.stage("ask") as stage:
        about, plan = ask(destination)
        stage.words = f"release {about.release or 'none'}, database of {size(about.database_bytes)}"
    scratch = create_scratch(destination, session, about.extensions, now)
    copy_database(destination, scratch, shape(about.columns), progress, result)
    mask_database(destination, scratch, plan, progress, result)
    check_database(destination, scratch, plan, shape(about.columns), progress)
    finish_database(destination, scratch, progress)
    copy_media(destination, progress, result)
    copy_release(destination, about.release, progress, result)
    with progress.stage("switch") as stage:
        switch.switch(destination, scratch, about.release, now)
        stage.words = "in use and ready"
    return result


def prepare_folder(destination: Destination) -> None:
    """The working folder: its files are for root and the scratch's role alone."""
    destination.work.mkdir(mode=0o755, parents=True, exist_ok=True)


def clear(destination: Destination) -> None:
    """Remove what a mirror has left beside what is in use, but for what an unproven switch would need to go back."""
    for scratch in postgres.scratches(destination.database, destination.server):
        postgres.drop_scratch(scratch, destination.server)
    structure_file(destination).unlink(missing_ok=True)
    if switch.journal(destination).exists():
        return
    media.remove(media.beside(destination.media))
    for part in (destination.release / "releases").glob(".*.mirror"):
        media.remove(part)
    for replaced in postgres.kept(destination.database, destination.server, aside=postgres.REPLACED):
        postgres.drop_scratch(replaced, destination.server)


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
        with enter(destination, scratch) as connection:
            require_shape(connection, shape_there)
    with progress.stage("rows") as stage:
        compressed = destination.compression == "zstd"
        with source.rows(destination.source, compressed=compressed, progress=stage.moved) as arriving:
            guest = as_guest(destination)
            postgres.restore_into(scratch, arriving.stream, guest, owners=False, options=["--section=data"])
        require_rows(destination, scratch, arriving.rows)
        result.counts |= {"tables": len(arriving.rows), "rows": sum(arriving.rows.values())}
        result.counts["database_bytes"] = arriving.received
        stage.words = f"{result.counts['rows']} in {len(arriving.rows)} tables, {size(arriving.received)} received"


def as_guest(destination: Destination) -> Server:
    """The server as the scratch's role sees it, which owns nothing else: what a dump contains never runs as more.

    It is not the service's role, which is kept out of the scratch as long as anything there is unmasked.
    """
    return postgres.as_role(destination.scratch_role, destination.server)


def enter(destination: Destination, scratch: str, **settings: str) -> postgres.Connection:
    """A session in the scratch that sees all rows or fails, and finds nothing of the dump before PostgreSQL's own."""
    return postgres.connect(scratch, as_guest(destination), settings=SESSION | settings)


def create_scratch(
    destination: Destination, session: postgres.Connection, extensions: Iterable[str], now: datetime
) -> str:
    """An empty database lent to the scratch's role, with production's extensions, which only a superuser may make."""
    role = destination.scratch_role
    postgres.forget_settings(role, session)
    scratch = postgres.create_scratch(destination.database, now, destination.server, role=role, session=session)
    with postgres.connect(scratch, destination.server) as connection:
        for name in extensions:
            postgres.create_extension(connection, name)
    return scratch


def structure_file(destination: Destination) -> Path:
    return destination.work / "structure.dump"


def fetch_structure(destination: Destination) -> None:
    """Keep production's structure in a file: it is read three times, once by several processes."""
    file = structure_file(destination)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(source.ask(destination.source, Ask.STRUCTURE))
    if os.getuid() == 0:
        shutil.chown(file, destination.scratch_role)


def restore_structure(destination: Destination, scratch: str, section: str) -> None:
    """Restore one section of the kept structure, with several jobs where that helps."""
    jobs = [f"--jobs={destination.jobs}"] if section == "post-data" else []
    options = [f"--section={section}", *jobs, str(structure_file(destination))]
    command = postgres.restore_command(scratch, owners=False, options=options)
    postgres.run(command, as_guest(destination), stdin=subprocess.DEVNULL)


def require_shape(connection: postgres.Connection, shape_there: Shape) -> None:
    if shape(read_columns(connection)) != shape_there:
        raise StructureChanged("production was probably deployed to meanwhile")


def require_rows(destination: Destination, scratch: str, sent: Rows) -> None:
    with enter(destination, scratch) as connection:
        arrived = count_rows(connection)
    wrong = [name for name in sorted({*sent, *arrived}) if sent.get(name) != arrived.get(name)]
    if wrong:
        shown = [f"{name} has {arrived.get(name)} rows of {sent.get(name)}" for name in wrong]
        raise CopyDiffers("; ".join(shown))


def mask_database(destination: Destination, scratch: str, plan: Plan, progress: Progress, result: Result) -> None:
    with progress.stage("mask") as stage:
        # As a setting of the connection the key is part of no statement, so it is in no log, and no session sees it.
        with enter(destination, scratch, **{statements.SETTING: secrets.token_hex(32)}) as connection:
            connection.execute(statements.CREATE_DIGEST.encode())
            for table in plan.tables:
                result.masked += mask_table(connection, table)
        result.counts["masked_columns"] = len(result.masked)
        stage.words = f"{len(result.masked)} columns in {len(plan.tables)} tables"


def mask_table(connection: postgres.Connection, table: MaskedTable) -> list[Masked]:
    with naming(table.label):
        connection.execute(statements.update(table))
        connection.execute(statements.rewrite(table))
        counts = connection.execute(statements.count(table)).fetchone()
    return masking.reported(table, counts or ())


@contextmanager
def naming(label: str) -> Iterator[None]:
    """An error of the database in the block is an error of the masking of what `label` names."""
    try:
        yield
    except psycopg.Error as error:
        raise MaskingFailed(f"{label}: {postgres.without_values(str(error).splitlines()[0])}") from error


def check_database(destination: Destination, scratch: str, plan: Plan, shape_there: Shape, progress: Progress) -> None:
    """Look for addresses that masking missed, and for columns that came with the rows."""
    with progress.stage("check") as stage:
        with enter(destination, scratch) as connection:
            require_shape(connection, shape_there)
            require_masked(connection, plan)
        stage.words = f"no address left in {len(plan.watched)} columns"


def finish_database(destination: Destination, scratch: str, progress: Progress) -> None:
    """Indexes and keys, which also prove uniqueness and references, and statistics; then it is the service's."""
    with progress.stage("indexes"):
        restore_structure(destination, scratch, "post-data")
        with enter(destination, scratch) as connection:
            connection.execute("ANALYZE")
        postgres.hand_over(scratch, destination.scratch_role, destination.owner, destination.server)


def require_masked(connection: postgres.Connection, plan: Plan) -> None:
    found = {column.label: residue(connection, column) for column in plan.watched}
    if left := [f"{label} ({rows} rows)" for label, rows in found.items() if rows]:
        raise StillUnmasked(f"{', '.join(left)}; give these columns a rule that removes them")


def residue(connection: postgres.Connection, column: Column) -> int:
    with naming(column.label):
        row = connection.execute(statements.residue(column)).fetchone()
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

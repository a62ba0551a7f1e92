"""Production's side of the mirror: the forced command of its key, which reads and never writes."""

import json
import os
import subprocess
import sys
import syslog
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rota.adapters import postgres
from rota.packs.mirror.configuration import Serving
from rota.packs.mirror.requests import Ask, Refused, Request, parse
from rota.packs.mirror.structure import count_rows, read_columns, read_extensions

# A dump waits for no lock longer than this, so that it never stands between a migration and its tables for long.
LOCK_WAIT = "--lock-wait-timeout=60s"
# Only a superuser may make some extensions, so the other side makes them by name. This one is everywhere already.
NO_EXTENSIONS = "--extension=plpgsql"
COMPRESS = ["zstd", "-q", "-1", "--stdout"]


def serve(command: str, serving: Serving) -> int:
    """Answer one request on standard output; returns the exit code. A refusal is one line, and is remembered."""
    try:
        request = parse(command)
    except Refused as refusal:
        syslog.openlog("rota-mirror", facility=syslog.LOG_AUTH)
        syslog.syslog(syslog.LOG_WARNING, str(refusal))
        print(refusal, file=sys.stderr)
        return 2
    return ANSWERS[request.ask](request, serving)


def about(_request: Request, serving: Serving) -> int:
    with postgres.connect(serving.database, serving.server) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        answer = {
            "release": current_release(serving.release),
            "database_bytes": row[0] if row else 0,
            "columns": [asdict(column) for column in read_columns(connection)],
            "extensions": read_extensions(connection),
        }
    print(json.dumps(answer))
    return 0


def current_release(folder: Path) -> str:
    """The release in use, or nothing where none is."""
    link = folder / "current"
    return link.readlink().name if link.is_symlink() else ""


def structure(_request: Request, serving: Serving) -> int:
    options = ["--schema-only", "--no-blobs", NO_EXTENSIONS, LOCK_WAIT]
    command = postgres.dump_command(serving.database, options=options)
    return postgres.start(command, serving.server, stdin=subprocess.DEVNULL).wait()


def rows(request: Request, serving: Serving) -> int:
    """Stream every table's rows as of one moment, then say on standard error how many each had at that moment.

    Large objects stay behind: no rule could speak of what is in them.
    """
    options = ["--section=data", "--no-blobs", LOCK_WAIT]
    with postgres.snapshot(serving.database, serving.server) as moment:
        command = postgres.dump_command(serving.database, snapshot=moment.id, options=options)
        programs = dump_programs(command, serving, compressed=request.ask == Ask.ROWS_ZSTD)
        counts = count_rows(moment.connection)
        codes = [program.wait() for program in programs]
    if any(codes):
        return 1
    print(json.dumps({"rows": counts}), file=sys.stderr)
    return 0


def dump_programs(command: list[str], serving: Serving, *, compressed: bool) -> list[subprocess.Popen[bytes]]:
    if not compressed:
        return [postgres.start(command, serving.server, stdin=subprocess.DEVNULL)]
    dump = postgres.start(command, serving.server, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    compress = subprocess.Popen(COMPRESS, stdin=dump.stdout)
    if dump.stdout:
        dump.stdout.close()  # so that the dump notices when the compressor is gone
    return [dump, compress]


def files(request: Request, serving: Serving) -> int:
    folder = serving.release / "releases" / request.release if request.release else serving.media
    os.execvp(request.words[0], [*request.words, f"{folder}/"])  # noqa: S606 - rsync itself, on our own path


ANSWERS: dict[Ask, Callable[[Request, Serving], int]] = {
    Ask.ABOUT: about,
    Ask.STRUCTURE: structure,
    Ask.ROWS: rows,
    Ask.ROWS_ZSTD: rows,
    Ask.FILES: files,
}

"""Times a mirror beside raw `pg_dump | pg_restore` and `rsync` of the same content, in pairs.

`PYTHONPATH=agent/src python -m tests.bench.mirror_bench [--megabytes 1024] [--files 10000] [--pairs 3]` from the
repository's root. All goes over a real SSH server on this machine. The time that masking takes is told apart.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rota.adapters import postgres
from rota.adapters.postgres import Server
from rota.packs.mirror import media, mirroring, source
from rota.packs.mirror.configuration import Destination, Source
from rota.packs.mirror.progress import Progress
from tests.agent.mirror.conftest import (
    GUEST,
    Sshd,
    current_user,
    ensure_role,
    let_anybody_in,
    reachable_folder,
    ssh_server,
    write_serving,
)
from tests.agent.neighbours import postgres_cluster

T = TypeVar("T")
ROWS_PER_MEGABYTE = 1900  # of both tables together, with their indexes
FILE_BYTES = 20_000

RULES = {
    "person": {"id": "keep", "email": "email", "name": "name", "phone": "phone", "note": "text"},
    "run": {"id": "keep", "person": "keep", "started": "keep", "task": "keep", "output": "keep"},
}
NOT_COPYING = ("mask", "check")


def main() -> None:
    options = arguments()
    with (
        reachable_folder() as one,
        reachable_folder() as other,
        tempfile.TemporaryDirectory() as keys,
        postgres_cluster(one) as there,
        postgres_cluster(other) as here,
        ssh_server(Path(keys), opened=True) as sshd,
    ):
        durable(there, here)
        let_anybody_in(here)
        fill(there, one / "media", options.megabytes, options.files)
        destination = prepare(here, there, other, one, sshd, options.compression)
        measure(destination, there, one, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--compression", choices=("none", "zstd"), default="none")
    return parser.parse_args()


def durable(*servers: Server) -> None:
    """What a provisioned host would have: durable writes, and memory to build indexes in."""
    for server in servers:
        with postgres.connect("postgres", server) as connection:
            for setting in ("fsync = on", "maintenance_work_mem = '128MB'", "max_wal_size = '4GB'"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")


def fill(server: Server, folder: Path, megabytes: int, files: int) -> None:
    ensure_role(server)
    with postgres.connect("postgres", server) as connection:
        connection.execute("CREATE DATABASE library OWNER library TEMPLATE template0")
    with postgres.connect("library", server) as connection:
        connection.execute("SET ROLE library")
        connection.execute(Path(__file__).with_name("mirror.sql").read_bytes())
        connection.execute("CALL fill(%s)", (megabytes * ROWS_PER_MEGABYTE,))
        connection.execute("DROP PROCEDURE fill")
    for number in range(files):
        place = folder / f"{number % 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))


def prepare(here: Server, there: Server, folder: Path, far: Path, sshd: Sshd, compression: str) -> Destination:
    ensure_role(here)
    ensure_role(here, GUEST)
    with postgres.connect("postgres", here) as connection:
        connection.execute("CREATE DATABASE library OWNER library TEMPLATE template0")
    (folder / "media").mkdir()
    (folder / "environment").write_text("development\n")
    mirroring.ENVIRONMENT_FILE = folder / "environment"
    write_serving(sshd, there, far / "media", far / "opt")
    return Destination(
        source=Source(
            host="production",
            address="127.0.0.1",
            port=sshd.port,
            user=current_user(),
            key=sshd.key,
            known_hosts=sshd.known_hosts,
        ),
        database="library",
        owner="library",
        media=folder / "media",
        rules=RULES,
        work=folder / "work",
        release=folder / "opt",
        server=here,
        scratch_role=GUEST,
        compression=compression,
    )


def measure(destination: Destination, there: Server, far: Path, options: argparse.Namespace) -> None:
    size = database_size(there)
    print(f"database {size / 1e6:.0f} MB, {options.files} files of {FILE_BYTES} bytes, {options.compression}")
    pairs = []
    for number in range(options.pairs):
        # In turns, so that neither is always the one that finds warm caches.
        order = (mirrored, raw) if number % 2 else (raw, mirrored)
        taken = {each.__name__: each(destination, there, far) for each in order}
        pairs.append((taken["mirrored"], taken["raw"]))
        print(
            f"pair {number + 1}: mirror {taken['mirrored']:.1f} s without masking, raw {taken['raw']:.1f} s", flush=True
        )
    ratios = [mine / plain for mine, plain in pairs]
    mine, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"medians: mirror {mine:.1f} s, raw {plain:.1f} s")
    print(f"median ratio {statistics.median(ratios):.2f}")


def database_size(server: Server) -> int:
    with postgres.connect("library", server) as connection:
        row = connection.execute("SELECT pg_database_size('library')").fetchone()
    return int(row[0]) if row else 0


def mirrored(destination: Destination, there: Server, far: Path) -> float:
    """The seconds of a whole first mirror, masking and the look for residue excluded."""
    media.remove(destination.media)
    destination.media.mkdir()
    progress = Progress(lambda line: None)
    result, seconds = timed(lambda: mirroring.mirror(destination, progress, datetime.now(UTC)))
    stages = ", ".join(f"{name} {taken:.1f}" for name, taken in progress.seconds.items())
    wire = result.counts["database_bytes"] + result.counts["media_bytes"]
    print(f"  mirror {seconds:.1f} s, {wire / 1e6:.0f} MB over the wire: {stages}")
    return seconds - sum(progress.seconds[name] for name in NOT_COPYING)


def raw(destination: Destination, there: Server, far: Path) -> float:
    """The seconds of the same by hand: `ssh pg_dump | pg_restore`, then `rsync`."""
    with postgres.connect("postgres", destination.server) as connection:
        connection.execute("CREATE DATABASE raw OWNER library TEMPLATE template0")
    into = destination.work.with_name("raw")
    _, seconds = timed(lambda: copy_by_hand(destination, there, far, into))
    media.remove(into)
    with postgres.connect("postgres", destination.server) as connection:
        connection.execute("DROP DATABASE raw")
    return seconds


def copy_by_hand(destination: Destination, there: Server, far: Path, into: Path) -> None:
    server = ["env", f"PGHOST={there.host}", *become_postgres()]
    open_key = replace(destination.source, key=destination.source.key.with_name("open"))
    dump = [*source.ssh_command(open_key), "127.0.0.1", *server, "pg_dump --format=custom --compress=0 library"]
    restore = ["pg_restore", "--no-owner", "--role=library", "--dbname=raw"]
    with (
        subprocess.Popen(dump, stdout=subprocess.PIPE) as dumping,
        postgres.start(restore, destination.server, stdin=dumping.stdout) as restoring,
    ):
        if restoring.wait() or dumping.wait():
            raise SystemExit("pg_dump | pg_restore failed")
    media.copy(source.rsync_command(destination.source, "media", into))


def become_postgres() -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []


def timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.monotonic()
    result = work()
    return result, time.monotonic() - began


if __name__ == "__main__":
    main()

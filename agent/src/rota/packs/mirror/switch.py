"""The switch from this host's old content to the mirrored one, with a journal that finds the way back.

Before anything is touched, the journal says how everything was: which database and which folder bore the name, by
identities that a rename does not change, and which release was in use. It is removed when the service has shown
itself ready with the new content. So a journal found later means that the switch was not proven: everything goes
back to what it says. That is decided by looking, not by remembering how far the switch came, and can itself be
interrupted and begun again.
"""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rota.adapters import postgres
from rota.core.errors import RotaError
from rota.packs.mirror import media
from rota.packs.mirror.configuration import Destination, Readiness
from rota.packs.mirror.serve import current_release

PROBE_PAUSE = 0.2  # seconds between two questions whether the service is ready


class ProgramFailed(RotaError):
    """A program that the mirror needs failed."""


class NotReady(RotaError):
    """The service did not become ready with the mirrored content."""


@dataclass(frozen=True)
class Before:
    """How everything was before the switch; the release is empty where none was in use."""

    database: int
    media: int
    release: str


def journal(destination: Destination) -> Path:
    return destination.work / "switch.json"


def look(destination: Destination) -> Before:
    return Before(
        database=database_identity(destination, destination.database),
        media=media.inode(destination.media),
        release=current_release(destination.release),
    )


def database_identity(destination: Destination, name: str) -> int:
    """The database's number, which it keeps under any name; 0 where there is none."""
    with postgres.connect("postgres", destination.server) as connection:
        row = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return int(row[0]) if row else 0


def write(path: Path, before: Before) -> None:
    part = path.with_suffix(".part")
    with part.open("w") as stream:
        json.dump(asdict(before), stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    media.sync(path.parent)  # the folders about to be exchanged lie on this file system as a rule


def read(path: Path) -> Before | None:
    try:
        return Before(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def switch(destination: Destination, scratch: str, release: str, now: datetime) -> None:
    """Take the mirrored content into use and have the service prove it. On any failure everything goes back."""
    write(journal(destination), look(destination))
    try:
        take(destination, scratch, release, now)
        prove(destination, release)
        journal(destination).unlink()
    finally:
        recover(destination, now)


def take(destination: Destination, scratch: str, release: str, now: datetime) -> None:
    """Each line is one act. Whoever connects in between may start the service early, so the last one restarts it."""
    control_service(destination, "stop")
    postgres.swap(scratch, destination.database, now, destination.server, aside=postgres.REPLACED)
    media.exchange(media.beside(destination.media), destination.media)
    use_release(destination, release)
    for command in destination.after:
        call(command)
    control_service(destination, "restart")


def prove(destination: Destination, release: str) -> None:
    if destination.readiness:
        wait_until_ready(destination.readiness, release)


def recover(destination: Destination, now: datetime) -> bool:
    """Undo a switch that was never proven. Returns whether there was one."""
    before = read(journal(destination))
    if before is None:
        return False
    go_back(destination, before, now)
    return True


def go_back(destination: Destination, before: Before, now: datetime) -> None:
    """Bring everything back to how it was, whatever part of it has changed."""
    control_service(destination, "stop")
    return_database(destination, before, now)
    if media.inode(destination.media) != before.media:
        media.exchange(media.beside(destination.media), destination.media)
    use_release(destination, before.release)
    control_service(destination, "restart")
    journal(destination).unlink()


def return_database(destination: Destination, before: Before, now: datetime) -> None:
    name, server = destination.database, destination.server
    if database_identity(destination, name) == before.database:
        return
    kept = postgres.kept(name, server, aside=postgres.REPLACED)
    while f"{name}{postgres.REPLACED}{now.strftime(postgres.STAMP)}" in kept:
        now += timedelta(seconds=1)  # the swap and the way back may fall into the same second
    for old in kept:
        if database_identity(destination, old) == before.database:
            postgres.swap(old, name, now, server, keep=0, aside=postgres.REPLACED)


def use_release(destination: Destination, release: str) -> None:
    """Have the host use a release; it restarts what runs from it and syncs its units."""
    if release and release != current_release(destination.release):
        call([*destination.release_program, "rollback", "--to", release])


def control_service(destination: Destination, action: str) -> None:
    if destination.service:
        call(["systemctl", action, destination.service])


def call(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ProgramFailed(f"{' '.join(command)} ended with {done.returncode}: {words[-1] if words else 'no word'}")


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def wait_until_ready(readiness: Readiness, release: str) -> None:
    """Ask the service until it says it is ready, with the right release. Raises `NotReady` with its last answer."""
    deadline = time.monotonic() + readiness.seconds
    while answer := unreadiness(readiness, release):
        if time.monotonic() > deadline:
            raise NotReady(f"{readiness.path} at {readiness.socket} said {answer} for {readiness.seconds:g} s")
        time.sleep(PROBE_PAUSE)  # nothing tells when the service becomes ready


def unreadiness(readiness: Readiness, release: str) -> str:
    """Why the service is not ready; empty when it is."""
    connection = SocketConnection(readiness.socket, timeout=10)
    try:
        connection.request("GET", readiness.path)
        response = connection.getresponse()
        body = response.read(65536)
    except (OSError, http.client.HTTPException) as error:
        return f"nothing ({error})"
    finally:
        connection.close()
    if response.status != http.client.OK:
        return f"status {response.status}"
    running = ""
    with suppress(ValueError, AttributeError):
        running = str(json.loads(body).get("release") or "")
    return f"release {running}" if release and running and running != release else ""

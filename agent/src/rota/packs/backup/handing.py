"""One dump handed out to one host, once: how development and staging get at production's backups.

Neither holds a key to the store, nor the passphrase. An operator asks the store for one dump and lets one new key,
made on the host that is to have it, fetch exactly that until a given hour. Host to host, not by way of the operator.
"""

import os
import pwd
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from rota.adapters.borg import Secure
from rota.core.errors import RotaError
from rota.packs.backup import manifest, sources
from rota.packs.backup.configuration import Places, Store
from rota.packs.backup.manifest import Kind
from rota.packs.backup.restoring import Found, NotInBackup

VALID = timedelta(hours=2)
PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/=]{68}")


class KeyRefused(RotaError):
    """This is no ed25519 public key."""


class FetchFailed(RotaError):
    """The store did not hand out a dump."""


@dataclass(frozen=True)
class Offer:
    """Where one dump can be fetched, and with which key."""

    destination: str  # user@address
    port: int
    secure: Secure


def offer(store: Store, dump: Found, public_key: str, now: datetime) -> None:
    """Let the holder of one key fetch one dump until `VALID` has passed. An older offer ends."""
    line = authorization(public_key, _shelf(store) / "offered", now + VALID)
    withdraw(store)
    shelf = _shelf(store) / "offered"
    shelf.mkdir(mode=0o750)
    group = pwd.getpwnam(store.restore_user).pw_gid
    shutil.move(dump.file, shelf / dump.file.name)
    (shelf / manifest.FILE).write_text(manifest.write(dump.manifest))
    (shelf / "archive").write_text(dump.archive + "\n")
    for path in (shelf, *shelf.iterdir()):
        os.chown(path, 0, group)
        path.chmod(0o750 if path.is_dir() else 0o640)
    keys = _authorized_keys(store)
    keys.write_text(line)
    keys.chmod(0o644)


def withdraw(store: Store) -> None:
    """End every offer and remove what was offered."""
    _authorized_keys(store).unlink(missing_ok=True)
    shutil.rmtree(_shelf(store) / "offered", ignore_errors=True)


def authorization(public_key: str, folder: Path, until: datetime) -> str:
    """The line of authorized_keys: one command, until one moment, which sshd reads in its own time zone."""
    key = PUBLIC_KEY.match(public_key.strip())
    if key is None:
        raise KeyRefused(repr(public_key))
    moment = until.astimezone().strftime("%Y%m%d%H%M%S")
    return f'restrict,expiry-time="{moment}",command="{" ".join(tar_command(folder))}" {key[0]}\n'


def tar_command(folder: Path) -> list[str]:
    """The one command that the key may start: all of one folder, to standard output."""
    return ["/usr/bin/tar", f"--directory={folder}", "--create", "--file=-", "."]


def fetch_command(offered: Offer) -> list[str]:
    """SSH with the forced command left to the other side."""
    ssh = offered.secure.command()
    return [*ssh, f"-p{offered.port}", "-T", offered.destination, "tar"]


def make_key(places: Places) -> str:
    """Make the one-time key and return its public half; an older one goes."""
    key = one_time_key(places)
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    key.unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rota restore", "-f", str(key)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return key.with_suffix(".pub").read_text().strip()


def forget_key(places: Places) -> None:
    """Remove the one-time key."""
    one_time_key(places).unlink(missing_ok=True)
    one_time_key(places).with_suffix(".pub").unlink(missing_ok=True)


def one_time_key(places: Places) -> Path:
    """Where the one-time key lies."""
    return places.state / "restore_key"


def fetch(offered: Offer, kind: Kind, name: str, folder: Path) -> Found:
    """Fetch what is offered into `folder` and hold it against its manifest. Raises `FetchFailed`, `DumpDamaged`."""
    with _connected(offered) as program:
        if program.stdout is None:
            raise AssertionError("a pipe was asked for")
        try:
            with tarfile.open(fileobj=program.stdout, mode="r|") as tar:
                _extract_plain_files(tar, folder)
        except tarfile.TarError as error:
            raise FetchFailed(f"from {offered.destination}: {error}") from error
    made = manifest.read((folder / manifest.FILE).read_text())
    source = made.named(kind, name)
    if source is None:
        raise NotInBackup(f"{kind} {name}")
    file = folder / manifest.file_name(kind, name)
    if not file.is_file():
        raise FetchFailed(f"another dump than {file.name} is on offer")
    sources.require_whole(source, file)
    return Found((folder / "archive").read_text().strip(), made, source, file)


def _extract_plain_files(tar: tarfile.TarFile, folder: Path) -> None:
    """Only plain files, only into the folder itself; Debian 12's Python has no `filter="data"` yet."""
    for member in tar:
        content = tar.extractfile(member) if member.isfile() else None
        if content is not None:
            with content, (folder / PurePosixPath(member.name).name).open("wb") as out:
                shutil.copyfileobj(content, out)


@contextmanager
def _connected(offered: Offer) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(fetch_command(offered), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as program:
        yield program
    if program.returncode:
        raise FetchFailed(f"ssh to {offered.destination} exited with {program.returncode}")


def _shelf(store: Store) -> Path:
    return Path(pwd.getpwnam(store.restore_user).pw_dir)


def _authorized_keys(store: Store) -> Path:
    return _shelf(store) / ".ssh" / "authorized_keys"

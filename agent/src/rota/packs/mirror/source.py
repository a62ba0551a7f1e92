"""Production as the mirrored host sees it: one SSH command per question, and a stream that knows when it was cut."""

import fcntl
import json
import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rota.core.errors import RotaError
from rota.core.masking import Column
from rota.packs.mirror.configuration import Source
from rota.packs.mirror.requests import Ask
from rota.packs.mirror.structure import Rows

DECOMPRESS = ["zstd", "-q", "-d", "--stdout"]
AT_ONCE = 1 << 20  # bytes a pipe is asked to hold and a splice to move


class SourceFailed(RotaError):
    """Production did not give what the mirror asked for."""


@dataclass(frozen=True)
class About:
    """The release that production runs, empty where it runs none; its database's bytes, columns and extensions."""

    release: str
    database_bytes: int
    columns: tuple[Column, ...]
    extensions: tuple[str, ...]


@dataclass
class RowStream:
    """The rows on their way: what pg_restore reads, the bytes that came over the wire, and what the far side said."""

    stream: IO[bytes]
    received: int = 0
    ended: bool = False  # whether the far side closed it, rather than the reader
    rows: Rows = field(default_factory=dict)


def ssh_command(source: Source) -> list[str]:
    """ssh with nothing taken from any user's or host's configuration, and a dead line noticed within 20 seconds."""
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(source.known_hosts),
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": source.host,
        "Ciphers": "^aes128-gcm@openssh.com",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", str(source.key), *given, "-p", str(source.port), "-l", source.user]


def ask_command(source: Source, ask: Ask) -> list[str]:
    return [*ssh_command(source), source.address, ask.value]


def rsync_command(source: Source, what: str, into: Path, link_to: Path | None = None) -> list[str]:
    """rsync of one of the far side's folders (`media`, `release/ID`) into a folder; unchanged files are linked."""
    linked = [f"--link-dest={link_to}"] if link_to else []
    options = ["--recursive", "--links", "--perms", "--times", "--group", "--owner", "--stats", *linked]
    return ["rsync", *options, f"--rsh={shlex.join(ssh_command(source))}", f"{source.address}:{what}/", f"{into}/"]


def ask(source: Source, request: Ask) -> bytes:
    """The whole answer to one question. Raises `SourceFailed` with the far side's last words."""
    done = subprocess.run(ask_command(source, request), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise SourceFailed(complaint(request, done.returncode, done.stderr))
    return done.stdout


def about(source: Source) -> About:
    answer = json.loads(ask(source, Ask.ABOUT))
    columns = tuple(Column(**values) for values in answer["columns"])
    return About(answer["release"], answer["database_bytes"], columns, tuple(answer["extensions"]))


def complaint(request: str, code: int, said: bytes) -> str:
    words = said.decode(errors="replace").strip().splitlines()
    reason = " ".join(words[-3:]) if words else "the connection ended"
    return f"{request} ended with {code}: {reason}"


@contextmanager
def rows(source: Source, *, compressed: bool, progress: Callable[[int], None]) -> Iterator[RowStream]:
    """Stream the rows of production's database while the block runs.

    Leaving the block waits for the far side's word that all was sent, and then `rows` says how many there were. A
    connection that ended early raises `SourceFailed`, also in place of what the block itself made of the torso.
    """
    request = Ask.ROWS_ZSTD if compressed else Ask.ROWS
    with tempfile.TemporaryFile() as said:
        ssh = subprocess.Popen(
            ask_command(source, request), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        )
        reading, writing = os.pipe()
        widen(writing)
        decompress = subprocess.Popen(DECOMPRESS, stdin=reading, stdout=subprocess.PIPE) if compressed else None
        arriving = RowStream(plain_end(reading, decompress))
        moving = threading.Thread(target=move, args=(ssh, writing, arriving, progress), name="moves rows")
        moving.start()
        failure: RotaError | None = None
        try:
            yield arriving
        except RotaError as error:
            failure = error
        finally:
            arriving.stream.close()  # who still writes is told so
            moving.join()
            code = ssh.wait()
            torso = decompress.wait() if decompress else 0
        said.seek(0)
        words = said.read()
    if failure and not (arriving.ended and code):
        raise failure
    if code or torso:
        raise SourceFailed(complaint(request, code, words)) from failure
    arriving.rows = last_word(words)


def plain_end(reading: int, decompress: subprocess.Popen[bytes] | None) -> IO[bytes]:
    if decompress is None:
        return os.fdopen(reading, "rb")
    os.close(reading)
    if decompress.stdout is None:
        raise AssertionError("a program started with a pipe has one")
    return decompress.stdout


def move(ssh: subprocess.Popen[bytes], writing: int, arriving: RowStream, progress: Callable[[int], None]) -> None:
    """Move bytes from ssh to who reads them, inside the kernel, and count them."""
    if ssh.stdout is None:
        raise AssertionError("a program started with a pipe has one")
    widen(ssh.stdout.fileno())
    try:
        while moved := os.splice(ssh.stdout.fileno(), writing, AT_ONCE):
            arriving.received += moved
            progress(arriving.received)
        arriving.ended = True
    except BrokenPipeError:
        pass  # the reader has gone, and says itself why
    finally:
        os.close(writing)
        ssh.stdout.close()


def widen(pipe: int) -> None:
    """Let a pipe hold more than 64 KiB, where the system allows it."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, AT_ONCE)
    except PermissionError:
        return  # the user's share of pipe memory is used up; it works as well, a little slower


def last_word(said: bytes) -> Rows:
    """The far side's count of rows, which it says only after everything was sent."""
    lines = said.decode(errors="replace").strip().splitlines()
    if not lines or not lines[-1].startswith('{"rows"'):
        raise SourceFailed("the rows ended without their count")
    return {str(name): int(count) for name, count in json.loads(lines[-1])["rows"].items()}

"""Borg: encrypted, deduplicated archives in a repository here or behind SSH.

The passphrase reaches borg through a pipe (`BORG_PASSPHRASE_FD`), so it is in no argument and no environment.
"""

import json
import os
import pwd
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rota.core.errors import RotaError

LOCK_WAIT = 600  # seconds an hourly backup waits for the store's own work, and the other way round
# Exit 1 is a warning: of files that were left out, or that changed while they were read.
WARNING = 1
HARMLESS = re.compile(r": file changed while we backed it up$|\[Errno 2\]")  # changed, or gone: files in use do that


class BorgFailed(RotaError):
    """Borg failed."""


class NoRepository(RotaError):
    """There is no borg repository."""


@dataclass(frozen=True)
class Secure:
    """How SSH reaches a repository: with one key of ours and no host key but the pinned one."""

    key: Path
    known_hosts: Path

    def command(self) -> list[str]:
        """The SSH client's command without its destination, which borg adds."""
        settings = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self.key), *options]


@dataclass(frozen=True)
class Repository:
    """One repository: where it is, what opens it, where borg may keep its caches, as whom borg runs."""

    location: str
    passphrase: str = field(repr=False)
    base: Path
    ssh: Secure | None = None
    system_user: str | None = None

    def environment(self) -> dict[str, str]:
        """Borg's settings. The moment of an archive is told in the local zone, so the zone is set."""
        named = {
            "BORG_REPO": self.location,
            "BORG_BASE_DIR": str(self.base),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "no",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "no",
            "TZ": "UTC",
        }
        return named | ({"BORG_RSH": shlex.join(self.ssh.command())} if self.ssh else {})


@dataclass(frozen=True)
class Archive:
    """One archive as its repository lists it; `at` is when its sender says it was begun."""

    id: str
    name: str
    at: datetime


@dataclass(frozen=True)
class Created:
    """What one `borg create` stored."""

    files: int
    size: int
    stored: int  # bytes that were new to the repository, compressed
    warnings: tuple[str, ...] = ()  # files that changed or vanished meanwhile
    unread: tuple[str, ...] = ()  # files that are there and could not be read


def command(*words: str, given: Sequence[str] = ()) -> list[str]:
    """A borg command that waits for the repository's lock and says what it has to say as JSON lines.

    `given` are names and paths. They may come from a sender, so none of them is ever taken for an option.
    """
    return ["borg", "--log-json", f"--lock-wait={LOCK_WAIT}", *words, *(["--", *given] if given else [])]


def init_command() -> list[str]:
    """A repository whose key is inside it, sealed by the passphrase."""
    return command("init", "--encryption=repokey-blake2")


def create_command(name: str, paths: Sequence[str], excludes: Sequence[str] = ()) -> list[str]:
    """One archive of `paths`, relative to the working folder or absolute."""
    without = [f"--exclude={pattern}" for pattern in excludes]
    return command("create", "--json", "--compression=auto,zstd", *without, given=[f"::{name}", *paths])


def list_command(*, checkpoints: bool = False) -> list[str]:
    """Every whole archive, oldest first; checkpoints of interrupted ones only when they are asked for."""
    return command("list", "--json", *(["--consider-checkpoints"] if checkpoints else []))


def contents_command(name: str, paths: Sequence[str]) -> list[str]:
    """What an archive holds of these paths."""
    return command("list", "--json-lines", given=[f"::{name}", *paths])


def extract_command(name: str, path: str) -> list[str]:
    """One file of an archive to standard output."""
    return command("extract", "--stdout", given=[f"::{name}", path])


def extract_tree_command(name: str, folder: PurePosixPath) -> list[str]:
    """What is in one folder of an archive into the working folder; owners are found by name, not by number."""
    inside = str(folder).lstrip("/")
    return command("extract", f"--strip-components={len(PurePosixPath(inside).parts)}", given=[f"::{name}", inside])


def delete_command(names: Sequence[str]) -> list[str]:
    """Remove archives; their space is freed by `compact`."""
    first, *others = names
    return command("delete", given=[f"::{first}", *others])


def compact_command() -> list[str]:
    """Free what deleted archives used: after this nothing brings them back."""
    return command("compact")


def check_command(*, verify_data: bool) -> list[str]:
    """Check the repository's segments and archives; `verify_data` also decrypts and hashes every chunk."""
    return command("check", *(["--verify-data"] if verify_data else []))


def export_key_command() -> list[str]:
    """The sealed key to standard output: worthless without the passphrase, and the passphrase without it."""
    return command("key", "export", "::", "-")


def serve_command(repository: Path, *, quota: str | None = None) -> list[str]:
    """The one command that a sender's key may start on the backup host."""
    limit = [f"--storage-quota={quota}"] if quota else []
    return ["borg", "serve", "--append-only", f"--restrict-to-repository={repository}", *limit]


def init(repository: Repository) -> None:
    """Make the repository; raises `BorgFailed` where there is one already."""
    run(repository, init_command())


def create(
    repository: Repository, name: str, paths: Sequence[str], *, folder: Path, excludes: Sequence[str] = ()
) -> Created:
    """Store one archive. An interrupted one leaves a checkpoint, never an archive of this name."""
    outcome = run(repository, create_command(name, paths, excludes), folder=folder)
    stats = json.loads(outcome.output)["archive"]["stats"]
    unread = tuple(text for text in outcome.warnings if not HARMLESS.search(text))
    harmless = tuple(text for text in outcome.messages if text not in unread)
    return Created(stats["nfiles"], stats["original_size"], stats["deduplicated_size"], harmless, unread)


def archives(repository: Repository, *, checkpoints: bool = False) -> list[Archive]:
    """Every archive, oldest first. Raises `NoRepository` where there is no repository."""
    found = json.loads(run(repository, list_command(checkpoints=checkpoints)).output)["archives"]
    return [Archive(one["id"], one["name"], _moment(one["start"])) for one in found]


def sizes(repository: Repository, name: str, paths: Sequence[str]) -> dict[str, int]:
    """The sizes of regular files in an archive, by path; a further hard link of one has none."""
    lines = run(repository, contents_command(name, paths)).output.splitlines()
    return {one["path"]: one["size"] for one in map(json.loads, lines) if one["type"] == "-"}


def extract(repository: Repository, name: str, path: str, target: Path) -> None:
    """Write one file of an archive to `target`. Raises `BorgFailed` when it is missing, damaged or cut short."""
    with target.open("wb") as out, _running(repository, extract_command(name, path), None, out, may_warn=False):
        pass


def read(repository: Repository, name: str, path: str) -> bytes:
    """One small file of an archive."""
    return run(repository, extract_command(name, path), may_warn=False).output


@dataclass(frozen=True)
class Outcome:
    """What a borg command that ended well wrote, and the messages it had besides."""

    output: bytes
    messages: tuple[str, ...]
    warnings: tuple[str, ...] = ()  # those among the messages for which borg exited with a warning


def run(repository: Repository, words: Sequence[str], *, folder: Path | None = None, may_warn: bool = True) -> Outcome:
    """Run borg to its end. Raises `BorgFailed` with borg's own words, `NoRepository` where there is none."""
    with tempfile.TemporaryFile() as out:
        with _running(repository, words, folder, out, may_warn=may_warn) as said:
            pass
        out.seek(0)
        return Outcome(out.read(), tuple(said.messages), tuple(said.warnings))


@dataclass(frozen=True)
class _Said:
    messages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@contextmanager
def _running(
    repository: Repository, words: Sequence[str], folder: Path | None, out: IO[bytes], *, may_warn: bool
) -> Iterator[_Said]:
    """Run borg; what is yielded holds its messages once the block has been left."""
    told = _Said()
    with tempfile.TemporaryFile() as said, _passphrase(repository) as descriptor:
        environment = {**os.environ, **repository.environment(), "BORG_PASSPHRASE_FD": str(descriptor)}
        program = subprocess.Popen(
            words,
            cwd=folder or "/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            pass_fds=[descriptor],
            umask=0o077,
            **_identity(repository),
        )
        with program:
            try:
                yield told
            except BaseException:  # an interruption as well
                program.terminate()
                raise
        said.seek(0)
        lines = [_Message.parse(line) for line in said.read().decode(errors="replace").splitlines()]
    told.messages.extend(line.text for line in lines)
    if program.returncode == 0:
        return
    if program.returncode == WARNING and may_warn:
        told.warnings.extend(line.text for line in lines if line.level == "WARNING")
        return
    if any(line.id == "Repository.DoesNotExist" for line in lines):
        raise NoRepository(f"at {repository.location}")
    serious = [line.text for line in lines if line.serious] or told.messages[-3:]
    raise BorgFailed(f"borg {_subcommand(words)} exited with {program.returncode}: {'; '.join(serious)}")


@dataclass(frozen=True)
class _Message:
    text: str
    id: str | None = None
    level: str = ""  # as borg says it; empty for what is not borg's

    @property
    def serious(self) -> bool:
        """Whether it may be why a command failed."""
        return self.level in {"", "WARNING", "ERROR", "CRITICAL"}

    @classmethod
    def parse(cls, line: str) -> "_Message":
        """A line of JSON from borg, or the plain text of ssh and of the other side."""
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            return cls(line)
        if not isinstance(told, dict) or "message" not in told:
            return cls(line, level="PROGRESS")
        # A crash comes as a message of many lines; the first says what happened, the last which exception it was.
        text = str(told["message"]).strip().splitlines() or [""]
        text = text if len(text) == 1 else [text[0], text[-1]]
        return cls(" … ".join(text), told.get("msgid"), str(told.get("levelname", "INFO")))


def _subcommand(words: Sequence[str]) -> str:
    return next(word for word in words[1:] if not word.startswith("-"))


@contextmanager
def _passphrase(repository: Repository) -> Iterator[int]:
    """The passphrase waiting in a pipe."""
    reading, writing = os.pipe()
    try:
        os.write(writing, repository.passphrase.encode() + b"\n")
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _identity(repository: Repository) -> dict[str, Any]:
    """Popen's arguments for becoming the repository's owner; none where we are not root or need not."""
    if repository.system_user is None or os.getuid() != 0:
        return {}
    user = pwd.getpwnam(repository.system_user)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

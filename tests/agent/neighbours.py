"""Real neighbours for tests: servers started as unprivileged users on sockets and ports of their own."""

import getpass
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rota.adapters.postgres import Server


def newest_postgres() -> Path:
    """The folder of Debian's newest PostgreSQL server programs."""
    folders = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max(folders, key=lambda program: int(program.parts[-3])).parent


def as_user(user: str, command: list[str]) -> list[str]:
    """`command` as an unprivileged user where we are root; unchanged where we are not."""
    return (
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command] if os.geteuid() == 0 else command
    )


@contextmanager
def open_folder(purpose: str) -> Iterator[Path]:
    """A temporary folder that servers' unprivileged users can enter; pytest closes its own to others at every start."""
    with tempfile.TemporaryDirectory(prefix=f"rota-{purpose}-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def postgres_cluster(folder: Path, *more: str) -> Iterator[Server]:
    """A PostgreSQL server of its own in `folder`, reached by the socket in it alone, with `more` settings."""
    home = folder / "cluster"
    home.mkdir()
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    programs = newest_postgres()
    initdb = [f"{programs}/initdb", "--no-sync", "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8"]
    subprocess.run(as_user("postgres", [*initdb, f"{home}/data"]), check=True, capture_output=True, cwd="/")
    settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={home}", "shared_buffers=32MB"]
    settings += more
    options = " ".join(f"-c {setting}" for setting in settings)
    control = [f"{programs}/pg_ctl", f"--pgdata={home}/data", "--wait", "--silent", f"--log={home}/log"]
    subprocess.run(as_user("postgres", [*control, "start", f"--options={options}"]), check=True, cwd="/")
    try:
        yield Server(host=str(home))
    finally:
        subprocess.run(as_user("postgres", [*control, "stop", "--mode=immediate"]), check=True, cwd="/")


@dataclass(frozen=True)
class Door:
    """An SSH server on loopback: its port, and the file that pins its key."""

    port: int
    known_hosts: Path
    authorized_keys: Path


def make_key(file: Path) -> str:
    """An ed25519 key pair; returns the public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(file)], check=True)
    return file.with_suffix(".pub").read_text().strip()


@contextmanager
def ssh_server(folder: Path) -> Iterator[Door]:
    """A real sshd on a free port of loopback that lets in who is in `authorized_keys`, as the tests' own user."""
    folder.mkdir()
    host_key = make_key(folder / "host_key")
    door = Door(free_port(), folder / "known_hosts", folder / "authorized_keys")
    door.known_hosts.write_text(f"[127.0.0.1]:{door.port} {host_key}\n")
    door.authorized_keys.touch()
    settings = {
        "Port": door.port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": door.authorized_keys,
        "PidFile": "none",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "forced-commands-only",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
        with subprocess.Popen(command, stderr=log) as server:
            try:
                wait_until(lambda: is_listening(door.port))
                yield door
            finally:
                server.terminate()


@contextmanager
def mariadb_server(folder: Path) -> Iterator[Path]:
    """A MariaDB server of its own; yields its socket, at which the tests' own user is an administrator."""
    folder.mkdir()
    account = "mysql" if os.geteuid() == 0 else getpass.getuser()
    if os.geteuid() == 0:
        shutil.chown(folder, "mysql", "mysql")
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--skip-test-db"]
    install += ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={getpass.getuser()}"]
    subprocess.run(as_user(account, install), check=True, capture_output=True, cwd="/")
    socket_file = folder / "socket"
    options = ["--no-defaults", f"--datadir={folder}/data", f"--socket={socket_file}", "--skip-networking"]
    options += ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
    server_command = as_user(account, ["mariadbd", *options])
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(server_command, cwd="/", stdout=log, stderr=log) as server:
        try:
            wait_until(lambda: is_accepting(socket_file))
            yield socket_file
        finally:
            server.kill()


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_accepting(file: Path) -> bool:
    """Whether somebody accepts connections at a socket file."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(file)) == 0


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Return once the condition holds; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {condition}")
        select.select([], [], [], 0.02)

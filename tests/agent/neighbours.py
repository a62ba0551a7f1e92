"""Real neighbours for tests: servers started as unprivileged users on sockets and ports of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
def postgres_cluster(folder: Path) -> Iterator[Server]:
    """A PostgreSQL server of its own in `folder`, reached by the socket in it alone."""
    home = folder / "cluster"
    home.mkdir()
    # The server's user must be able to reach its folder through ours.
    for parent in [home, *home.parents]:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    programs = newest_postgres()
    initdb = [f"{programs}/initdb", "--no-sync", "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8"]
    subprocess.run(as_user("postgres", [*initdb, f"{home}/data"]), check=True, capture_output=True, cwd="/")
    settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={home}", "shared_buffers=32MB"]
    options = " ".join(f"-c {setting}" for setting in settings)
    control = [f"{programs}/pg_ctl", f"--pgdata={home}/data", "--wait", "--silent", f"--log={home}/log"]
    subprocess.run(as_user("postgres", [*control, "start", f"--options={options}"]), check=True, cwd="/")
    try:
        yield Server(host=str(home))
    finally:
        subprocess.run(as_user("postgres", [*control, "stop", "--mode=immediate"]), check=True, cwd="/")

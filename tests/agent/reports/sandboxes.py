"""What tests of sandboxes share: scripts run in them, and a host with things worth attacking."""

import io
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rota.packs.reports.bundle import Bundle, write_tree
from rota.packs.reports.sandbox import Ending, Limits, Sandbox
from rota.packs.reports.sandbox.podman import Podman

LIMITS = Limits(seconds=20, memory=256 << 20, file_size=8 << 20, forks=True, processes=24, output=1 << 20)
ACCOUNT = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
DRIVERS = ("psycopg", "psycopg_binary", "psycopg_binary.libs", "pymysql", "typing_extensions.py")


@dataclass(frozen=True)
class Came:
    """What came of a script."""

    output: str
    ending: Ending


def run(
    sandbox: Sandbox,
    script: str,
    limits: Limits = LIMITS,
    *,
    live: io.BytesIO | None = None,
    stop: threading.Event | None = None,
    **files: str,
) -> Came:
    """`files` come beside the script, with "__" for a slash in their names."""
    more = {f"{name.replace('__', '/')}.py": text for name, text in files.items()}
    return run_bundle(sandbox, Bundle({"main.py": script, **more}), limits, live=live, stop=stop)


def run_bundle(
    sandbox: Sandbox,
    files: Bundle,
    limits: Limits = LIMITS,
    *,
    live: io.BytesIO | None = None,
    stop: threading.Event | None = None,
) -> Came:
    output = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        write_tree(files, Path(folder) / "tree")
        ending = sandbox.run(Path(folder) / "tree", output, limits, live=live, stop=stop)
    return Came(output.getvalue().decode(errors="replace"), ending)


def run_outside(script: str) -> str:
    """What a script prints with no wall around it, as the account that sandboxes run as."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", script],
        cwd="/",
        env={"SECRET": "of the runner"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        **becoming(),  # type: ignore[call-overload]  # not every key
    )
    return str(done.stdout + done.stderr)


def becoming() -> dict[str, object]:
    """Popen's arguments for the account that sandboxes run as."""
    if os.geteuid() != 0:
        return {}
    return {"user": ACCOUNT, "group": pwd.getpwnam(ACCOUNT).pw_gid, "extra_groups": []}


@dataclass(frozen=True)
class Host:
    """What is around a sandbox, all of it open to the account that it runs as."""

    folder: Path
    port: int
    abstract: str
    victim: subprocess.Popen[bytes]
    channel: int
    """A descriptor that the runner lets all its children have."""

    @property
    def export(self) -> Path:
        """Another client's."""
        return self.folder / "exports/other/report.csv"

    @property
    def socket_file(self) -> Path:
        return self.folder / "socket"


@contextmanager
def host_with_treasures(folder: Path) -> Iterator[Host]:
    abstract = f"\0rota-{os.getpid()}"
    (folder / "exports/other").mkdir(parents=True)
    (folder / "exports/other/report.csv").write_text("secret of the other client")
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in (abstract, str(folder / "socket")):
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(address)
            listening.listen()
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        victim = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"],  # until it is ended
                **becoming(),  # type: ignore[call-overload]  # not every key
                env={"SECRET": "of a neighbour"},
                cwd="/",
            )
        )
        stack.callback(victim.kill)
        channel = os.open(folder / "exports/other/report.csv", os.O_RDWR)
        stack.callback(os.close, channel)
        os.set_inheritable(channel, True)
        yield Host(folder, tcp.getsockname()[1], abstract, victim, channel)


def drivers(folder: Path) -> Path:
    """A folder of libraries for scripts, with the two databases' own."""
    packages = Path(pymysql_file()).parents[1]
    folder.mkdir()
    for name in DRIVERS:
        if (packages / name).is_dir():
            shutil.copytree(packages / name, folder / name)
        elif (packages / name).exists():
            shutil.copy(packages / name, folder / name)
    for path in (folder, folder / "psycopg/__init__.py"):
        path.chmod(0o777)  # so that it is not for its mode that it cannot be written
    return folder


def pymysql_file() -> str:
    import pymysql

    return pymysql.__file__


def podman_on_this_machine(folder: Path) -> Podman:
    """A root folder that borrows the machine's own Python in place of an image; see podman-run(1), --rootfs."""
    for name in ("usr", "proc", "sys", "dev", "tmp", "run", "etc", "scripts", "libraries", "database"):
        (folder / name).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64"):
        (folder / name).symlink_to(f"usr/{name}")
    more = ("--runtime=runc", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "--volume=/usr:/usr:ro")
    return Podman(str(folder), more=more)


def left_of(folder: Path) -> list[str]:
    """The processes that have anything mounted from below `folder`: those of its sandboxes."""
    return [str(process) for process in Path("/proc").glob("[0-9]*") if f"{folder}/" in mounts_of(process)]


def mounts_of(process: Path) -> str:
    try:
        return (process / "mountinfo").read_text()
    except OSError:  # gone meanwhile, or another's
        return ""

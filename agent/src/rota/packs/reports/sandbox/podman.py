"""The sandbox where an organisation wants an image of its own: podman, with the same interface and the same laws.

Memory and processes are limited by the container's cgroup, for all of it together, as well as by the script's own
limits. The filter of kernel calls is ours here, too: podman's own lets new user namespaces through. The image needs a
`python3` of 3.11 or later in its path.
"""

import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rota.packs.reports.database import Database
from rota.packs.reports.sandbox import Ending, Limits, ProgramMissing, seccomp
from rota.packs.reports.sandbox.starting import ENVIRONMENT, NOBODY, readable, shown_inside, start_command
from rota.packs.reports.sandbox.supervising import TO_BE_GONE, Watch, watchable

NEVER_RAN = (125, 126, 127)  # podman-run(1): of podman itself, of a command that cannot be run, that is not there


@dataclass(frozen=True)
class Podman:
    """`image` is a name, or the absolute path of a root folder. Rootless where an ordinary user starts it.

    Started by root the script is `account` inside and outside. `more` are arguments of an installation's own.
    """

    image: str
    libraries: Path | None = None
    database: Database | None = None
    account: str = NOBODY
    more: tuple[str, ...] = ()

    def run(
        self,
        tree: Path,
        output: BinaryIO,
        limits: Limits,
        *,
        live: BinaryIO | None = None,
        stop: threading.Event | None = None,
    ) -> Ending:
        """See Sandbox."""
        if shutil.which("podman") is None:
            raise ProgramMissing("podman; install the Debian package podman")
        account = self.account if os.geteuid() == 0 else None
        name = f"rota-report-{secrets.token_hex(8)}"
        with ExitStack() as stack:
            shown = shown_inside(stack.enter_context(readable(tree, account)), self.libraries, self.database)
            calls = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".json"))
            json.dump(seccomp.profile(unix_sockets=self.database is not None, forks=limits.forks), calls)
            calls.flush()
            more = (f"--security-opt=seccomp={calls.name}", *self.more)
            command = podman_command(name, self.image, shown, limits, account, more)
            process = stack.enter_context(watchable(command))
            watch = Watch(process, output, limits, lambda: remove(name, process), live, stop)
            try:
                watch.follow()
            except BaseException:  # whatever it was, it goes on
                remove(name, process)
                raise
            code = process.returncode
            return watch.ending(None if code in NEVER_RAN else code)


def podman_command(
    name: str, image: str, shown: Mapping[str, Path], limits: Limits, account: str | None, more: tuple[str, ...] = ()
) -> list[str]:
    """`podman run` of one script; nothing of it is kept, and podman's log has nothing of what it prints."""
    words = ["podman", "run", "--rm", f"--name={name}", "--network=none", "--read-only", "--read-only-tmpfs=false"]
    words += ["--cap-drop=all", "--security-opt=no-new-privileges", "--log-driver=none", "--pull=never"]
    words += [
        "--hostname=report",
        "--workdir=/tmp",
        "--shm-size=64k",
        f"--tmpfs=/tmp:size={limits.file_size},mode=1777,notmpcopyup",
    ]
    words += [f"--memory={limits.memory}", f"--memory-swap={limits.memory}", f"--pids-limit={limits.processes}"]
    if account is not None:
        entry = pwd.getpwnam(account)  # the image need not know the name
        words += [f"--user={entry.pw_uid}:{entry.pw_gid}"]
    words += [f"--env={variable}={value}" for variable, value in ENVIRONMENT.items()]
    words += [f"--volume={source}:{path}:ro" for path, source in shown.items()]
    words += [*more, *(["--rootfs"] if image.startswith("/") else []), image]
    return [*words, *start_command(limits, python="python3")]


def remove(name: str, process: subprocess.Popen[bytes]) -> None:
    """End all of a container. Its client goes first: it would wait for us to read what we no longer want."""
    process.kill()
    command = ["podman", "rm", "--force", "--ignore", "--time=0", name]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TO_BE_GONE, check=False)

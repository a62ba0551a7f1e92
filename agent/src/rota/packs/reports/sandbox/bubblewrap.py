"""The sandbox by default: bubblewrap, which needs no privilege, no daemon and no image.

What is inside is the kernel's namespaces, all new; this Python without its host's packages, and no other program; the
script's tree, the libraries and the report database's socket. There is no /proc, and only /tmp can be written.
An ordinary user has no cgroup to bound the memory of several processes together; so there is one, unless it may fork.
"""

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from rota.packs.reports.database import Database
from rota.packs.reports.sandbox import Ending, Limits, ProgramMissing, seccomp
from rota.packs.reports.sandbox.starting import ENVIRONMENT, NOBODY, readable, shown_inside, start_command
from rota.packs.reports.sandbox.supervising import TO_BE_GONE, StillThere, Watch, watchable

USER = "65534"  # inside; outside it is the runner's own
SYSTEM = ("/usr/bin/python3", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
SHORT_FOR = ("bin", "lib", "lib64")


@dataclass(frozen=True)
class Bubblewrap:
    """Started by root it becomes `account`, to whom folders must be open: of root the kernel counts no processes."""

    libraries: Path | None = None
    database: Database | None = None
    account: str = NOBODY

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
        if shutil.which("bwrap") is None:
            raise ProgramMissing("bwrap; install the Debian package bubblewrap")
        account = self.account if os.geteuid() == 0 else None
        with ExitStack() as stack:
            shown = shown_inside(stack.enter_context(readable(tree, account)), self.libraries, self.database)
            calls = opened_text(stack, seccomp.program(unix_sockets=self.database is not None, forks=limits.forks))
            status, told = os.pipe()
            stack.callback(os.close, status)
            try:
                command = bubblewrap_command(shown, calls, told, limits)
                process = stack.enter_context(started(command, (calls, told), account))
            finally:
                os.close(told)
            inside = stack.enter_context(Inside(process))
            watch = Watch(process, output, limits, inside.kill, live, stop, inside.hear)
            watch.follow(status)
            inside.wait()
            return watch.ending(inside.exit_code)


def bubblewrap_command(shown: Mapping[str, Path], calls: int, told: int, limits: Limits) -> list[str]:
    """`calls` is the descriptor of the filter, `told` the one where bubblewrap reports to.

    `--disable-userns` is left out: it writes to /proc/sys, which a hardened unit forbids, and the filter refuses new
    user namespaces as well. So is `--hostname`, which `ProtectHostname=` forbids: scripts can ask the host's name.
    Without `--die-with-parent` what a script leaves behind would go on.
    """
    words = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--uid", USER, "--gid", USER]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    for path in SYSTEM:
        words += ["--ro-bind-try", path, path]
    for name in SHORT_FOR:
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    words += ["--dev", "/dev", "--remount-ro", "/dev", "--size", str(limits.file_size), "--tmpfs", "/tmp"]  # noqa: S108 - inside the sandbox
    for path, source in shown.items():
        words += ["--ro-bind", str(source), path]
    words += ["--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(calls)]  # noqa: S108 - inside the sandbox
    return [*words, "--json-status-fd", str(told), "--", *start_command(limits)]


def started(command: list[str], descriptors: tuple[int, ...], account: str | None) -> subprocess.Popen[bytes]:
    becoming: dict[str, Any] = {}
    if account is not None:
        becoming = {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    return watchable(command, env=environment, pass_fds=descriptors, **becoming)


def opened_text(stack: ExitStack, content: bytes) -> int:
    descriptor = os.memfd_create("filter")
    stack.callback(os.close, descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class Inside:
    """The first process of the sandbox, which bubblewrap tells of; when it is gone the kernel has ended all others."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.heard = b""
        self.first: int | None = None
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing may be left, whatever went wrong."""
        self.kill()
        if self.first is not None:
            os.close(self.first)

    def hear(self, block: bytes) -> None:
        *lines, self.heard = (self.heard + block).split(b"\n")
        for line in lines:
            told = json.loads(line)
            self.exit_code = told.get("exit-code", self.exit_code)
            if "child-pid" in told and self.first is None:
                with suppress(ProcessLookupError):
                    self.first = os.pidfd_open(told["child-pid"])

    def kill(self) -> None:
        self.process.kill()
        if self.first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.first, signal.SIGKILL)

    def wait(self) -> None:
        """Raises StillThere."""
        if self.first is not None and not select.select([self.first], [], [], TO_BE_GONE)[0]:
            raise StillThere(f"what process {self.process.pid} started")

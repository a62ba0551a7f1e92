"""The same question asked of several hosts at once: host by host in parallel, a silent host is a line, no failure."""

import shlex
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from provision.inventory import Inventory

CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """What one host said: its output, and its exit code (255 from ssh itself: the host does not answer)."""

    host: str
    exit_code: int
    output: str

    @property
    def unreachable(self) -> bool:
        return self.exit_code == 255


def ssh_command(ssh_config: Path, host: str, argv: Sequence[str], *, terminal: bool = False) -> list[str]:
    """The argument list that runs `argv` on a host. Words are quoted for the login shell that sshd starts there."""
    options = ["-F", str(ssh_config), "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    options += ["-t"] if terminal else ["-o", "BatchMode=yes"]
    return ["ssh", *options, host, *([shlex.join(argv)] if argv else [])]


def ask(ssh_config: Path, host: str, argv: Sequence[str]) -> Answer:
    """Run `argv` on one host and wait for its answer."""
    done = subprocess.run(
        ssh_command(ssh_config, host, argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return Answer(host, done.returncode, done.stdout)


def ask_all(ssh_config: Path, hosts: Sequence[str], argv: Sequence[str]) -> list[Answer]:
    """Run `argv` on all hosts in parallel; answers in the order of the hosts."""
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        return list(pool.map(lambda host: ask(ssh_config, host, argv), hosts))


def show(answers: Sequence[Answer], write: Callable[[str], object] = print) -> int:
    """Write each host's answer below its name; returns the worst exit code of the hosts that answered."""
    for answer in answers:
        write(f"── {answer.host} {'─' * max(0, 60 - len(answer.host))}")
        if answer.unreachable:
            lines = answer.output.strip().splitlines()
            write(f"does not answer: {lines[-1] if lines else 'no reason given'}")
        else:
            write(answer.output.rstrip() or "(nothing to show)")
    return max((answer.exit_code for answer in answers if not answer.unreachable), default=0)


def ssh_config_of(inventory: Inventory) -> Path:
    """The rendered ssh configuration of an inventory, made anew when its sources are newer."""
    from provision.ansible import ROOT
    from provision.ssh import ensure_ssh_config

    return ensure_ssh_config(inventory, ROOT)

"""The same command on several hosts at once: each answers below its name, and a silent host is one line."""

import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from provision.errors import OperatorError
from provision.inventory import Inventory

CONNECT_SECONDS = 10
UNREACHABLE = 4  # the exit code that ansible-playbook has for it as well
SSH_FAILED = 255
# ssh ends as the program on the host did, or with 255 when it failed itself. A program that ends with 255 of its own
# has a last line that says so; what it says goes one way, so that ssh's own words are the only ones on the other.
OWN_255 = "exit code 255"
CALL = f'exec 2>&1; "$@"; code=$?; if [ $code = {SSH_FAILED} ]; then echo "{OWN_255}"; fi; exit $code'


class HostUnreachable(OperatorError):
    """A host does not answer"""

    exit_code = UNREACHABLE


@dataclass(frozen=True)
class Answer:
    """What one host said, how its program ended, and what ssh itself had to say."""

    host: str
    exit_code: int
    output: str
    complaint: str = ""

    @property
    def unreachable(self) -> bool:
        return self.exit_code == SSH_FAILED and self.output.splitlines()[-1:] != [OWN_255]

    @property
    def closing(self) -> str:
        """The line that ends an answer which would otherwise say nothing, or not all."""
        if self.unreachable:
            return f"does not answer: {(self.complaint.strip().splitlines() or ['the connection was lost'])[-1]}"
        return "" if self.output.strip() else "(nothing to show)"


def say(line: str) -> None:
    print(line, flush=True)


def ssh_command(ssh_config: Path, host: str, argv: Sequence[str], *, terminal: bool = False) -> list[str]:
    """The argument list that runs `argv` on a host. Words are quoted for the login shell that sshd starts there."""
    options = ["-F", str(ssh_config), "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    options += ["-t"] if terminal else ["-o", "BatchMode=yes"]
    return ["ssh", *options, host, *([shlex.join(argv)] if argv else [])]


def ask(ssh_config: Path, host: str, argv: Sequence[str], hear: Callable[[str], object] = str) -> Answer:
    """Run `argv` on one host and wait for its answer; `hear` is given each line of it as it comes."""
    command = ssh_command(ssh_config, host, ["sh", "-c", CALL, "sh", *argv])
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as asked:
        for line in asked.stdout or ():
            lines.append(line)
            hear(line.rstrip("\n"))
        complaint = asked.stderr.read() if asked.stderr else ""
    return Answer(host, asked.returncode, "".join(lines), complaint)


def ask_all(ssh_config: Path, hosts: Sequence[str], argv: Sequence[str]) -> Iterator[Answer]:
    """Run `argv` on all hosts in parallel; answers in the order of the hosts, each as soon as those before are in."""
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        yield from pool.map(lambda host: ask(ssh_config, host, argv), hosts)


def put(
    ssh_config: Path,
    hosts: Sequence[str],
    argv: Sequence[str],
    write: Callable[[str], object] = say,
    *,
    live: bool = False,
) -> int:
    """Run `argv` on all hosts and write their answers; that of a single host as it comes. Returns as `show` does.

    `live` has the lines of several hosts written as they come as well, each behind the name of its host.
    """
    if len(hosts) > 1:
        return put_live(ssh_config, hosts, argv, write) if live else show(ask_all(ssh_config, hosts, argv), write)
    write(heading(hosts[0]))
    answer = ask(ssh_config, hosts[0], argv, write)
    if answer.closing:
        write(answer.closing)
    return exit_code([answer])


def put_live(ssh_config: Path, hosts: Sequence[str], argv: Sequence[str], write: Callable[[str], object]) -> int:
    """Run `argv` on all hosts in parallel and write each line as it comes, behind the name of its host."""
    width, one_at_a_time = max(map(len, hosts)), Lock()

    def ask_one(host: str) -> Answer:
        def hear(line: str) -> None:
            with one_at_a_time:
                write(f"{host:{width}} │ {line}")

        answer = ask(ssh_config, host, argv, hear)
        if answer.closing or answer.exit_code:
            hear(answer.closing or f"(exit code {answer.exit_code})")
        return answer

    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        return exit_code(list(pool.map(ask_one, hosts)))


def show(answers: Iterable[Answer], write: Callable[[str], object] = say) -> int:
    """Write each host's answer below its name; returns the worst exit code, that of a silent host being UNREACHABLE."""
    shown = []
    for answer in answers:
        shown.append(answer)
        for line in filter(None, (heading(answer.host), answer.output.rstrip(), answer.closing)):
            write(line)
    return exit_code(shown)


def save(
    ssh_config: Path,
    hosts: Sequence[str],
    argv: Sequence[str],
    path_of: Callable[[str], Path],
    write: Callable[[str], object] = say,
) -> int:
    """Run `argv` on all hosts and keep each answer in a file of its own; one that failed is shown, and leaves its file.

    Returns as `show` does.
    """
    answers = []
    for answer in ask_all(ssh_config, hosts, argv):
        answers.append(answer)
        path = path_of(answer.host)
        if answer.exit_code:
            show([answer], write)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(answer.output, encoding="utf-8")
        write(f"written: {path}")
    return exit_code(answers)


def heading(host: str) -> str:
    return f"── {host} {'─' * max(0, 60 - len(host))}"


def exit_code(answers: Sequence[Answer]) -> int:
    return max((UNREACHABLE if answer.unreachable else answer.exit_code for answer in answers), default=0)


def ssh_config_of(inventory: Inventory) -> Path:
    """The rendered ssh configuration of an inventory, made anew when its sources are newer."""
    from provision.ansible import ROOT
    from provision.ssh import ensure_ssh_config

    return ensure_ssh_config(inventory, ROOT)

"""Times the start of a report's sandbox, and a whole report, beside the bare interpreter and `podman run`.

    python -m tests.bench.sandbox_bench [--rounds 41] [--podman-rounds 9] [--report-rounds 11]

Each round goes through all candidates in turn, so that a busy moment of the machine falls on all of them. What is
left out one by one tells what each part of the wall costs. A whole report is made from its definition to its file and
its attempt in the ledger; beside it stands the way of the system that Rota replaces, with podman in place of Docker: a
container for each, its output collected in memory, the file overwritten in place, and nothing recorded. Needs the
Debian packages that `./run test` installs.
"""

import argparse
import io
import os
import platform
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

from rota.packs.reports import ledger
from rota.packs.reports.bundle import Bundle, write_tree
from rota.packs.reports.definitions import Client, Definitions, Script, Task
from rota.packs.reports.running import Desk, Order, make
from rota.packs.reports.sandbox import Limits, Sandbox, seccomp
from rota.packs.reports.sandbox import bubblewrap as walls
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.sandbox.podman import Podman
from rota.packs.reports.workplace import Workplace
from tests.agent.neighbours import open_folder
from tests.agent.reports.sandboxes import becoming, podman_on_this_machine

PYTHON = "/usr/bin/python3"
LIMITS = Limits(seconds=60)
BARE = f"`{PYTHON} -I -B`, the bare interpreter"
ROTA, ORIGINAL = "Rota: sandbox, publish, ledger", "a container, memory, in place"
REPORTS = {
    "a report of one line": "print('a line')",
    "a report of 20 MB": "for _ in range(200_000): print('x' * 99)",
}
Candidates = Mapping[str, Callable[[], object]]


def main() -> None:
    options = arguments()
    with open_folder("sandbox-bench") as folder, kept_in(folder):
        write_tree(Bundle({"main.py": "pass"}), folder / "tree")
        print(f"\n{os.cpu_count()} CPUs, {platform.release()}, Python {version()}, load {os.getloadavg()[0]:.1f}:")
        show("a script that does nothing", measured(ways(folder), options.rounds))
        podman = podman_on_this_machine(folder / "image")
        slow = {BARE: bare, "`podman run`": lambda: sandboxed(podman, folder / "tree")}
        show("beside `podman run`", measured(slow, options.podman_rounds))
        for title, body in REPORTS.items():
            with kept_containers() as names:
                show_pair(title, measured(whole(folder / "whole", podman, body, names), options.report_rounds))
        print(f"load {os.getloadavg()[0]:.1f} at the end")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--podman-rounds", type=int, default=9)
    parser.add_argument("--report-rounds", type=int, default=11)
    return parser.parse_args()


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Temporary folders lie there, where an unprivileged account can enter."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    yield
    tempfile.tempdir = before


def version() -> str:
    return subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]


def ways(folder: Path) -> Candidates:
    tree = folder / "tree"
    for path in (tree, tree / "main.py"):
        path.chmod(0o755)  # for the bare command, which hands nothing over
    found: dict[str, Callable[[], object]] = {
        BARE: bare,
        f"`{PYTHON} -I -S -B`, as in the sandbox": lambda: subprocess.run([PYTHON, "-I", "-S", "-B", "-c", "pass"]),
        "Rota's sandbox": lambda: sandboxed(Bubblewrap(), tree),
    }
    for name, without in (
        ("its command alone, not watched", ()),
        ("without its filter of kernel calls", (("--seccomp", 2),)),
        ("without read-only / and /dev", (("--remount-ro", 2), ("--remount-ro", 2))),
    ):
        found[f"… {name}"] = partial(commanded, tree, without)
    return found


def bare() -> None:
    subprocess.run([PYTHON, "-I", "-B", "-c", "pass"], check=True)


def sandboxed(sandbox: Sandbox, tree: Path) -> None:
    ending = sandbox.run(tree, io.BytesIO(), LIMITS)
    assert ending.is_success, ending


def commanded(tree: Path, without: tuple[tuple[str, int], ...]) -> None:
    """Bubblewrap's command with some of its words left out."""
    calls = os.memfd_create("filter")
    try:
        os.write(calls, seccomp.program(unix_sockets=False, forks=LIMITS.forks))
        os.lseek(calls, 0, os.SEEK_SET)
        words = walls.bubblewrap_command({"/scripts": tree}, calls, calls, LIMITS)
        for word, count in (*without, ("--json-status-fd", 2)):
            at = words.index(word)
            del words[at : at + count]
        subprocess.run(words, pass_fds=(calls,), check=True, **becoming())  # type: ignore[call-overload]  # not every key
    finally:
        os.close(calls)


@contextmanager
def kept_containers() -> Iterator[list[str]]:
    """Names of containers, which are removed in the end: as with the original, that is no part of a run."""
    names: list[str] = []
    try:
        yield names
    finally:
        subprocess.run(["podman", "rm", "--force", "--ignore", "--time=0", *names], capture_output=True, check=False)


def whole(folder: Path, podman: Podman, body: str, names: list[str]) -> Candidates:
    """One report, made both ways; `names` gets those of containers."""
    script = Script(id="s", name="acme:a_txt", body=body)
    task = Task(id="t", id_homedir="c", file_name="a.txt", id_script="s", start_date=date(2026, 1, 1))
    client = Client(id="c", name="Acme", username="acme")
    definitions = Definitions(clients=(client,), tasks=(task,), scripts=(script,))
    places = Workplace(folder)
    places.make()
    desk = Desk(places=places, sandbox=Bubblewrap(), limits=LIMITS, host="here")
    return {
        ROTA: lambda: by_rota(desk, definitions, task),
        ORIGINAL: lambda: as_before(podman, body, names, folder / "before.txt"),
    }


def by_rota(desk: Desk, definitions: Definitions, task: Task) -> None:
    attempt = make(desk, definitions, Order(task=task))
    ledger.note(desk.places.ledger, attempt)
    assert attempt.outcome.is_good, attempt.message


def as_before(podman: Podman, body: str, names: list[str], target: Path) -> None:
    """As the original: files of the script, a container on a terminal that stays, its output whole, then the file."""
    names.append(name := f"rota-bench-{secrets.token_hex(4)}")
    with tempfile.TemporaryDirectory() as tree:
        (Path(tree) / "main.py").write_text(body)
        words = ["podman", "run", "--tty", f"--name={name}", "--network=host", f"--volume={tree}:/scripts"]
        words += [*podman.more, "--rootfs", podman.image, "python3", "-B", "/scripts/main.py"]
        output = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    target.write_bytes(output)


def measured(candidates: Candidates, rounds: int) -> Mapping[str, list[float]]:
    """Milliseconds of each, without those of a first round that fills caches."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate()
            if number:
                taken[name].append((time.perf_counter() - began) * 1000)
    return taken


def show(title: str, taken: Mapping[str, list[float]]) -> None:
    bare_time = statistics.median(taken[BARE])
    print(f"\n| {title} | ms | fastest | added ms | beside the bare interpreter |\n|---|---|---|---|---|")
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"| {name} | {median:.1f} | {min(times):.1f} | {median - bare_time:.1f} | {median / bare_time:.2f} |")


def show_pair(title: str, taken: Mapping[str, list[float]]) -> None:
    """Each way's median, and that of how many times as long the original's took in the same round."""
    ratio = statistics.median(before / now for now, before in zip(taken[ROTA], taken[ORIGINAL], strict=True))
    print(f"\n| {title} | ms | fastest | beside Rota's, by rounds |\n|---|---|---|---|")
    for name, times in taken.items():
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} | {1 if name == ROTA else ratio:.2f} |")


if __name__ == "__main__":
    main()

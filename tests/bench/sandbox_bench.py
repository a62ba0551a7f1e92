"""Times the start of a report's sandbox beside the bare interpreter and `podman run`.

    python -m tests.bench.sandbox_bench [--rounds 41] [--podman-rounds 9]

Each round goes through all candidates in turn, so that a busy moment of the machine falls on all of them. What is
left out one by one tells what each part of the wall costs. Needs the Debian packages that `./run test` installs.
"""

import argparse
import io
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rota.packs.reports.bundle import Bundle, write_tree
from rota.packs.reports.sandbox import Limits, Sandbox, seccomp
from rota.packs.reports.sandbox import bubblewrap as walls
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from tests.agent.neighbours import open_folder
from tests.agent.reports.sandboxes import becoming, podman_on_this_machine

PYTHON = "/usr/bin/python3"
LIMITS = Limits(seconds=60)
BARE = f"`{PYTHON} -I -B`, the bare interpreter"
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
        print(f"load {os.getloadavg()[0]:.1f} at the end")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--podman-rounds", type=int, default=9)
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
        os.write(calls, seccomp.program(unix_sockets=False))
        os.lseek(calls, 0, os.SEEK_SET)
        words = walls.bubblewrap_command({"/scripts": tree}, calls, calls, LIMITS)
        for word, count in (*without, ("--json-status-fd", 2)):
            at = words.index(word)
            del words[at : at + count]
        subprocess.run(words, pass_fds=(calls,), check=True, **becoming())  # type: ignore[call-overload]  # not every key
    finally:
        os.close(calls)


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


if __name__ == "__main__":
    main()

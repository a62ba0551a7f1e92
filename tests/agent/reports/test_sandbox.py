"""What all kinds of sandboxes do alike, told with the one by default: streams, limits, stopping, several at once."""

import io
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from rota.packs.reports.bundle import Bundle, write_tree
from rota.packs.reports.sandbox import Ending, ProgramMissing, Reason
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap, bubblewrap_command
from rota.packs.reports.sandbox.podman import Podman, podman_command
from tests.agent.neighbours import open_folder
from tests.agent.reports.sandboxes import LIMITS, left_of, run

SLEEP, NAP = "time.sleep(99)", "time.sleep(0.3)"  # inside the sandbox


@pytest.fixture(scope="module", autouse=True)
def ground() -> Iterator[Path]:
    with open_folder("sandbox") as folder:
        kept, tempfile.tempdir = tempfile.tempdir, str(folder)
        yield folder
        tempfile.tempdir = kept


def test_an_error_is_told_as_of_the_script_itself() -> None:
    came = run(Bubblewrap(), "from sniplets import lib\n\nlib.f()", sniplets__lib="def f():\n    return 1 / 0")
    assert came.ending.exit_code == 1
    lines = came.ending.errors.splitlines()
    assert lines[:2] == ["Traceback (most recent call last):", '  File "/scripts/main.py", line 3, in <module>']
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert run(Bubblewrap(), "print(").ending.errors.startswith('  File "/scripts/main.py", line 1\n')


def test_scripts_find_what_they_find_without_a_sandbox() -> None:
    script = """
import asyncio, csv, datetime, decimal, gzip, hashlib, json, locale, multiprocessing.dummy, pickle, random, sqlite3
import subprocess, sys, tempfile, threading, uuid, xml.etree.ElementTree, zipfile, zoneinfo
from concurrent.futures import ThreadPoolExecutor
class Book: pass
assert type(pickle.loads(pickle.dumps(Book()))) is Book and __name__ == "__main__" and sys.argv == [__file__]
asyncio.run(asyncio.sleep(0))
with ThreadPoolExecutor() as pool: assert sum(pool.map(int, "123")) == 6
with tempfile.TemporaryDirectory() as folder:
    sqlite3.connect(folder + "/x").execute("CREATE TABLE x (y)")
    zipfile.ZipFile(folder + "/z", "w").writestr("a", "b")
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
assert zoneinfo.ZoneInfo("Europe/Amsterdam")
print(locale.setlocale(locale.LC_ALL, ""), "ünï")
exit(0)
"""
    came = run(Bubblewrap(), script, replace(LIMITS, memory=1 << 30))
    assert (came.output, came.ending.errors, came.ending.exit_code) == ("C.UTF-8 ünï\n", "", 0)


def test_the_two_streams_stay_apart_and_as_they_are() -> None:
    came = run(Bubblewrap(), "import os; os.write(1, b'a\\n\\0b'); os.write(2, b'warning\\n')")
    assert (came.output, came.ending.errors) == ("a\n\0b", "warning\n")
    assert came.ending.output_bytes == 4


def test_output_is_taken_up_to_its_limit_and_errors_from_their_end() -> None:
    limits = replace(LIMITS, output=300_000, errors=10, live=5)
    live = io.BytesIO()
    came = run(
        Bubblewrap(), "import sys; sys.stderr.write('0123456789abcdef'); print(end='x' * 300_000)", limits, live=live
    )
    assert (came.ending.reason, came.ending.output_bytes) == (Reason.ENDED, 300_000)
    assert (came.ending.errors, live.getvalue()) == ("6789abcdef", b"01234")
    came = run(Bubblewrap(), "print('x' * 300_000)", limits)
    assert (came.ending.reason, came.ending.output_bytes, len(came.output)) == (
        Reason.TOO_MUCH_OUTPUT,
        300_000,
        300_000,
    )


def test_followers_see_errors_while_the_script_runs_and_can_stop_it() -> None:
    stop = threading.Event()

    class Follower(io.BytesIO):
        def write(self, block: object) -> int:
            stop.set()
            return super().write(block)  # type: ignore[arg-type]  # values of fields

    live = Follower()
    came = run(Bubblewrap(), f"import sys, time; print('begun', file=sys.stderr); {SLEEP}", live=live, stop=stop)
    assert live.getvalue() == b"begun\n"
    assert (came.ending.reason, came.ending.exit_code, came.ending.signal) == (Reason.STOPPED, None, None)


def test_several_run_at_once(ground: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        came = list(threads.map(lambda n: run(Bubblewrap(), f"print({n}); exit({n})"), range(12)))
    assert [(one.output, one.ending.exit_code) for one in came] == [(f"{n}\n", n) for n in range(12)]
    assert left_of(ground) == []


def test_processes_are_counted_for_each_sandbox_alone() -> None:
    script = f"import os, time\nfor _ in range(15):\n    if os.fork() == 0: {NAP}; os._exit(0)\nos.wait()"
    with ThreadPoolExecutor(4) as threads:
        came = list(threads.map(lambda _: run(Bubblewrap(), script), range(4)))
    assert [one.ending.exit_code for one in came] == [0] * 4, came


def test_unless_it_may_fork_a_script_has_threads_and_one_bound_for_its_memory() -> None:
    limits = replace(LIMITS, forks=False, memory=128 << 20)
    threads = "import os, threading\ndone = []\nthread = threading.Thread(target=done.append, args=(1,))\n"
    came = run(Bubblewrap(), f"{threads}thread.start(); thread.join(); print(done)", limits)
    assert (came.output, came.ending.exit_code) == ("[1]\n", 0), came
    for script in ("import os; os.fork()", "import multiprocessing as m; m.Process(target=print).start()"):
        came = run(Bubblewrap(), script, limits)
        assert (came.ending.exit_code, "PermissionError" in came.ending.errors) == (1, True), came
    assert run(Bubblewrap(), "import os; os.fork()", replace(limits, forks=True)).ending.is_success


def test_a_full_disk_ends_the_script_and_is_told(ground: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, Path("/dev/full").open("wb", buffering=0) as full:
        write_tree(Bundle({"main.py": "while True: print('x')"}), Path(folder) / "tree")
        with pytest.raises(OSError, match="No space left"):
            Bubblewrap().run(Path(folder) / "tree", full, LIMITS)
    assert left_of(ground) == []


def test_what_could_not_be_started_says_so(ground: Path) -> None:
    came = run(Bubblewrap(libraries=ground / "absent"), "print(1)")
    assert (came.ending.reason, came.ending.exit_code) == (Reason.NEVER_STARTED, None)
    assert "absent" in came.ending.errors


def test_no_descriptor_is_left_open() -> None:
    run(Bubblewrap(), "pass")
    before = sorted(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        run(Bubblewrap(), "pass")
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(("sandbox", "package"), [(Bubblewrap(), "bubblewrap"), (Podman("image"), "podman")])
def test_a_missing_program_names_its_package(
    sandbox: Bubblewrap | Podman, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProgramMissing, match=f"the Debian package {package}"):
        run(sandbox, "pass")


def test_success_is_an_exit_with_nought() -> None:
    assert Ending(reason=Reason.ENDED, exit_code=0).is_success
    assert not Ending(reason=Reason.ENDED, exit_code=1).is_success
    assert not Ending(reason=Reason.TIMEOUT).is_success


def test_the_commands_share_nothing_of_the_host_but_what_is_shown() -> None:
    shown = {"/scripts": Path("/var/lib/rota/x")}
    words = bubblewrap_command(shown, 7, 8, LIMITS)
    bound = [words[at + 1] for at, word in enumerate(words) if word.startswith(("--bind", "--ro-bind", "--dev-bind"))]
    assert bound == ["/usr/bin/python3", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/var/lib/rota/x"]
    assert not {"--bind", "--dev-bind", "--share-net", "--cap-add"} & set(words)
    assert {"--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"} <= set(words)
    words = podman_command("n", "registry/image:1", shown, LIMITS, None)
    assert [word for word in words if word.startswith("--volume")] == ["--volume=/var/lib/rota/x:/scripts:ro"]
    assert {"--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"} <= set(words)
    assert "registry/image:1" in words
    assert "--rootfs" not in words

"""Laws of a run whose records have no room: its work is not affected, and its record comes once there is room."""

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rota.core.record import RunRecord
from rota.core.status import Status
from tests.agent.test_runner import Bench, running
from tests.agent.waiting import wait_until

__all__ = ["running"]

pytestmark = pytest.mark.lab  # only root may mount

SMALL = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0755", "tmpfs", str(disk)]
    subprocess.run(mount, capture_output=True, check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def bench(small_disk: Path, tmp_path: Path) -> Bench:
    """A spool on the small disk, with its spare and its locks elsewhere, as on a host."""
    made = Bench(small_disk)
    for name in ("spare", "lock"):
        shutil.rmtree(small_disk / name)
    made.locks = tmp_path / "lock"
    made.locks.mkdir()
    made.spool = type(made.spool)(small_disk / "spool", tmp_path / "spare")
    made.spool.spare.mkdir()
    return made


def fill(disk: Path) -> None:
    """Leave not one byte."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            return


def make_room(disk: Path) -> None:
    (disk / "filler").unlink()


def taken(bench: Bench) -> RunRecord:
    """The one record, after the spare was taken over as `rota reconcile` does."""
    bench.spool.take_spare()
    return bench.only("done")


def test_a_disk_full_at_the_start_changes_nothing_for_the_work(bench: Bench, small_disk: Path) -> None:
    fill(small_disk)
    code = subprocess.run(bench.command("/bin/sh", "-c", "echo x; exit 3"), capture_output=True, check=False).returncode
    assert code == 3
    assert bench.spool.names("done") == []
    make_room(small_disk)
    record = taken(bench)
    assert (record.reason, record.output_bytes, record.output_dropped) == ("exit 3", 2, 2)


def test_a_disk_that_fills_in_the_middle_leaves_room_for_the_end(
    bench: Bench, small_disk: Path, running: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = 'echo before; while ! test -e "$0"; do sleep 0.01; done; yes | head -c 100000'
    run = running("/bin/sh", "-c", script, str(go))
    wait_until(
        lambda: any((bench.spool.folder / "output" / name).stat().st_size for name in bench.spool.names("running"))
    )
    fill(small_disk)
    go.touch()
    assert run.wait(timeout=20) == 0
    record = bench.only("done")
    assert record.status is Status.SUCCEEDED
    assert bench.spool.names("running") == []
    assert record.output_bytes == 100_007
    assert 0 < record.output_dropped < 100_007
    assert list(bench.spool.spare.iterdir()) == []


def test_a_spare_that_is_full_as_well_costs_the_record_and_nothing_else(
    bench: Bench, small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk)
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    answer = subprocess.run(
        bench.command("/bin/sh", "-c", "exit 3", spare=full), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 3
    # What no disk takes is at least in the journal, whole.
    assert '"reason":"exit 3"' in answer.stderr


def test_a_read_only_disk_changes_nothing_for_the_work(bench: Bench, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert subprocess.run(bench.command("/bin/sh", "-c", "exit 3"), capture_output=True, check=False).returncode == 3
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert taken(bench).reason == "exit 3"


@pytest.mark.parametrize("folder", ["tmp", "done", "output", "running", ""])
def test_a_spool_that_is_deleted_under_a_run_changes_nothing_for_the_work(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path, folder: str
) -> None:
    go = tmp_path / "go"
    run = running("/bin/sh", "-c", 'while ! test -e "$0"; do sleep 0.01; done; echo x; exit 3', str(go))
    wait_until(lambda: bench.spool.names("running"))
    shutil.rmtree(bench.spool.folder / folder)
    go.touch()
    assert run.wait(timeout=20) == 3
    bench.spool.make()
    assert taken(bench).reason == "exit 3"


def test_a_spool_of_another_owner_changes_nothing_for_the_work(bench: Bench, tmp_path: Path) -> None:
    for path in (bench.spool.folder, *bench.spool.folder.iterdir()):
        path.chmod(0o700)
    tmp_path.chmod(0o755)
    bench.spool.spare.chmod(0o777)
    (bench.locks / "try.lock").touch()
    for parent in tmp_path.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *bench.command("/bin/sh", "-c", "exit 3")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3
    assert taken(bench).reason == "exit 3"


def test_a_limit_on_the_size_of_files_costs_output_and_no_record(bench: Bench) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    command = bench.command("/bin/sh", "-c", "yes | head -c 50000; exit 3")
    answer = subprocess.run(command, capture_output=True, check=False, preexec_fn=limit)
    assert answer.returncode == 3
    record = taken(bench)
    assert (record.reason, record.output_bytes) == ("exit 3", 50_000)
    assert record.output_dropped >= 50_000 - 8192

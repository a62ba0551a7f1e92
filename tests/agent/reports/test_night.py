"""Whole nights: of many reports, of a process that is killed, on a disk that gets full, and of very large files."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rota.packs.reports import ledger, nightly, running
from rota.packs.reports.attempt import Attempt, Outcome
from rota.packs.reports.definitions import Check, Client, Definitions, Frequency, Script, Task
from rota.packs.reports.folder import write_folder
from rota.packs.reports.publishing import Export
from rota.packs.reports.running import Desk, sweep_trees
from rota.packs.reports.sandbox import Limits
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.workplace import Workplace
from tests.agent.reports.conftest import FIRST, defined
from tests.agent.reports.sandboxes import left_of
from tests.agent.waiting import wait_until

GOOD = "print('good')"
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Failing:
    """A report that fails, and what is said of it."""

    body: str | None
    reason: str
    outcome: Outcome = Outcome.FAILED
    checks: tuple[Check, ...] = ()
    more: tuple[tuple[str, object], ...] = ()


def refused(body: str | None, reason: str, *checks: Check, **more: object) -> Failing:
    return Failing(body, reason, Outcome.REFUSED, checks, tuple(more.items()))


FAILING = {
    "exit.txt": Failing("raise SystemExit(3)", "exit value 3"),
    "exception.txt": Failing("print('half')\nraise ValueError('no such title')", "ValueError: no such title"),
    "signal.txt": Failing("import signal\nsignal.raise_signal(signal.SIGSEGV)", "signal 11"),
    "slow.txt": Failing("while True: pass", "timeout after 1 s", more=(("timeout", 1),)),
    "memory.txt": Failing("x = bytearray(1 << 34)", "out of memory"),
    "much.txt": Failing("while True: print('x' * 9999)", f"more than {MEGABYTE} bytes of output"),
    "place.txt": Failing("import sqlite3\nsqlite3.connect('/scripts/new').execute('vacuum')", "unable to open"),
    "network.txt": Failing("import socket\nsocket.create_connection(('127.0.0.1', 22))", "PermissionError"),
    "fault.txt": Failing(GOOD, "ValueError: embedded null byte", more=(("id", "t\0"),)),
    "empty.txt": refused("print(' ')", "nothing but blanks", Check.NOT_EMPTY),
    "bad.xml": refused("print('<a><b></a>')", "line 1, column 9: XML: mismatched tag", Check.XML),
    "bad.json": refused("print('[1, 2,, 3]')", "line 1, column 7: JSON: unexpected ','", Check.JSON),
    "bad.csv": refused("print('a,b\\n1,2,3')", "line 2: CSV: 3 columns, and 2 in the header", Check.CSV),
    "shrunk.txt": refused("print('less')", "5 bytes are 99 % less than the 1000 before", shrink_percent=50),
    "import.txt": refused("from sniplets import nobody", "line 1: sniplets has no 'nobody'"),
    "guard.txt": refused("open('/etc/passwd')", "Illegal instructions found: {acme:guard_txt=[open()]}"),
    "syntax.txt": refused("this is a syntax error", "acme:syntax_txt, line 1, column 11: invalid syntax"),
    "blank.txt": refused(" \n", "the script acme:blank_txt is empty"),
    "none.txt": refused(None, "the report has no script"),
    "folder.txt": refused(GOOD, "what is there is no plain file"),
}  # fmt: skip


def report(name: str, body: str | None, **of_task: object) -> tuple[Task, Script | None]:
    plain = name.replace(".", "_")
    script = None if body is None else Script(id=f"s-{plain}", name=f"acme:{plain}", body=body)
    said = {"id": f"t-{plain}", "start_date": FIRST, "frequency": Frequency.DAILY, "is_active": True, **of_task}
    return Task(id_homedir="c", file_name=name, id_script=script.id if script else None, **said), script  # type: ignore[arg-type]  # values of fields


def all_of(*reports: tuple[Task, Script | None]) -> Definitions:
    return Definitions(
        clients=(Client(id="c", name="Acme", username="acme"),),
        tasks=tuple(task for task, _ in reports),
        scripts=tuple(script for _, script in reports if script),
    )


def same(body: str, number: int, **of_task: object) -> Definitions:
    """So many reports with one script."""
    return all_of(*(report(f"r{place:03}.txt", body, **of_task) for place in range(number)))


def make_all(
    desk: Desk, definitions: Definitions, tell: nightly.Tell = lambda _: None, *, at_once: int = 2
) -> tuple[int, list[Attempt]]:
    """How many failed, and what was told, in the order of starting."""
    told: list[Attempt] = []

    def tell_both(attempt: Attempt) -> None:
        told.append(attempt)
        tell(attempt)

    orders = nightly.due(definitions, FIRST, last=None)
    failed = nightly.make_all(desk, definitions, orders, at_once=at_once, tell=tell_both)
    return failed, sorted(told, key=lambda attempt: attempt.started)


def noted(desk: Desk) -> dict[str, Attempt]:
    return {attempt.id: attempt for _, attempt in ledger.waiting(desk.places.ledger)}


def published(desk: Desk) -> dict[str, str]:
    return {path.name: path.read_text() for path in (desk.places.exports / "acme").iterdir() if path.is_file()}


def left_over(desk: Desk) -> list[str]:
    """Files that are being written, or were, and trees of scripts."""
    writing = [str(path) for path in desk.places.exports.rglob(".new-*")]
    return writing + [str(path) for path in (*desk.places.trees.iterdir(), *desk.places.ledger.glob("*.new"))]


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where root copies scripts to for the account that runs them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


# -- many reports


@pytest.mark.servers
def test_of_three_hundred_reports_each_that_fails_is_told_by_itself(desk: Desk, copies: Path) -> None:
    failing = [
        report(name, each.body, checks=each.checks, **dict(each.more)) for name, each in FAILING.items()
    ]  # fmt: skip
    good = [report(f"good{number:03}.txt", GOOD) for number in range(280)]
    (desk.places.exports / "acme/folder.txt").mkdir(parents=True)
    (desk.places.exports / "acme/shrunk.txt").write_text("x" * 1000)
    (desk.places.exports / "acme/exception.txt").write_text("of before")
    desk = replace(desk, limits=Limits(seconds=20, output=MEGABYTE))
    failed, told = make_all(desk, all_of(*failing, *good))

    assert (failed, len(told)) == (20, 300)
    outcomes = {attempt.report.partition("/")[2]: attempt for attempt in told}
    assert {name: outcomes[name].outcome for name in FAILING} == {name: each.outcome for name, each in FAILING.items()}
    silent = {
        name: outcomes[name].message for name, each in FAILING.items() if each.reason not in outcomes[name].message
    }
    assert silent == {}
    assert [attempt.report for attempt in told] == sorted(attempt.report for attempt in told)
    assert noted(desk) == {attempt.id: attempt for attempt in told}
    assert published(desk) == {
        **{task.file_name: "good\n" for task, _ in good}, "shrunk.txt": "x" * 1000, "exception.txt": "of before",
    }  # fmt: skip
    assert left_over(desk) == []
    assert list(copies.iterdir()) == []
    assert left_of(copies) == left_of(desk.places.state) == []


def test_a_fault_of_ours_is_the_failure_of_that_report_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def collect(script: Script, definitions: Definitions) -> object:
        if script.id == "s-one":
            raise KeyError("of ours")
        return collected(script, definitions)

    collected = running.collect
    monkeypatch.setattr(running, "collect", collect)
    _, told = make_all(desk, defined(GOOD, GOOD))
    assert sorted((attempt.report, attempt.outcome, attempt.message) for attempt in told) == [
        ("acme/one.txt", Outcome.FAILED, "KeyError: 'of ours'"), ("acme/two.txt", Outcome.PUBLISHED, "OK"),
    ]  # fmt: skip
    assert "in collect" in capsys.readouterr().err


# -- a process that is killed

NIGHT = """
import sys
from pathlib import Path
from rota.adapters.report import Report
from rota.packs.reports.tasks import reports_nightly
reports_nightly(Report(None), folder=Path(sys.argv[1]), state=Path(sys.argv[2]), day="2026-01-01", at_once=2)
"""
LINES = 200_000


@contextmanager
def night_apart(folder: Path, desk: Desk, copies: Path) -> Iterator[subprocess.Popen[str]]:
    """The task's function in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": "agent/src", "TMPDIR": str(copies), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", NIGHT, str(folder), str(desk.places.state)]
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


REPORTS = 14  # many more than are made before the kill, for those that are being made may end meanwhile


@pytest.mark.servers
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_night_that_is_killed_tears_no_file_and_the_next_publishes_all(
    desk: Desk, copies: Path, tmp_path: Path, after: int
) -> None:
    body = f"for number in range({LINES}): print('line', number)"
    write_folder(same(body, REPORTS), tmp_path / "definitions")
    whole = "".join(f"line {number}\n" for number in range(LINES))
    (desk.places.exports / "acme").mkdir()
    for place in range(REPORTS):
        (desk.places.exports / f"acme/r{place:03}.txt").write_text("of before\n")

    with night_apart(tmp_path / "definitions", desk, copies) as process:
        assert process.stdout
        for _ in range(after):
            assert "published" in process.stdout.readline()
        wait_until(lambda: list(desk.places.exports.rglob(".new-*")), seconds=60)
        process.kill()
    wait_until(lambda: left_of(copies) == [])
    contents = [content for name, content in published(desk).items() if not name.startswith(".")]
    assert sorted(set(contents)) == sorted({whole, "of before\n"})
    assert contents.count(whole) >= after
    assert left_over(desk) != []
    assert list(desk.places.ledger.glob("*.bad")) == []
    assert {attempt.outcome for attempt in noted(desk).values()} == {Outcome.PUBLISHED}

    for half in desk.places.ledger.glob("*.new"):
        os.utime(half, (0, 0))  # the next night spares what may be another's
    with night_apart(tmp_path / "definitions", desk, copies) as process:
        assert process.wait(60) == 0
    assert set(published(desk).values()) == {whole}
    assert left_over(desk) == []


def test_a_tree_is_swept_unless_a_run_goes_on(desk: Desk) -> None:
    definitions = defined(GOOD)
    (desk.places.trees / "left").mkdir()
    with running.tree_of(desk, definitions, definitions.tasks[0]) as tree:
        sweep_trees(desk.places.trees)
        assert tree.exists()
    sweep_trees(desk.places.trees)
    assert left_over(desk) == []


# -- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Eight MiB."""
    (tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path / "disk")], check=True)
    yield tmp_path / "disk"
    subprocess.run(["umount", "--lazy", str(tmp_path / "disk")], check=True)


def desk_on(disk: Path) -> Desk:
    places = Workplace(disk / "reports")
    places.make()
    return Desk(places=places, sandbox=Bubblewrap(), limits=Limits(seconds=20), host="here")


@pytest.mark.lab  # only root may mount
def test_a_disk_that_gets_full_costs_the_reports_it_has_no_room_for_and_no_others(small_disk: Path) -> None:
    desk = desk_on(small_disk)
    assert make_all(desk, same("print('of before')", 12))[0] == 0
    definitions = same("for _ in range(1024): print('x' * 1023)", 12)
    failed, told = make_all(desk, definitions)
    assert 0 < failed < 12
    assert {attempt.message for attempt in told} == {"OK", "No space left on device"}
    large = "".join(f"{'x' * 1023}\n" for _ in range(1024))
    assert sorted(published(desk).values()) == sorted(["of before\n"] * failed + [large] * (12 - failed))
    assert left_over(desk) == []
    assert len(noted(desk)) == 24

    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert make_all(desk, definitions)[0] == 0
    assert set(published(desk).values()) == {large}


@pytest.mark.lab  # only root may mount
@pytest.mark.parametrize("has_room_later", [True, False])
def test_an_attempt_that_no_file_has_room_for_is_noted_after_the_last(
    small_disk: Path, *, has_room_later: bool
) -> None:
    desk, ballast = desk_on(small_disk), small_disk / "ballast"

    def now() -> datetime:
        """Asked for when a report begins and ends; once the second is published there is no room."""
        if (desk.places.exports / "acme/r001.txt").exists():
            fill_up(ballast)
        return datetime.now(UTC)

    def told_one(attempt: Attempt) -> None:
        if attempt.report == "acme/r005.txt" and has_room_later:
            ballast.unlink()

    full = replace(desk, now=now)
    if has_room_later:
        failed, told = make_all(full, same(GOOD, 6), told_one, at_once=1)
        assert failed == 4
        assert noted(desk) == {attempt.id: attempt for attempt in told}
    else:
        with pytest.raises(ledger.NotNoted, match=r"acme/r001.txt \(No space left on device.*acme/r005.txt"):
            make_all(full, same(GOOD, 6), told_one, at_once=1)
        assert len(noted(desk)) == 1
        ballast.unlink()
    assert left_over(desk) == []
    assert make_all(desk, same(GOOD, 6))[0] == 0


def fill_up(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


# -- very large files

ROWS = {
    Check.CSV: "print('a,b,c'); row = ('title,' * 2 + 'x' * 87 + '\\n') * 1000",
    Check.XML: "print('<titles>'); row = ('<title>' + 'x' * 84 + '</title>\\n') * 1000",
}
END = {Check.CSV: "", Check.XML: "print('</titles>')"}
PEAK = """
import json, sys
from pathlib import Path
from rota.packs.reports import nightly
from rota.packs.reports.running import Desk, sweep_trees
from rota.packs.reports.sandbox import Limits
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.workplace import Workplace
from rota.packs.reports.folder import read_folder
from datetime import date
definitions, told = read_folder(Path(sys.argv[1])), []
places = Workplace(Path(sys.argv[2]))
places.make()
desk = Desk(places=places, sandbox=Bubblewrap(), limits=Limits(seconds=120), host="here")
orders = nightly.due(definitions, date(2026, 1, 1), last=None)
nightly.make_all(desk, definitions, orders, at_once=1, tell=told.append)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([int(peak), told[0].message, told[0].bytes, told[0].rows, told[0].sha256]))
"""


def made_apart(folder: Path, check: Check, megabytes: int) -> tuple[int, str, int, int, str]:
    """The peak of memory of the process that makes such a report, in KiB; its message, bytes, rows and checksum."""
    body = f"{ROWS[check]}\nfor _ in range({megabytes * 10}): print(row, end='')\n{END[check]}"
    write_folder(all_of(report("large.txt", body, checks=(check,))), folder / "definitions")
    environment = {**os.environ, "PYTHONPATH": "agent/src"}
    command = [sys.executable, "-c", PEAK, str(folder / "definitions"), str(folder / "state")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    return tuple(json.loads(done.stdout))


@pytest.mark.servers
@pytest.mark.parametrize("check", [Check.CSV, Check.XML])
def test_three_hundred_megabytes_are_checked_and_published_in_little_memory(tmp_path: Path, check: Check) -> None:
    small, large = (made_apart(tmp_path / str(megabytes), check, megabytes) for megabytes in (1, 300))
    assert small[1] == large[1] == "OK"
    assert large[2] >= 300_000_000
    assert large[3] >= 3_000_000
    assert large[0] - small[0] < 40 * 1024
    exports = Export(tmp_path / "300/state/exports")
    current = exports.current("acme/large.txt")
    assert current is not None
    assert (current.size, exports.checksum("acme/large.txt")) == (large[2], large[4])

"""Laws of one run, tried on the real runner in processes of its own."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota import runner
from rota.adapters.spool import MAX_RECORD, Spool, join_output
from rota.core import record as record_format
from rota.core.record import RunRecord, as_mapping, parse_record
from rota.core.request import Request
from rota.core.status import Status, Trigger
from rota.units import PYTHON, runner_command
from tests.agent.waiting import wait_until

PACKAGE = Path(runner.__file__).parent
KEEP = runner.KEEP


class Bench:
    """A spool, and a way to run commands in it."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool", folder / "spare")
        self.spool.make()
        self.locks = folder / "lock"
        for made in (self.locks, self.spool.spare):
            made.mkdir()

    def command(self, *work: str, **settings: object) -> list[str]:
        values = {
            "task": "try",
            "host": "here",
            "environment": "development",
            "spool": self.spool.folder,
            "spare": self.spool.spare,
            "lock": self.locks / "try.lock",
            "trigger": "timer",
        } | settings
        return [*runner_command(PACKAGE), *(f"{key}={value}" for key, value in values.items()), "--", *work]

    def start(self, *work: str, **settings: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command(*work, **settings), stderr=subprocess.PIPE)

    def run(self, *work: str, **settings: object) -> tuple[int, RunRecord]:
        """Run and return the exit code and the one record in done/."""
        code = subprocess.run(self.command(*work, **settings), capture_output=True, check=False).returncode
        return code, self.only("done")

    def only(self, folder: str) -> RunRecord:
        (name,) = self.spool.names(folder)
        record = self.spool.load(folder, name)
        assert isinstance(record, RunRecord)
        return record

    def files(self) -> set[str]:
        return {str(path.relative_to(self.spool.folder)) for path in self.spool.folder.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def running(bench: Bench) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts runs and sees to it that none outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*work: str, **settings: object) -> "subprocess.Popen[bytes]":
        started.append(bench.start(*work, **settings))
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            each.terminate()
        each.communicate(timeout=15)


@pytest.mark.parametrize("code", [0, 1, 3, 75, 126, 127, 137, 255])
def test_the_exit_code_is_stored_and_passed_on(bench: Bench, code: int) -> None:
    returned, record = bench.run("/bin/sh", "-c", f"exit {code}")
    assert (returned, record.exit_code) == (code, code)
    assert record.status is (Status.FAILED if code else Status.SUCCEEDED)
    assert record.reason == (f"exit {code}" if code else "")


def test_a_run_leaves_one_record_and_its_output_and_nothing_else(bench: Bench) -> None:
    _, record = bench.run("/bin/echo", "hello")
    assert bench.files() == {f"done/{record.id}.json", f"output/{record.id}"}
    assert bench.spool.output(record) == "hello\n"
    assert record.output_bytes == 6
    assert record.duration is not None
    assert record.duration < 5
    assert record.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_the_start_is_on_disk_before_the_work(bench: Bench) -> None:
    script = 'cat "$0/running/$ROTA_RUN_ID.json"'
    _, record = bench.run("/bin/sh", "-c", script, str(bench.spool.folder))
    start = parse_record(json.loads(bench.spool.output(record)))
    assert isinstance(start, RunRecord)
    assert (start.id, start.status, start.started) == (record.id, Status.RUNNING, record.started)


def test_the_work_is_told_what_it_is_and_nothing_else_of_ours(bench: Bench) -> None:
    _, record = bench.run("/usr/bin/env")
    ours = {line.split("=")[0] for line in bench.spool.output(record).splitlines() if line.startswith("ROTA_")}
    assert ours == {"ROTA_RUN_ID", "ROTA_TASK", "ROTA_SLOT", "ROTA_ENVIRONMENT", "ROTA_REPORT_FD"}


def test_the_work_is_not_told_what_started_the_unit(bench: Bench) -> None:
    started = {"TRIGGER_UNIT": "x.timer", "TRIGGER_TIMER_REALTIME_USEC": "1", "TRIGGER_TIMER_MONOTONIC_USEC": "1"}
    kept = {"CREDENTIALS_DIRECTORY": "/run/credentials/x", "STATE_DIRECTORY": "/var/lib/x", "OWN": "setting"}
    subprocess.run(bench.command("/usr/bin/env"), env=os.environ | started | kept, check=True)
    told = dict(line.partition("=")[::2] for line in bench.spool.output(bench.only("done")).splitlines())
    assert not told.keys() & started.keys()
    assert {name: told[name] for name in kept} == kept


def test_items_and_counts_are_reported_on_a_descriptor(bench: Bench) -> None:
    lines = [
        '{"item": "a\\"b", "outcome": "done", "message": "ä"}',
        '{"count": "rows", "value": 3}',
        '{"count": "rows", "value": 0.5}',
        "no json",
        '{"count": "rows", "value": "many"}',
        '{"count": "rows", "value": Infinity}',
        "[1]",
    ]
    script = 'printf "%s\\n" "$@" >&"$ROTA_REPORT_FD"'
    _, record = bench.run("/bin/sh", "-c", script, "sh", *lines)
    assert [(item.name, item.outcome, item.message) for item in record.items] == [('a"b', "done", "ä")]
    assert record.counts == {"rows": 3.5, "refused report lines": 4}


TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)
VALUES = TEXTS | TEXTS.map(lambda text: text * 500) | st.none() | st.integers() | st.floats() | st.lists(TEXTS)
ITEMS = st.fixed_dictionaries({"item": VALUES}, optional={"outcome": VALUES, "message": VALUES})
COUNTS = st.fixed_dictionaries({"count": VALUES, "value": VALUES})
LINES = (ITEMS | COUNTS | VALUES).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50)


def end_record(report: bytes) -> RunRecord:
    """The record a runner would write of a run that reported this."""
    words = ["task=try", "host=here", "environment=development", "spool=", "lock=", "--", "true"]
    settings = runner.Settings([*words[:3], "id=01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59", *words[3:]])
    start: dict[str, runner.Field] = dict.fromkeys(("boot_id", "invocation_id", "release", "unit_hash"), "")
    start |= {"host": "here", "environment": "development", "task": "try", "pack": None}
    start |= {"slot": None, "trigger": "timer", "started": runner.now(), "attempt": 1}
    line = runner.record(settings, start, runner.End("failed", "exit 3", 3, 3), None, report)
    record = parse_record(json.loads(line))
    assert isinstance(record, RunRecord)
    return record


@given(st.lists(LINES, max_size=20))
def test_whatever_is_reported_the_record_can_be_read(lines: list[bytes]) -> None:
    assert end_record(b"\n".join(lines)).reason == "exit 3"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("é" * 1500, "é" * 998 + "…"),
        ("", "?"),
        (" ", "?"),
        ("a\udcff", "a?"),
        ("a\0b", "a␀b"),
        ("/long" * 300, "/long" * 300),
    ],
)
def test_an_item_of_any_name_is_kept_as_far_as_a_record_holds_it(name: str, kept: str) -> None:
    record = end_record(json.dumps({"item": name, "outcome": name[:300], "message": name}).encode())
    assert record.items[0].name == kept


def test_more_counts_and_items_than_a_record_holds_are_counted() -> None:
    lines = [{"count": f"count {number}", "value": 1} for number in range(600)]
    lines += [{"item": number} for number in range(10_002)]
    record = end_record("\n".join(map(json.dumps, lines)).encode())
    assert (len(record.counts), record.counts["counts not listed"]) == (499, 103)
    assert (len(record.items), record.counts["items not listed"]) == (10_000, 2)


MANY = """
import os
for number in range(40_000):
    os.write(3, b'{"item": "%0200d", "outcome": "done"}\\n' % number)
os.write(3, b'{"count": "rows", "value": 7}\\n')
"""


def test_of_a_report_of_any_length_every_count_is_kept_and_what_is_not_listed_is_counted(bench: Bench) -> None:
    _, record = bench.run(sys.executable, "-I", "-c", MANY)
    assert record.counts == {"rows": 7, "items not listed": 30_000}
    assert [item.name for item in record.items] == [f"{number:0200d}" for number in range(10_000)]


def test_items_take_no_more_room_than_a_record_has() -> None:
    line = json.dumps({"item": "\N{GRINNING FACE}" * 500}, ensure_ascii=False)
    told = end_record("\n".join([line] * 1_500).encode())
    assert len(json.dumps(as_mapping(told))) < MAX_RECORD
    assert told.counts == {"items not listed": 1_500 - len(told.items)}
    assert len(told.items) > 400


@given(st.lists(LINES, max_size=10), st.lists(LINES, max_size=10), st.integers(0, 5))
def test_a_shortened_report_says_what_the_whole_one_does(before: list[bytes], after: list[bytes], cut: int) -> None:
    whole, rest = b"".join(line + b"\n" for line in before), b"".join(line + b"\n" for line in after)
    kept = runner.shorten(whole + rest[:cut]) + rest[cut:]
    told, right = (list(map(json.loads, runner.read_report(report))) for report in (kept, whole + rest))
    assert told == right


def test_a_line_without_end_is_refused_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    report = b""
    for _ in range(5):
        report = runner.shorten(report + b"x" * runner.KEEP)
    assert end_record(report + b"x\n").counts == {"refused report lines": 1}


def test_no_report_costs_the_end_record(bench: Bench) -> None:
    deep = "import os; os.write(3, b'[' * 60_000 + b'\\n'); raise SystemExit(3)"
    code, record = bench.run(sys.executable, "-I", "-c", deep)
    assert (code, record.exit_code, record.counts) == (3, 3, {"refused report lines": 1})


def test_a_report_that_cannot_be_read_at_all_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(report: bytes) -> tuple[str, str]:
        raise MemoryError

    monkeypatch.setattr(runner, "read_report", run_out)
    assert end_record(b"1\n2\n").counts == {"refused report lines": 2}


def test_the_runner_and_the_record_agree_on_the_limits() -> None:
    for limit in ("MAX_ITEMS", "MAX_COUNTS", "MAX_TEXT", "MAX_NAME", "MAX_COUNT_NAME"):
        assert getattr(runner, limit) == getattr(record_format, limit), limit
    assert runner.KEEP == record_format.KEEP_BYTES


def test_a_reason_is_no_longer_than_a_record_holds(bench: Bench) -> None:
    _, record = bench.run("/" + "x" * 3_000)
    assert "File name too long" in record.reason


def test_a_signal_is_named(bench: Bench) -> None:
    code, record = bench.run("/bin/sh", "-c", "kill -SEGV $$")
    assert (code, record.signal, record.reason) == (139, 11, "signal 11 (SEGV)")
    assert record.exit_code is None


@pytest.mark.parametrize(("program", "code"), [("/no/such", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_started_fails_as_a_shell_says_it(bench: Bench, program: str, code: int) -> None:
    returned, record = bench.run(program)
    assert (returned, record.exit_code, record.status) == (code, code, Status.FAILED)
    assert program in record.reason


def test_a_run_beyond_its_time_is_ended_with_all_its_children(bench: Bench) -> None:
    code, record = bench.run("/bin/sh", "-c", "trap '' TERM; sleep 60 & echo $!; sleep 60", timeout=0.2, grace=0.2)
    assert (code, record.status, record.reason) == (124, Status.FAILED, "timeout")
    child = int(bench.spool.output(record))
    wait_until(lambda: is_gone(child))


def test_a_run_that_heeds_the_timeout_still_failed(bench: Bench) -> None:
    code, record = bench.run("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait", timeout=0.2, grace=5)
    assert (code, record.status, record.reason, record.exit_code) == (124, Status.FAILED, "timeout", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_forwarded_and_recorded(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"], number: int
) -> None:
    run = running("/bin/sleep", "60")
    wait_until(lambda: bench.spool.names("running"))
    run.send_signal(number)
    assert run.wait(timeout=10) == 143
    assert bench.only("done").reason == "stopped"


def test_a_stop_that_is_ignored_is_enforced_after_the_grace(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    run = running("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done", grace=0.2)
    wait_until(lambda: "ready" in "".join(path.read_text() for path in (bench.spool.folder / "output").iterdir()))
    run.terminate()
    assert run.wait(timeout=10) == 143
    assert bench.only("done").signal == signal.SIGKILL


def test_processes_left_behind_are_ended_and_told(bench: Bench) -> None:
    code, record = bench.run("/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
    assert (code, record.status, record.reason) == (0, Status.SUCCEEDED, "left processes behind")
    wait_until(lambda: is_gone(int(bench.spool.output(record))))


@pytest.mark.parametrize("trap", ["mkfifo", "mkdir", "ln -s /etc/passwd"])
def test_what_the_work_puts_in_the_place_of_its_end_record_does_not_keep_the_runner(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"], trap: str
) -> None:
    script = (
        f'beside="$0/tmp/$ROTA_RUN_ID.end.json"; while ! rm "$beside"; do sleep 0.01; done; {trap} "$beside"; exit 3'
    )
    run = running("/bin/sh", "-c", script, str(bench.spool.folder))
    assert run.wait(timeout=20) == 3
    bench.spool.take_spare()
    assert bench.only("done").exit_code == 3


def test_a_second_run_is_skipped_while_the_first_holds_the_lock(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    running("/bin/sleep", "60")
    wait_until(lambda: bench.spool.names("running"))
    code, record = bench.run("/bin/true")
    assert (code, record.status, record.reason) == (75, Status.SKIPPED, "locked")
    assert record.exit_code is None


def test_a_report_is_a_file_that_the_agent_may_read_while_the_run_goes_on(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    before = os.umask(0o077)
    try:
        line = '{"count": "rows", "value": 3}'
        process = running("/bin/sh", "-c", f"echo '{line}' >&3; exec sleep 60")
    finally:
        os.umask(before)
    reports = bench.spool.folder / "tmp"
    wait_until(lambda: [path for path in reports.glob("*.report") if path.stat().st_size])
    (path,) = reports.glob("*.report")
    assert (path.read_text(), path.stat().st_mode & 0o777) == (f"{line}\n", 0o640)
    process.terminate()
    process.wait(timeout=15)
    assert not path.exists()
    assert bench.only("done").counts == {"rows": 3}


def test_a_run_may_wait_for_the_lock(bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]) -> None:
    first = running("/bin/sleep", "0.5")
    wait_until(lambda: bench.spool.names("running"))
    assert subprocess.run(bench.command("/bin/true", lock_wait=10), check=False).returncode == 0
    assert first.wait(timeout=10) == 0


def test_of_many_concurrent_runs_exactly_one_works_at_a_time(bench: Bench, tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/alone || exit 9; sleep 0.02; rmdir {tmp_path}/alone"

    def one(_: int) -> int:
        command = bench.command("/bin/sh", "-c", script)
        return subprocess.run(command, check=False, capture_output=True).returncode

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(one, range(40)))
    assert set(codes) <= {0, 75}
    assert codes.count(0) >= 1
    assert len(bench.spool.names("done")) == 40


def test_a_killed_runner_leaves_its_start_record_frees_the_lock_and_leaves_no_half_file(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    run = running("/bin/sh", "-c", "echo $$; exec sleep 60")
    wait_until(lambda: any(path.stat().st_size for path in (bench.spool.folder / "output").iterdir()))
    record = bench.only("running")
    run.kill()
    run.wait(timeout=10)
    os.kill(int(bench.spool.output(record)), signal.SIGKILL)
    assert bench.only("running").status is Status.RUNNING
    assert bench.spool.names("done") == []
    assert bench.run("/bin/true")[0] == 0


def test_200_runs_16_at_a_time_leave_200_records(bench: Bench) -> None:
    def one(number: int) -> int:
        command = bench.command("/bin/true", lock=bench.locks / f"{number % 16}.lock", lock_wait=60)
        return subprocess.run(command, check=False, capture_output=True).returncode

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(one, range(200))) == {0}
    records = list(bench.spool.records("done"))
    assert len(records) == 200
    assert {record.status for record in records} == {Status.SUCCEEDED}
    assert bench.spool.names("running") == []
    assert list((bench.spool.folder / "tmp").iterdir()) == []


WRITE = "import sys; w = sys.stdout.buffer.write"


@pytest.mark.parametrize(
    ("program", "size"),
    [
        (f"{WRITE}; [w(b'x' * 1_000_000) for _ in range(200)]", 200_000_000),
        (f"{WRITE}; [w(b'line\\n') for _ in range(100_000)]", 500_000),
        (f"{WRITE}; w(b'\\0' * 300_000)", 300_000),
        (f"{WRITE}; w(bytes(range(256)) * 2_000)", 512_000),
        (f"{WRITE}; w(b'\\xc3' * 200_000)", 200_000),
    ],
    ids=["200 MB on one line", "100,000 lines", "NUL bytes", "every byte", "broken UTF-8"],
)
def test_head_and_tail_of_any_output_are_kept_and_the_middle_is_counted(bench: Bench, program: str, size: int) -> None:
    code, record = bench.run(sys.executable, "-I", "-c", program)
    kept = (bench.spool.folder / "output" / str(record.id)).read_bytes()
    assert code == 0
    assert (record.output_bytes, record.output_dropped) == (size, size - 2 * KEEP)
    assert len(kept) == 2 * KEEP
    shipped = bench.spool.output(record)
    parse_record(as_shipped(record, shipped))
    assert f"[… {size - 2 * KEEP} bytes are not kept …]" in shipped


def test_the_runner_s_memory_is_flat_whatever_the_output(bench: Bench) -> None:
    script = 'head -c 300000000 /dev/zero; echo; cat "/proc/$PPID/status"'
    _, record = bench.run("/bin/sh", "-c", script)
    bare = [*PYTHON, "-c", "print(open('/proc/self/status').read())"]
    idle = subprocess.run(bare, capture_output=True, text=True, check=True).stdout
    status = bench.spool.output(record)
    assert kilobytes(status, "VmHWM") < 12_000
    # Of its own; the rest is the interpreter's file, of which each run maps a little more or less. Some 300.
    assert kilobytes(status, "RssAnon") - kilobytes(idle, "RssAnon") < 600


def kilobytes(status: str, name: str) -> int:
    return int(status.rsplit(f"{name}:", 1)[1].split()[0])


def test_the_work_may_print_far_ahead_of_the_runner(
    tmp_path: Path, bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    script = 'kill -STOP $PPID; head -c 200000 /dev/zero; : > "$0"'
    process = running("/bin/sh", "-c", script, str(tmp_path / "printed"))
    wait_until((tmp_path / "printed").exists)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=15) == 0
    assert bench.only("done").output_bytes == 200_000


@given(chunks=st.lists(st.binary(max_size=3 * KEEP), max_size=40), count=st.integers(1, 40))
def test_the_kept_output_is_exactly_the_head_and_the_tail(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], count: int
) -> None:
    whole = b"".join(chunks * count)
    path = tmp_path_factory.mktemp("output") / "output"
    output = runner.Output(str(path), is_echoing=False)
    for chunk in chunks * count:
        output.add(memoryview(chunk))
        assert path.stat().st_size <= 2 * KEEP + runner.SLACK + len(chunk)
    output.drop_middle()
    os.close(output.file)
    kept = path.read_bytes()
    assert kept == (whole if len(whole) <= 2 * KEEP else whole[:KEEP] + whole[-KEEP:])
    assert output.seen - output.stored == len(whole) - len(kept)


@given(content=st.binary(max_size=2 * KEEP), dropped=st.integers(0, 10**12))
def test_any_kept_output_can_be_shipped(content: bytes, dropped: int) -> None:
    text = join_output(content, dropped)
    assert "\0" not in text
    assert len(text.encode()) <= 2 * KEEP + 200


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ids_are_uuids_of_version_7_and_sort_by_time(milliseconds: int, random: bytes) -> None:
    identifier = UUID(runner.make_identifier(milliseconds, random))
    assert (identifier.version, identifier.variant) == (7, "specified in RFC 4122")
    assert identifier.int >> 80 == milliseconds


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Po"])))
def test_any_text_is_quoted_as_json_reads_it(text: str) -> None:
    expected = "".join("\N{REPLACEMENT CHARACTER}" if 0xD800 <= ord(each) < 0xE000 else each for each in text)
    assert json.loads(runner.quote(text)) == expected


def test_a_run_keeps_to_the_release_it_began_with(bench: Bench, tmp_path: Path) -> None:
    old = tmp_path / "releases" / "old"
    old.mkdir(parents=True)
    current = tmp_path / "current"
    current.symlink_to(old)
    _, record = bench.run("/bin/echo", f"{current}/venv/bin/x", "other", current=current)
    assert bench.spool.output(record) == f"{old}/venv/bin/x other\n"
    assert record.release == "old"


def test_a_fresh_request_names_the_run_and_says_that_it_was_started_by_hand(bench: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\n")
    _, record = bench.run("/bin/true", request=request)
    assert (str(record.id), record.trigger) == ("01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59", "manual")


def test_what_a_request_asks_for_reaches_the_work_and_the_record(bench: Bench, tmp_path: Path) -> None:
    slot = datetime(2025, 7, 14, 1, 10, tzinfo=UTC)
    request = Request(
        id="01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59",
        trigger=Trigger.CATCH_UP,
        slot=slot,
        asked_by='anna "the second"',
        parameters={"items": ["Alpha", "Beta gamma"], "full": True, "limit": 2.5, "note": "two\nlines"},
        environment={"ROTA_PARAM_ITEMS": "Alpha\nBeta gamma", "ROTA_PARAM_NOTE": "", "OTHER": "a=b  c\n\n d"},
        arguments=("--dry-run", "", "last word\n"),
        is_dry_run=True,
        is_attended=True,
    )
    path = tmp_path / "request"
    path.write_text(request.text)
    watching = path.open()
    fcntl.flock(watching, fcntl.LOCK_EX)
    script = 'printf "%s|" "$ROTA_PARAM_ITEMS" "${ROTA_PARAM_NOTE-unset}" "$OTHER" "$ROTA_SLOT" "$@"'
    _, record = bench.run("/bin/sh", "-c", script, "sh", "first", request=path)
    said = bench.spool.output(record).split("|")
    assert said[:3] == ["Alpha\nBeta gamma", "", "a=b  c\n\n d"]
    assert said[3:] == ["2025-07-14T01:10:00.000000Z", "first", "--dry-run", "", "last word\n", ""]
    assert (record.trigger, record.slot, record.asked_by) == (request.trigger, slot, request.asked_by)
    assert (record.parameters, record.dry_run, record.attended) == (request.parameters, True, True)


def test_a_request_that_was_used_or_is_old_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\n")
    for _ in range(2):
        subprocess.run(bench.command("/bin/true", request=request), check=True)
    assert len(bench.spool.names("done")) == 2
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a60\n")
    os.utime(request, (0, 0))
    subprocess.run(bench.command("/bin/true", request=request), check=True)
    assert "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a60" not in bench.spool.names("done")


@pytest.mark.parametrize("is_skipped", [False, True])
def test_a_request_is_used_once_though_the_record_has_been_shipped(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path, is_skipped: bool
) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\n")
    if is_skipped:
        running("/bin/sleep", "60")
        wait_until(lambda: bench.spool.names("running"))
    bench.run("/bin/true", request=request)
    bench.spool.acknowledge("01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59")
    _, second = bench.run("/bin/true", request=request)
    assert str(second.id) != "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59"
    assert bench.spool.output(second) == ""
    assert second.trigger == "timer"


def test_a_spool_that_is_gone_changes_nothing_for_the_work_and_its_record_goes_to_the_spare(
    bench: Bench, tmp_path: Path
) -> None:
    code = subprocess.run(
        bench.command("/bin/sh", "-c", "exit 3", spool=tmp_path / "nowhere"), check=False, capture_output=True
    ).returncode
    assert code == 3
    assert bench.spool.take_spare() == (1, 0)
    assert bench.only("done").reason == "exit 3"


def test_without_a_lock_there_is_no_work(bench: Bench, tmp_path: Path) -> None:
    code, record = bench.run("/bin/touch", str(tmp_path / "worked"), lock=tmp_path / "nowhere" / "lock")
    assert (code, record.status) == (73, Status.FAILED)
    assert record.reason.startswith("cannot take the lock")
    assert not (tmp_path / "worked").exists()


def test_a_leftover_in_a_session_of_its_own_is_found_by_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = "/system.slice/rota-task-try.service"
    files = {
        "/proc/self/cgroup": f"1:name=systemd:{unit}\n0::{unit}",
        f"/sys/fs/cgroup{unit}/cgroup.procs": f"{os.getpid()}\n4194300\n",
    }
    monkeypatch.setattr(runner, "read_text", lambda path, most=0: files.get(path, ""))
    assert runner.unit_groups("try") == []
    monkeypatch.setattr(runner, "environment", lambda name: "f" * 32)
    assert runner.unit_processes(runner.unit_groups("try")) == [4194300]
    assert runner.unit_groups("other") == []


def test_what_is_killed_for_want_of_memory_is_told_of_this_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "/sys/fs/cgroup/system.slice/rota-task-try.service"
    events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill {}\noom_group_kill 9\n"
    counts = iter((1, 2))
    monkeypatch.setattr(
        runner, "read_text", lambda path: events.format(next(counts)) if path.startswith(folder) else ""
    )
    before = runner.count_killed([folder, "/sys/fs/cgroup/systemd/elsewhere"])
    assert (before, runner.count_killed([folder])) == (1, 2)
    killed = runner.judge(9, "", is_short_of_memory=True)
    assert (killed.status, killed.reason, killed.returned) == ("failed", "out of memory", 137)
    assert runner.judge(9, "", is_short_of_memory=False).reason == "signal 9 (KILL)"
    assert runner.judge(3 << 8, "stopped", is_short_of_memory=True).reason == "stopped"


def test_a_success_that_cost_a_process_for_want_of_memory_is_suspicious(bench: Bench) -> None:
    """The kernel cannot be made to kill here; docs/faults.md tells of the trial under a kernel of its own."""
    settings = runner.Settings(bench.command("true")[bench.command("true").index("-c") + 2 :])
    end = runner.judge(0, "", is_short_of_memory=True)
    told = runner.consider(settings, end, runner.Output(str(bench.spool.folder / "output/x"), is_echoing=False), b"")
    assert (end.status, told) == ("succeeded", f',"unexpected":["{runner.SHORT_OF_MEMORY}"]')


SHIELDED = """
from pathlib import Path
from rota import runner
score = Path("/proc/self/oom_score_adj")
runner.take_up_shield(runner.lay_down_shield())
print(score.read_text(), end="")
runner.SHIELD = b"500\\n"  # which anybody may take up
score.write_bytes(runner.SHIELD)
file = runner.lay_down_shield()
print(score.read_text(), end="")
runner.take_up_shield(file)
print(score.read_text(), end="")
"""


def test_the_runner_lays_its_shield_down_while_the_work_is_started_and_no_other() -> None:
    before = Path("/proc/self/oom_score_adj").read_text()
    environ = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    said = subprocess.run([sys.executable, "-c", SHIELDED], env=environ, capture_output=True, text=True, check=True)
    assert said.stdout == f"{before}0\n500\n"


def is_gone(process: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True


def as_shipped(record: RunRecord, output: str) -> dict[str, Any]:
    return as_mapping(replace(record, output=output))


def test_a_watching_task_works_only_while_something_waits(bench: Bench, tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    for folder in (empty, full):
        folder.mkdir()
    command = bench.command("/bin/true", trigger="timer", watch=f"{empty}\n{full}")
    assert subprocess.run(command, check=False).returncode == 0
    assert list(bench.spool.names("done")) == []
    (full / "a file").touch()
    assert bench.run("/bin/true", trigger="timer", watch=f"{empty}\n{full}")[1].trigger == "path"

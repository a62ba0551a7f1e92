"""Laws of retries and expectations, tried on the real runner."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.core.expectation import read_expectations
from rota.core.fields import FIELDS
from rota.core.plan import Plan, Planned, write_plan
from rota.core.record import RunRecord
from rota.core.retry import Retry, read_retry
from rota.core.status import Status, Trigger
from tests.agent.test_runner import Bench, bench, running
from tests.agent.waiting import wait_until

__all__ = ["bench", "running"]


def records(bench: Bench) -> list[RunRecord]:
    found = [record for record in bench.spool.records("done") if isinstance(record, RunRecord)]
    return sorted(found, key=lambda record: record.attempt)


FAIL_TWICE = 'echo again >> "$0"; echo "$ROTA_RUN_ID"; test $(wc -l < "$0") -gt 2'


def test_a_failed_run_is_tried_again_and_every_attempt_has_a_record(bench: Bench, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    slot = datetime.now(UTC).replace(microsecond=0)
    plan.write_text(write_plan(Plan(slots=(Planned(slot), Planned(slot + timedelta(hours=1))))))
    command = bench.command("/bin/sh", "-c", FAIL_TWICE, str(tmp_path / "tries"), plan=plan, retry="0.1,0.2,0.4")
    assert subprocess.run(command, check=False).returncode == 0
    first, second, third = found = records(bench)
    assert [each.status for each in found] == [Status.FAILED, Status.FAILED, Status.SUCCEEDED]
    assert [each.attempt for each in found] == [1, 2, 3]
    assert [each.trigger for each in found] == [Trigger.TIMER, Trigger.RETRY, Trigger.RETRY]
    assert {each.slot for each in found} == {slot}
    assert len({each.id for each in found}) == 3
    assert [bench.spool.output(each).strip() for each in found] == [str(each.id) for each in found]
    for before, after, wait in ((first, second, 0.1), (second, third, 0.2)):
        assert before.ended is not None
        assert before.retry_at is not None
        assert (before.retry_at - before.ended).total_seconds() == pytest.approx(wait, abs=0.05)
        assert after.started >= before.retry_at
    assert third.retry_at is None
    assert bench.spool.names("running") == []


def test_the_last_attempt_s_failure_is_the_run_s(bench: Bench) -> None:
    assert subprocess.run(bench.command("/bin/sh", "-c", "exit 3", retry="0,0"), check=False).returncode == 3
    assert [bool(each.retry_at) for each in records(bench)] == [True, True, False]


def test_no_attempt_begins_after_the_next_slot_or_goes_on_beyond_it(bench: Bench, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    write_slots(plan, 0, 30)
    subprocess.run(bench.command("/bin/false", plan=plan, retry="60"), check=False)
    (record,) = records(bench)
    assert (record.trigger, record.retry_at) == (Trigger.TIMER, None)
    bench.spool.acknowledge(str(record.id))
    write_slots(plan, 0, 8)
    slot = datetime.now(UTC) + timedelta(seconds=7)
    script = 'trap "" TERM; test -e "$0" && sleep 60; touch "$0"; exit 1'
    command = bench.command("/bin/sh", "-c", script, str(tmp_path / "tried"), plan=plan, retry="0", grace=2)
    subprocess.run(command, check=False)
    assert datetime.now(UTC) < slot  # whose start finds the unit at rest
    assert [each.reason for each in records(bench)] == ["exit 1", "timeout"]


def test_an_attempt_that_could_not_be_over_before_the_next_slot_does_not_begin(bench: Bench, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    write_slots(plan, 0, 20)
    _, record = bench.run("/bin/false", plan=plan, retry="1", grace=30)
    assert (record.trigger, record.retry_at) == (Trigger.TIMER, None)


def write_slots(plan: Path, *seconds: int) -> None:
    now = datetime.now(UTC)
    plan.write_text(write_plan(Plan(slots=tuple(Planned(now + timedelta(seconds=each)) for each in seconds))))


def test_a_run_by_hand_is_tried_once(bench: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\nattended yes\n")
    with request.open() as watching:
        fcntl.flock(watching, fcntl.LOCK_EX)
        _, record = bench.run("/bin/false", request=request, retry="0,0")
    assert (record.retry_at, record.attended) == (None, True)


def test_the_lock_is_held_until_the_last_attempt_and_the_first_is_over(
    bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    run = running("/bin/false", retry="60")
    wait_until(lambda: bench.spool.names("done"))
    other = subprocess.run(bench.command("/bin/true"), capture_output=True, check=False)
    assert other.returncode == 75
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=10) == 143
    told = {(each.attempt, each.status, each.reason) for each in records(bench)}
    assert told == {(1, Status.FAILED, "exit 1"), (1, Status.SKIPPED, "locked"), (2, Status.FAILED, "stopped")}


def test_a_stopped_run_is_not_tried_again(bench: Bench, running: Callable[..., "subprocess.Popen[bytes]"]) -> None:
    run = running("/bin/sleep", "60", retry="0,0")
    wait_until(lambda: bench.spool.names("running"))
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=10)
    (record,) = records(bench)
    assert (record.reason, record.retry_at) == ("stopped", None)


def test_the_waits_of_a_retry_grow_up_to_the_longest() -> None:
    retry = read_retry({"times": 6, "wait": "1min", "factor": 2, "longest": "10min"})
    assert retry.argument == "60,120,240,480,600,600"
    assert retry.total == timedelta(seconds=2100)
    assert read_retry(3) == Retry(times=3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("often", "a number of times from 1 to 100"),
        (0, "a number of times from 1 to 100"),
        ({"wait": "1min"}, "a number of times from 1 to 100, or a mapping with times"),
        ({"times": 3, "factr": 2}, "'factr' is unknown, did you mean 'factor'?"),
        ({"times": 3, "factor": 0.5}, "factor is a number from 1 to 100"),
        ({"times": 3, "wait": "soon"}, "a duration like 90s"),
    ],
)
def test_a_wrong_retry_is_refused(value: object, expected: str) -> None:
    with pytest.raises(ValueError, match="a ") as caught:
        FIELDS["retry"].read(value)
    assert expected in str(caught.value)


def expect(bounds: dict[str, object]) -> str:
    return ";".join(each.argument for each in read_expectations(bounds))


ROWS = 'printf "%s" "$0"; echo "{\\"count\\": \\"rows\\", \\"value\\": $1}" >&3'


@pytest.mark.parametrize(
    ("bounds", "rows", "expected"),
    [
        ({"rows": ">0"}, 0, ["rows is 0; expected >0"]),
        ({"rows": ">0"}, 1, []),
        ({"rows": [">= 10", "<20"]}, 20, ["rows is 20; expected <20"]),
        ({"rows": 3}, 4, ["rows is 4; expected =3"]),
        ({"rows": "<=4.5"}, 4, []),
        ({"rows": ">=0.5x median"}, 40, ["rows is 40; expected >=0.5x median (100)"]),
        ({"rows": ">=0.5x median"}, 60, []),
        ({"duration": "<3x median"}, 1, []),
        ({"duration": ">1h"}, 1, ["expected >1h"]),
        ({"duration": ">2x median"}, 1, ["expected >2x median (30 s)"]),
        ({"other": "<3x median"}, 1, []),
        ({"lost files": "<1"}, 1, ["lost files was not reported; expected <1"]),
        ({"output_bytes": ">0", "items": ">0"}, 1, ["items is 0; expected >0"]),
    ],
)
def test_a_success_that_is_not_as_expected_says_so(
    bench: Bench, tmp_path: Path, bounds: dict[str, object], rows: int, expected: list[str]
) -> None:
    (tmp_path / "plan").write_text(write_plan(Plan(medians={"rows": 100, "duration": 30})))
    work = ("/bin/sh", "-c", ROWS, "hello", str(rows))
    code, record = bench.run(*work, expect=expect(bounds), plan=tmp_path / "plan")
    assert (code, record.status) == (0, Status.SUCCEEDED)
    assert len(record.unexpected) == len(expected)
    for told, right in zip(record.unexpected, expected, strict=True):
        assert told.endswith(right)


def test_of_a_failure_nothing_is_expected(bench: Bench) -> None:
    _, record = bench.run("/bin/false", expect=expect({"output_bytes": ">0"}))
    assert record.unexpected == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("rows", 'a mapping of names to bounds like ">0"'),
        ({"rows": "many"}, "that of rows is 'many'"),
        ({"rows": "> many"}, "that of rows is 'many'"),
        ({"rows": ">10min"}, "that of rows is '10min'"),
        ({"rows": True}, "that of rows is True"),
        ({"rows": ">nan"}, "that of rows is 'nan'"),
        ({"duration": "<soon"}, "a duration like 90s"),
        ({"a;b": ">0"}, "'a;b' is not"),
        ({3: ">0"}, "3 is not"),
    ],
)
def test_a_wrong_expectation_is_refused(value: object, expected: str) -> None:
    with pytest.raises(ValueError, match="a ") as caught:
        FIELDS["expect"].read(value)
    assert expected in str(caught.value)


def test_what_is_used_rarely_is_not_even_imported_by_a_plain_run(bench: Bench) -> None:
    script = 'tr "\\0" "\\n" < /proc/$PPID/maps; cat /proc/$PPID/maps'
    command = bench.command("/bin/sh", "-c", script)
    traced = [*command[:1], "-X", "importtime", *command[1:]]
    said = subprocess.run(traced, capture_output=True, text=True, check=True, env=os.environ).stderr
    imported = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
    after = {name for name in imported if name.startswith("runner")} | (imported & {"json", "re", "os", "typing"})
    assert after == {"runner"}


def test_a_moment_of_the_next_attempt_is_told_as_json(bench: Bench) -> None:
    before = time.time()
    subprocess.run(bench.command("/bin/false", retry="0"), check=False)
    lines = [(bench.spool.folder / "done" / f"{name}.json").read_text() for name in bench.spool.names("done")]
    told = [json.loads(line).get("retry_at") for line in lines]
    assert sum(each is not None for each in told) == 1
    assert any(each and datetime.fromisoformat(each).timestamp() >= before for each in told)


def test_each_attempt_has_its_own_processor_time(bench: Bench, tmp_path: Path) -> None:
    script = 'test -e "$0" && exit 0; touch "$0"; i=0; while test $i -lt 300000; do i=$((i + 1)); done; exit 1'
    subprocess.run(bench.command("/bin/sh", "-c", script, str(tmp_path / "tried"), retry="0"), check=False)
    first, second = records(bench)
    assert first.cpu is not None
    assert second.cpu is not None
    assert second.cpu < first.cpu / 2

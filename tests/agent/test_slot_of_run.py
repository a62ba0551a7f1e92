"""Laws of a run's slot: which it is, and what becomes of one that is not to run."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota import runner, runner_due
from rota.core.needed import NEVER, is_due
from rota.core.plan import Plan, Planned, write_plan
from rota.core.record import RunRecord
from rota.core.status import Status, Trigger
from tests.agent.test_runner import Bench, bench

__all__ = ["bench"]

TIMER = "TRIGGER_TIMER_REALTIME_USEC"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def write(path: Path, *slots: tuple[timedelta, str]) -> datetime:
    """A plan of these slots, as far from now; returns now."""
    moment = now()
    path.write_text(write_plan(Plan(slots=tuple(Planned(moment + away, reason) for away, reason in slots))))
    return moment


def run(bench: Bench, plan: Path, environ: dict[str, str] | None = None, **settings: object) -> tuple[int, RunRecord]:
    command = bench.command("/bin/true", plan=plan, **settings)
    code = subprocess.run(command, capture_output=True, check=False, env=os.environ | (environ or {})).returncode
    return code, bench.only("done")


HOUR = timedelta(hours=1)


def test_the_slot_is_the_latest_of_the_plan(bench: Bench, tmp_path: Path) -> None:
    moment = write(tmp_path / "plan", (-HOUR, ""), (-timedelta(seconds=2), ""), (HOUR, "paused"))
    _, record = run(bench, tmp_path / "plan")
    assert (record.trigger, record.slot) == (Trigger.TIMER, moment - timedelta(seconds=2))
    assert record.status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("slot", "spread", "told", "is_found"),
    [
        (-50, 0, None, True),
        (-70, 0, None, False),
        (-70, 20, None, True),
        (-300, 0, -299, True),
        (-300, 0, -3600, False),
    ],
)
def test_a_start_long_after_its_slot_is_by_hand_unless_the_timer_says_otherwise(
    bench: Bench, tmp_path: Path, slot: int, spread: int, told: int | None, is_found: bool
) -> None:
    moment = write(tmp_path / "plan", (timedelta(seconds=slot), ""), (HOUR, ""))
    environ = {TIMER: str(int((moment.timestamp() + told) * 1e6))} if told else {}
    _, record = run(bench, tmp_path / "plan", environ, spread=spread)
    found = (Trigger.TIMER, moment + timedelta(seconds=slot)) if is_found else (Trigger.MANUAL, None)
    assert (record.trigger, record.slot) == found


@pytest.mark.parametrize("reason", ["excepted: 2026-12-25", "paused: until resumed by anna, ☃ über"])
def test_a_slot_that_is_not_to_run_leaves_a_record_with_its_reason_and_fails_nothing(
    bench: Bench, tmp_path: Path, reason: str
) -> None:
    moment = write(tmp_path / "plan", (timedelta(), reason))
    code, record = run(bench, tmp_path / "plan")
    assert (code, record.status, record.reason) == (0, Status.SKIPPED, reason)
    assert record.slot == moment
    assert record.duration is None


def test_a_start_by_hand_goes_ahead_while_its_slots_are_barred(bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "plan", (timedelta(), "paused: until resumed by anna"))
    (tmp_path / "request").write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\n")
    _, record = run(bench, tmp_path / "plan", request=tmp_path / "request")
    assert (record.status, record.trigger, record.slot) == (Status.SUCCEEDED, Trigger.MANUAL, None)


def test_a_timer_that_repeats_itself_after_the_clock_was_set_back_has_no_slot(bench: Bench, tmp_path: Path) -> None:
    moment = write(tmp_path / "plan", (-2 * HOUR, ""), (HOUR, ""))
    _, record = run(bench, tmp_path / "plan", {TIMER: str(int(moment.timestamp() * 1e6))})
    assert (record.trigger, record.slot) == (Trigger.TIMER, None)


def test_what_is_not_planned_has_no_slot(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("# median duration 4\n")
    for path in (tmp_path / "none", tmp_path / "plan"):
        _, record = run(bench, path)
        assert (record.trigger, record.slot) == (Trigger.TIMER, None)
        bench.spool.acknowledge(str(record.id))


def test_what_a_path_unit_starts_has_no_slot(bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "plan", (timedelta(), "paused"))
    _, record = run(bench, tmp_path / "plan", {"TRIGGER_UNIT": "rota-task-try.path"})
    assert (record.trigger, record.slot, record.status) == (Trigger.PATH, None, Status.SUCCEEDED)


REASONS = st.sampled_from(["", "paused: until 2026-12-01 08:00 UTC by ana, moving", "daylight saving: ä" * 30])


@given(st.lists(st.tuples(st.integers(1, 600), REASONS), max_size=1500), st.integers(0, 600_000))
def test_the_runner_reads_any_plan_as_the_planner_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]], later: int
) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    slots, moment = [], first
    for step, reason in steps:
        moment += timedelta(seconds=step)
        slots.append(Planned(moment, " ".join(reason.split())))
    path = tmp_path_factory.mktemp("plan") / "plan"
    path.write_text(write_plan(Plan(slots=tuple(slots), medians={"rows": 3.5}, basis="0" * 12)))
    asked = first + timedelta(seconds=later)
    line, following = runner.lines_around(str(path), f"{int(asked.timestamp()):010d}")
    expected = [slot for slot in slots if slot.moment <= asked]
    told = (int(line[:10]), line[11:]) if line else None
    assert told == ((int(expected[-1].moment.timestamp()), expected[-1].reason) if expected else None)
    assert bool(following) == (len(expected) < len(slots))


def test_a_task_needed_every_so_often_runs_when_its_last_success_is_older(bench: Bench, tmp_path: Path) -> None:
    success = tmp_path / "success"
    success.write_text(NEVER)
    settings = {"every": 3600, "success": success}

    def runs(*work: str) -> int:
        subprocess.run(bench.command(*work, **settings), capture_output=True, check=False)
        return len(bench.spool.names("done"))

    assert runs("/bin/true") == 1
    assert not is_due(success.read_text(), datetime.now(UTC), every=HOUR)
    assert runs("/bin/true") == 1
    age(success, succeeded=3601)
    assert is_due(success.read_text(), datetime.now(UTC), every=HOUR)
    assert runs("/bin/false") == 2
    assert runs("/bin/true") == 3
    age(success, succeeded=-60)
    assert runs("/bin/true") == 4


def test_after_a_failure_the_longest_wait_of_the_retries_goes_by_first(tmp_path: Path) -> None:
    path = tmp_path / "success"
    for failed, is_due_now in ((599, False), (601, True), (-60, True)):
        age(path, succeeded=3601, failed=failed)
        assert runner_due.is_due(str(path), 3600, 600) is is_due_now


def age(path: Path, *, succeeded: int, failed: int = 10**9) -> None:
    moment = int(datetime.now(UTC).timestamp())
    path.write_text(f"{moment - succeeded:010d} {moment - failed:010d}\n")


def test_a_broken_or_missing_note_makes_a_task_due(tmp_path: Path) -> None:
    for content in ("", "x", "1 2 3", "\0" * 22):
        (tmp_path / "success").write_text(content)
        assert runner_due.is_due(str(tmp_path / "success"), 60, 0)
    assert runner_due.is_due(str(tmp_path / "none"), 60, 0)
    runner_due.note(str(tmp_path / "none"), "succeeded")


def test_a_dry_run_is_no_success(bench: Bench, tmp_path: Path) -> None:
    success, request = tmp_path / "success", tmp_path / "request"
    success.write_text(NEVER)
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\ndry_run yes\n")
    bench.run("/bin/true", every=60, success=success, request=request)
    assert success.read_text() == NEVER

"""Laws of a task's history: every run counts once, whenever its record comes, and little is kept of many."""

import json
import os
import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.adapters.spool import Spool
from rota.adapters.standings import Standings, parse_standing, plain_standing
from rota.core.expectation import read_expectations, usual_names
from rota.core.history import DAYS, LATEST, Days, Standing, Tally, follow, median, success_rate, tally_within
from rota.core.record import RunRecord
from rota.core.status import Status
from tests.agent.records import START, make_run, make_running

NOW = START + timedelta(days=30)
DAY = timedelta(days=1)
ENDS = ("succeeded", "failed", "skipped", "lost")


def run_at(moment: datetime, status: str = "succeeded", **changes: Any) -> RunRecord:
    digits = f"{int(moment.timestamp() * 1000):012x}"
    changes = {"id": f"{digits[:8]}-{digits[8:]}-7000-8000-{os.urandom(6).hex()}"} | changes
    return make_run(status=status, started=moment.isoformat(), ended=moment.isoformat(), **changes)


def after(*runs: RunRecord, now: datetime = NOW, counted: tuple[str, ...] = ()) -> Standing:
    standing: Standing | None = None
    for run in runs:
        standing = follow(standing, run, now=now, counted=counted)
    assert standing is not None
    return standing


class Host:
    """A spool, and what is remembered of it."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool", folder / "spare")
        self.spool.make()
        self.memory = Standings(folder / "alerts")
        self.memory.make()

    def look(self, now: datetime = NOW) -> Tally:
        news = self.memory.look(self.spool, now=now)
        self.memory.keep_news(news)
        assert self.memory.load() == news.standings
        return sum((standing.total for standing in news.standings.values()), Tally())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# -- one run after another


def test_the_latest_run_and_the_latest_success_are_remembered() -> None:
    good, bad = run_at(START), run_at(START + DAY, "failed", reason="exit 3")
    standing = after(good, bad)
    assert standing.latest
    assert standing.success
    assert (standing.latest.run, standing.latest.status, standing.latest.reason) == (str(bad.id), "failed", "exit 3")
    assert standing.success.run == str(good.id)


def test_a_late_record_is_counted_and_is_not_the_latest() -> None:
    new, old = run_at(START + DAY), run_at(START, "failed")
    standing = after(new, old)
    assert standing.latest
    assert standing.latest.run == str(new.id)
    assert standing.total == Tally(succeeded=1, failed=1)


def test_after_the_clock_was_set_back_the_next_run_is_the_latest() -> None:
    ahead, present = run_at(NOW + DAY), run_at(NOW - DAY)
    standing = after(ahead, present)
    assert standing.latest
    assert standing.success
    assert standing.latest.run == standing.success.run == str(present.id)


@pytest.mark.parametrize(
    "run",
    [
        run_at(START, dry_run=True),
        run_at(START, "failed", retry_at=START.isoformat()),
        make_running(),
    ],
)
def test_a_trial_an_attempt_before_another_and_a_run_under_way_change_nothing(run: RunRecord) -> None:
    assert after(run) == Standing()


def test_a_skipped_run_is_counted_and_nothing_else() -> None:
    standing = after(run_at(START, "skipped", reason="locked"))
    assert standing == Standing(total=Tally(skipped=1), days=standing.days)


def test_one_record_may_stand_for_many_missed_slots() -> None:
    run = run_at(START, "skipped", reason="host was down: from 02:00 to 05:00", counts={"slots": 180})
    assert after(run).total == Tally(skipped=180, missed=180)


def test_what_successes_took_is_kept_of_the_latest_fifty() -> None:
    standing = after(*(run_at(START + number * DAY / 100, duration=float(number)) for number in range(LATEST + 7)))
    assert standing.durations == tuple(float(number) for number in range(7, LATEST + 7))


def test_only_the_counts_that_are_asked_for_are_kept() -> None:
    runs = [run_at(START, counts={"rows": 5, "other": 1}), run_at(START, counts={"other": 1}), run_at(START, "failed")]
    assert after(*runs, counted=("rows",)).counts == {"rows": (5.0,)}
    assert after(*runs, run_at(START), counted=("others",)).counts == {"others": ()}


def test_what_every_run_has_counts_as_well() -> None:
    items = [{"name": "a", "outcome": "written", "message": ""}]
    standing = after(run_at(START, output_bytes=7, items=items), counted=("output_bytes", "items"))
    assert standing.counts == {"output_bytes": (7.0,), "items": (1.0,)}


def test_the_counts_to_remember_are_those_whose_usual_value_is_expected() -> None:
    expect = read_expectations({"rows": [">0", ">0.5x median"], "items": ">3", "duration": "<3x median"})
    assert usual_names(expect) == {"rows"}


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_the_median_is_the_middle(values: list[float]) -> None:
    assert median(values) == statistics.median(values)


def test_without_values_there_is_no_median() -> None:
    assert median([]) is None


# -- what is missing


def missed(slot: datetime, reason: str = "host was down") -> RunRecord:
    return run_at(slot + timedelta(hours=3), "skipped", slot=slot.isoformat(), reason=reason)


def test_a_slot_that_should_have_run_is_missing_until_the_next_run() -> None:
    assert after(missed(START + DAY), missed(START)).missing == START
    assert after(run_at(START), missed(START + DAY)).missing == START + DAY
    assert after(missed(START), run_at(START + DAY, "failed")).missing is None


def test_a_slot_that_is_heard_of_after_a_later_run_is_not_missing() -> None:
    assert after(run_at(START + DAY), missed(START)).missing is None


def test_what_ran_before_the_slot_and_is_heard_of_later_does_not_make_up_for_it() -> None:
    assert after(missed(START + DAY), run_at(START)).missing == START + DAY


@pytest.mark.parametrize("reason", ["locked", "paused: moving house", "excepted: 2025-12-25", "still running"])
def test_a_slot_that_nobody_wanted_is_not_missing(reason: str) -> None:
    assert after(missed(START, reason)).missing is None


# -- days


@given(st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(ENDS)), max_size=60))
def test_days_add_up_in_whatever_order_runs_come(runs: list[tuple[int, str]]) -> None:
    days = Days()
    for day, status in runs:
        days = days.add(739000 + day, Tally(**{status: 1}))
    assert list(days.numbers[::6]) == sorted({739000 + day for day, _ in runs})
    for first, last in ((0, 1000), (200, 300), (5, 5)):
        found = days.sum(739000 + first, 739000 + last)
        assert found.numbers[:4] == tuple(
            sum(1 for day, status in runs if status == end and first <= day <= last) for end in ENDS
        )


def test_of_more_than_four_hundred_days_the_earliest_go_and_the_total_stays() -> None:
    standing = after(*(run_at(START + number * DAY) for number in range(DAYS + 30)))
    assert len(standing.days.numbers) == 6 * DAYS
    assert standing.days.numbers[0] == START.toordinal() + 30
    assert standing.total.succeeded == DAYS + 30


def test_the_success_rate_is_of_what_should_have_succeeded_within_its_days() -> None:
    runs = [
        run_at(NOW - 40 * DAY, "failed"),
        *(run_at(NOW - number * DAY) for number in range(6)),
        run_at(NOW, "failed"),
        run_at(NOW, "lost"),
        run_at(NOW, "skipped", reason="locked"),
        run_at(NOW, "skipped", reason="paused: moving house"),
        run_at(NOW, "skipped", reason="host was down"),
        run_at(NOW, "skipped", reason="never started: the timer was inactive"),
    ]
    standing = after(*runs)
    assert success_rate(standing, 30 * DAY, NOW) == 6 / 10
    assert success_rate(standing, DAY / 24, NOW) == 1 / 5
    assert success_rate(Standing(), 30 * DAY, NOW) is None
    assert tally_within(standing, 400 * DAY, NOW).failed == 2


# -- looking at the spool


def test_a_run_counts_once_wherever_its_record_moves(host: Host) -> None:
    runs = [run_at(START + number * DAY, status) for number, status in enumerate(ENDS)]
    for run in runs:
        host.spool.store(run)
    assert host.look() == Tally(1, 1, 1, 1)
    for run in runs[:2]:
        host.spool.acknowledge(str(run.id))
    host.spool.quarantine(str(runs[2].id), "too large")
    assert host.look() == Tally(1, 1, 1, 1)


def test_a_record_counts_however_late_it_comes(host: Host) -> None:
    host.spool.store(run_at(NOW))
    host.look()
    host.spool.store(run_at(NOW - 20 * DAY, "lost"))
    assert host.look() == Tally(succeeded=1, lost=1)


def test_a_run_counts_once_though_the_clock_was_set_back(host: Host) -> None:
    for number in range(4):
        now = NOW - number * 100 * DAY
        host.spool.store(run_at(now))
        assert host.look(now) == host.look(now) == Tally(succeeded=number + 1)


def test_a_run_counts_once_though_remembering_was_interrupted(host: Host) -> None:
    host.spool.store(run_at(START))
    host.look()
    before = (host.memory.folder / "standings.json").read_bytes()
    host.spool.store(run_at(START + DAY))
    host.look()
    (host.memory.folder / "standings.json").write_bytes(before)
    host.spool.store(run_at(START + 2 * DAY))
    assert host.look() == host.look() == Tally(succeeded=3)


@given(st.lists(st.sampled_from(["run", "late", "ahead", "ship", "look", "interrupted", "forget"]), max_size=25))
@settings(max_examples=30, deadline=None)
def test_every_run_counts_once_whatever_happens_in_between(steps: list[str]) -> None:
    stored = 0
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        host = Host(Path(folder))
        file = host.memory.folder / "standings.json"
        for step in [*steps, "look"]:
            match step:
                case "run" | "late" | "ahead":
                    moment = {"run": NOW, "late": NOW - 30 * DAY, "ahead": NOW + 30 * DAY}[step]
                    host.spool.store(run_at(moment + stored * timedelta(minutes=1)))
                    stored += 1
                case "ship":
                    for name in host.spool.names("done")[:2]:
                        host.spool.acknowledge(name)
                case "look":
                    assert host.look() == Tally(succeeded=stored)
                case "interrupted":
                    before = file.read_bytes() if file.exists() else None
                    host.look()
                    file.write_bytes(before) if before is not None else file.unlink()
                case "forget":
                    file.unlink(missing_ok=True)
    assert stored == sum(step in ("run", "late", "ahead") for step in steps)


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"version": 1}', '{"try": {"run": 1}}', None])
def test_what_was_forgotten_is_found_again_in_the_spool(host: Host, broken: str | None) -> None:
    for number in range(3):
        host.spool.store(run_at(START + number * DAY))
    host.look()
    before = host.memory.load()
    file = host.memory.folder / "standings.json"
    file.write_text(broken) if broken is not None else file.unlink()
    assert host.look() == Tally(succeeded=3)
    assert host.memory.load() == before
    (ids,) = host.memory.folder.glob("*.ids")
    ids.write_text(ids.read_text()[:20])
    assert host.look() == host.look() == Tally(succeeded=3)


def test_what_cannot_be_read_is_passed_over_once(host: Host) -> None:
    (host.spool.folder / "done" / "broken.json").write_text("{")
    (host.spool.folder / "done" / "\udcff.json").write_text("{")
    host.spool.store(run_at(START))
    assert host.look() == host.look() == Tally(succeeded=1)
    assert "broken" in host.memory.remember().folded


def test_ids_of_records_that_are_gone_are_forgotten_now_and_then(host: Host) -> None:
    for number in range(1, 1010):
        (host.spool.folder / "done" / f"{number}.json").touch()
    host.look()
    for path in (host.spool.folder / "done").iterdir():
        path.unlink()
    host.spool.store(run_at(START))
    assert host.look() == Tally(succeeded=1)
    host.spool.store(run_at(START))
    assert host.look() == host.look() == Tally(succeeded=2)
    (ids,) = host.memory.folder.glob("*.ids")
    assert len(ids.read_text().split()) == 2


def test_looking_without_keeping_changes_nothing(host: Host) -> None:
    host.spool.store(run_at(START))
    for _ in range(2):
        news = host.memory.look(host.spool, now=NOW)
        assert news.standings["try"].total == Tally(succeeded=1)
    assert list(host.memory.folder.iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Status), st.none() | st.floats(0, 1e6)), max_size=8))
def test_a_standing_is_kept_whole(runs: list[tuple[int, str, float | None]]) -> None:
    standing = Standing()
    for day, status, duration in runs:
        changes = {"counts": {"rows": 1.5}, "duration": duration}
        run = make_running() if status == "running" else run_at(START + day * DAY, status, **changes)
        standing = follow(standing, run, now=NOW, counted=("rows",))
    plain = json.loads(json.dumps(plain_standing(standing), default=datetime.isoformat))
    parsed = parse_standing(plain)
    assert parse_standing(json.loads(json.dumps(plain_standing(parsed), default=datetime.isoformat))) == parsed
    assert tuple(parsed.days.numbers) == tuple(standing.days.numbers)
    assert (parsed.latest, parsed.success, parsed.total) == (standing.latest, standing.success, standing.total)


def test_days_are_days_of_utc() -> None:
    run = run_at(datetime.fromisoformat("2025-07-14T01:00:00+02:00"))
    assert after(run).days.numbers[0] == datetime(2025, 7, 13, tzinfo=UTC).toordinal()

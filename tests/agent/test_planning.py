"""Laws of planning: every slot ends with one record or run, whatever happens to host, clock, disk and catalogue."""

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota import planning
from rota.adapters.calendars import read_calendar
from rota.adapters.pauses import Pauses
from rota.adapters.plans import Plans
from rota.adapters.reconciling import Boot
from rota.adapters.requests import Asked, Requests
from rota.adapters.spool import Spool, SpoolUnreadable, spool_of
from rota.adapters.standings import Standings
from rota.core import places as layout
from rota.core.accounting import SPAN_COUNT
from rota.core.catalogue import Agent, Catalogue
from rota.core.expectation import read_expectations, usual_names
from rota.core.pause import Pause
from rota.core.record import RunRecord
from rota.core.schedule import schedule_of
from rota.core.status import Environment, Status, Trigger
from rota.core.task import CatchUp, Task
from rota.planning import Accounted, Accounting, NotAccounted, account
from rota.runner import make_identifier
from tests.agent.records import make_run

START = datetime(2025, 11, 25, 12, 3, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
numbers = itertools.count()
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//holidays//EN
BEGIN:VEVENT
UID:1@example
DTSTAMP:20250101T000000Z
DTSTART;VALUE=DATE:{day}
SUMMARY:A day off
END:VEVENT
END:VCALENDAR
"""


@dataclass
class World:
    """A host with one task every ten minutes: its clock, its boots, and what its timer would do."""

    folder: Path
    task: Task
    now: datetime = START
    skew: timedelta = timedelta()
    """How far the clock is ahead of the time that has really passed."""
    began: datetime = START - HOUR
    boots: int = 1
    tasks: dict[str, Task] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = layout.under(self.folder)
        self.spool.make()
        self.tasks = {self.task.name: self.task}

    @property
    def spool(self) -> Spool:
        return spool_of(self.places)

    @property
    def plans(self) -> Plans:
        return Plans(self.places.plans)

    def account(self) -> Accounted:
        return account(
            Accounting(
                places=self.places,
                catalogue=Catalogue(Agent(host="here", environment=Environment.STAGING), self.tasks),
                now=self.now,
                uptime=(self.now - self.skew - self.began).total_seconds(),
                boot=Boot("boot", self.began + self.skew, self.boots),
                is_live=False,
            )
        )

    def run(self, slot: datetime | None, *, minutes: float = 1, started: datetime | None = None, **more: Any) -> None:
        began = started or slot or self.now
        identifier = make_identifier(int(began.timestamp() * 1000), next(numbers).to_bytes(10, "big"))
        times = {"started": began.isoformat(), "ended": (began + minutes * MINUTE).isoformat()}
        self.spool.store(
            make_run(**({"id": identifier, "task": "try", "slot": slot.isoformat() if slot else None} | times | more))
        )

    def live(self, minutes: int, *, longest: float = 1) -> None:
        """The timer starts a run for each slot, as the runner would, unless one is under way."""
        end, busy, plan = self.now + minutes * MINUTE, self.now, self.plans.load("try")
        while self.now < end:
            self.now += MINUTE
            line = plan.slot_at(self.now, within=MINUTE) if plan and self.now.minute % 10 == 0 else None
            if line is None or self.now < busy:
                continue
            if line.reason:
                self.run(line.moment, minutes=0, status="skipped", reason=line.reason)
                continue
            self.run(line.moment, minutes=longest)
            busy = self.now + longest * MINUTE
        self.now = max(self.now, busy)

    def be_down(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.began, self.boots = self.now - self.skew, self.boots + 1

    def catch_up(self) -> None:
        plan, told = self.plans.load("try"), {run.slot for run in self.records()}
        for slot in [each for each in plan.missed if each.moment not in told] if plan else []:
            self.run(slot.moment, started=self.now, trigger="catch_up")
            self.now += MINUTE

    def pause(self, minutes: int) -> None:
        self.account()
        Pauses(self.places.pauses).store("try", Pause(since=self.now, until=self.now + minutes * MINUTE, by="anna"))
        self.account()

    def resume(self) -> None:
        self.account()
        Pauses(self.places.pauses).remove("try")
        self.account()

    def records(self) -> list[RunRecord]:
        found = [run for run in self.spool.records("running", "done") if isinstance(run, RunRecord)]
        return sorted(found, key=lambda run: (run.slot or START, run.started))

    def skipped(self) -> list[RunRecord]:
        return [run for run in self.records() if run.status is Status.SKIPPED]

    def told(self, slots: list[datetime]) -> list[int]:
        """How many records speak of each slot."""
        spans = [
            (run.slot - timedelta(seconds=run.counts.get(SPAN_COUNT, 0)), run.slot)
            for run in self.records()
            if run.slot
        ]
        return [sum(first <= slot <= last for first, last in spans) for slot in slots]


def every_ten_minutes(**more: object) -> Task:
    fields = {"schedule": ("*:0/10",), "zone": "UTC", "catch_up": CatchUp.NONE} | more
    return Task(name="try", description="Try", command=("/bin/true",), **fields)  # type: ignore[arg-type]  # fields by name


@pytest.fixture(autouse=True, scope="module")
def short_plans() -> Iterator[None]:
    """Plans of two days instead of three weeks, and a disk that is not waited for, are ten times as fast."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planning, "MOST", 300)
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, every_ten_minutes())
    made.account()
    return made


def slots_between(begin: datetime, end: datetime) -> list[datetime]:
    schedule = schedule_of(every_ten_minutes())
    assert schedule
    return [slot.moment for slot in schedule.slots(begin, end)]


minutes = st.integers(1, 90)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("live"), minutes, st.sampled_from([1, 1, 25])),
        st.tuples(st.just("be_down"), st.sampled_from([3, 45, 1500])),
        st.tuples(st.just("account")),
        st.tuples(st.just("stop the timer"), minutes),
        st.tuples(st.just("pause"), minutes),
        st.tuples(st.just("resume")),
        st.tuples(st.just("catch_up")),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(happenings, st.sampled_from(list(CatchUp)))
def test_every_slot_ends_with_exactly_one_record_and_accounting_again_adds_none(
    happened: list[tuple[str, int]], catch_up: CatchUp
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), every_ten_minutes(catch_up=catch_up, catch_up_window=12 * HOUR))
        world.account()
        for word, *numbers_said in happened:
            if word == "live":
                world.live(numbers_said[0], longest=numbers_said[1])
            elif word == "stop the timer":
                world.now += numbers_said[0] * MINUTE
            else:
                getattr(world, word)(*numbers_said)
        world.live(20)
        for _ in range(2):
            world.account()
            world.catch_up()
        world.tasks = {"try": every_ten_minutes()}
        world.now += HOUR
        world.account()
        before = len(world.records())
        assert set(world.told(slots_between(START, world.now - 2 * MINUTE))) == {1}
        world.account()
        assert len(world.records()) == before


def test_three_slots_missed_while_the_host_was_down_have_a_record_each(world: World) -> None:
    world.be_down(30)
    world.now += 3 * MINUTE
    assert world.account() == Accounted(3, ())
    assert [run.reason for run in world.skipped()] == ["host was down: it booted 2025-11-25 12:33 UTC"] * 3
    assert [run.slot for run in world.skipped()] == slots_between(START, world.began)
    assert world.skipped()[0].started == world.now


def test_the_records_of_one_accounting_sort_by_their_slots(world: World) -> None:
    world.be_down(16 * 60)
    world.account()
    names = world.spool.names("done")
    slots = [world.spool.load("done", name).slot for name in names]  # type: ignore[union-attr]  # they are runs
    assert slots == sorted(slots)  # type: ignore[type-var]  # every one has a slot


@pytest.mark.parametrize(("catch_up", "behind"), [("none", 0), ("latest", 1), ("all", 3)])
def test_what_is_to_be_caught_up_has_no_record_yet(tmp_path: Path, catch_up: str, behind: int) -> None:
    world = World(tmp_path, every_ten_minutes(catch_up=CatchUp(catch_up)))
    world.account()
    world.be_down(30)
    assert world.account() == Accounted(3 - behind, ("try",) if behind else ())
    world.catch_up()
    assert world.account() == Accounted(0, ())
    assert len(world.records()) == 3


def test_a_paused_task_is_not_caught_up(tmp_path: Path) -> None:
    world = World(tmp_path, every_ten_minutes(catch_up=CatchUp.ALL))
    world.account()
    world.be_down(30)
    Pauses(world.places.pauses).store("try", Pause(since=world.now, until=None, by="anna"))
    assert world.account() == Accounted(3, ())


def test_slots_of_a_pause_say_who_wants_it_and_the_next_ones_run_again(world: World) -> None:
    world.pause(25)
    world.live(40)
    world.account()
    reason = "paused: until 2025-11-25 12:28 UTC by anna"
    assert [run.reason for run in world.records()] == [reason, reason, "", ""]
    assert Pauses(world.places.pauses).all() == {}


def test_the_clock_set_back_an_hour_makes_no_second_record_of_a_slot(world: World) -> None:
    world.live(60)
    world.account()
    world.now, world.skew = world.now - HOUR, -HOUR
    world.account()
    # systemd starts the task again at each of these times; the plan has no slot for it.
    world.live(60)
    world.account()
    assert set(world.told(slots_between(START, START + HOUR))) == {1}
    world.live(60)
    world.account()
    assert set(world.told(slots_between(START, world.now - 2 * MINUTE))) == {1}


@pytest.mark.parametrize("ahead", [DAY, 100 * DAY])
def test_the_clock_set_forward_and_back_leaves_one_record_and_the_right_plan(world: World, ahead: timedelta) -> None:
    world.live(60)
    world.account()
    world.now, world.skew = world.now + ahead + MINUTE, ahead + MINUTE
    world.account()
    told = {run.reason.partition(";")[0] for run in world.skipped()}
    assert len(world.skipped()) < 10
    assert told == {f"never started: the clock was set forward by {ahead.days} day{'s' if ahead.days > 1 else ''}"}
    world.now, world.skew = world.now - ahead - MINUTE, timedelta()
    before = len(world.skipped())
    world.account()
    world.live(60)
    world.account()
    assert len(world.skipped()) == before
    assert len([run for run in world.records() if run.status is Status.SUCCEEDED]) >= 11


def test_a_clock_that_was_wrong_at_boot_does_not_hide_that_the_host_was_down(world: World) -> None:
    world.live(60)
    world.account()
    down_since = world.now
    world.be_down(120)
    world.skew = -150 * MINUTE
    world.now += world.skew
    world.account()
    world.now, world.skew = world.now - world.skew + MINUTE, timedelta()
    world.account()
    assert {run.reason.partition(":")[0] for run in world.skipped()} == {"host was down"}
    assert set(world.told(slots_between(down_since, world.began))) == {1}


def test_a_broken_plan_is_made_again_and_no_slot_is_forgotten(world: World) -> None:
    world.live(60)
    world.account()
    world.plans.path("try").write_bytes(b"\xff\n")
    world.now += 20 * MINUTE
    world.account()
    assert set(world.told(slots_between(START, world.now - 2 * MINUTE))) == {1}
    plan = world.plans.load("try")
    assert plan
    assert len(plan.coming(world.now)) == 300


def test_a_missing_plan_is_made_from_now_on(world: World) -> None:
    world.plans.remove("try")
    world.now += HOUR
    assert world.account() == Accounted(0, ())
    assert world.plans.load("try") is not None


def test_an_unreadable_spool_is_said_and_nothing_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.be_down(30)

    def refuse(*_: object) -> list[str]:
        raise SpoolUnreadable("no")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "names", refuse)
        with pytest.raises(SpoolUnreadable):
            world.account()
    assert world.account().skipped == 3


def test_on_a_full_disk_nothing_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.be_down(60)
    store, room = Spool.store, iter([True, True])

    def store_while_there_is_room(self: Spool, record: RunRecord) -> None:
        if not next(room, False):
            raise OSError(28, "No space left on device")
        store(self, record)

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "store", store_while_there_is_room)
        with pytest.raises(NotAccounted, match="try: No space left"):
            world.account()
    assert world.account().skipped == 4
    assert set(world.told(slots_between(START, world.began))) == {1}


def test_a_fold_whose_plan_could_not_be_written_is_not_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.be_down(24 * 60)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Plans, "store", refuse)
        with pytest.raises(NotAccounted):
            world.account()
    world.now += 5 * MINUTE
    assert world.account().skipped == 0
    (one,) = world.skipped()
    assert one.counts["slots"] == 144


def test_a_record_that_waits_for_room_answers_its_slot(world: World) -> None:
    world.live(15)
    (name,) = world.spool.names("done")
    world.spool.spare.mkdir()
    (world.spool.folder / "done" / f"{name}.json").rename(world.spool.spare / f"{name}.json")
    assert world.account().skipped == 0


def test_a_record_that_a_power_cut_left_beside_its_place_answers_its_slot(world: World) -> None:
    world.live(15)
    (name,) = world.spool.names("done")
    (world.spool.folder / "done" / f"{name}.json").rename(world.spool.folder / "tmp" / f"{name}.end.json")
    assert world.account().skipped == 0


def test_a_removed_task_loses_its_plan_and_its_pause_and_keeps_its_history(world: World) -> None:
    world.pause(500)
    world.be_down(30)
    world.tasks = {}
    world.account()
    assert len(world.skipped()) == 3
    assert world.plans.names() == []
    assert Pauses(world.places.pauses).all() == {}


def test_a_changed_schedule_is_judged_by_what_was_planned_then(world: World) -> None:
    world.be_down(30)
    world.tasks = {"try": every_ten_minutes(schedule=("*:05",))}
    world.account()
    assert [run.slot for run in world.skipped()] == slots_between(START, world.began)
    plan = world.plans.load("try")
    assert plan
    assert {slot.moment.minute for slot in plan.slots} == {5}


def test_a_calendar_that_has_changed_is_taken_into_the_plan(world: World, tmp_path: Path) -> None:
    file = tmp_path / "holidays.ics"
    plans = []
    for day in ("20251126", "20251127"):
        file.write_text(CALENDAR.format(day=day).replace("\n", "\r\n"))
        world.tasks = {"try": every_ten_minutes(excepted=(read_calendar(file),))}
        world.account()
        plan = world.plans.load("try")
        plans.append({f"{slot.moment:%Y%m%d}" for slot in plan.slots if slot.reason} if plan else set())
    assert plans == [{"20251126"}, {"20251127"}]


def test_clocks_that_a_law_has_changed_are_taken_into_the_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tasks = {"try": every_ten_minutes(schedule=("12:30",), zone="Europe/Zurich")}
    world.account()
    before = world.plans.load("try")
    world.now += MINUTE
    world.account()
    assert world.plans.load("try") == before
    monkeypatch.setattr(planning, "shifts_in", lambda *_: ())
    world.account()
    after = world.plans.load("try")
    assert before
    assert after
    assert before.basis != after.basis


def test_a_task_of_other_environments_has_no_slots_here(world: World) -> None:
    world.tasks = {"try": every_ten_minutes(environments=(Environment.PRODUCTION,))}
    world.account()
    plan = world.plans.load("try")
    assert plan
    assert plan.coming(world.now) == ()


def test_a_long_time_down_beyond_the_plan_s_end_is_accounted_for_whole(tmp_path: Path) -> None:
    world = World(tmp_path, every_ten_minutes())
    world.account()
    world.be_down(60 * 24 * 40)
    world.now += 3 * MINUTE
    assert world.account().skipped == 6 * 24 * 40
    assert len(world.skipped()) == 1
    assert world.account().skipped == 0


def test_two_accountings_at_once_record_each_slot_once(world: World) -> None:
    world.be_down(15 * 60)
    both = [threading.Thread(target=world.account) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert len(world.skipped()) == 90


def ask(world: World, at: datetime) -> Asked:
    asked = Asked(task="try", at=at, asked_by="anna", parameters={"full": True})
    Requests(world.places.asked).store(asked)
    return asked


def test_a_run_asked_for_is_due_at_its_moment_and_forgotten_once_it_has_begun(world: World) -> None:
    asked = ask(world, START + 7 * MINUTE)
    assert Requests(world.places.asked).all() == [asked]
    assert world.account().behind == ()
    world.now += 7 * MINUTE
    assert world.account().behind == ("try",)
    world.run(asked.at, trigger="manual")
    assert world.account().behind == ()
    assert Requests(world.places.asked).all() == []


def test_a_run_asked_for_while_the_host_was_down_runs_only_within_the_window(tmp_path: Path) -> None:
    world = World(tmp_path, every_ten_minutes(catch_up=CatchUp.LATEST, catch_up_window=HOUR))
    world.account()
    ask(world, START + 7 * MINUTE)
    late = ask(world, START + 50 * MINUTE)
    world.be_down(100)
    world.account()
    assert Requests(world.places.asked).all() == [late]
    (record,) = [run for run in world.skipped() if run.trigger is Trigger.MANUAL]
    assert (record.asked_by, record.parameters, record.slot) == ("anna", {"full": True}, START + 7 * MINUTE)
    assert record.reason.startswith("host was down")


def test_the_same_run_is_asked_for_once(world: World) -> None:
    ask(world, START + HOUR)
    with pytest.raises(FileExistsError):
        ask(world, START + HOUR)


def test_the_plan_tells_the_runner_what_is_usual(tmp_path: Path) -> None:
    expect = read_expectations({"rows": ">0.5x median", "duration": "<3x median", "size": ">0"})
    world = World(tmp_path, replace(every_ten_minutes(), expect=expect))
    memory = Standings(world.places.alerts)
    memory.make()
    for number in range(5):
        plan = world.plans.load("try")
        assert not plan or plan.medians == {}
        world.run(None, counts={"rows": number}, duration=2.5)
        memory.keep_news(memory.look(world.spool, now=world.now, counted={"try": usual_names(expect)}))
        world.account()
    plan = world.plans.load("try")
    assert plan
    assert plan.medians == {"rows": 2, "duration": 2.5}

"""Laws of a task's plan and of its pause, as values and as files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.adapters.pauses import Pauses
from rota.adapters.plans import Plans
from rota.core.pause import Pause
from rota.core.plan import BadPlan, Plan, Planned, read_plan, write_plan
from rota.core.status import Skip

NOON = datetime(2025, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

moments = st.integers(1, 9_999_999_999).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
reasons = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")))
plans = st.builds(
    Plan,
    slots=st.lists(st.builds(Planned, moments, reasons), unique_by=lambda slot: slot.moment).map(
        lambda slots: tuple(sorted(slots, key=lambda slot: slot.moment))
    ),
    missed=st.lists(st.builds(Planned, moments, reasons)).map(tuple),
    medians=st.dictionaries(st.text("abc xyz", min_size=1).map(str.strip).filter(bool), st.integers(0, 999_999)),
    basis=st.text("0123456789abcdef"),
)


@given(plans)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    assert read_plan(write_plan(plan)) == plan


def test_the_text_of_a_plan_is_what_the_runner_was_promised() -> None:
    plan = Plan(
        slots=(Planned(NOON), Planned(NOON + HOUR, "paused: until resumed by anna,\nmoving house")),
        missed=(Planned(NOON - HOUR, "host was down"),),
        medians={"duration": 4.213},
        basis="5f3c",
    )
    assert write_plan(plan) == (
        "# median duration 4.213\n1764072000\n1764075600 paused: until resumed by anna, moving house\n"
        "# missed 1764068400 host was down\n# basis 5f3c\n"
    )


@pytest.mark.parametrize("text", ["x", "176407200", "17640720000", "1764072000\n1764072000", "# median x", "\0"])
def test_what_is_no_plan_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(BadPlan):
        read_plan(text)


def test_slots_are_past_up_to_the_moment_itself() -> None:
    plan = Plan(slots=(Planned(NOON), Planned(NOON + HOUR)))
    assert plan.past(NOON) == (Planned(NOON),)
    assert plan.coming(NOON) == (Planned(NOON + HOUR),)
    assert plan.past(NOON - HOUR) == ()


def test_a_start_is_for_the_latest_slot_unless_that_is_long_ago() -> None:
    plan = Plan(slots=(Planned(NOON), Planned(NOON + HOUR)))
    minute = timedelta(minutes=1)
    assert plan.slot_at(NOON + minute, within=minute) == Planned(NOON)
    assert plan.slot_at(NOON + 2 * minute, within=minute) is None
    assert plan.slot_at(NOON - minute, within=minute) is None


def test_a_changed_schedule_changes_only_what_is_to_come() -> None:
    plan = Plan(slots=(Planned(NOON), Planned(NOON + HOUR)), basis="old")
    changed = plan.with_coming([Planned(NOON + 2 * HOUR)], after=NOON, basis="new")
    assert changed == Plan(slots=(Planned(NOON), Planned(NOON + 2 * HOUR)), basis="new")


def test_a_stored_plan_is_found_again_and_a_broken_one_is_told(tmp_path: Path) -> None:
    files = Plans(tmp_path / "plan")
    files.make()
    assert files.load("x") is None
    files.store("x", Plan(slots=(Planned(NOON),)))
    assert files.load("x") == Plan(slots=(Planned(NOON),))
    assert files.names() == ["x"]
    assert files.path("x").stat().st_mode & 0o777 == 0o644
    files.path("x").write_bytes(b"\xff")
    with pytest.raises(BadPlan, match="plan/x"):
        files.load("x")


@pytest.mark.parametrize("until", [None, NOON + HOUR])
def test_a_stored_pause_is_found_again(tmp_path: Path, until: datetime | None) -> None:
    files = Pauses(tmp_path / "pause")
    pause = Pause(since=NOON, until=until, by="anna", reason="moving house")
    files.store("x", pause)
    assert files.all() == {"x": pause}
    files.remove("x")
    assert files.all() == {}


def test_a_pause_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    assert Pauses(tmp_path).load("x") is None


def test_a_pause_covers_from_its_beginning_to_just_before_its_end() -> None:
    pause = Pause(since=NOON, until=NOON + HOUR, by="anna")
    assert [pause.covers(NOON + hours * HOUR) for hours in (-1, 0, 1)] == [False, True, False]
    assert pause.skip == "paused: until 2025-11-25 13:00 UTC by anna"


@pytest.mark.parametrize("word", list(Skip))
def test_the_word_of_a_reason_is_told_with_and_without_detail(word: Skip) -> None:
    assert Skip.of(word.because("x: y")) is Skip.of(word.because("")) is word
    assert Skip.of(f"{word}s") is None

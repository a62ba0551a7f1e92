"""Laws of comparing two runs: the diff leads from one output to the other, and every difference is named."""

import time

from hypothesis import given
from hypothesis import strategies as st

from rota.adapters.comparing import find_hunks
from rota.core.comparison import Comparison, Hunk, find_changes, unified
from tests.agent.records import make_run

LINES = st.lists(st.sampled_from(["", "a", "b", "c", "< x", "> y", "3a4", "- z"]), max_size=12)


def compared(before: list[str], after: list[str]) -> Comparison:
    return Comparison((), before, after, find_hunks(before, after))


def replaced(before: list[str], after: list[str], hunks: tuple[Hunk, ...]) -> list[str]:
    made, at = [], 0
    for hunk in hunks:
        made += before[at : hunk.before.start] + after[hunk.after.start : hunk.after.stop]
        at = hunk.before.stop
    return made + before[at:]


@given(LINES, LINES)
def test_what_differs_makes_the_one_output_of_the_other(before: list[str], after: list[str]) -> None:
    assert replaced(before, after, find_hunks(before, after)) == after


@given(LINES, LINES, st.integers(0, 4))
def test_a_unified_diff_holds_all_that_came_and_went_and_counts_its_lines(
    before: list[str], after: list[str], context: int
) -> None:
    comparison = compared(before, after)
    lines = list(unified(comparison, ("one", "other"), context))
    assert sum(line.startswith("+") for line in lines[2:]) == comparison.added
    assert sum(line.startswith("-") for line in lines[2:]) == comparison.removed
    assert bool(lines) == (before != after)
    for head, body in hunks_of(lines):
        old, new = (int(part.partition(",")[2]) for part in head.strip("@ -").split(" +"))
        assert (sum(line[0] in " -" for line in body), sum(line[0] in " +" for line in body)) == (old, new)


def hunks_of(lines: list[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in lines[2:]:
        if line.startswith("@@"):
            found.append((line, []))
        else:
            found[-1][1].append(line)
    return found


def test_a_unified_diff_reads_as_usual() -> None:
    comparison = compared(list("abcdefghij"), list("abcdeXghij"))
    assert list(unified(comparison, ("one", "other"), 1)) == [
        "--- one",
        "+++ other",
        "@@ -5,3 +5,3 @@",
        " e",
        "-f",
        "+X",
        " g",
    ]


def test_a_megabyte_is_compared_in_well_under_a_second() -> None:
    before = [f"{number % 97} the quick brown fox {number} jumps" for number in range(30_000)]
    after = [line if number % 10 else f"{line}!" for number, line in enumerate(before[100:])]
    began = time.monotonic()
    assert len(find_hunks(before, after)) > 100
    assert time.monotonic() - began < 5  # it takes a tenth of a second; the machine may be busy


def test_every_difference_of_two_runs_is_named() -> None:
    other = make_run(
        counts={"rows": 1204, "files": 2},
        items=[{"name": "a", "outcome": "written"}, {"name": "b", "outcome": "written"}],
        duration=2.0,
        release="one",
        unit_hash="x",
    )
    run = make_run(
        status="failed",
        reason="exit 3",
        counts={"rows": 0, "files": 2, "mails": 1},
        items=[{"name": "a", "outcome": "failed"}, {"name": "c", "outcome": "written"}],
        duration=8.0,
        release="two",
        unit_hash="x",
        parameters={"full": True},
    )
    assert [str(change) for change in find_changes(run, other)] == [
        "result succeeded → failed: exit 3",
        "parameters none → full=True",
        "release one → two",
        "duration 2.0 s → 8.0 s",
        "mails none → 1",
        "rows 1204 → 0",
        "items a: written → failed",
        "items c: none → written",
        "items b: written → none",
    ]


def test_a_run_differs_in_nothing_from_itself() -> None:
    run = make_run(counts={"rows": 1}, items=[{"name": "a", "outcome": "written"}], release="r")
    assert find_changes(run, run) == ()
    assert str(Comparison((), [], [], ())) == "nothing but times, ids and the like"


def test_a_small_change_of_a_duration_is_no_difference() -> None:
    assert find_changes(make_run(duration=10.0), make_run(duration=12.0)) == ()
    assert find_changes(make_run(duration=0.01), make_run(duration=0.9)) == ()


def test_many_items_are_counted_and_not_named() -> None:
    run = make_run(items=[{"name": str(number), "outcome": "failed"} for number in range(9)])
    assert [str(change) for change in find_changes(run, make_run())] == ["9 items: none → failed"]

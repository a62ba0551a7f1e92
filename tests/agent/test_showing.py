"""Laws of the commands that show: what needs somebody comes first, filters choose, a run is followed to its end."""

import fcntl
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rota import cli
from rota.adapters.pauses import Pauses
from rota.adapters.plans import Plans
from rota.adapters.spool import Spool, decode, spool_of
from rota.cli import printing
from rota.core.errors import RotaError
from rota.core.pause import Pause
from rota.core.places import Places, under
from rota.core.plan import Plan, Planned
from rota.core.record import RunRecord
from rota.runner import make_identifier
from tests.agent.records import make_outbound, make_run, make_running
from tests.agent.waiting import wait_until

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
LONG = "a_task_with_a_name_so_long_that_a_screen_is_hardly_wide_enough"
TASKS = f"""
agent: {{host: here}}
tasks:
  broken: {{description: Break, command: [/bin/false], schedule: "02:10 UTC", catch_up: none}}
  fine: {{description: Go well, command: [/bin/true], schedule: "*:0/15 UTC", catch_up: none}}
  held: {{description: Wait, command: [/bin/true]}}
  {LONG}: {{description: Take long, command: [/bin/true]}}
"""


@pytest.fixture(autouse=True)
def at_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins now, however long those before it took."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "tasks.yml").write_text(TASKS)
    found = under(tmp_path)
    spool_of(found).make()
    return found


@pytest.fixture
def spool(places: Places) -> Spool:
    return spool_of(places)


Rota = Callable[..., str]


@pytest.fixture
def rota(places: Places, capsys: pytest.CaptureFixture[str]) -> Rota:
    """Gives a command in this process and returns what it printed."""

    def give(*words: str, code: int = 0) -> str:
        options = cli.parser().parse_args(["--home", str(places.configuration), *words])
        assert (options.command(options) or 0) == code
        return capsys.readouterr().out

    return give


def identifier(at: datetime) -> UUID:
    return UUID(make_identifier(int(at.timestamp() * 1000), os.urandom(10)))


def keep(spool: Spool, task: str, *, ago: timedelta = MINUTE, output: str = "", **changes: Any) -> RunRecord:
    """A run that began so long ago, in the spool, with its output."""
    at = NOW - ago
    times = {"id": str(identifier(at)), "started": at.isoformat()}
    if changes.get("status") == "running":
        run = make_running(**times, task=task, **changes)
        spool.store(run, folder="running")
    else:
        run = make_run(**times, ended=at.isoformat(), task=task, output_bytes=len(output), **changes)
        spool.store(run)
    if output:
        (spool.folder / "output" / str(run.id)).write_text(output)
    return run


def ids(text: str) -> list[str]:
    return [run["id"] for run in json.loads(text)]


# -- status


def test_what_needs_somebody_comes_first_and_the_rest_is_told_in_a_line(
    rota: Rota, places: Places, spool: Spool
) -> None:
    keep(spool, "broken", status="failed", reason="exit 3", exit_code=3)
    keep(spool, "fine", duration=4.0)
    keep(spool, LONG, status="running")
    Pauses(places.pauses).store("held", Pause(since=NOW - MINUTE, until=None, by="anna", reason="moving house"))
    lines = rota("status").splitlines()
    assert lines[0] == "here (development): 4 tasks; 1 needs somebody, 1 runs now, 1 is paused"
    assert [line.split()[1] for line in lines[3:7]] == ["failed:", "running", "never", "succeeded"]
    assert lines[3].startswith("broken")
    assert "The other 1 are fine." in lines
    assert "held is paused until resumed by anna, moving house." in lines
    assert max(map(len, lines)) <= printing.WIDTH


def test_a_script_may_ask_whether_something_needs_somebody(rota: Rota, spool: Spool) -> None:
    rota("status", "--fail")
    keep(spool, "broken", status="failed", reason="exit 3")
    rota("status")
    rota("status", "--fail", code=1)


def test_the_status_as_json_is_one_mapping(rota: Rota, places: Places, spool: Spool) -> None:
    run = keep(spool, "fine", duration=4.0)
    Plans(places.plans).make()
    Plans(places.plans).store("fine", Plan(slots=(Planned(NOW + 5 * MINUTE),)))
    found = json.loads(rota("status", "--json"))
    assert found.keys() == {"host", "environment", "needs_somebody", "tasks", "notes"}
    [fine] = [each for each in found["tasks"] if each["task"] == "fine"]
    assert (fine["run"], fine["status"], fine["median"], fine["overdue"]) == (str(run.id), "succeeded", 4.0, None)
    assert datetime.fromisoformat(fine["next"]) == NOW + 5 * MINUTE


def test_an_objective_is_shown_with_what_is_left_of_it(rota: Rota, places: Places, spool: Spool) -> None:
    wanted = {"tasks": {"fine": {"objective": {"success": "50%", "fresh": "1d"}}}}
    (places.configuration / "zz.yml").write_text(json.dumps(wanted))
    for status in ("succeeded", "succeeded", "succeeded", "failed", "succeeded"):
        keep(spool, "fine", status=status)
    note = "fine: 80% of 5 runs in 30 days (50% wanted), 60% of the error budget left; succeeded "
    assert [line for line in rota("status").splitlines() if line.startswith(note)]
    [fine] = [each for each in json.loads(rota("status", "--json"))["tasks"] if each["task"] == "fine"]
    assert {"success_ratio": 0.8, "success": 0.5, "fresh": 86400, "attained": True}.items() <= fine["objective"].items()


def test_an_overdue_task_says_since_when(rota: Rota, places: Places) -> None:
    Plans(places.plans).make()
    Plans(places.plans).store("fine", Plan(slots=(Planned(NOW - 60 * MINUTE),)))
    assert re.search(r"\nfine +overdue; never ran .* due \S+", rota("status"))


def test_the_status_reads_none_of_the_records_that_are_remembered(
    rota: Rota, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(spool, "held", status="failed", reason="exit 3")
    rota("alert")
    monkeypatch.setattr(Spool, "load", lambda *_: pytest.fail("a record was read"))
    assert "failed: exit 3" in rota("status")


def test_a_failed_attempt_that_is_tried_again_is_no_concern_yet(rota: Rota, places: Places, spool: Spool) -> None:
    (places.configuration / "more.yml").write_text("tasks: {fine: {retry: {times: 3}}}")
    again = (NOW + 20 * MINUTE).isoformat()
    keep(spool, "fine", status="failed", reason="exit 3", retry_at=again)
    assert re.search(r"\nfine +retrying; attempt 1 failed: exit 3", rota("status", "--fail"))
    [fine] = [each for each in json.loads(rota("status", "--json"))["tasks"] if each["task"] == "fine"]
    assert (fine["needs_somebody"], fine["retrying"]["attempt"]) == (False, 1)
    assert datetime.fromisoformat(fine["next"]) == datetime.fromisoformat(again)


def test_no_tasks_at_all_is_no_empty_page(rota: Rota, places: Places) -> None:
    (places.configuration / "tasks.yml").write_text("")
    for name in ("status", "tasks"):
        assert f"One takes four lines in a file of {places.configuration}" in rota(name)


# -- printing


def test_a_name_is_cut_in_its_middle_and_a_text_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_table(("a", "b"), [("x" * 60 + "y", "z" * 80)], empty="", names=[0], texts=[1])
    first, second = capsys.readouterr().out.splitlines()[1].split("  ")
    assert len(first) + len(second) == printing.WIDTH - 2
    assert re.fullmatch("x+…x+y", first)
    assert re.fullmatch("z+…", second)


@pytest.mark.parametrize(
    ("is_terminal", "environ", "expected"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_only_on_a_terminal_that_wants_it(
    is_terminal: bool, environ: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
    assert printing.has_colours(environ) is expected


def test_a_colour_changes_no_width_and_no_word() -> None:
    assert printing.colour("failed: exit 3  ") == "\x1b[31mfailed: exit 3  \x1b[0m"
    assert printing.colour("running; before: x") == "\x1b[36mrunning; before: x\x1b[0m"
    assert printing.colour("succeeded") == "succeeded"
    assert printing.colour("   ") == "   "


# -- runs


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["broken"], [0]),
        (["broken", "held"], [0, 2]),
        (["--status", "failed", "--status", "skipped"], [0, 2]),
        (["--trigger", "manual"], [1]),
        (["--reason", "EXIT"], [0]),
        (["--since", "150s"], [0, 1]),
        (["--until", "150s"], [2, 3]),
        (["--grep", "cannot OPEN"], [0]),
        (["--asked-by", "anna"], [1]),
        (["--dry-run"], [1]),
        (["--retries"], [3]),
        (["--unexpected"], [3]),
        (["--limit", "2"], [0, 1]),
        (["--limit", "0"], [0, 1, 2, 3]),
    ],
)
def test_runs_are_chosen_by_filters_newest_first(
    rota: Rota, spool: Spool, words: list[str], expected: list[int]
) -> None:
    found = [
        keep(spool, "broken", ago=MINUTE, status="failed", reason="exit 3", output="I cannot open it\n"),
        keep(spool, "fine", ago=2 * MINUTE, trigger="manual", asked_by="anna", dry_run=True),
        keep(spool, "held", ago=3 * MINUTE, status="skipped", reason="locked"),
        keep(spool, "fine", ago=4 * MINUTE, attempt=2, trigger="retry", unexpected=["rows is 0"]),
    ]
    assert ids(rota("runs", *words, "--json")) == [str(found[number].id) for number in expected]


def test_a_limit_reads_no_more_records_than_it_shows(rota: Rota, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        keep(spool, "fine", ago=number * MINUTE)
    read: list[bytes] = []

    def reading(text: bytes) -> object:
        read.append(text)
        return decode(text)

    monkeypatch.setattr("rota.adapters.spool.decode", reading)
    assert len(ids(rota("runs", "--limit", "3", "--json"))) == 3
    assert len(read) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "They appear when a task's slot comes"),
        (["fine"], "`rota run fine` runs it now"),
        (["fin"], "No runs of fin, and no task of this name, did you mean 'fine'?"),
        (["--grep", "x"], "With fewer filters there may be some"),
    ],
)
def test_no_runs_say_what_would_appear(rota: Rota, words: list[str], sentence: str) -> None:
    assert sentence in rota("runs", *words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--since", "yesterday"], "'yesterday' must be a time like 2026-12-01 08:00 (local)"),
        (["--grep", "("], "is no regular expression"),
        (["--since", "9999-12-31"], "'9999-12-31' must be a time like 2026-12-01 08:00 (local)"),
        (["--until", "99999999999w"], "'99999999999w' must be a time like 2026-12-01 08:00 (local)"),
        (["--limit", "-1"], "'-1' must be a whole number, 0 or more"),
        (["--limit", "many"], "'many' must be a whole number, 0 or more"),
    ],
)
def test_a_filter_that_cannot_be_read_says_what_would_be_right(
    rota: Rota, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        rota("runs", *words)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


# -- show


def test_a_run_tells_its_slot_who_asked_and_what_changed_since_the_last_good_one(rota: Rota, spool: Spool) -> None:
    keep(spool, "broken", ago=50 * MINUTE, counts={"rows": 1204}, output="read /in/books.csv in 2 s\n")
    run = keep(
        spool,
        "broken",
        status="failed",
        reason="exit 3",
        slot=(NOW - 2 * MINUTE).isoformat(),
        asked_by="anna",
        parameters={"items": ["Alpha"]},
        counts={"rows": 0},
        output="read /other/books.csv in 3 s\ncannot go on\n",
    )
    shown = rota("show", "broken")
    for words in (
        str(run.id),
        "failed: exit 3",
        "after it",
        "asked for by anna",
        "items = ['Alpha']",
    ):
        assert words in shown
    assert "rows 1204 → 0, output +1 -0 lines" in shown
    assert shown.endswith("\ncannot go on\n")


def test_what_was_caught_is_shown_and_is_no_run(rota: Rota, spool: Spool) -> None:
    caught = make_outbound(to=["anna@example.org", "ben@example.org"])
    spool.store(caught)
    shown = rota("show", str(caught.id))
    assert "to          anna@example.org, ben@example.org\n" in shown
    assert shown.endswith("\n\nThe task try failed on here.\n\n")
    assert json.loads(rota("show", str(caught.id), "--json"))["kind"] == "outbound"
    assert str(caught.id)[-8:] not in rota("runs")
    with pytest.raises(RotaError, match="is of the kind outbound; only runs can be compared"):
        rota("diff", str(caught.id))


def test_a_task_that_never_ran_has_no_run_to_show(rota: Rota) -> None:
    with pytest.raises(RotaError, match="'fine'; no id begins or ends like that, and no task of this name has run"):
        rota("show", "fine")


def test_the_attempts_at_the_same_are_shown_together(rota: Rota, spool: Spool) -> None:
    same = {"slot": NOW.isoformat(), "invocation_id": "ab"}
    first = keep(spool, "fine", ago=2 * MINUTE, status="failed", reason="exit 1", retry_at=NOW.isoformat(), **same)
    second = keep(spool, "fine", attempt=2, trigger="retry", **same)
    keep(spool, "fine", ago=3 * MINUTE, status="failed", reason="exit 9", slot=NOW.isoformat(), invocation_id="cd")
    assert re.search(rf"attempt +2\n +1: failed: exit 1, .*, run {str(first.id)[-8:]}\n", rota("show", str(second.id)))
    assert re.search(r"attempt +1; the next begins .*\n +2: succeeded, ", rota("show", str(first.id)))


def test_a_run_is_followed_until_its_end_and_its_exit_code_passed_on(
    rota: Rota, spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    running = keep(spool, "fine", status="running", output="first\n")
    path = spool.folder / "output" / str(running.id)
    shown: list[str] = []

    def work() -> None:
        """Prints more only when what came before was shown, and then ends."""
        wait_until(lambda: shown.append(capsys.readouterr().out) or "first" in "".join(shown))
        with path.open("a") as file:
            file.write("second\n")
        end = {"status": "failed", "reason": "exit 3", "exit_code": 3, "ended": NOW.isoformat(), "task": "fine"}
        spool.store(make_run(id=str(running.id), started=running.started.isoformat(), **end))

    with held(path):
        worker = threading.Thread(target=work)
        worker.start()
        shown.append(rota("show", "fine", "--log", "--follow", code=3))
        worker.join()
    assert "".join(shown) == "first\nsecond\n"


def test_a_run_whose_runner_is_gone_is_not_followed_for_ever(rota: Rota, spool: Spool) -> None:
    keep(spool, "fine", status="running", output="first\n")
    with pytest.raises(RotaError, match="will be closed as lost"):
        rota("show", "fine", "--follow")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The kernel's lock on a run's output, as its runner has it."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


# -- diff


def test_a_run_is_compared_with_the_last_good_one_before_it(rota: Rota, spool: Spool) -> None:
    keep(spool, "fine", ago=9 * MINUTE, output="other\n")
    good = keep(spool, "fine", ago=8 * MINUTE, output="read 5 files in 2 s\nall well\n")
    keep(spool, "fine", ago=7 * MINUTE, output="rows 0\n", unexpected=["rows is 0"])
    keep(spool, "fine", ago=6 * MINUTE, output="would write\n", dry_run=True)
    run = keep(spool, "fine", ago=5 * MINUTE, status="failed", reason="exit 1", output="read 5 files in 9 s\nno\n")
    keep(spool, "fine", ago=4 * MINUTE)
    found = json.loads(rota("diff", str(run.id), "--json"))
    assert found["other"] == str(good.id)
    assert found["changes"] == [{"what": "result", "before": "succeeded", "after": "failed: exit 1"}]
    assert found["diff"].splitlines()[2:] == ["@@ -1,2 +1,2 @@", " read 5 files in 9 s", "-all well", "+no"]
    assert (found["added"], found["removed"]) == (1, 1)


def test_two_runs_can_be_compared_to_the_letter(rota: Rota, spool: Spool) -> None:
    first = keep(spool, "fine", ago=9 * MINUTE, output="in 2 s\n")
    second = keep(spool, "fine", output="in 3 s\n")
    assert "but for times, ids and the like" in rota("diff", str(second.id), str(first.id))
    assert "-in 2 s\n+in 3 s" in rota("diff", str(second.id), str(first.id), "--exact")


def test_a_task_without_a_good_run_has_nothing_to_compare_with(rota: Rota, spool: Spool) -> None:
    keep(spool, "fine", status="failed", reason="exit 1")
    with pytest.raises(RotaError, match="fine has no good run before"):
        rota("diff", "fine")


# -- tasks


def test_a_task_s_definition_says_where_each_value_comes_from(rota: Rota, places: Places) -> None:
    (places.configuration / "more.yml").write_text("tasks: {check_host: {timeout: 5min}}")
    found = json.loads(rota("tasks", "check_host", "--json"))
    assert found["fields"]["timeout"]["from"] == str(places.configuration / "more.yml")
    assert found["fields"]["schedule"]["from"] == "the pack"
    assert found["fields"]["nice"] == {"value": 5, "from": "Rota"}
    assert re.search(r"\ntimeout +\S+more.yml +5 minutes\n", rota("tasks", "check-host"))

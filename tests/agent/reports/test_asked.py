"""Runs that somebody asked for: claimed once, answered by a file, whatever they are."""

import fcntl
import json
import os
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import pytest

from rota.packs.reports import asked, asking, ledger
from rota.packs.reports.attempt import Attempt
from rota.packs.reports.definitions import Definitions, to_json
from rota.packs.reports.running import Desk
from tests.agent.reports.conftest import defined


def ask(desk: Desk, definitions: Definitions, **changes: object) -> str:
    identifier = str(uuid4())
    said = {"task": "t-one", "trigger": "dry run", "asked_by": "ada", "definitions": to_json(definitions), **changes}
    (desk.places.asked / f"{identifier}.json").write_text(json.dumps(said))
    return identifier


def result(desk: Desk, identifier: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((desk.places.results / identifier / "result.json").read_text())
    return found


def answer(desk: Desk) -> list[Attempt]:
    told: list[Attempt] = []
    asked.answer_all(desk, at_once=2, tell=told.append, linger=0.05)
    return told


def test_a_dry_run_and_a_run_are_answered_each_in_a_folder_of_its_own(desk: Desk) -> None:
    definitions = defined("print('tried')", "print('now')")
    dry = ask(desk, definitions)
    real = ask(desk, definitions, task="t-two", trigger="run now")
    told = {attempt.id: attempt for attempt in answer(desk)}
    assert (desk.places.results / dry / "output").read_text() == "tried\n"
    assert (desk.places.exports / "acme/two.txt").read_text() == "now\n"
    assert not (desk.places.exports / "acme/one.txt").exists()
    assert result(desk, dry)["attempt"]["outcome"] == "shown"  # type: ignore[index]  # parsed from JSON
    assert {told[dry].asked_by, told[real].asked_by} == {"ada"}
    assert {attempt.id for _, attempt in ledger.waiting(desk.places.ledger)} == {real}
    assert list(desk.places.asked.iterdir()) == []


def test_what_is_no_request_is_refused_or_removed_and_nothing_waits_for_ever(desk: Desk, tmp_path: Path) -> None:
    wrong = [ask(desk, defined("print(1)"), **each) for each in ({"trigger": "schedule"}, {"task": "t"})]
    (desk.places.asked / "note.txt").write_text("no request")
    (desk.places.asked / f"{uuid4()}.json").symlink_to(tmp_path)
    (desk.places.asked / "folder").mkdir()
    assert answer(desk) == []
    assert all("refused" in result(desk, each) for each in wrong)
    assert list(desk.places.asked.iterdir()) == []
    assert tmp_path.exists()


def test_a_report_that_is_being_made_is_refused_as_such(desk: Desk) -> None:
    first, second = (ask(desk, defined("import time; time.sleep(1)")) for _ in range(2))  # inside the sandbox
    answer(desk)
    results = [result(desk, each) for each in (first, second)]
    assert sorted(each.get("is_running", False) for each in results) == [False, True]  # type: ignore[type-var]  # parsed from JSON


def test_what_no_worker_is_free_for_waits_and_can_be_withdrawn_and_all_are_answered(desk: Desk) -> None:
    definitions = defined("print(1)")
    for _ in range(5):
        ask(desk, definitions)
    left: list[int] = []

    def tell(attempt: Attempt) -> None:
        waiting = sorted(desk.places.asked.iterdir())
        left.append(len(waiting))
        if len(left) == 1:
            assert asking.withdraw(desk.places, waiting[-1].stem)

    assert asked.answer_all(desk, at_once=1, tell=tell, linger=0.05) == 4
    assert left == [4, 2, 1, 0]


@pytest.mark.parametrize("has_room_later", [True, False])
def test_an_attempt_that_cannot_be_noted_has_its_result_and_keeps_no_other_from_being_made(
    desk: Desk, *, has_room_later: bool
) -> None:
    definitions = defined("print(1)", "print(2)")
    first, second = (ask(desk, definitions, task=task, trigger="run now") for task in ("t-one", "t-two"))
    in_its_way = desk.places.ledger / f"{first}.json.new"
    in_its_way.mkdir()

    def tell(attempt: Attempt) -> None:
        if attempt.id == second and has_room_later:
            in_its_way.rmdir()

    with nullcontext() if has_room_later else pytest.raises(ledger.NotNoted, match="acme/one.txt"):
        asked.answer_all(desk, at_once=1, tell=tell, linger=0.05)
    noted = {attempt.id for _, attempt in ledger.waiting(desk.places.ledger)}
    assert noted == ({first, second} if has_room_later else {second})
    assert all("attempt" in result(desk, each) for each in (first, second))


def test_a_result_that_cannot_be_written_is_told_and_keeps_no_other_from_being_made(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (ask(desk, defined("print(1)")) for _ in range(2))
    (desk.places.results / first / "result.json.new").mkdir(parents=True)
    asked.answer_all(desk, at_once=1, tell=lambda _: None, linger=0.05)
    assert "attempt" in result(desk, second)
    assert f"The result of {first} cannot be written: Is a directory" in capsys.readouterr().out


def test_what_a_killed_worker_left_is_answered_and_swept_in_time(desk: Desk) -> None:
    folder = desk.places.results / str(uuid4())
    folder.mkdir()
    assert asked.close_interrupted(desk.places) == 0, "its request waits still"
    (folder / "request.json").write_text("{}")
    assert asked.close_interrupted(desk.places) == 1
    assert "refused" in json.loads((folder / "result.json").read_text())
    now = folder.stat().st_mtime
    assert asked.sweep(desk.places, now=now + 3600) == 0
    assert asked.sweep(desk.places, now=now + 3 * 86400) == 1
    assert not folder.exists()


def test_what_is_half_written_is_swept_in_time_and_a_whole_request_waits_on(desk: Desk) -> None:
    half, whole = desk.places.asked / f".{uuid4()}.json-{uuid4()}", desk.places.asked / f"{uuid4()}.json"
    attempt = desk.places.ledger / f"{uuid4()}.json.new"
    for each in (half, whole, attempt):
        each.write_text("{")
    now = half.stat().st_mtime
    assert asked.sweep(desk.places, now=now + 3600) == 0
    assert asked.sweep(desk.places, now=now + 3 * 86400) == 2
    assert list(desk.places.asked.iterdir()) == [whole]
    assert list(desk.places.ledger.iterdir()) == []


def test_what_another_sweeps_at_the_same_time_is_no_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        (desk.places.results / str(uuid4())).mkdir()

    def rmtree_late(path: Path) -> None:
        rmtree(path)
        rmtree(path)

    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", rmtree_late)
    asked.sweep(desk.places, now=time.time() + 3 * 86400)
    assert list(desk.places.results.iterdir()) == []


def test_a_worker_killed_while_it_claimed_leaves_a_request_that_the_next_answers(desk: Desk) -> None:
    identifier = ask(desk, defined("print(1)"))
    (desk.places.results / identifier).mkdir()
    assert asked.close_interrupted(desk.places) == 0
    assert [attempt.id for attempt in answer(desk)] == [identifier]


def test_what_is_taken_back_or_taken_by_another_is_claimed_by_nobody(desk: Desk) -> None:
    gone, taken = (desk.places.asked / f"{ask(desk, defined('print(1)'))}.json" for _ in range(2))
    gone.unlink()
    assert asked.claim(gone, desk.places.results / gone.stem) is None
    with taken.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert asked.claim(taken, desk.places.results / taken.stem) is None
    assert list(desk.places.results.iterdir()) == []
    (claimed,) = asked.claim_all(desk.places)
    assert asked.close_interrupted(desk.places) == 0, "whoever answers lives"
    os.close(claimed.lock)
    assert asked.close_interrupted(desk.places) == 1


def test_an_id_is_answered_once(desk: Desk) -> None:
    identifier = ask(desk, defined("print('first')"))
    answer(desk)
    (desk.places.asked / f"{identifier}.json").write_text("{}")
    assert answer(desk) == []
    assert (desk.places.results / identifier / "output").read_text() == "first\n"


def test_the_diary_reads_results_by_its_group_whatever_the_umask_is(desk: Desk) -> None:
    group = next((each for each in os.getgroups() if each != os.getgid()), 65534 if os.geteuid() == 0 else os.getgid())
    os.chown(desk.places.results, -1, group)
    desk.places.results.chmod(0o2750)
    before = os.umask(0o077)
    try:
        identifier = ask(desk, defined("print(1)"))
        answer(desk)
    finally:
        os.umask(before)
    folder = desk.places.results / identifier
    modes = {each.name: f"{each.stat().st_mode & 0o777:o}" for each in (folder, *folder.iterdir())}
    assert modes == {identifier: "750", "output": "640", "errors": "640", "result.json": "640", "request.json": "600"}
    made = {each.name: each.stat().st_gid for each in (folder, *folder.iterdir())}
    assert made == {**dict.fromkeys(modes, group), "request.json": os.getgid()}


def test_what_the_host_may_not_read_is_answered_and_started_for_only_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = ask(desk, defined("print(1)"))
    monkeypatch.setattr(asked, "opened", lambda path: None)  # as for whoever is not root, where the group is wrong
    assert answer(desk) == []
    assert result(desk, identifier) == {"refused": asked.UNREADABLE}
    assert list(desk.places.asked.iterdir()) == []
    assert asked.close_interrupted(desk.places) == 0

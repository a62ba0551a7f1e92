"""What the tasks of reports tell of their runs, which everybody reads who reads the diary."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rota.adapters.report import Report
from rota.packs.reports import asked, ledger, tasks
from rota.packs.reports.folder import write_folder
from rota.packs.reports.running import Desk
from rota.packs.reports.tasks import reports_asked, reports_nightly
from tests.agent.reports.conftest import defined
from tests.agent.reports.test_asked import ask

pytestmark = pytest.mark.usefixtures("no_linger")


@pytest.fixture
def no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is there before the task starts."""
    monkeypatch.setattr(asked, "answer_all", partial(asked.answer_all, linger=0.05))


def told(work: Callable[[Report], None]) -> list[dict[str, Any]]:
    """The items and counts of a run."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as lines:
        try:
            work(Report(writing))
        finally:
            os.close(writing)
        return [json.loads(line) for line in lines]


def test_of_a_dry_run_the_tasks_own_run_tells_nothing_that_it_said(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(desk, defined("import sys\nprint(123456)\nsys.exit('secret')"))
    ask(desk, defined("", "import sys\nsys.exit('open')"), task="t-two", trigger="run now")
    entries = told(lambda report: reports_asked(report, state=desk.places.state))
    output = capsys.readouterr().out
    assert "acme/one.txt: failed in" in output
    items = {each["item"]: each["message"] for each in entries if "item" in each}
    assert items == {"acme/one.txt": "", "acme/two.txt": "exit value 1: open\n"}
    assert "secret" not in output
    assert "exit value 1: open" in output


def test_the_diary_hears_of_what_is_noted_where_something_is_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = ask(desk, defined("print(1)"), trigger="run now")
    (desk.places.ledger / f"{identifier}.json.new").mkdir()
    handed_over: list[Desk] = []
    monkeypatch.setattr(tasks, "hand_over", lambda report, desk, diary: handed_over.append(desk))
    with pytest.raises(ledger.NotNoted, match=r"acme/one.txt \(Is a directory"):
        reports_asked(Report(None), state=desk.places.state)
    assert len(handed_over) == 1


def test_a_release_without_libraries_is_told_once_and_keeps_no_report_from_being_made(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for task in ("t-one", "t-two"):
        ask(desk, defined("print(1)", "print(2)"), task=task, trigger="run now")
    entries = told(lambda report: reports_asked(report, state=desk.places.state, libraries=tmp_path / "none"))
    outcomes = {each["item"]: each["outcome"] for each in entries if "item" in each}
    assert outcomes == {"libraries": "missing", "acme/one.txt": "published", "acme/two.txt": "published"}
    assert capsys.readouterr().out.count("there is no folder") == 1


def test_a_night_removes_what_is_kept_no_longer_where_nobody_asks_for_more(desk: Desk, tmp_path: Path) -> None:
    old, young = (desk.places.results / name for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "output").write_text("x")
    os.utime(old, (0, 0))
    write_folder(defined("print(1)"), tmp_path / "definitions")
    reports_nightly(Report(None), folder=tmp_path / "definitions", state=desk.places.state)
    assert list(desk.places.results.iterdir()) == [young]

"""One report, from its definition to its file, in the real sandbox."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rota.packs.reports import running
from rota.packs.reports.attempt import Outcome, Trigger
from rota.packs.reports.definitions import Check, Definitions, Query
from rota.packs.reports.publishing import Export, Published
from rota.packs.reports.running import AlreadyRuns, Desk, Guard, Order, fitting, make
from tests.agent.reports.conftest import defined, library


def made(desk: Desk, definitions: Definitions, name: str = "acme/one.txt", **order: object):  # noqa: ANN201 - told below
    return make(desk, definitions, Order(task=definitions.report(name), **order))  # type: ignore[arg-type]  # values of fields


def test_what_a_script_prints_is_published_with_its_size_lines_and_checksum(desk: Desk) -> None:
    attempt = made(desk, defined("print('a')\nprint('b')"))
    assert (attempt.outcome, attempt.message, attempt.bytes, attempt.rows) == (Outcome.PUBLISHED, "OK", 4, 2)
    assert (desk.places.exports / "acme/one.txt").read_bytes() == b"a\nb\n"
    assert attempt.sha256 == "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"


def test_libraries_and_queries_are_there_and_hostile_sql_stays_text(desk: Desk) -> None:
    query = Query(id="q", name="acme:one_txt", body="select '''; import os; \\% \"\"\"'")
    definitions = defined(
        "from sniplets import head\nfrom queries.acme import one_txt\nprint(head.line)\nprint(one_txt.query)",
        libraries=(library("head", "from sniplets.deeper import line"), library("deeper", "line = 'Script 1'")),
        queries=(query,),
    )
    made(desk, definitions)
    assert (desk.places.exports / "acme/one.txt").read_text() == f"Script 1\n\n{query.body}\n\n"


@pytest.mark.parametrize(
    ("body", "outcome", "message"),
    [
        ("print('half'); raise SystemExit(3)", Outcome.FAILED, "exit value 3"),
        ("import sys; print('why', file=sys.stderr); raise SystemExit(1)", Outcome.FAILED, "exit value 1: why\n"),
        ("this is a syntax error", Outcome.REFUSED, "line 1"),
        ("from sniplets import nobody", Outcome.REFUSED, "acme:one_txt, line 1: sniplets has no 'nobody'"),
        ("import foo_bar", Outcome.FAILED, "ModuleNotFoundError"),
        ("open('/etc/passwd')", Outcome.REFUSED, "Illegal instructions found: {acme:one_txt=[open()]}"),
        ("", Outcome.REFUSED, "the script acme:one_txt is empty"),
    ],
)  # fmt: skip
def test_a_report_that_fails_says_why_and_leaves_the_last_good_one(
    desk: Desk, body: str, outcome: Outcome, message: str
) -> None:
    made(desk, defined("print('good')"))
    attempt = made(desk, defined(body))
    assert attempt.outcome is outcome
    assert message in attempt.message
    assert (desk.places.exports / "acme/one.txt").read_text() == "good\n"
    assert [each.name for each in (desk.places.exports / "acme").glob(".new-*")] == []
    assert list(desk.places.trees.iterdir()) == []


def test_a_report_without_a_script_is_refused(desk: Desk) -> None:
    definitions = defined("print(1)")
    without = replace(definitions, tasks=(replace(definitions.tasks[0], id_script=None),))
    assert "no script" in made(desk, without).message


def test_an_output_that_does_not_pass_its_checks_is_not_published(desk: Desk) -> None:
    attempt = made(desk, defined("print('<a><b></a>')", checks=(Check.XML,)))
    assert attempt.outcome is Outcome.REFUSED
    assert "line 1" in attempt.message
    assert not (desk.places.exports / "acme/one.txt").exists()


def test_a_report_that_takes_too_long_is_ended(desk: Desk) -> None:
    attempt = made(desk, defined("while True: pass", timeout=1))
    assert (attempt.outcome, attempt.message.partition(":")[0]) == (Outcome.FAILED, "timeout after 1 s")


def test_what_is_published_is_closed_once_so_that_no_other_file_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Reports are made side by side: a descriptor that one has closed is another's at once."""
    opened: list[int] = []

    class Watched(Export):
        def publish(self, *words: object) -> Published:  # type: ignore[override]  # as it is called
            published = super().publish(*words)  # type: ignore[arg-type]  # as it is called
            opened.append(os.open(tmp_path, os.O_RDONLY))
            return published

    monkeypatch.setattr(running, "Export", Watched)
    assert made(desk, defined("print(1)")).outcome is Outcome.PUBLISHED
    assert os.fstat(opened[0])
    os.close(opened[0])


def test_the_same_report_is_never_made_twice_at_once(desk: Desk) -> None:
    definitions = defined("print(1)", "print(2)")
    held = os.open(desk.places.locks / "t-one.lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(AlreadyRuns, match="acme/one.txt"):
        made(desk, definitions)
    assert made(desk, definitions, "acme/two.txt").outcome is Outcome.PUBLISHED
    os.close(held)
    assert made(desk, definitions).outcome is Outcome.PUBLISHED


def test_a_dry_run_publishes_nothing_and_keeps_what_was_said(desk: Desk, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    body = "import sys; print('one'); print('beside', file=sys.stderr)"
    attempt = made(desk, defined(body), trigger=Trigger.DRY_RUN, shown=shown)
    assert (attempt.outcome, attempt.rows, attempt.bytes) == (Outcome.SHOWN, 1, 4)
    assert ((shown / "output").read_text(), (shown / "errors").read_text()) == ("one\n", "beside\n")
    assert list(desk.places.exports.iterdir()) == []


def test_a_dry_run_says_less_than_a_report_may_for_it_is_kept(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.limits.output > running.MOST_SHOWN
    monkeypatch.setattr(running, "MOST_SHOWN", 1000)
    definitions = defined("print('x' * 2000)")
    attempt = made(desk, definitions, trigger=Trigger.DRY_RUN, shown=tmp_path)
    assert (attempt.outcome, attempt.message) == (Outcome.FAILED, "more than 1000 bytes of output")
    assert (tmp_path / "output").stat().st_size == 1000
    assert made(desk, definitions).outcome is Outcome.PUBLISHED
    small = replace(desk, limits=replace(desk.limits, output=100))
    assert "more than 100 bytes" in made(small, definitions, trigger=Trigger.DRY_RUN, shown=tmp_path).message


def test_the_guard_can_be_the_old_one_or_none(desk: Desk) -> None:
    alarm = defined("# retrieval(x)\nprint(1)")
    assert made(desk, alarm).outcome is Outcome.PUBLISHED
    assert "eval()" in made(replace(desk, guard=Guard.LEGACY), alarm).message
    assert made(replace(desk, guard=Guard.OFF), defined("print(eval('1'))")).outcome is Outcome.PUBLISHED


def test_a_message_fits_into_the_run_log() -> None:
    assert fitting("short") == "short"
    assert len(fitting("ä" * 60_000).encode()) <= 60_000

"""Laws of progress: it moves on a terminal, and leaves plain lines elsewhere."""

import io
import sys

import pytest

from rota.adapters import progress
from rota.adapters.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_changes_and_goes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SOON", 0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    shown = Progress("records")
    shown.tell(500, 10_000)
    shown.tell(10_000, 10_000)
    shown.end()
    assert terminal.getvalue().split("\r") == ["", "500 of 10,000 records", "10,000 of 10,000 records", " " * 24, ""]


def test_elsewhere_there_are_lines_without_control_codes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Progress("records")
    shown.tell(1, 9)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SELDOM", 0)
    shown.tell(2, 9)
    shown.end()
    assert capsys.readouterr().err == "2 of 9 records\n"


def test_work_that_is_done_at_once_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    shown = Progress("records")
    shown.tell(1, 1)
    shown.end()
    assert terminal.getvalue() == ""

"""Destroying production asks for the word, everywhere else nothing is asked."""

import io

import pytest

from provision.confirm import NotConfirmed, confirm_destruction


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_other_environments_are_not_asked() -> None:
    confirm_destruction("staging", "The database goes", yes=False, terminal=io.StringIO(""))


def test_production_goes_on_only_with_the_word_typed() -> None:
    confirm_destruction("production", "The database goes", yes=False, terminal=Terminal("production\n"))


@pytest.mark.parametrize("typed", ["", "\n", "yes\n", "Production\n", "staging\n"])
def test_any_other_word_stops(typed: str) -> None:
    with pytest.raises(NotConfirmed, match="was not typed"):
        confirm_destruction("production", "The database goes", yes=False, terminal=Terminal(typed))


def test_without_a_terminal_the_flag_is_named() -> None:
    with pytest.raises(NotConfirmed, match="--yes-destroy-production"):
        confirm_destruction("production", "The database goes", yes=False, terminal=io.StringIO("production\n"))


def test_the_flag_says_it_beforehand() -> None:
    confirm_destruction("production", "The database goes", yes=True, terminal=io.StringIO(""))


def test_the_question_names_what_is_lost() -> None:
    said = io.StringIO()
    confirm_destruction("production", "The database goes", yes=False, terminal=Terminal("production\n"), out=said)
    assert "The database goes" in said.getvalue()

"""Asking several hosts: commands are lists, a silent host is a line."""

import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from provision.estate import Answer, show, ssh_command

CONFIG = Path(".rota/lab/ssh_config")


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_every_word_reaches_the_host_as_it_was_given(words: list[str]) -> None:
    assert shlex.split(ssh_command(CONFIG, "staging", words)[-1]) == words


def test_a_question_never_waits_for_a_password() -> None:
    assert "BatchMode=yes" in ssh_command(CONFIG, "staging", ["true"])


def test_a_host_that_does_not_answer_is_a_line_and_no_failure() -> None:
    lines: list[str] = []
    code = show(
        [Answer("staging", 255, "ssh: connect: No route to host\n"), Answer("production", 0, "ok\n")], lines.append
    )
    assert code == 0
    assert "does not answer: ssh: connect: No route to host" in lines
    assert "ok" in lines


def test_the_worst_exit_code_of_the_answers_is_returned() -> None:
    assert show([Answer("a", 0, ""), Answer("b", 3, "x")], lambda _: None) == 3

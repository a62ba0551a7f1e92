"""Asking several hosts: commands are lists, and a silent host is a line, which the exit code does not hide."""

import getpass
import os
import shlex
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import deploying
from provision.estate import UNREACHABLE, Answer, HostUnreachable, ask, put, save, show, ssh_command
from tests.control.daemon import Daemon, free_port

CONFIG = Path(".rota/lab/ssh_config")


@pytest.fixture
def config(daemon: Daemon) -> Path:
    """The ssh configuration of two hosts: `here` answers, `gone` does not."""
    path = daemon.folder / "ssh_config"
    common = f"User {getpass.getuser()}\nHostName 127.0.0.1\nIdentityFile {daemon.user_key}\nHostKeyAlias here\n"
    pins = daemon.folder / "known_hosts"
    pins.write_text(f"here {Path(f'{daemon.host_key}.pub').read_text()}")
    ports = f"Host here\nPort {daemon.port}\nHost gone\nPort {free_port()}\n"
    path.write_text(f"{ports}Host *\n{common}UserKnownHostsFile {pins}\n")
    return path


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_every_word_reaches_the_host_as_it_was_given(words: list[str]) -> None:
    assert shlex.split(ssh_command(CONFIG, "staging", words)[-1]) == words


def test_a_question_never_waits_for_a_password() -> None:
    assert "BatchMode=yes" in ssh_command(CONFIG, "staging", ["true"])


@pytest.mark.parametrize("code", [0, 3, 254, 255])
def test_the_exit_code_of_the_program_is_passed_on_whichever_it_is(config: Path, code: int) -> None:
    lines: list[str] = []
    assert put(config, ["here"], ["sh", "-c", f"echo 'two words'; echo aside >&2; exit {code}"], lines.append) == code
    assert lines[1:3] == ["two words", "aside"]


def test_a_silent_host_is_a_line_and_the_exit_code_says_so_though_the_others_answer(config: Path) -> None:
    lines: list[str] = []
    assert put(config, ["gone", "here"], ["echo", "ok"], lines.append) == UNREACHABLE
    assert "does not answer: ssh: connect to host 127.0.0.1" in lines[1]
    assert lines[-1] == "ok"


def test_answers_are_kept_a_file_each_and_that_of_a_silent_host_stays(config: Path, tmp_path: Path) -> None:
    def path_of(host: str) -> Path:
        return tmp_path / "kept" / f"{host}.yml"

    assert save(config, ["here"], ["echo", "first"], path_of, lambda _: None) == 0
    path_of("gone").write_text("from before")
    lines: list[str] = []
    assert save(config, ["gone", "here"], ["echo", "groups: ü"], path_of, lines.append) == UNREACHABLE
    assert (path_of("gone").read_text(), path_of("here").read_text()) == ("from before", "groups: ü\n")
    assert lines[-1] == f"written: {path_of('here')}"
    assert "does not answer" in lines[1]


@pytest.mark.parametrize("hosts", [["gone"], ["gone", "gone"]])
def test_nothing_that_no_host_answered_is_a_success(config: Path, hosts: list[str]) -> None:
    assert put(config, hosts, ["true"], lambda _: None) == UNREACHABLE


def test_a_connection_that_breaks_in_the_middle_is_no_success_and_what_was_said_stays(
    config: Path, daemon: Daemon
) -> None:
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if line == "begun":
            break_connections(daemon)

    assert put(config, ["here"], ["sh", "-c", "echo begun; exec sleep 60"], hear) == UNREACHABLE
    assert "begun" in lines
    assert lines[-1].startswith("does not answer: ")


def break_connections(daemon: Daemon) -> None:
    assert daemon.process
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text()
    for pid in children.split():
        os.kill(int(pid), signal.SIGKILL)


def test_the_answer_of_a_single_host_is_heard_as_it_comes(config: Path, tmp_path: Path) -> None:
    """The program goes on only when its first line was heard: else both would wait until the test gives up."""
    heard = tmp_path / "heard"
    waiting = f"echo first; while [ ! -e {heard} ]; do sleep 0.05; done; echo second"
    answer = ask(config, "here", ["timeout", "20", "sh", "-c", waiting], lambda _: heard.touch())
    assert (answer.exit_code, answer.output) == (0, "first\nsecond\n")


@pytest.mark.parametrize("live", [False, True])
def test_several_hosts_are_asked_at_once(config: Path, tmp_path: Path, live: bool) -> None:
    """Each waits until the other has begun: one after the other they would wait until the test gives up."""
    begun = tmp_path / "begun"
    wait = f"echo x >>{begun}; while [ $(wc -l <{begun}) -lt 2 ]; do sleep 0.05; done; echo done"
    lines: list[str] = []
    assert put(config, ["here", "here"], ["timeout", "20", "sh", "-c", wait], lines.append, live=live) == 0
    assert sum(line.endswith("done") for line in lines) == 2


def test_lines_of_several_hosts_are_heard_as_they_come_behind_their_host_s_name(config: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    waiting = f"echo first; while [ ! -e {heard} ]; do sleep 0.05; done; exit 3"
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if line == "here │ first":
            heard.touch()

    command = ["timeout", "20", "sh", "-c", waiting]
    assert put(config, ["here", "gone"], command, hear, live=True) == UNREACHABLE
    assert "here │ (exit code 3)" in lines
    assert [line for line in lines if line.startswith("gone │ does not answer: ssh: connect to host")]


def test_an_answer_is_shown_while_later_hosts_still_think(config: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    waiting = ["timeout", "20", "sh", "-c", f"while [ ! -e {seen} ]; do sleep 0.05; done; echo late"]
    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        seen.touch()

    put(config, ["gone", "here"], waiting, write)
    assert lines[-1] == "late"


def test_a_deploy_to_a_silent_host_names_it_and_ends_as_a_playbook_would(config: Path) -> None:
    with pytest.raises(HostUnreachable, match="A host does not answer: gone: ssh: connect to host") as caught:
        deploying.answers(config, ["gone"])
    assert caught.value.exit_code == UNREACHABLE
    with (
        pytest.raises(HostUnreachable, match="gone: ssh: connect to host"),
        deploying.locked(config, ["gone"], "me", 0),
    ):
        pass


def test_the_worst_exit_code_of_the_answers_is_returned() -> None:
    assert show([Answer("a", 0, ""), Answer("b", 3, "x")], lambda _: None) == 3

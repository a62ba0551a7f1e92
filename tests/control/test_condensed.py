"""Ansible's output as an operator sees it, from a real playbook on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE = str(Path(sys.executable).with_name("ansible-playbook"))

PLAYBOOK = """
- name: Set up
  hosts: here
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy: {dest: "{{ folder }}/a", content: "new text", mode: "0600"}
    - name: Keep a secret
      ansible.builtin.copy: {dest: "{{ folder }}/b", content: "hunter2", mode: "0600"}
      no_log: true
    - name: Fail with a reason
      ansible.builtin.fail: {msg: "the disk is upside down"}
      when: broken | bool
"""


def play(folder: Path, *, broken: bool = False, diff: bool = False) -> tuple[subprocess.CompletedProcess[str], str]:
    (folder / "play.yml").write_text(PLAYBOOK)
    done = subprocess.run(
        [ANSIBLE, "-i", "here,", "-c", "local", "-e", f"folder={folder} broken={broken}",
         "-e", "ansible_python_interpreter=/usr/bin/python3", *(["--diff"] if diff else []), "play.yml"],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "condensed",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "provision" / "plugins" / "callback"),
            "ANSIBLE_LOG_PATH": str(folder / "log"),
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done, (folder / "log").read_text()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], str]:
    return play(tmp_path_factory.mktemp("good"), diff=True)


def test_a_section_is_one_line_without_control_codes(good: tuple[subprocess.CompletedProcess[str], str]) -> None:
    done, _ = good
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(line.strip().startswith("Set up") and "2 changed" in line for line in done.stdout.splitlines())
    assert "\033" not in done.stdout


def test_a_difference_is_shown_where_it_was_asked_for(good: tuple[subprocess.CompletedProcess[str], str]) -> None:
    assert "+new text" in good[0].stdout


def test_the_log_holds_every_result_and_no_secret(good: tuple[subprocess.CompletedProcess[str], str]) -> None:
    done, log = good
    assert "CHANGED here:" in log
    assert "STEP Keep a secret" in log
    assert "hunter2" not in log + done.stdout


def test_a_failure_names_host_step_and_reason(tmp_path: Path) -> None:
    done, _ = play(tmp_path, broken=True)
    assert done.returncode == 2
    assert "FAILED here: Fail with a reason" in done.stdout
    assert "the disk is upside down" in done.stdout

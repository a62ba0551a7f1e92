"""The command line as an operator meets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fabfile

ROOT = Path(__file__).resolve().parents[2]


def fab(*words: str, inventory: str = "example") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabric", *words],
        cwd=ROOT,
        env={**os.environ, "FABRIC_ROTA_INVENTORY": inventory, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


COMMANDS = """
provision deploy rollback verify status runs logs journal start plan pause resume releases shell restore_staging
restore_db_from_backup backup
lab.up lab.down lab.reset lab.status lab.cut lab.heal lab.clock secrets.make secrets.edit secrets.check
test lint docs demo development staging production
""".split()


def test_every_command_is_listed_with_a_sentence_on_one_line_and_all_fit_a_screen() -> None:
    lines = [line for line in fab("--list").stdout.splitlines() if line.strip()]
    listed = {line.split()[0]: line for line in lines[1:]}
    assert set(COMMANDS) <= set(listed)
    assert all(len(line.split()) > 2 for line in listed.values())
    assert len(lines) <= 45


def test_a_reader_of_the_list_may_stop_when_it_has_read_enough() -> None:
    listing = [sys.executable, "-m", "fabric", "--list"]
    with subprocess.Popen(listing, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listed:
        assert listed.stdout
        assert listed.stderr
        listed.stdout.close()
        assert listed.stderr.read() == ""


def test_an_unknown_environment_is_refused_and_the_known_are_named() -> None:
    answer = fab("produktion", "deploy")
    assert answer.returncode != 0
    assert "did you mean 'production'" in answer.stderr
    assert "development, staging, production, backup" in answer.stderr


@pytest.mark.parametrize("name", ["deploy", "status", "verify", "provision"])
def test_a_command_without_an_environment_says_which_there_are(name: str) -> None:
    answer = fab(name)
    assert answer.returncode == 2
    assert f"fab backup {name}" in answer.stderr
    assert "production" in answer.stderr


@pytest.mark.parametrize(("name", "why"), [("staging", "restore_staging"), ("backup", "fab production backup")])
def test_only_production_is_backed_up_and_the_others_say_why(name: str, why: str) -> None:
    answer = fab(name, "backup")
    assert answer.returncode == 2
    assert f"{name} backup: " in answer.stderr
    assert why in answer.stderr


def test_a_restore_can_be_of_one_host_and_names_the_hosts_there_are() -> None:
    answer = fab("production", "restore_db_from_backup", "--host", "absent", "--check")
    assert answer.returncode == 2
    assert "'absent' is no host of production; there are: production" in answer.stderr


def test_development_takes_no_deploy_and_says_why() -> None:
    answer = fab("development", "deploy")
    assert answer.returncode == 2
    assert "working tree" in answer.stderr


@pytest.mark.parametrize("words", [["staging"], ["lab.reset", "staging"], ["production", "deploy", "staging"]])
def test_an_environment_that_no_command_follows_is_refused_before_anything_happens(words: list[str]) -> None:
    answer = fab(*words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "An environment selects the hosts of the command after it" in answer.stderr


@pytest.mark.parametrize("words", ["production backup", "production start backup", "secrets.edit staging", "--list"])
def test_an_environment_s_name_is_free_to_mean_something_else(words: str) -> None:
    fabfile.refuse_environment_at_the_end(words.split())


def test_an_unknown_inventory_names_the_known() -> None:
    answer = fab("production", "status", inventory="nowhere")
    assert answer.returncode == 2
    assert "example" in answer.stderr


def test_restoring_production_without_a_terminal_is_refused_before_anything_happens() -> None:
    answer = fab("production", "restore_db_from_backup")
    assert answer.returncode == 2
    assert "--yes-destroy-production" in answer.stderr
    assert "inventory example" in answer.stdout


def test_help_of_a_command_shows_it_and_runs_nothing() -> None:
    answer = fab("--help", "deploy")
    assert answer.returncode == 0
    assert "--ref" in answer.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("runs", "--status failed --grep 'no room'"),
            ["sudo", "rota", "runs", "--status", "failed", "--grep", "no room"],
        ),
        (("status", ""), ["sudo", "rota", "status"]),
    ],
)
def test_words_for_the_agent_are_taken_apart_as_a_shell_would(words: tuple[str, ...], expected: list[str]) -> None:
    assert fabfile.rota(*words) == expected


def test_the_agent_hears_who_asks_and_a_task_is_one_word() -> None:
    argv = fabfile.rota("run", "-a Alpha", task="x; y", says_who=True)
    assert argv[:2] == ["sudo", "env"]
    assert argv[2].startswith("ROTA_ASKED_BY=")
    assert argv[3:] == ["rota", "run", "-a", "Alpha", "x; y"]


def test_words_that_cannot_be_taken_apart_are_refused_in_a_line() -> None:
    answer = fab("production", "runs", "--words", "--grep 'x")
    assert answer.returncode == 2
    assert "No closing quotation" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_pause_takes_its_end_and_its_reason() -> None:
    shown = fab("--help", "pause").stdout
    for option in ("--until", "--for", "--reason"):
        assert option in shown

"""`rota-diary import_reports`: a folder of definitions becomes what people write on in the diary."""

from pathlib import Path

import pytest
from django.core.management import call_command

from rota.packs.reports.diary.models import Client, History, Task
from rota.packs.reports.folder import BadFolder
from tests.agent.reports.test_folder import put

ROOT = Path(__file__).resolve().parents[4]


def take(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("import_reports", str(folder), *words)
    return capsys.readouterr().out.strip()


def test_the_example_is_taken_and_the_second_time_changes_nothing(
    database: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ROOT / "provision/example/reports"
    assert take(folder, capsys, "--dry-run") == "5 reports of 2 clients could be taken"
    assert Client.objects.count() == 0
    assert take(folder, capsys) == "Made or changed: 2 clients, 3 queries, 6 scripts, 5 tasks"
    assert take(folder, capsys) == "Made or changed: 0 clients, 0 queries, 0 scripts, 0 tasks"
    assert {str(task) for task in Task.objects.select_related("client")} >= {"press/titles.xml"}
    assert History.objects.count() == 2 + 3 + 6 + 5


def test_what_keeps_one_report_from_running_is_told_and_taken(
    database: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, **{"abc/a.txt.yml": "start_date: 2026-01-01", "abc/a.txt.py": "1 1"})
    call_command("import_reports", str(tmp_path))
    assert "abc/a.txt.py:1: syntax:" in capsys.readouterr().err
    assert Task.objects.filter(client__username="abc", file_name="a.txt").exists()


def test_names_that_are_not_possible_keep_all_of_it_out(database: object, tmp_path: Path) -> None:
    put(tmp_path, **{"ab/client.yml": "name: Too short"})
    with pytest.raises(BadFolder, match="user name 'ab'"):
        call_command("import_reports", str(tmp_path))
    assert Client.objects.count() == 0

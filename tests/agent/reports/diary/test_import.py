"""`rota-diary import_reports`: a folder of definitions becomes what people write on in the diary."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command

from rota.packs.reports.definitions import BadDefinitions
from rota.packs.reports.diary.keeping import definitions_of_database
from rota.packs.reports.diary.models import Client, History, Query, RunLog, Script, Task
from rota.packs.reports.folder import BadFolder
from rota.packs.reports.importing import BadLogs, write_logs
from rota.packs.reports.importing import RunLog as Original
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


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Library/client.yml": "name: Upper case"}, "'library' and 'Library' are one name"),
        ({"libraries/library.sql": "SELECT 1"}, "library query 'library'"),
        ({"library/client.yml": "id: ID\nname: The library", "library/BOOKS.csv.yml": "start_date: 2026-01-01"},
         "'library/books.csv' and 'library/BOOKS.csv' are one name"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_what_does_not_go_with_what_is_there_keeps_all_of_it_out(
    shelf: Task, tmp_path: Path, files: dict[str, str], said: str, words: list[str]
) -> None:
    put(tmp_path, **{name: text.replace("ID", shelf.client_id) for name, text in files.items()})
    before = definitions_of_database()
    with pytest.raises(BadDefinitions, match=said):
        call_command("import_reports", str(tmp_path), *words)
    assert definitions_of_database() == before


def test_run_logs_are_taken_once_and_those_of_unknown_reports_are_told(
    database: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(tmp_path / "definitions", **{"abc/titles.xml.yml": "id: t1\nstart_date: 2024-02-07"})
    file = tmp_path / "logs"
    at = datetime(2024, 2, 7, 2, 0, 1, tzinfo=UTC)
    logs = [
        Original(1, "t1", at, is_success=True, message="OK"),
        Original(2, "t1", at, is_success=False, message="ü" * 40_000 + "\0"),
        Original(3, "gone", at, is_success=True, message="OK"),
    ]
    write_logs(logs, file)
    assert "Run logs: 2 taken, 1 of reports that are not there" in take(folder, capsys, "--logs", str(file))
    rows = RunLog.objects.order_by("date", "is_success").values_list("task", "date", "is_success", "outcome", "trigger")
    assert list(rows) == [("t1", at, False, "failed", ""), ("t1", at, True, "published", "")]
    assert len(RunLog.objects.get(is_success=False).message.encode()) <= 65_535
    assert "Run logs: 0 taken, 1" in take(folder, capsys, "--logs", str(file))
    assert RunLog.objects.count() == 2


NO_ZONE = '{"logs": [{"id": 1, "id_task": "t", "date": "2024-01-01T00:00:00", "is_success": true, "message": ""}]}'


@pytest.mark.parametrize("content", ["", "[]", '{"logs": [{"id": 1}]}', NO_ZONE])
def test_what_are_no_run_logs_keeps_all_of_it_out(database: object, tmp_path: Path, content: str) -> None:
    (tmp_path / "logs").write_text(content)
    with pytest.raises(BadLogs, match="logs"):
        call_command("import_reports", str(put(tmp_path / "definitions")), "--logs", str(tmp_path / "logs"))
    assert Client.objects.count() == 0


def test_what_is_exported_is_imported_without_loss_and_without_taking_secrets_away(
    database: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(ROOT / "provision/example/reports", capsys)
    Client.objects.filter(username="press").update(password="a hash", access_key="0" * 64)
    before = definitions_of_database()
    for words in ([], ["--secrets"]):
        call_command("export_reports", str(tmp_path), *words)
        assert "5 reports of 2 clients" in capsys.readouterr().out
        assert ("a hash" in (tmp_path / "press/client.yml").read_text()) is bool(words)
        assert take(tmp_path, capsys) == "Made or changed: 0 clients, 0 queries, 0 scripts, 0 tasks"
        assert definitions_of_database() == before
    call_command("export_reports", str(tmp_path))
    assert "a hash" in (tmp_path / "press/client.yml").read_text(), "what stands there stays"
    Task.objects.all().delete()
    Client.objects.all().delete()
    Script.objects.all().delete()
    Query.objects.all().delete()
    take(tmp_path, capsys)
    assert definitions_of_database() == before

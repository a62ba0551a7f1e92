"""docs/tasks.md and docs/logs.md say what the code does: fields, commands, packs' settings and the examples."""

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

from rota.catalogue import PackTask, discover, load, tasks_of
from rota.core.fields import FIELDS
from rota.packs.logs import tasks as logs
from tests.agent.test_cli import Rota

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, LOGS = ((DOCS / name).read_text(encoding="utf-8") for name in ("tasks.md", "logs.md"))
EXAMPLES = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_of_fields_is_the_code_s() -> None:
    rows = [f"| `{name}` | {field.meaning} |" for name, field in FIELDS.items()]
    assert "\n".join(rows) in PAGE


@pytest.mark.parametrize("name", [each.name for each in tasks_of("logs")])
def test_every_setting_of_the_logs_pack_is_named(name: str) -> None:
    (section,) = re.findall(rf"\n## {name}\n(.*?)(?=\n## |\Z)", LOGS, re.DOTALL)
    parameters = inspect.signature(getattr(logs, name)).parameters.values()
    settings = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [each for each in settings if each != "dry_run"]


def test_every_example_is_accepted(tmp_path: Path) -> None:
    python = next(text for language, text in EXAMPLES if language == "python")
    scope: dict[str, object] = {"__name__": "library"}
    exec(python, scope)  # noqa: S102 - it is our own page
    function = scope["export_catalogue"]
    assert inspect.isfunction(function)
    packs = discover() | {"library.export_catalogue": PackTask("export_catalogue", "library", function)}
    examples = [yaml.safe_load(text) for language, text in EXAMPLES if language == "yaml"]
    assert len(examples) >= 3
    for number, example in enumerate(examples):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tasks.yml").write_text(yaml.safe_dump(example))
        found = load(folder, host="h", environment="staging", python=["/usr/bin/python3"], packs=packs)
        assert found.tasks.keys() == example["tasks"].keys()


def test_every_example_of_the_logs_pack_is_accepted(tmp_path: Path) -> None:
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", LOGS, re.DOTALL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tasks.yml").write_text(text)
        load(folder, host="h", environment="staging", python=["/usr/bin/python3"], packs=discover())
    assert number


JSON = dict(re.findall(r"^\| (`(?:status|plan|runs|diff|tasks|check|sync).*?) \| (.*) \|$", PAGE, re.MULTILINE))


def named(row: str) -> set[str]:
    """The keys that the table of `--json` names for this command."""
    return set(re.findall(r"`(\w+)`", JSON[row]))


def test_what_commands_print_as_json_is_told_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(
        "tasks: {t: {command: [/bin/echo, hi], description: d, schedule: '12:40 UTC', catch_up: none},"
        " u: {command: [/bin/true], description: d, watch: [/tmp]}}"
    )
    rota = Rota("--home", str(tmp_path))
    for _ in range(2):
        assert rota("run", "t").returncode == 0
    status = rota.json("status")
    assert status.keys() == named("`status`")
    assert status["tasks"][0].keys() == named("`status`, each of its tasks")
    assert rota.json("plan")[0].keys() == named("`plan`")
    assert rota.json("runs")[0].keys() | {"show"} == named("`runs`, `show`") | {"show"}
    assert rota.json("show", "t").keys() == named("`runs`, `show`") - {"show"}
    assert rota.json("diff", "t").keys() | {"what", "before", "after"} == named("`diff`")
    assert rota.json("tasks")[0].keys() - FIELDS.keys() - {"pack"} == named("`tasks`")
    one = rota.json("tasks", "t")
    assert one.keys() | one["fields"]["schedule"].keys() == named("`tasks TASK`")
    checked = json.loads(rota("check", "--json").stdout)
    assert checked.keys() | checked["problems"][0].keys() == named("`check`")
    (tmp_path / "etc/rota").mkdir(parents=True)
    (tmp_path / "etc/rota/tasks.yml").write_text((tmp_path / "tasks.yml").read_text())
    synced = Rota("--root", str(tmp_path)).json("sync", "--check")
    assert synced.keys() | synced["units"][0].keys() == named("`sync`")

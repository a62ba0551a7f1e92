"""Laws of parameters: what may be declared, what may be said, and what the work gets of it."""

import json
import math
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rota.catalogue import BadConfiguration, PackTask, load
from rota.core.errors import RotaError
from rota.core.parameter import Parameter, choose, defaults, recorded, variables
from rota.core.parameter_fields import read_parameters
from rota.core.task import Task, task
from rota.packs import Report
from tests.agent.test_cli import Rota

COMMAND = {"command": ["/bin/true"], "description": "Do nothing"}
DECLARED = {
    "note": {"default": "none"},
    "limit": {"type": "whole", "default": 10},
    "share": {"type": "number", "default": 0.5},
    "full": {"type": "boolean", "default": False, "meaning": "everything, not only what changed"},
    "format": {"choices": ["csv", "json"], "default": "csv"},
    "since": {"type": "date"},
    "days": {"type": "date", "many": True, "default": [date(2026, 1, 31), "2026-02-28"]},
}
KNOWN = read_parameters(DECLARED)


@task(parameters=("full", "since", "format", "folders"))
def library(
    report: Report,
    *,
    full: bool = False,
    since: date | None = None,
    format: Literal["csv", "json"] = "csv",  # noqa: A002 - a setting as a pack may name it
    folders: tuple[Path, ...] = (),
    items: list[str],
    dry_run: bool = False,
    table: dict[str, str] | None = None,
) -> None:
    """Write the catalogue."""


def build(folder: Path, **fields: Any) -> Task:
    (folder / "tasks.yml").write_text(yaml.safe_dump({"tasks": {"t": fields}}))
    packs = {"library.write": PackTask("write", "library", library)}
    return load(folder, host="here", environment="staging", python=["/usr/bin/python3"], packs=packs).tasks["t"]


def test_what_nobody_says_is_as_declared() -> None:
    assert variables(defaults(KNOWN)) == {
        "ROTA_PARAM_NOTE": "none",
        "ROTA_PARAM_LIMIT": "10",
        "ROTA_PARAM_SHARE": "0.5",
        "ROTA_PARAM_FULL": "false",
        "ROTA_PARAM_FORMAT": "csv",
        "ROTA_PARAM_DAYS": "2026-01-31\n2026-02-28",
    }


def test_what_somebody_says_is_read_by_its_type() -> None:
    said = "note=a b  c|limit=-3|share=1e3|full=Yes|format=json|since=20260131|days=2026-03-31|days=2026-04-30"
    values = choose("t", KNOWN, [(each.partition("=")[0], each.partition("=")[2]) for each in said.split("|")])
    assert values == {
        "note": "a b  c",
        "limit": -3,
        "share": 1000.0,
        "full": True,
        "format": "json",
        "since": "2026-01-31",
        "days": ["2026-03-31", "2026-04-30"],
    }
    assert recorded(values) == values
    assert variables(values)["ROTA_PARAM_DAYS"] == "2026-03-31\n2026-04-30"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("ful=yes", "There is no parameter of this name: 'ful', did you mean 'full'?; t has: note, limit, share"),
        ("limit=many", "limit is 'many'; it must be a whole number"),
        ("limit=1.5", "it must be a whole number"),
        ("share=nan", "share is 'nan'; it must be a number"),
        ("full=maybe", "full is 'maybe'; it must be true or false"),
        ("format=xml", "format is 'xml'; it must be one of csv, json"),
        ("since=yesterday", "since is 'yesterday'; it must be a date like 2026-01-31"),
        ("days=2026-02-30", "it must be a date like 2026-01-31"),
        ("note=two\nlines", "it must be one line of text"),
        (f"note={'x' * 2001}", "it must be one line of text, at most 2000 bytes"),
        ("items=Alpha", "This task has no items to choose from: t"),
        ("limit=1 limit=2", "limit is '1', '2'; it must be given once"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(said: str, expected: str) -> None:
    pairs = [tuple(said.split("=", 1))] if said.startswith("note") else [each.split("=") for each in said.split()]
    with pytest.raises(RotaError) as caught:
        choose("t", KNOWN, [(name, word) for name, word in pairs])
    assert expected in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**14), 10**14), st.booleans(), st.dates())
def test_every_value_survives_being_said(number: float, whole: int, answer: bool, day: date) -> None:
    said = [("share", repr(number)), ("limit", str(whole)), ("full", str(answer)), ("since", day.isoformat())]
    values = choose("t", KNOWN, said)
    assert values == {"share": number, "limit": whole, "full": answer, "since": day.isoformat()}
    assert math.copysign(1, number) == math.copysign(1, float(variables(values)["ROTA_PARAM_SHARE"]))


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (["full"], "parameters: of a command it must be a mapping by name"),
        ("full", "parameters: it is 'full'; it must be a mapping of names to type, many, choices, default, meaning"),
        ({"Full": {}}, "parameters: the name 'Full' must be a lower-case word"),
        ({"items": {}}, "items and dry_run are fields of their own"),
        ({"full": "boolean"}, "full is 'boolean'; it must be a mapping of type, many"),
        ({"full": {"typ": "boolean"}}, "full: unknown key 'typ', did you mean 'type'?"),
        ({"full": {"type": "bool"}}, "full: type is 'bool', did you mean 'boolean'?; it must be one of text, whole"),
        ({"full": {"many": "perhaps"}}, "full: many is 'perhaps'; it must be true or false"),
        ({"full": {"choices": "csv"}}, "full: choices is 'csv'; it must be a list of texts"),
        ({"full": {"type": "choice"}}, "full: choices is missing"),
        ({"full": {"type": "date", "choices": ["a"]}}, "full: type date has no choices"),
        ({"full": {"meaning": 3}}, "full: meaning is 3; it must be a line of text"),
        ({"full": {"type": "whole", "default": "x"}}, "full: default is 'x'; it must be a whole number"),
        ({"full": {"default": True}}, "full: default is True; it must be one line of text"),
        ({"full": {"default": {"a": 1}}}, "it must be one line of text"),
        ({"full": {"default": ["a"]}}, "it must be one line of text, at most 2000 bytes, or many must be true"),
        ({"full": {"choices": ["a"], "default": "b"}}, "full: default is 'b'; it must be one of a"),
    ],
)
def test_a_wrong_declaration_is_refused_with_what_would_be_right(
    tmp_path: Path, declared: object, expected: str
) -> None:
    with pytest.raises(BadConfiguration) as caught:
        build(tmp_path, **COMMAND, parameters=declared)
    assert f"{tmp_path}/tasks.yml: task t: parameters: " in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize("items", ["Alpha", [], ["Alpha", "Alpha"], [""], [["Alpha"]], ["two\nlines"]])
def test_items_are_different_names(tmp_path: Path, items: object) -> None:
    with pytest.raises(BadConfiguration, match="items is .*; it must be a list of different names"):
        build(tmp_path, **COMMAND, items=items)


def test_a_packs_parameters_are_some_of_its_settings(tmp_path: Path) -> None:
    found = build(tmp_path, task="library.write", items=["Alpha", "Beta"], settings={"since": "2026-01-31"})
    by_name = {each.name: each for each in found.all_parameters}
    assert {name: each.right.partition(";")[0] for name, each in by_name.items()} == {
        "full": "true or false",
        "since": "a date like 2026-01-31",
        "format": "one of csv, json",
        "folders": "one line of text, at most 2000 bytes",
        "items": "one of Alpha, Beta",
    }
    assert defaults(found.all_parameters) == {
        "full": False,
        "since": "2026-01-31",
        "format": "csv",
        "folders": [],
        "items": ["Alpha", "Beta"],
    }
    assert json.loads(found.command[-1]) == {"items": ["Alpha", "Beta"], "since": "2026-01-31"}
    assert (found.dry_run, found.variables) == ((), {})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"parameters": ["ful"]}, "there is no setting 'ful', did you mean 'full'?; there are: full, since"),
        ({"parameters": ["table"]}, "the setting 'table' is dict[str, str] | None; a parameter must be text, whole"),
        ({"parameters": {"full": {}}}, "of a pack's task it must be a list of its settings"),
        ({"dry_run": ["-n"]}, "dry_run: a pack's function has a setting of that name, or cannot"),
        ({"settings": {"since": "soon"}}, "the setting 'since' is 'soon'; it must be a date like 2026-01-31"),
        ({"settings": {"format": "xml"}}, "the setting 'format' is 'xml'; it must be one of csv, json"),
    ],
)
def test_a_packs_wrong_parameter_is_refused(tmp_path: Path, fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        build(tmp_path, task="library.write", items=["Alpha"], **fields)
    assert expected in str(caught.value)


def test_a_unit_holds_what_each_parameter_is_unless_said(tmp_path: Path) -> None:
    found = build(tmp_path, **COMMAND, items=["Alpha", "Beta"], parameters=DECLARED, environment={"OTHER": "x"})
    assert found.variables["ROTA_PARAM_ITEMS"] == "Alpha\nBeta"
    assert (found.variables["ROTA_PARAM_FULL"], found.variables["OTHER"]) == ("false", "x")
    assert "ROTA_PARAM_SINCE" not in found.variables


@pytest.fixture
def rota(tmp_path: Path) -> Rota:
    script = 'printf "%s|" "$ROTA_PARAM_FULL" "${ROTA_PARAM_SINCE-unset}" $ROTA_PARAM_ITEMS "$@"'
    show = {"description": "Show", "command": ["/bin/sh", "-c", script, "sh"], "items": ["Alpha", "Beta", "Gamma"]}
    show |= {"parameters": {name: DECLARED[name] for name in ("full", "since")}, "dry_run": ["--dry-run"]}
    (tmp_path / "tasks.yml").write_text(yaml.safe_dump({"tasks": {"show": show, "plain": COMMAND}}))
    return Rota("--home", str(tmp_path))


def test_a_run_by_hand_sets_parameters_and_chooses_items(rota: Rota) -> None:
    assert rota("run", "show").stdout == "false|unset|Alpha|Beta|Gamma|"
    said = rota("run", "show", "-a", "Gamma", "-a", "Alpha", "-a", "Gamma", "--set", "full=yes", "--dry-run")
    assert said.stdout == "true|unset|Gamma|Alpha|--dry-run|"
    run, plain = rota.json("runs")
    assert (run["parameters"], run["dry_run"]) == ({"items": ["Gamma", "Alpha"], "full": True}, True)
    assert (plain["parameters"], plain["dry_run"]) == ({}, False)
    assert run["asked_by"] == plain["asked_by"] != ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("show -a Gama", "rota: There is no item of this name: 'Gama', did you mean 'Gamma'?; there are: Alpha, Beta"),
        ("plain -a Gamma", "rota: This task has no items to choose from: plain"),
        ("plain --set full=1", "rota: There is no parameter of this name: 'full'; plain has none"),
        ("show --set full", "'full' must be NAME=VALUE"),
        ("plain --dry-run", "rota: This task cannot show what it would do: plain"),
    ],
)
def test_a_mistaken_run_by_hand_begins_nothing(rota: Rota, words: str, expected: str) -> None:
    answer = rota("run", *words.split())
    assert answer.returncode == 2
    assert expected in answer.stderr
    assert rota.json("runs") == []


def test_the_parameters_of_a_task_are_listed(rota: Rota) -> None:
    listed = rota("run", "show", "--parameters").stdout
    assert "full" in listed
    assert "everything, not only what changed" in listed
    assert "Alpha, Beta, Gamma" in listed
    assert rota("run", "plain", "--parameters").stdout.startswith("plain has no parameters; they would be")


def test_a_packs_task_takes_what_is_set_over_its_settings(tmp_path: Path) -> None:
    settings = {"folders": [str(tmp_path / "a")], "older_than_days": 5}
    fields = {"task": "logs.compress_old_logs", "settings": settings, "parameters": ["folders", "older_than_days"]}
    (tmp_path / "tasks.yml").write_text(yaml.safe_dump({"tasks": {"old": fields}}))
    rota = Rota("--home", str(tmp_path))
    assert str(tmp_path / "b") in rota("run", "old", "--set", f"folders={tmp_path / 'b'}").stdout


def test_a_parameter_of_many_values_takes_no_more_than_a_record_holds() -> None:
    with pytest.raises(RotaError, match="given at most 100 times"):
        choose("t", [Parameter(name="note", is_many=True)], [("note", str(number)) for number in range(101)])

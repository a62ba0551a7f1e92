"""Definitions as values: what cannot be one is refused, saying which and why."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from rota.packs.reports import asked
from rota.packs.reports.definitions import KINDS, BadDefinitions, Query, from_json, to_json
from rota.packs.reports.folder import BadFolder, read_folder
from rota.packs.reports.running import Desk
from tests.agent.reports.conftest import defined

NO_IDS = ["", "..", "../x", "a/b", "a.b", "a b", "ä", "t\0", "t\n", "t" * 37]


@pytest.mark.parametrize("identifier", NO_IDS)
def test_an_id_can_name_a_file_whatever_it_is_of(identifier: str) -> None:
    definitions = defined("print(1)", queries=(Query(id="q", name="q"),))
    said = to_json(definitions)
    for kind in KINDS:
        with pytest.raises(BadDefinitions, match=f"{kind}, number 1: id: expected up to 36 letters"):
            from_json({**said, kind: [{**said[kind][0], "id": identifier}]})
    assert from_json(said) == definitions


def test_a_folder_tells_where_an_id_is_none(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/client.yml").write_text("name: Acme\n")
    (tmp_path / "acme/one.txt.yml").write_text("start_date: 2026-01-01\nid: ../x\n")
    with pytest.raises(BadFolder, match=r"acme/one.txt.yml, line 2: id: expected .*, not '../x'"):
        read_folder(tmp_path)


def test_who_asks_makes_no_lock_elsewhere(desk: Desk) -> None:
    said = to_json(defined("print(1)"))
    said["tasks"][0]["id"] = "../../elsewhere"
    identifier = str(uuid4())
    request = {"task": "acme/one.txt", "trigger": "dry run", "asked_by": "ada", "definitions": said}
    (desk.places.asked / f"{identifier}.json").write_text(json.dumps(request))
    asked.answer_all(desk, at_once=1, tell=lambda _: None, linger=0.05)
    assert "not '../../elsewhere'" in (desk.places.results / identifier / "result.json").read_text()
    assert not (desk.places.state.parent / "elsewhere.lock").exists()

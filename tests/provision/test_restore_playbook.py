"""The playbook that restores a database: whose backup each host gets."""

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from provision.inventory import read_yaml

PLAYBOOK = Path(__file__).resolve().parents[2] / "provision/restore_db.yml"
GROUPS = {"production": ["one", "two"], "staging": ["staging"], "backup": ["backup"]}


@pytest.mark.parametrize(("host", "sender"), [("one", "one"), ("two", "two"), ("staging", "one")])
def test_a_production_host_gets_its_own_backup_back(host: str, sender: str) -> None:
    [play] = read_yaml(PLAYBOOK)
    templar = Templar(loader=DataLoader(), variables={"inventory_hostname": host, "groups": GROUPS})
    assert templar.template(trust_as_template(play["vars"]["restore_sender"])) == sender

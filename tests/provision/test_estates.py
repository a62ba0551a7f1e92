"""Laws of group_vars over whatever estates there may be: which environments, which names."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from provision.inventory import ENVIRONMENTS, BrokenInventory, parse
from tests.authority import issue
from tests.provision.test_roles import ROLES, ROOT, defaults

pytestmark = pytest.mark.usefixtures("ansible_plugins")

ESTATES = [one for size in range(1, 5) for one in combinations(ENVIRONMENTS, size)]
FACTS = {"dns": {"nameservers": ["192.0.2.53"]}, "memtotal_mb": 1024, "python_version": "3.11.2"}


def estate(folder: Path, environments: tuple[str, ...], **settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The variables of roles on every host of an estate, two of each environment, with settings by group."""
    hosts = {f"{one}{number}": one for one in environments for number in (1, 2)}
    document = {one: {"hosts": {name: None for name, home in hosts.items() if home == one}} for one in environments}
    folder.mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump(document))
    for group in ("all", *ENVIRONMENTS):
        (folder / "group_vars" / group).mkdir(parents=True, exist_ok=True)
        for path in ROOT.glob(f"group_vars/{group}/*.yml"):
            if path.name != "vault.yml":
                (folder / "group_vars" / group / path.name).write_text(path.read_text())
    vault = {
        "ssh_connections": {
            name: {"address": f"192.0.2.{number}", "user": "admin"} for number, name in enumerate(hosts, 1)
        },
        "agent_diary_tokens": {name: f"token of {name}" for name in hosts},
        "backup_passphrase": "secret",
        "ansible_facts": FACTS,
    }
    for group, values in {"all": vault, **settings}.items():
        (folder / "group_vars" / group / "vault.yml").write_text(yaml.safe_dump(values))
    return dict(templated(folder, list(hosts)))


def templated(folder: Path, hosts: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    loader = DataLoader()
    inventory = InventoryManager(loader, sources=[str(folder / "hosts.yml")])
    manager = VariableManager(loader, inventory)
    others = HostVars(inventory, manager, loader)
    declared = {name: value for role in ROLES for name, value in defaults(role).items()}
    for name in hosts:
        variables = manager.get_vars(host=inventory.get_host(name))
        templar = Templar(loader, variables={**declared, **variables, "hostvars": others, "ansible_facts": FACTS})
        yield name, {one: templar.template(variables[one]) for one in declared if one in variables}


@pytest.mark.parametrize("environments", ESTATES, ids="-".join)
def test_every_estate_with_a_place_for_the_diary_has_all_its_variables(
    tmp_path: Path, environments: tuple[str, ...]
) -> None:
    groups = {one: {"hosts": {one: None}} for one in environments}
    if environments == ("backup",):
        with pytest.raises(BrokenInventory, match="the diary needs one of development, staging, production"):
            parse(groups, tmp_path)
        return
    assert set(parse(groups, tmp_path)) == set(environments)

    found = estate(tmp_path / "estate", environments)

    home = next(one for one in ("production", "staging", "development") if one in environments)
    assert {held["agent_diary_url"] for held in found.values()} == {f"https://{home}1/"}
    assert [name for name, held in found.items() if held["diary_host_tokens"]] == [f"{home}1"]
    mirrored = {"staging", "production"} <= set(environments)
    parts = {held["base_environment"]: held["mirror_part"] for held in found.values()}
    assert parts.get("staging", "none") == ("destination" if mirrored else "none")
    assert parts.get("production", "none") == ("source" if mirrored else "none")


def test_one_public_name_is_what_everybody_asks_by(tmp_path: Path) -> None:
    own = issue("diary.example.org")
    public = {"web_public_names": ["diary.example.org", "example.org"], "web_certificate": own.chain}

    found = estate(tmp_path / "estate", ENVIRONMENTS, production=public)

    asked = {tuple(map(held.get, ("agent_diary_url", "agent_diary_certificate"))) for held in found.values()}
    assert asked == {("https://diary.example.org/", own.leaf)}
    assert found["production1"]["web_names"] == ["diary.example.org", "example.org", "production1", "192.0.2.5"]
    assert found["production1"]["diary_hosts"] == found["production1"]["web_names"]
    assert found["staging1"]["ssh_aliases"] == {"production1": ["diary.example.org", "example.org"], "staging1": []}
    steps = yaml.safe_load((ROOT / "provision/switching.yml").read_text())
    asking = next(step["await_release"] for step in steps if "await_release" in step)
    assert asking["name"] == "{{ web_names | first }}"


def test_a_certificate_that_authorities_renew_is_not_pinned(tmp_path: Path) -> None:
    acme = {"web_public_names": ["diary.example.org"], "web_acme": True, "web_certificate": issue("x").chain}
    found = estate(tmp_path / "estate", ENVIRONMENTS, production=acme)
    assert {held["agent_diary_certificate"] for held in found.values()} == {""}

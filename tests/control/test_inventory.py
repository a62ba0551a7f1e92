"""An inventory says which hosts there are, or says in a sentence why it cannot."""

from pathlib import Path

import pytest

from provision.inventory import (
    ENVIRONMENTS,
    BrokenInventory,
    UnknownEnvironment,
    UnknownHost,
    UnknownInventory,
    load,
    render_hosts,
)
from rota.core.status import Environment

ROOT = Path(__file__).resolve().parents[2]


def written(root: Path, text: str, name: str = "estate") -> Path:
    folder = root / "provision" / "inventories" / name
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text(text)
    return root


def test_groups_are_environments_with_several_hosts_each(tmp_path: Path) -> None:
    written(tmp_path, "production: {hosts: {web1: , web2: }}\nbackup: {hosts: {vault: }}\n")

    inventory = load("estate", tmp_path)

    assert inventory.hosts_by_environment == {"production": ("web1", "web2"), "backup": ("vault",)}
    assert inventory.all_hosts == ("web1", "web2", "vault")
    assert inventory.environment_of("vault") == "backup"
    assert inventory.folder == tmp_path / "provision" / "inventories" / "estate"


def test_environments_come_in_one_order_whatever_the_file_says(tmp_path: Path) -> None:
    written(tmp_path, "backup: {hosts: {b: }}\nall: {children: {staging: {hosts: {s: }}}}\n")

    assert load("estate", tmp_path).environments == ("staging", "backup")


def test_an_unknown_inventory_names_the_known_ones(tmp_path: Path) -> None:
    written(tmp_path, "backup: {hosts: {b: }}\n")

    with pytest.raises(UnknownInventory, match="There is no inventory of this name: 'moon'; there are: estate"):
        load("moon", tmp_path)


def test_an_unknown_environment_or_host_names_the_known_ones(tmp_path: Path) -> None:
    written(tmp_path, "staging: {hosts: {s: }}\nbackup: {hosts: {b: }}\n")
    inventory = load("estate", tmp_path)

    with pytest.raises(UnknownEnvironment, match="'moon'; estate has: staging, backup"):
        inventory.hosts("moon")
    with pytest.raises(UnknownHost, match="'moon'; estate has: s, b"):
        inventory.environment_of("moon")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("staging: {hosts: {h: }}\nproduction: {hosts: {h: }}\n", "'h' is in staging and in production"),
        ("moon: {hosts: {h: }}\n", "group 'moon'; groups are environments: development, staging, production, backup"),
        ("staging: {hosts: {'no good': }}\n", "'no good' is no host name"),
        ("staging: {hosts: {'-F': }}\n", "'-F' is no host name"),
        ("staging: {}\n", "group 'staging' has no `hosts:`"),
        ("", "names no groups"),
        ("a: [1\n", "is not YAML"),
    ],
)
def test_a_file_that_describes_no_estate_says_why(tmp_path: Path, text: str, reason: str) -> None:
    written(tmp_path, text)

    with pytest.raises(BrokenInventory) as caught:
        load("estate", tmp_path)

    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_rendered_is_read_back(tmp_path: Path) -> None:
    hosts = {"staging": ("s",), "production": ("web1", "web2.example.org")}
    written(tmp_path, render_hosts(hosts))

    assert load("estate", tmp_path).hosts_by_environment == hosts


def test_the_example_has_every_environment_and_shares_the_group_vars() -> None:
    example = load("example", ROOT)

    assert example.environments == ("development", "staging", "production", "backup")
    assert (example.folder / "group_vars").readlink() == Path("../../../group_vars")


def test_hosts_and_the_control_side_know_the_same_environments() -> None:
    assert tuple(Environment) == ENVIRONMENTS

"""Laws of roles, group_vars and playbooks: they hold for whatever role exists."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from provision.secret_table import TABLE

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def documents(pattern: str) -> dict[Path, list[dict[str, Any]]]:
    """The YAML files below this repository that are lists: of plays, or of steps."""
    read = {path: yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob(pattern))}
    return {path: document for path, document in read.items() if isinstance(document, list)}


PLAYBOOKS = [
    path for path, plays in documents("provision/*.yml").items() if {"hosts", "import_playbook"} & set(plays[0])
]
STEP_FILES = [*documents("roles/*/tasks/*.yml"), *documents("provision/*.yml")]
GROUP_VARS = sorted(path for path in (ROOT / "group_vars").glob("*/*.yml") if path.name != "vault.yml")
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def defaults(role: Path) -> dict[str, Any]:
    declared: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    return declared


def options(role: Path) -> dict[str, Any]:
    specs: dict[str, Any] = yaml.safe_load((role / "meta/argument_specs.yml").read_text())
    declared: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return declared


def written(role: Path) -> dict[Path, str]:
    """Everything a role's own files say, but for where its variables are declared."""
    folders = ("tasks", "templates", "handlers", "vars")
    return {path: path.read_text() for folder in folders for path in role.glob(f"{folder}/**/*") if path.is_file()}


def dictionaries(document: object) -> Iterator[dict[str, Any]]:
    """Every mapping in a YAML document, at any depth."""
    if isinstance(document, dict):
        yield document
        for value in document.values():
            yield from dictionaries(value)
    elif isinstance(document, list):
        for value in document:
            yield from dictionaries(value)


def ansible(program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One of Ansible's programs with this repository's configuration."""
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        [str(Path(sys.executable).parent / program), *words],
        cwd=ROOT,
        env={**os.environ, **settings, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# -- variables


@each_role
def test_defaults_and_argument_specs_say_the_same(role: Path) -> None:
    declared = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert declared == {name: value for name, value in defaults(role).items() if name in declared}
    assert set(options(role)) == set(defaults(role))


@each_role
def test_a_role_owns_what_begins_with_its_name(role: Path) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role.name}_")] == []


@each_role
def test_every_variable_says_what_it_means(role: Path) -> None:
    assert [name for name, option in options(role).items() if not option.get("description")] == []


@each_role
def test_every_variable_of_a_role_is_read(role: Path) -> None:
    text = "\n".join([*written(role).values(), *(path.read_text() for path in GROUP_VARS)])
    assert [name for name in defaults(role) if not re.search(rf"\b{name}\b", text)] == []


@each_role
def test_a_role_reads_no_other_roles_variables(role: Path) -> None:
    foreign = [name for other in ROLES if other != role for name in defaults(other)]
    read = [
        f"{path.name}: {name}"
        for path, text in written(role).items()
        for name in foreign
        if re.search(rf"(?<![\w./-]){name}\b", text)
    ]
    assert read == []


@pytest.mark.parametrize("path", GROUP_VARS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_variable_of_a_group_has_an_owner(path: Path) -> None:
    owned = {name for role in ROLES for name in defaults(role)}
    assert set(yaml.safe_load(path.read_text()) or {}) - owned == set()


def test_every_secret_is_some_roles_variable() -> None:
    owned = {name for role in ROLES for name in defaults(role)}
    prefixes = tuple(f"{role.name}_" for role in ROLES)
    assert {secret.variable for secret in TABLE if secret.variable.startswith(prefixes)} - owned == set()


def test_group_vars_reach_a_play(tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.assert:
        that:
          - firewall_restrict_outbound == (base_environment in ['staging', 'development'])
          - base_environment in group_names
          - ssh_port == ssh_connections[inventory_hostname].port
          - web_names | length == 2
"""
    )
    done = ansible("ansible-playbook", "-i", "provision/inventories/example", str(playbook))
    assert done.returncode == 0, done.stdout + done.stderr


# -- steps


@each_role
def test_a_role_is_used(role: Path) -> None:
    used = re.compile(rf"(role: {role.name}|name: {role.name})\b")
    assert [path.name for path in PLAYBOOKS if used.search(path.read_text())]


@pytest.mark.parametrize("path", STEP_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_steps_describe_states_and_hide_no_failure(path: Path) -> None:
    forbidden = {"shell", "raw", "script", "lineinfile", "blockinfile", "ignore_errors", "ignore_unreachable"}
    for mapping in dictionaries(yaml.safe_load(path.read_text())):
        words = {str(name).removeprefix("ansible.builtin.") for name in mapping}
        is_user = {"system", "home"} <= words  # whose login shell is no step
        is_asking_another = "delegate_to" in words  # who may be down while this host is provisioned
        allowed = {"shell"} if is_user else {"ignore_unreachable"} if is_asking_another else set()
        assert words & forbidden <= allowed


@pytest.mark.parametrize("path", STEP_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modes_are_quoted(path: Path) -> None:
    modes = [mapping["mode"] for mapping in dictionaries(yaml.safe_load(path.read_text())) if "mode" in mapping]
    assert [mode for mode in modes if not (isinstance(mode, str) and re.fullmatch(r"[0-7]{4}|\{\{.*\}\}", mode))] == []


@pytest.mark.parametrize("path", STEP_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_credentials_are_secret_and_roots_alone(path: Path) -> None:
    for mapping in dictionaries(yaml.safe_load(path.read_text())):
        if "content" in mapping and str(mapping.get("path", "")).startswith("/etc/rota/credentials/"):
            assert (mapping.get("secret"), mapping.get("mode")) == (True, "0600"), mapping["path"]


@each_role
def test_every_template_and_file_is_used(role: Path) -> None:
    steps = "\n".join(path.read_text() for path in role.glob("tasks/*.yml"))
    sources = "\n".join([steps, *(path.read_text() for path in role.glob("templates/*"))])
    kept = [path for folder in ("templates", "files") for path in role.glob(f"{folder}/*")]
    assert [path.name for path in kept if path.name not in sources] == []


@each_role
def test_every_template_says_who_wrote_it(role: Path) -> None:
    assert [path.name for path in role.glob("templates/*") if "ansible_managed" not in path.read_text()] == []


def test_playbooks_can_be_read() -> None:
    done = ansible("ansible-playbook", "-i", "provision/inventories/example", "--syntax-check", *map(str, PLAYBOOKS))
    assert done.returncode == 0, done.stderr


# -- units


def rendered_units(folder: Path) -> list[Path]:
    """The units of all roles with programs that exist everywhere in place of those a deploy brings."""
    environment = jinja2.Environment(  # noqa: S701 - units are no HTML
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
    )
    units = []
    for path in ROOT.glob("roles/*/templates/*.*.j2"):
        if path.suffixes[-2] in (".service", ".socket", ".timer", ".path") and "[Unit]" in path.read_text():
            try:
                text = environment.from_string(path.read_text()).render(ansible_managed="written")
            except jinja2.TemplateError:
                continue  # asks for filters that only Ansible has: verified where it is rendered, in the lab
            text = re.sub(r"^(Exec\w+=-?)/\S+", r"\1/bin/true", text, flags=re.MULTILINE)
            unit = folder / f"{path.parents[1].name}-{path.name.removesuffix('.j2')}"
            unit.write_text(re.sub(r"^(Requires|After)=rota-diary.socket.*", "", text, flags=re.MULTILINE))
            units.append(unit)
    return units


def test_units_verify_silently(tmp_path: Path) -> None:
    units = [unit for unit in rendered_units(tmp_path) if unit.suffix == ".service"]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    mine = [line for line in verified.stderr.splitlines() if str(tmp_path) in line]
    assert len(units) > 2
    assert mine == []


def test_the_diary_is_exposed_to_little(tmp_path: Path) -> None:
    unit = next(unit for unit in rendered_units(tmp_path) if unit.name == "diary-diary.service")
    asked = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout.splitlines()[-1]


def test_only_the_sync_of_the_diary_may_read_the_first_password() -> None:
    units = (ROOT / "roles").glob("*/templates/*.service.j2")

    assert [path.name for path in units if "=diary_admin_password:" in path.read_text()] == ["diary-sync.service.j2"]

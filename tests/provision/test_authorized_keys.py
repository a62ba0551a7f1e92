"""What other hosts say is their key opens one command, or nothing."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from provision.inventory import read_yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
KEY = f"ssh-ed25519 {'A' * 68}"
FOLDER = {"backup_store_folder": "/srv/rota-backup", "backup_store_quota": "5G"}


def templar(**variables: Any) -> Templar:
    return Templar(loader=DataLoader(), variables={"ansible_managed": "written", **FOLDER, **variables})


def let_into_the_store(public: str) -> str:
    read = {"item": "production", "content": base64.b64encode(public.encode()).decode()}
    template = trust_as_template((ROLES / "backup_store/templates/authorized_keys.j2").read_text())
    return str(templar(backup_store_keys={"results": [read, {"item": "new"}]}).template(template))


def promise_of_the_store() -> str:
    return promise("backup_store", "may only add")


def promise(role: str, words: str) -> str:
    """What a role promises that a file says, as an expression."""
    steps = read_yaml(ROLES / role / "tasks/verify.yml")
    [(says, variables)] = [
        (one["says"], step.get("vars", {}))
        for step in steps
        for one in step["promises"]["promises"]
        if words in one["promise"]
    ]
    trusted = {name: trust_as_template(value) for name, value in variables.items()}
    return str(templar(**trusted).template(trust_as_template(says)))


def let_into_the_mirror(*public: str) -> str:
    template = trust_as_template((ROLES / "mirror/templates/authorized_keys.j2").read_text())
    return str(templar(mirror_keys=public, mirror_destinations=["staging", "second"]).template(template))


def test_a_second_line_of_a_public_key_is_let_in_nowhere() -> None:
    shown = let_into_the_store(f"{KEY} backup@production\n{KEY} login\n")
    assert shown.splitlines() == [
        "# written",
        'restrict,command="borg serve --append-only --restrict-to-repository=/srv/rota-backup/production/repository'
        f' --storage-quota=5G" {KEY}',
    ]
    assert re.search(promise_of_the_store(), shown, re.MULTILINE)

    shown = let_into_the_mirror(KEY, f"{KEY} mirror@second\n{KEY} login")
    assert shown.splitlines() == ["# written", ANSWERING, ANSWERING]
    assert re.search(promise("mirror", "open one command"), shown, re.MULTILINE)


ANSWERING = f'restrict,command="/opt/rota/current/venv/bin/python -I -m rota.packs.mirror serve" {KEY}'


@pytest.mark.parametrize("public", [f'command="sh" {KEY}', f"# {KEY}", f"\n{KEY}", f"{KEY}A", "ssh-rsa AAAA", ""])
def test_what_is_no_key_fails_with_a_sentence(public: str) -> None:
    with pytest.raises(AnsibleUndefinedVariable, match="on production does not begin with an ed25519 public key"):
        let_into_the_store(public)
    with pytest.raises(AnsibleUndefinedVariable, match="on second does not begin with an ed25519 public key"):
        let_into_the_mirror(KEY, public)


@pytest.mark.parametrize(
    "line",
    [
        KEY,
        f'restrict,command="borg serve --append-only ; sh" {KEY}',
        f'restrict,command="borg serve --append-only --restrict-to-repository=/srv/rota-backup/a/repository",pty {KEY}',
    ],
)
def test_the_store_promises_that_no_line_opens_anything_else(line: str) -> None:
    shown = let_into_the_store(KEY)
    assert not re.search(promise_of_the_store(), f"{shown}{line}\n", re.MULTILINE)
    assert not re.search(promise_of_the_store(), f"{line}\n{shown}", re.MULTILINE)


@pytest.mark.parametrize(
    "line", [KEY, ANSWERING.replace(" serve", " serve ; sh"), ANSWERING.replace('" ssh', '",pty ssh')]
)
def test_the_source_of_the_mirror_promises_that_no_line_opens_anything_else(line: str) -> None:
    shown = let_into_the_mirror(KEY)
    assert not re.search(promise("mirror", "open one command"), f"{shown}{line}\n", re.MULTILINE)
    assert not re.search(promise("mirror", "open one command"), f"{line}\n{shown}", re.MULTILINE)

"""The playbooks of a deploy, played against hosts whose rota-release only notes what it is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELEASE = "20260101T000000Z-aaaaaaaaaaaa"
HOSTS = ("first", "second")

# Notes each step of a host; fails at the one that the test names.
ROTA_RELEASE = """
import os
from ansible.module_utils.basic import AnsibleModule

def main():
    options = {name: {"type": "raw"} for name in ("command", "arguments", "token")}
    module = AnsibleModule(argument_spec=options)
    with open(os.environ["NOTED"], "a") as notes:
        notes.write(module.params["command"] + "\\n")
    if module.params["command"] == os.environ["FAILING"]:
        module.fail_json(msg="the disk is full")
    module.exit_json(changed=True, msg="done", previous="before")

main()
"""


def play(tmp_path: Path, playbook: str, failing: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Play it on two hosts, where one step fails. Returns what came of it, and all steps in their order."""
    library, noted = tmp_path / "library", tmp_path / "noted"
    library.mkdir()
    (library / "rota_release.py").write_text(ROTA_RELEASE)
    values = {
        "ansible_connection": "local",
        "ansible_become": False,
        "deploy_release": RELEASE,
        "deploy_releases": dict.fromkeys(HOSTS, RELEASE),
        "deploy_bundles": {},
        "deploy_token": "token",
        "deploy_ref": "main",
        "deploy_who": "ann@desk",
        "deploy_web": [],
        "deploy_started": "2026-01-01T00:00:00Z",
        "deploy_confirm_seconds": 1,
        "deploy_health_seconds": 1,
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    words = ["-i", ",".join(HOSTS) + ",", "--extra-vars", json.dumps(values), f"provision/{playbook}.yml"]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LIBRARY": str(library)}
    done = subprocess.run(
        [program, *words],
        cwd=ROOT,
        env={**os.environ, **settings, "NOTED": str(noted), "FAILING": failing},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, noted.read_text().splitlines()


@pytest.mark.parametrize(("playbook", "failing"), [("deploy", "prune"), ("rollback", "record")])
def test_a_confirmed_release_stops_nobody_however_tidying_up_ends(tmp_path: Path, playbook: str, failing: str) -> None:
    done, steps = play(tmp_path, playbook, failing)

    assert done.returncode == 0, done.stdout
    assert steps.count("disarm") == len(HOSTS)
    assert f"{RELEASE} is in use, but not" in done.stdout
    assert "the disk is full" in done.stdout

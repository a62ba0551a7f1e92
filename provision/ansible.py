"""Playbooks, started in one place: the arguments, the log, the one line that says what will be touched."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision.estate import UNREACHABLE
from provision.inventory import Inventory

ROOT = Path(__file__).resolve().parent.parent
# A host may well bear the name of its environment, and Ansible has no setting that spares the warning.
NO_WARNING = "[WARNING]: Found both group and host with same name"


def playbook_command(
    inventory: Inventory,
    playbook: str,
    limit: Sequence[str],
    *,
    check: bool = False,
    diff: bool = False,
    extra: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
) -> list[str]:
    """The argument list for `provision/PLAYBOOK.yml` on the named hosts; `extra` is visible, so never a secret."""
    command = ["ansible-playbook", "--inventory", str(inventory.folder), "--limit", ",".join(limit)]
    command += ["--check"] if check else []
    command += ["--diff"] if diff else []
    command += ["--tags", ",".join(tags)] if tags else []
    command += ["--extra-vars", json.dumps(extra)] if extra else []
    return [*command, str(ROOT / "provision" / f"{playbook}.yml")]


def environment(inventory: Inventory, ssh_config: Path, log: Path) -> dict[str, str]:
    """What ansible-playbook finds in its environment: configuration, callback, SSH trust, the log, the vault's key."""
    from provision.vault import vault_password_file

    return {
        **os.environ,
        "ANSIBLE_SSH_ARGS": shlex.join(["-F", str(ssh_config)]),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "condensed",
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "provision" / "plugins" / "callback"),
        "ANSIBLE_LOG_PATH": str(log),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(vault_password_file(inventory, ROOT)),
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }


def log_file(inventory: Inventory, playbook: str, now: datetime) -> Path:
    """Where the whole output of one playbook goes; only its owner may read it."""
    folder = ROOT / ".rota" / inventory.name / "log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}-{playbook}.log"
    path.touch(mode=0o600)
    return path


def run_playbook(
    inventory: Inventory,
    playbook: str,
    limit: Sequence[str],
    *,
    check: bool = False,
    diff: bool = False,
    extra: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
) -> int:
    """Run `provision/PLAYBOOK.yml` on the named hosts, condensed on the terminal and whole in a log.

    Returns Ansible's exit code: 0 all well, 2 a step failed, 4 a host was unreachable. Raises WrongVaultPassword or
    BrokenVault for a vault that does not open, where Ansible names no file and ends with 4 as well.
    """
    from provision.ssh import ensure_ssh_config
    from provision.vault import require_open_vaults

    ssh_config = ensure_ssh_config(inventory, ROOT)
    log = log_file(inventory, playbook, datetime.now(UTC))
    command = playbook_command(inventory, playbook, limit, check=check, diff=diff, extra=extra, tags=tags)
    sys.stdout.flush()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(inventory, ssh_config, log), stderr=subprocess.PIPE, text=True
    ) as playing:
        for line in playing.stderr or ():
            if not line.startswith(NO_WARNING):
                print(line, end="", file=sys.stderr, flush=True)
    print(f"Whole log: {os.path.relpath(log)}", flush=True)
    if playing.returncode == UNREACHABLE:
        require_open_vaults(inventory, ROOT)
    return playing.returncode

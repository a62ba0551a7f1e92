"""Provisioning, on real hosts: what it changes, what it leaves alone, and that the way in never closes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision import lab as labs
from provision.ansible import environment, playbook_command
from provision.inventory import Inventory, load
from provision.ssh import ensure_ssh_config
from tests.lab.conftest import ROOT, inventory_name

pytestmark = pytest.mark.lab

OWN = inventory_name("roles")
Play = Callable[..., str]


@pytest.fixture(scope="module")
def estate() -> Iterator[labs.Lab]:
    """Hosts of this file's own: it begins with bare ones."""
    labs.down(ROOT, OWN)
    try:
        yield labs.up(ROOT, OWN)
    finally:
        labs.down(ROOT, OWN)


@pytest.fixture(scope="module")
def inventory(estate: labs.Lab) -> Inventory:
    return load(estate.plan.inventory, ROOT)


@pytest.fixture(scope="module")
def play(inventory: Inventory, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Runs a playbook on hosts and returns all that Ansible said."""

    def run(playbook: str, *words: str, hosts: str = "all", code: int = 0) -> str:
        program, *arguments = playbook_command(inventory, playbook, [hosts])
        log = tmp_path_factory.mktemp("log") / "log"
        settings = environment(inventory, ensure_ssh_config(inventory, ROOT), log)
        done = subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments, *words],
            cwd=ROOT,
            env={**settings, "ANSIBLE_STDOUT_CALLBACK": "default"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said[-6000:]
        return said

    return run


def totals(said: str, word: str) -> dict[str, int]:
    """One column of the recap, by host."""
    return {host: int(count) for host, count in re.findall(rf"^(\S+) +: .*\b{word}=(\d+)", said, re.MULTILINE)}


def secrets_of(inventory: Inventory) -> list[str]:
    """What an operator's vaults hold and no output may show."""
    from provision.vault import read, read_password, vault_password_file

    password = read_password(vault_password_file(inventory, ROOT))
    found = []
    for path in inventory.folder.glob("group_vars/*/vault.yml"):
        for name, value in read(path, password).items():
            if name in ("diary_secret_key", "diary_admin_password", "web_key"):
                lines = str(value).splitlines()
                found.append(lines[1] if len(lines) > 1 else lines[0])  # a key's last line is its public half
            if name == "agent_diary_tokens":
                found += list(value.values())
    return found


# The order matters: a bare host is bare only once.


def test_check_mode_works_on_bare_hosts_and_leaves_them_bare(estate: labs.Lab, play: Play) -> None:
    said = play("site", "--check", "--diff")
    assert all(count > 4 for count in totals(said, "changed").values())
    for name in estate.hosts:
        assert estate.run(name, ["find", "/etc/rota", "/etc/nftables.d", "/opt/rota"], check=False).stdout == ""
        assert estate.run(name, ["getent", "passwd", "rota"], check=False).returncode != 0


def test_the_first_run_provisions_all_and_shows_no_secret(inventory: Inventory, play: Play) -> None:
    said = play("site", "--diff", "-vvv")
    assert totals(said, "failed") == dict.fromkeys(inventory.all_hosts, 0)
    assert [secret for secret in secrets_of(inventory) if secret in said] == []


def test_the_second_run_changes_nothing(inventory: Inventory, play: Play) -> None:
    assert totals(play("site"), "changed") == dict.fromkeys(inventory.all_hosts, 0)


def test_check_mode_agrees_that_nothing_is_to_be_changed(inventory: Inventory, play: Play) -> None:
    assert totals(play("site", "--check"), "changed") == dict.fromkeys(inventory.all_hosts, 0)


def test_every_promise_is_kept(inventory: Inventory, play: Play) -> None:
    assert totals(play("verify"), "failed") == dict.fromkeys(inventory.all_hosts, 0)


def test_no_secret_reaches_a_hosts_journal(estate: labs.Lab, inventory: Inventory) -> None:
    for name in estate.hosts:
        journal = estate.run(name, ["journalctl", "--no-pager", "--output=short"]).stdout
        assert "rota-converge" in journal  # what was changed is logged, as sentences
        assert [secret for secret in secrets_of(inventory) if secret in journal] == []


def test_a_broken_promise_is_named(estate: labs.Lab, play: Play) -> None:
    estate.run("backup", ["chmod", "0644", "/etc/rota/credentials/diary_token"])
    said = play("verify", hosts="backup", code=2)
    assert "The token is root's alone: /etc/rota/credentials/diary_token has the mode 0644" in said


def test_what_was_changed_by_hand_is_put_right(estate: labs.Lab, play: Play) -> None:
    estate.run("backup", ["rm", "-rf", "/var/lib/rota/spool/done", "/etc/nftables.d/metrics.nft"])
    estate.run("backup", ["systemctl", "stop", "prometheus-node-exporter.service"])
    play("site", hosts="backup")
    play("verify", hosts="backup")


def test_a_host_whose_provisioning_stopped_between_file_and_unit_is_finished_by_the_next(
    estate: labs.Lab, play: Play
) -> None:
    """The file is as described already, and the unit still runs with the one before."""
    unit = "prometheus-node-exporter.service"
    drop_in = f"/run/systemd/system/{unit}.d/refuses.conf"
    estate.run("backup", ["sh", "-c", "mkdir -p ${0%/*}; printf '[Service]\nExecStartPre=false\n' > $0", drop_in])
    estate.run("backup", ["systemctl", "daemon-reload"])
    estate.run("backup", ["sh", "-c", "echo >> /etc/default/prometheus-node-exporter"])
    play("site", "--tags", "metrics", hosts="backup", code=2)
    estate.run("backup", ["rm", drop_in])
    estate.run("backup", ["systemctl", "daemon-reload"])
    assert f"restarted {unit}" in play("site", "--diff", "--tags", "metrics", hosts="backup")
    assert totals(play("site", "--tags", "metrics", hosts="backup"), "changed") == {"backup": 0}


def test_a_person_cannot_turn_provisioning_on_a_directory_of_roots(estate: labs.Lab, play: Play) -> None:
    """With a link in her home, where root is about to make a folder hers."""
    person = {"name": "ada", "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhdGNo ada@laptop"]}
    words = ("--tags", "base", "-e", json.dumps({"base_users": [person]}))
    play("site", *words, hosts="backup")
    assert estate.run("backup", ["stat", "-c", "%U %a", "/home/ada/.ssh"]).stdout == "ada 700\n"
    estate.run("backup", ["runuser", "-u", "ada", "--", "rm", "-r", "/home/ada/.ssh"])
    estate.run("backup", ["runuser", "-u", "ada", "--", "ln", "-s", "/etc", "/home/ada/.ssh"])
    assert "/home/ada/.ssh is a link" in play("site", *words, hosts="backup", code=2)
    assert estate.run("backup", ["stat", "-c", "%U %a", "/etc"]).stdout == "root 755\n"
    assert estate.run("backup", ["find", "/etc/authorized_keys"], check=False).stdout == ""
    play("site", "--tags", "base", "-e", '{"base_users": [{"name": "ada", "state": "absent"}]}', hosts="backup")
    estate.run("backup", ["rm", "-r", "/home/ada"])


@pytest.mark.parametrize("name", ["development", "staging"])
def test_nothing_leaves_a_restricted_host_except_what_is_listed(estate: labs.Lab, name: str) -> None:
    production = estate.hosts["production"].address
    tried = (
        "import json, socket\n"
        "def reaches(address, port):\n"
        "    try:\n"
        "        socket.create_connection((address, port), timeout=5).close()\n"
        "    except ConnectionRefusedError:\n"
        "        return 'answered'\n"
        "    except OSError as error:\n"
        "        return type(error).__name__\n"
        "    return 'answered'\n"
        f"print(json.dumps([reaches({str(production)!r}, 443), reaches('192.0.2.1', 443), reaches('192.0.2.1', 25)]))\n"
    )
    diary, web, mail = json.loads(estate.run(name, ["/usr/bin/python3", "-c", tried]).stdout)
    assert diary == "answered"
    assert "answered" not in (web, mail)
    assert "TimeoutError" not in (web, mail)


def test_packages_are_still_fetched_on_a_restricted_host(estate: labs.Lab) -> None:
    fetched = estate.run("staging", ["apt-get", "--quiet", "--error-on=any", "update"], check=False)
    assert fetched.returncode == 0, fetched.stderr


def test_hosts_know_each_other_by_name_and_key(estate: labs.Lab) -> None:
    asked = estate.run(
        "production", ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "nobody@backup", "true"], check=False
    )
    assert "Permission denied" in asked.stderr  # the host was known; the user is not
    assert "Host key" not in asked.stderr


def test_a_host_that_left_the_estate_leaves_no_name_behind(estate: labs.Lab, play: Play) -> None:
    estate.run("backup", ["sed", "-i", "$ a 192.0.2.99 gone", "/etc/hosts"])
    play("site", "--tags", "ssh", hosts="backup")
    assert "gone" not in estate.run("backup", ["cat", "/etc/hosts"]).stdout


def test_refused_ssh_settings_never_reach_the_host(estate: labs.Lab, play: Play) -> None:
    before = estate.run("backup", ["cat", "/etc/ssh/sshd_config.d/10-rota.conf"]).stdout
    said = play("site", "--tags", "ssh", "-e", '{"ssh_port": 99999}', hosts="backup", code=2)
    assert "is refused and was left as it is" in said
    assert estate.run("backup", ["cat", "/etc/ssh/sshd_config.d/10-rota.conf"]).stdout == before


def test_ssh_settings_that_lock_the_operator_out_return_by_themselves(estate: labs.Lab, play: Play) -> None:
    """The host listens on another port than the operator comes to; its timer, hurried here, lets her in again."""
    drop_in = "/etc/ssh/sshd_config.d/10-rota.conf"
    before = estate.run("backup", ["cat", drop_in]).stdout
    play("site", "--tags", "ssh", "-e", '{"ssh_port": 2022}', hosts="backup", code=4)
    assert "Port 2022" in estate.run("backup", ["cat", drop_in]).stdout
    assert estate.run("backup", ["systemctl", "is-active", "rota-ssh-return.timer"]).stdout.strip() == "active"
    estate.run("backup", ["systemctl", "start", "rota-ssh-return.service"])
    assert estate.run("backup", ["cat", drop_in]).stdout == before
    play("site", "--tags", "ssh", hosts="backup")


def test_the_net_is_spread_though_the_run_before_died_between_settings_and_sshd(estate: labs.Lab, play: Play) -> None:
    """What such a run leaves is its note; the settings are as described, and sshd may still have those before."""
    note = "echo /etc/ssh/sshd_config.d/10-rota.conf > /var/lib/rota-converge/ssh"
    estate.run("backup", ["sh", "-c", note])
    said = play("site", "--diff", "--tags", "ssh", hosts="backup")
    assert said.index("restarted rota-ssh-return.timer") < said.index("reloaded ssh.service")
    assert estate.run("backup", ["systemctl", "is-active", "rota-ssh-return.timer"], check=False).returncode != 0
    assert totals(play("site", "--tags", "ssh", hosts="backup"), "changed") == {"backup": 0}


def test_an_unsupported_system_is_refused_with_a_sentence(estate: labs.Lab, play: Play, tmp_path: Path) -> None:
    systems = json.dumps({"base_systems": {"Debian": ["99"], "Ubuntu": ["24"]}})
    said = play("site", "-e", systems, hosts="backup", code=2)
    assert "backup runs Debian 12, which Rota does not support; it supports Debian 99, Ubuntu 24." in said

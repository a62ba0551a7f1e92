"""Backups on real hosts: production sends, the backup host keeps and drills, databases and media come back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from provision import deploying
from provision.estate import ssh_config_of
from provision.inventory import Inventory
from provision.lab import Lab
from tests.agent.waiting import wait_until
from tests.lab.conftest import Fab

pytestmark = pytest.mark.lab

DIARY = ["runuser", "-u", "postgres", "--", "psql", "-XAtd", "diary", "-c"]
MEDIA = "/var/lib/rota/diary/media"
REPOSITORY = "/srv/rota-backup/production/repository"


@pytest.fixture
def estate(deployed: Lab, fab: Fab) -> Iterator[Lab]:
    """Production with a row and a file that tests know, backed up."""
    ask(deployed, "production", "DROP TABLE IF EXISTS mark; CREATE TABLE mark AS SELECT 'kept' AS word")
    deployed.run("production", ["install", "-o", "rota-diary", "-m", "640", "/etc/hostname", f"{MEDIA}/mark"])
    fab("production", "backup")
    yield deployed
    for host in ("production", "staging"):
        ask(deployed, host, "DROP TABLE IF EXISTS mark")
    deployed.run("production", ["rm", "-f", f"{MEDIA}/mark"])


def ask(lab: Lab, host: str, query: str) -> str:
    return lab.run(host, [*DIARY, query]).stdout.strip()


def task(lab: Lab, host: str, name: str, *, expect: int = 0) -> dict[str, Any]:
    """Run a task as its timer would, and return its record."""
    done = lab.run(host, ["rota", "run", name], check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    records: list[dict[str, Any]] = json.loads(lab.run(host, ["rota", "runs", name, "--json"]).stdout)
    return max(records, key=lambda record: str(record["started"]))


def test_a_backup_is_kept_checked_and_drilled(estate: Lab) -> None:
    assert task(estate, "production", "backup")["counts"]["bytes stored"] > 0
    assert task(estate, "backup", "backup_freshness")["status"] == "succeeded"
    assert task(estate, "backup", "backup_prune")["counts"]["archives kept"] >= 1
    assert task(estate, "backup", "backup_check")["status"] == "succeeded"
    assert task(estate, "backup", "backup_drill")["counts"]["rows compared"] > 0


def test_staging_gets_one_dump_and_keeps_no_way_to_the_store(estate: Lab, fab: Fab) -> None:
    shown = fab("staging", "restore_db_from_backup").stdout
    assert "every table is as it was recorded" in shown
    assert ask(estate, "staging", "SELECT word FROM mark") == "kept"
    keys = estate.run("backup", ["ls", "-A", "/var/lib/rota-restore/.ssh", "/var/lib/rota-restore"]).stdout
    assert "authorized_keys" not in keys
    assert "offered" not in keys
    assert estate.run("staging", ["test", "-e", "/var/lib/rota/backup/restore_key"], check=False).returncode


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_a_check_says_which_backup_it_would_be_and_changes_nothing(estate: Lab, fab: Fab, environment: str) -> None:
    ask(estate, environment, "DROP TABLE IF EXISTS mark; CREATE TABLE mark AS SELECT 'newer' AS word")
    shown = fab(environment, "restore_db_from_backup", "--check").stdout
    assert "is whole" in shown
    assert "ago" in shown
    assert ask(estate, environment, "SELECT word FROM mark") == "newer"
    refused = fab(environment, "restore_db_from_backup", "--check", "--at", "2020-01-01", check=False)
    assert refused.returncode
    assert "none at or before 2020-01-01" in refused.stdout


def test_production_asks_and_then_gets_its_own_back(estate: Lab, fab: Fab, inventory: Inventory) -> None:
    ask(estate, "production", "UPDATE mark SET word = 'spoilt'")
    refused = fab("production", "restore_db_from_backup", check=False)
    assert refused.returncode
    with deploying.locked(ssh_config_of(inventory), ("production",), "ann@desk", 0):
        refused = fab("production", "restore_db_from_backup", "--yes-destroy-production", check=False)
    assert "Another deploy is under way" in refused.stdout
    assert "ann@desk" in refused.stdout
    assert ask(estate, "production", "SELECT word FROM mark") == "spoilt"
    fab("production", "restore_db_from_backup", "--yes-destroy-production")
    assert ask(estate, "production", "SELECT word FROM mark") == "kept"


def test_production_that_was_taken_over_deletes_nothing_for_good(estate: Lab) -> None:
    task(estate, "backup", "backup_freshness")
    sender = ["env", "BORG_PASSCOMMAND=cat /etc/rota/credentials/backup_passphrase", "BORG_RSH=" + SENDERS_SSH]
    address = estate.hosts["backup"].address
    repository = f"ssh://rota-backup@{address}:22{REPOSITORY}"
    environment = [*sender, "BORG_BASE_DIR=/root/attack"]
    estate.run("production", [*environment, "borg", "delete", "--force", "--glob-archives", "*", repository])
    estate.run("production", [*environment, "borg", "compact", repository])
    before = len(estate.mails())
    assert "Archives vanished" in refusal(estate, "backup_prune")
    wait_until(lambda: "[backup] backup_prune failed on backup: exit 1" in subjects(estate)[before:], seconds=30)
    number = estate.run("backup", ["rota", "backup", "transactions", "production"]).stdout
    [last_good] = [line.split()[0] for line in number.splitlines() if "the last look" in line]
    estate.run("backup", ["rota", "backup", "roll-back", "production", "--to", last_good])
    assert task(estate, "backup", "backup_drill")["status"] == "succeeded"
    # Production's borg remembers a newer repository and would take this one for an attack.
    estate.run("production", ["rm", "-r", "/var/lib/rota/backup/borg", "/root/attack"])
    assert task(estate, "production", "backup")["status"] == "succeeded"


def subjects(lab: Lab) -> list[str]:
    return [str(mail["Subject"]) for mail in lab.mails()]


SENDERS_SSH = "ssh -F none -i /etc/rota/keys/backup -o UserKnownHostsFile=/etc/rota/known_hosts -o BatchMode=yes"


def refusal(lab: Lab, name: str) -> str:
    done = lab.run("backup", ["rota", "run", name], check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


def test_a_store_without_room_fails_the_backup_and_keeps_the_earlier_ones(estate: Lab) -> None:
    before = archives(estate)
    segments = f"{REPOSITORY}/data/0"
    estate.run("backup", ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", "/mnt"])
    try:
        # The repository as it is, on a file system that has no room for more.
        size = int(estate.run("backup", ["du", "-sk", REPOSITORY]).stdout.split()[0])
        estate.run("backup", ["mount", "-o", f"remount,size={size + 64}k", "/mnt"])
        estate.run("backup", ["cp", "-a", f"{REPOSITORY}/.", "/mnt/"])
        estate.run("backup", ["mount", "--bind", "/mnt", REPOSITORY])
        noise = "INSERT INTO mark SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 20000)"
        ask(estate, "production", noise)
        task(estate, "production", "backup", expect=1)
    finally:
        estate.run("backup", ["umount", REPOSITORY], check=False)
        estate.run("backup", ["umount", "/mnt"], check=False)
    assert estate.run("backup", ["test", "-d", segments]).returncode == 0
    assert archives(estate) == before
    assert task(estate, "production", "backup")["status"] == "succeeded"
    ask(estate, "production", "DROP TABLE mark")
    estate.run("production", ["rota", "backup", "send", "--accept-shrinking"])


def archives(lab: Lab) -> list[str]:
    return lab.run("backup", ["rota", "backup", "list", "--sender", "production"]).stdout.split("\n")[0].split()[:1]

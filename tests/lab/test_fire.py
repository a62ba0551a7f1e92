"""The night production burns down: the steps of docs/backup.md, from a bare machine to a verified production."""

from datetime import UTC, datetime

import pytest

from provision.lab import Lab
from tests.lab.conftest import Fab

pytestmark = pytest.mark.lab

MEDIA = "/var/lib/rota/diary/media"
DIARY = ["runuser", "-u", "postgres", "--", "psql", "-XAtd", "diary", "-c"]


def ask(lab: Lab, query: str) -> str:
    return lab.run("production", [*DIARY, query]).stdout.strip()


def test_a_bare_machine_becomes_production_again(deployed: Lab, fab: Fab) -> None:
    """By the time of the restore the new production may have backed up its empty self: the time of the fire counts."""
    ask(deployed, "DROP TABLE IF EXISTS burnt; CREATE TABLE burnt AS SELECT n FROM generate_series(1, 1000) AS n")
    deployed.run("production", ["install", "-o", "rota-diary", "-m", "640", "/etc/hostname", f"{MEDIA}/burnt"])
    fab("production", "backup")
    fire = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    deployed.reset("production")
    for words in (
        ("production", "provision"),
        ("backup", "provision"),
        ("production", "deploy"),
        ("production", "backup"),
        ("production", "restore_db_from_backup", "--at", fire, "--yes-destroy-production"),
    ):
        fab(*words)
    deployed.run("production", ["rota", "backup", "restore-files", MEDIA, "--at", fire, "--confirmed"])
    assert ask(deployed, "SELECT count(*), sum(n) FROM burnt") == "1000|500500"
    assert deployed.run("production", ["cat", f"{MEDIA}/burnt"]).stdout == "production\n"
    ask(deployed, "DROP TABLE burnt")  # the mirror would refuse a table without masking rules
    deployed.run("production", ["rm", f"{MEDIA}/burnt"])
    fab("restore_staging")
    fab("production", "verify")

"""The tasks of backups: one on hosts that send, four on hosts that keep."""

from datetime import UTC, datetime

from rota.packs import Report, needs, task
from rota.packs.backup import configuration
from rota.packs.backup.configuration import Places
from rota.packs.backup.outcome import Outcome, tell

needs("psycopg")

PLACES = Places()

# Root reads every file, becomes the database's and the repository's system users, and ends their programs.
ROOT = {
    "user": "root",
    "capabilities": ["CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"],
    "credentials": ["backup_passphrase"],
    "write": [str(PLACES.state)],
    "exposure": 4.5,
}


@task(schedule="*-*-* *:20:00", zone="UTC", catch_up="latest", spread="5min", timeout="6h", network="any", **ROOT)
def backup(report: Report) -> None:
    """Send databases and directories to the backup host.

    One archive, encrypted here. If a single dump fails there is no archive, so that a bad one never hides a good one.
    """
    from rota.packs.backup import work

    work.back_up(configuration.sender(PLACES), PLACES, datetime.now(UTC), lambda outcome: tell(outcome, report))


@task(
    schedule="*-*-* 03:40:00", zone="UTC", catch_up="latest", timeout="4h", lock="backup_store", lock_wait="2h", **ROOT
)
def backup_prune(report: Report) -> None:
    """Remove backups that retention has no use for.

    Refuses when archives vanished that it did not remove itself: a sender that was taken over would make that final.
    """
    _on_the_store("prune", report)


@task(
    schedule="Sun *-*-* 04:40:00",
    zone="UTC",
    catch_up="latest",
    timeout="12h",
    lock="backup_store",
    lock_wait="4h",
    **ROOT,
)
def backup_check(report: Report) -> None:
    """Read and decrypt every chunk of every backup."""
    _on_the_store("check", report)


@task(
    schedule="Wed *-*-* 04:40:00",
    zone="UTC",
    catch_up="latest",
    timeout="6h",
    lock="backup_store",
    lock_wait="4h",
    **ROOT,
)
def backup_drill(report: Report) -> None:
    """Restore the newest backup into scratch databases and compare every table with what was recorded."""
    _on_the_store("drill", report)


@task(
    schedule="*-*-* *:50:00", zone="UTC", catch_up="none", timeout="1h", lock="backup_store", lock_wait="30min", **ROOT
)
def backup_freshness(report: Report) -> None:
    """See that every sender has sent a backup of late, and that none has vanished."""
    _on_the_store("freshness", report)


def _on_the_store(name: str, report: Report) -> None:
    from rota.packs.backup import work

    outcome: Outcome = getattr(work, name)(configuration.store(PLACES), PLACES, datetime.now(UTC))
    tell(outcome, report)
    work.require_all(outcome)

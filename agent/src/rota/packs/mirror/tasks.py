"""The task of the mirror, which is started by hand only: `fab restore_staging`."""

import sys

from rota.packs import Report, needs, task

needs("psycopg")


@task(
    timeout="12h",
    grace="60s",
    network="any",
    user="root",
    # Becomes PostgreSQL's system user, keeps the owners of files it copies, and ends programs it started.
    capabilities=[
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    ],
    write=["/var/lib/rota/mirror", "/var/lib/rota/diary", "/opt/rota/releases"],
    service={
        # The last line of defence: when every process of the unit was killed, the way back is still taken.
        "ExecStopPost": "-/usr/local/sbin/rota-mirror recover",
        # Missing: Python's ctypes, for the exchange of two folders, maps such memory when it is imported.
        "MemoryDenyWriteExecute": "no",
        # Missing: copied media may carry the set-group bit of their folder.
        "RestrictSUIDSGID": "no",
    },
    exposure=5,
)  # fmt: skip
def restore_staging(report: Report) -> None:
    """Copy production's databases, media and release here, with personal data masked.

    Checks everything first, works beside what this host serves, and switches at the end; whatever fails on the way,
    this host stays as it was.
    """
    from rota.packs.mirror import supervise
    from rota.packs.mirror.configuration import FILE

    if code := supervise.run(FILE, report):
        sys.exit(code)

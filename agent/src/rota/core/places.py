"""Where the agent's files lie: on a host, or under one folder."""

from dataclasses import dataclass
from pathlib import Path

SPOOL_FOLDERS = ("tmp", "running", "done", "sent", "output", "quarantine")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Every folder the agent reads or writes. `is_embedded` where all of them lie under one home, without systemd.

    Four hold a file for each task: `plans` its coming slots, `pauses` why it does not run, `asked` its runs for which
    somebody set a time, and `successes` the moment of its latest success. Two hold a file for each request of the
    diary: `fetched` until it is carried out, `answered` from then on.
    """

    configuration: Path
    environment: Path
    credentials: Path
    spool: Path
    spare: Path
    locks: Path
    requests: Path
    plans: Path
    pauses: Path
    asked: Path
    successes: Path
    fetched: Path
    answered: Path
    units: Path
    current: Path
    releases: Path
    alerts: Path
    alerts_spare: Path
    outbox: Path
    measurements: Path
    is_embedded: bool = False

    def lock(self, name: str) -> Path:
        return self.locks / f"{name}.lock"

    def plan(self, task: str) -> Path:
        return self.plans / task

    def success(self, task: str) -> Path:
        return self.successes / task


def on_host(root: Path = Path("/")) -> Places:
    """The places of a host whose file system begins at this root."""
    return Places(
        configuration=root / "etc/rota",
        environment=root / "etc/rota/environment",
        credentials=root / "etc/rota/credentials",
        spool=root / "var/lib/rota/spool",
        spare=root / "run/rota/spare/done",
        locks=root / "var/lib/rota/lock",
        requests=root / "run/rota/manual",
        plans=root / "var/lib/rota/plan",
        pauses=root / "var/lib/rota/pause",
        asked=root / "var/lib/rota/asked",
        successes=root / "var/lib/rota/success",
        fetched=root / "var/lib/rota/fetched",
        answered=root / "var/lib/rota/answered",
        units=root / "etc/systemd/system",
        current=root / "opt/rota/current",
        releases=root / "opt/rota/releases",
        alerts=root / "var/lib/rota/alerts",
        alerts_spare=root / "run/rota/alerts",
        outbox=root / "var/lib/rota/outbox",
        measurements=root / "var/lib/prometheus/node-exporter",
    )


def under(home: Path) -> Places:
    """The places of an embedded Rota: everything under one folder."""
    return Places(
        configuration=home,
        environment=home / "environment",
        credentials=home / "credentials",
        spool=home / "spool",
        spare=home / "spare",
        locks=home / "lock",
        requests=home / "manual",
        plans=home / "plan",
        pauses=home / "pause",
        asked=home / "asked",
        successes=home / "success",
        fetched=home / "fetched",
        answered=home / "answered",
        units=home / "units",
        current=home / "current",
        releases=home / "releases",
        alerts=home / "alerts",
        alerts_spare=home / "alerts.spare",
        outbox=home / "outbox",
        measurements=home / "measurements",
        is_embedded=True,
    )

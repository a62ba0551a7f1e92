"""Settings of this machine's kernel that hosts need, lifted with the first lab and put back with the last."""

import json
from pathlib import Path

from provision.lab.plan import STORE

SETTINGS = Path("/proc/sys")
BEFORE = STORE / "kernel.before"

# Four hosts share this machine's root user and its limits: each path unit and each systemd takes inotify instances,
# and Debian's limit of 128 is reached with the second provisioned lab.
WANTED = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 2048}


def boot_id() -> str:
    """What this machine's present boot is called: whatever was written under another has ended with it."""
    return (SETTINGS / "kernel/random/boot_id").read_text().strip()


def lift() -> None:
    """Lift what is too low, written down first."""
    values = {name: int((SETTINGS / name).read_text()) for name in WANTED}
    low = {name: value for name, value in values.items() if value < WANTED[name]}
    if low:
        BEFORE.write_text(json.dumps({"boot": boot_id(), "values": {**low, **values_before()}}))
        for name in low:
            (SETTINGS / name).write_text(str(WANTED[name]))


def restore() -> None:
    """Put back what was lifted in this boot. Nothing lifted is fine."""
    for name, value in values_before().items():
        (SETTINGS / name).write_text(str(value))
    BEFORE.unlink(missing_ok=True)


def values_before() -> dict[str, int]:
    if not BEFORE.exists():
        return {}
    document = json.loads(BEFORE.read_text())
    values: dict[str, int] = document["values"] if document["boot"] == boot_id() else {}
    return values

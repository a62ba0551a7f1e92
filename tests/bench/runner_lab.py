"""What systemd adds and what the runner adds there: oneshot units with and without it, on a host of the lab."""

import json
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import rota
from provision import lab as labs
from rota.core.catalogue import Agent
from rota.core.places import on_host
from rota.core.status import Environment
from rota.core.task import Task
from rota.units import compile_service

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = "lab-bench"
HOST = "development"
PACKAGE = Path("/opt/rota-bench")
PLAIN = "[Service]\nType=oneshot\n"
UNITS = {
    "rota-bench-plain": ("a systemd oneshot", "systemd's own state of the last"),
    "rota-bench-plain-hardened": ("a systemd oneshot, hardened as Rota hardens", "systemd's own state of the last"),
    "rota-bench": ("Rota's runner in a oneshot", "a record on disk before and after, and the output"),
    "rota-bench-hardened": ("Rota's unit as it is", "a record on disk before and after, and the output"),
}

# Runs on the host. `systemctl start` returns when a oneshot has ended.
TIMING = """
import json, subprocess, sys, time
rounds, *units = sys.argv[1:]
taken = {unit: [] for unit in units}
for _ in range(int(rounds)):
    for unit in units:
        began = time.perf_counter()
        subprocess.run(["systemctl", "start", unit + ".service"], check=True)
        taken[unit].append((time.perf_counter() - began) * 1000)
print(json.dumps(taken))
"""
PREPARE = """
groupadd --system --force rota
groupadd --system --force rota-task
id rota >/dev/null 2>&1 || useradd --system --gid rota --no-create-home rota
mkdir -p /var/lib/rota/lock /var/lib/rota/spool /run/rota/spare/done
cd /var/lib/rota/spool
mkdir -p tmp running done output
chown -R rota:rota-task . && chmod 710 .
chown rota:rota tmp running done output /run/rota/spare/done && chmod 3753 tmp running done output /run/rota/spare/done
touch /var/lib/rota/lock/bench.lock
/usr/bin/python3 -m compileall -q /opt/rota-bench
systemctl daemon-reload
"""


@dataclass(frozen=True)
class Unit:
    """What `systemctl start` of one unit takes, in milliseconds."""

    name: str
    leaves: str
    milliseconds: float


def measure_units(rounds: int) -> Iterator[Unit]:
    """Raises LabUnavailable where no lab can run, RuntimeError when a record is missing."""
    labs.down(ROOT, INVENTORY)
    try:
        lab = labs.up(ROOT, INVENTORY)
        root = lab.hosts[HOST].root
        (root / PACKAGE.relative_to("/")).mkdir(parents=True, exist_ok=True)
        for module in Path(rota.__file__).parent.glob("runner*.py"):
            (root / PACKAGE.relative_to("/") / module.name).write_bytes(module.read_bytes())
        for name, text in unit_texts().items():
            (root / "etc/systemd/system" / f"{name}.service").write_text(text)
        lab.run(HOST, ["/bin/sh", "-euc", PREPARE])
        done = lab.run(HOST, ["/usr/bin/python3", "-c", TIMING, str(rounds), *UNITS])
        records = lab.run(HOST, ["/bin/sh", "-c", "cat /var/lib/rota/spool/done/*.json"]).stdout.splitlines()
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{error}\n{error.stderr}") from error
    finally:
        labs.down(ROOT, INVENTORY)
    if sum(json.loads(record)["status"] == "succeeded" for record in records) != 2 * rounds:
        raise RuntimeError(f"{len(records)} records of {2 * rounds} runs")
    for name, taken in json.loads(done.stdout).items():
        yield Unit(*UNITS[name], statistics.median(taken))


def unit_texts() -> dict[str, str]:
    """Rota's unit for the task `bench`, and what is left of it without its runner or its protections."""
    task = Task(name="bench", description="Bench", command=("/bin/true",))
    agent = Agent(host="here", environment=Environment.DEVELOPMENT)
    hardened = compile_service(task, agent, on_host(), package=PACKAGE)
    (start,) = (line for line in hardened.splitlines() if line.startswith("ExecStart="))
    plain = "ExecStart=/bin/true"
    return {
        "rota-bench-plain": f"{PLAIN}{plain}\n",
        "rota-bench-plain-hardened": hardened.replace(start, plain),
        "rota-bench": f"{PLAIN}{start}\n",
        "rota-bench-hardened": hardened,
    }

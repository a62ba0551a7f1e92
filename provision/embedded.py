"""The embedded form: tasks run once on this machine, their records in a diary on 127.0.0.1, all of it in one folder."""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from provision import release
from provision.errors import OperatorError

LOGIN = "admin@example.com"
OLD_DAYS = 10
DATABASE_FREE = ("museum/opening.csv", "museum/broken.txt")


class EmbeddedFailed(OperatorError):
    """The embedded form could not be shown."""


def run(root: Path, home: Path | None = None, *, days: int = 30) -> int:
    """Run the example tasks once, then serve the diary with their records until it is interrupted.

    Beside them it shows so many days of a made-up estate.
    """
    home = home or root / ".rota" / "embedded"
    python = ensure_python(root, home / "venv")
    release.has_editor(root / "agent", root / ".cache")
    environment = {**os.environ, "PYTHONPATH": str(root / "agent" / "src"), "ROTA_HOME": str(home)}
    write_configuration(home)
    for task in tasks(home):
        print(f"── rota run {task}", flush=True)
        subprocess.run([python, "-m", "rota.cli", "run", task], env=environment, check=False)
    return show(root, python, environment, home, days)


def ensure_python(root: Path, venv: Path) -> str:
    """A virtual environment with what the diary needs, made from the lock; its interpreter."""
    lock = root / "requirements" / "agent-diary.txt"
    stamp = venv / ".stamp"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        print("Making an environment for the diary", flush=True)
        uv = Path(sys.executable).with_name("uv")
        environment = {**os.environ, "VIRTUAL_ENV": str(venv)}
        commands = (
            [str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)],
            [str(uv), "pip", "sync", "--quiet", "--require-hashes", str(lock)],
        )
        for command in commands:
            if subprocess.run(command, env=environment, check=False).returncode:
                raise EmbeddedFailed(f"{' '.join(command)}: its message is above")
        stamp.write_bytes(lock.read_bytes())
    return str(venv / "bin" / "python")


def tasks(home: Path) -> dict[str, dict[str, object]]:
    """The example's tasks: two of the logs pack, a plain command, and one that fails, to see a failure."""
    return {
        "check_host": {"settings": {"clock": False, "failed_units": False, "security_updates": False}},
        "compress_old_logs": {"settings": {"folders": [str(home / "example-logs")]}},
        "list_disks": {"command": ["/bin/df", "--human-readable"], "description": "List the file systems"},
        "fail": {
            "command": ["/bin/sh", "-c", "echo 'This failure is meant.'; exit 3"],
            "description": "Fail, to show what a failure looks like",
        },
    }


def write_configuration(home: Path) -> None:
    """The same files that a host has in /etc/rota, a token of this machine, and some logs old enough to compress."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = kept_secret(home / "credentials" / "diary_token")
    digest = hashlib.sha256(token.encode()).hexdigest()
    host = os.uname().nodename
    write(home / "tasks.yml", {"tasks": tasks(home)})
    write(home / "agent.yml", {"agent": {"host": host, "environment": "development"}})
    write(
        home / "diary.yml",
        {
            "diary": {
                "environment": "development",
                "host_tokens": {host: digest},
                "host_environments": {host: "development"},
                "administrators": [{"name": "admin", "email": LOGIN}],
            }
        },
    )
    kept_secret(home / "credentials" / "diary_admin_password")
    logs = home / "example-logs"
    logs.mkdir(exist_ok=True)
    old = time.time() - OLD_DAYS * 86400
    for name in ("one.log", "two.log"):
        (logs / name).write_text("a line of an old log\n" * 1000)
        os.utime(logs / name, (old, old))


def write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=True))


def kept_secret(path: Path) -> str:
    """The secret in this file; made at the first call."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, secrets.token_urlsafe(24).encode())
        os.close(descriptor)
    return path.read_text()


def show(root: Path, python: str, environment: Mapping[str, str], home: Path, days: int) -> int:
    """Serve the diary, send it the records, say where it is, and wait for Ctrl-C."""
    credentials = {**environment, "CREDENTIALS_DIRECTORY": str(home / "credentials")}
    serve = [python, "-m", "rota.diary.manage", "serve", "--port", "0"]
    with subprocess.Popen(serve, env=credentials, stdout=subprocess.PIPE, text=True) as diary:
        address = diary.stdout.readline().strip() if diary.stdout else ""
        if not address.startswith("http://127.0.0.1:"):
            raise EmbeddedFailed("the diary did not start; its message is above")
        try:
            ship(python, environment, home, address)
            make_reports(root, python, environment, home, address)
            populate = [python, "-m", "rota.diary.manage", "populate", "--days", str(days)]
            subprocess.run(populate, env=environment, check=True)
            password = (home / "credentials" / "diary_admin_password").read_text()
            print(f"\nThe diary:  {address}\nLogin:      {LOGIN}   {password}\nEnd:        Ctrl-C", flush=True)
            return diary.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            diary.terminate()


def make_reports(root: Path, python: str, environment: Mapping[str, str], home: Path, address: str) -> None:
    """Take the example's reports into the diary and make those that read no database, where there is their sandbox."""
    example = root / "provision" / "example" / "reports"
    taken = [python, "-m", "rota.diary.manage", "import_reports", str(example)]
    subprocess.run(taken, env=environment, check=True)
    if shutil.which("bwrap") is None:
        print("Without bubblewrap no reports are made; on Debian: apt-get install bubblewrap")
        return
    settings = {"folder": str(example), "state": str(home / "reports"), "diary": address}
    write(home / "tasks.yml", {"tasks": {**tasks(home), "reports_nightly": {"settings": settings}}})
    ship(python, environment, home, address)  # so that the diary knows who makes reports
    chosen = [word for name in DATABASE_FREE for word in ("--set", f"reports={name}")]
    subprocess.run([python, "-m", "rota.cli", "run", "reports_nightly", *chosen], env=environment, check=False)
    ship(python, environment, home, address)


def ship(python: str, environment: Mapping[str, str], home: Path, address: str) -> None:
    """Have the spool's records sent to the diary at this address."""
    agent = yaml.safe_load((home / "agent.yml").read_text())
    write(home / "agent.yml", {"agent": {**agent["agent"], "diary": {"url": address.rstrip("/")}}})
    command: Sequence[str] = [python, "-m", "rota.cli", "ship"]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise EmbeddedFailed("the records could not be sent; the message is above")

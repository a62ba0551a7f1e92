"""What the diary's pages take with ten thousand, a hundred thousand and a million runs, on both databases.

    PYTHONPATH=agent/src python -m tests.bench.diary_bench --runs 10000 100000 1000000

Seeds each diary, serves it by gunicorn behind nginx as a host does (without TLS), asks for every page some fifty times
over one connection, and prints tables of the medians and 95th percentiles in milliseconds; then wrk has eight readers
ask for some of the pages at once, for ten seconds each. It needs the Debian packages
that `./run test` installs, and for a million runs some 10 GB of disk, which it gives back.
"""

import argparse
import gzip
import http.client
import json
import os
import platform
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, urlencode

import yaml

from tests.agent.diary.records import run as a_record
from tests.agent.neighbours import as_user, free_port, newest_postgres, open_folder, postgres_cluster, wait_until

ROOT = Path(__file__).resolve().parents[2]
EMAIL, PASSWORD = "bench@example.org", "a ledger of quiet nights"
TOKEN = secrets.token_urlsafe(24)
TIMES = 50
HEALED = 10_000
BATCH = 500
# As roles/postgres sets a host with 4 GB; fsync as usual.
POSTGRES = (
    "fsync=on", "shared_buffers=1GB", "effective_cache_size=2GB", "maintenance_work_mem=256MB", "work_mem=10MB",
    "random_page_cost=1.1", "max_wal_size=2GB", "wal_compression=on",
)  # fmt: skip
NGINX = """
user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes auto;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 9m; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream diary {{ server unix:{folder}/diary.sock fail_timeout=0; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://diary; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Measured:
    median: float
    p95: float
    size: int


class Reader:
    """Somebody who is logged in, on one connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        headers = {"Cookie": self.cookie(), "Host": "localhost"}
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": "https://localhost/"}
        body = None if form is None else urlencode(form)
        self.connection.request("GET" if form is None else "POST", path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, text

    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def log_in(self) -> None:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.ask("/login/")[1])
        assert token
        status, _ = self.ask("/login/", {"username": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": token[1]})
        assert status == 302, status

    def measure(self, path: str) -> Measured:
        took, size = [], 0
        for number in range(TIMES + 3):
            begin = time.perf_counter()
            status, body = self.ask(path)
            if number >= 3:
                took.append((time.perf_counter() - begin) * 1000)
            assert status == 200, (status, path, body[:500])
            size = len(body)
        return Measured(statistics.median(took), statistics.quantiles(took, n=20)[-1], size)


def addresses(reader: Reader) -> dict[str, str]:
    """Every page, and searches of every kind, by what the table calls them."""
    first = re.search(r'href="(/runs/[0-9a-f-]{36}/)"', reader.ask("/runs/?status=succeeded&task=backup")[1])
    assert first
    receipt = reader.ask(f"{first[1]}output.txt")[1].split()[-1]
    deep = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    searches = {
        "in every run": "begins",
        "in one run": receipt,
        "in one in a hundred": "octavo",
        "two words": "timeout traceback",
        "a phrase": '"connection reset by peer"',
        "a rare phrase of usual words": '"done begins"',
        "a path": "/srv/in/a-4711.pdf",
        "a beginning": "invoi*",
        "without a word": "traceback -timeout",
        "in none": "zzzznothing",
    }
    return {
        "overview": "/",
        "runs": "/runs/",
        "runs, three days back": f"/runs/?before={quote(deep)}~{uuid.UUID(int=0)}",
        "runs of a host": "/runs/?host=staging",
        "failed runs": "/runs/?status=failed",
        "not yet handled": "/runs/?review=open",
        "host, task and status": "/runs/?host=production&task=backup&status=failed",
        "two that never meet": "/runs/?host=backup&task=send_reports",
        "who asked, by hand": "/runs/?trigger=manual&asked_by=reviewer%40diary",
        "a reason, from and until": "/runs/?reason=exit+3&since=2020-01-01&until=2030-01-01",
        "oldest first": "/runs/?sort=oldest",
        "longest first": "/runs/?sort=longest",
        "longest of a task": "/runs/?sort=longest&task=preflight",
        **{f"search: {name}": f"/runs/?{urlencode({'text': text})}" for name, text in searches.items()},
        "search: in every run, failed on a host": "/runs/?text=begins&status=failed&host=backup",
        "search: in one run, of a host": f"/runs/?text={receipt}&host=production",
        "a run": first[1],
        "its output as text": f"{first[1]}output.txt",
        "hosts": "/hosts/",
        "releases": "/releases/",
        "tasks": "/tasks/",
        "one task": "/hosts/production/tasks/backup/",
        "calendar of slots": "/slots.ics",
    }


def manage(folder: Path, *arguments: str, stdin: str = "") -> None:
    command = [sys.executable, "-m", "rota.diary.manage", *arguments]
    subprocess.run(command, env=environment(folder), input=stdin, text=True, check=True)


def environment(folder: Path) -> dict[str, str]:
    credentials = {"CREDENTIALS_DIRECTORY": str(folder), "ROTA_CONFIGURATION": str(folder)}
    return {**os.environ, **credentials, "PYTHONPATH": f"{ROOT}/agent/src"}


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The diary of this configuration behind nginx; yields the port."""
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:rota.diary.gunicorn"]
    gunicorn += ["--bind", f"unix:{folder}/diary.sock"]
    with (
        subprocess.Popen(gunicorn, env=environment(folder)) as diary,
        subprocess.Popen(["/usr/sbin/nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder)]) as nginx,
    ):
        try:
            wait_until(lambda: is_healthy(port), 60)
            yield port
        finally:
            nginx.terminate()
            diary.terminate()


def crowd(reader: Reader, port: int) -> Iterator[str]:
    """What eight readers at once are answered, a line for each page; says how many answers were no good ones."""
    for path in ("/", "/runs/", "/runs/?text=timeout+traceback"):
        headers = {"Cookie": reader.cookie(), "Host": "localhost"}
        command = ["wrk", "--threads=2", "--connections=8", "--duration=10s", "--latency"]
        command += [f"--header={name}: {value}" for name, value in headers.items()]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True)
        rate, p99 = (re.search(found, done.stdout) for found in (r"Requests/sec: +(\S+)", r" 99% +(\S+)"))
        bad = re.search(r"(Non-2xx.*|Socket errors.*)", done.stdout)
        assert rate, done.stdout
        assert p99, done.stdout
        yield f"`{path}`: {float(rate[1]):.0f} a second, 99 of 100 within {p99[1]}{', ' + bad[1] if bad else ''}"


def is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def database(engine: str, runs: int, place: Path) -> Iterator[dict[str, str]]:
    if engine == "sqlite":
        yield {"engine": engine, "name": str(place / "diary.sqlite3")}
        return
    with open_folder("bench") as folder, postgres_cluster(folder, *POSTGRES) as server:
        here = [f"--host={server.host}"]
        if os.geteuid() == 0:
            command = [f"{newest_postgres()}/createuser", *here, "--superuser", "root"]
            subprocess.run(as_user("postgres", command), check=True, cwd="/")
        subprocess.run([f"{newest_postgres()}/createdb", *here, "diary"], check=True, cwd="/")
        yield {"engine": engine, "name": "diary", "host": str(server.host)}


def ingest(port: int) -> tuple[float, float]:
    """Seconds for the records of a healed partition, and for the same ones again, which must change nothing."""
    records = [healed(number) for number in range(HEALED)]
    took = []
    for expected in ("accepted", "unchanged"):
        begin = time.perf_counter()
        for first in range(0, HEALED, BATCH):
            assert fates(port, records[first : first + BATCH]) == {expected}
        took.append(time.perf_counter() - begin)
    return took[0], took[1]


def healed(number: int) -> dict[str, object]:
    moment = datetime.now(UTC) - timedelta(seconds=60 * (HEALED - number))
    key = uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | secrets.randbits(60))
    lines = [f"sending report {number + line} to the board of {secrets.token_hex(3)}: ok" for line in range(20)]
    times = {"started": moment.isoformat(), "ended": (moment + timedelta(seconds=12)).isoformat()}
    return a_record(id=str(key), host="healed", output="\n".join(lines), **times)


def fates(port: int, records: list[dict[str, object]]) -> set[str]:
    body = gzip.compress(json.dumps({"version": 1, "records": records}).encode(), 1)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", "Host": "localhost"}
    headers["Authorization"] = f"Bearer {TOKEN}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/api/v1/records", body, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    return {each["result"] for each in found["results"]}


def bench(engine: str, runs: int) -> tuple[dict[str, Measured], str]:
    with tempfile.TemporaryDirectory(prefix="diary-bench-", dir=ROOT / ".cache") as name:
        place = Path(name)
        with database(engine, runs, place) as settings:
            section = {"database": settings, "host_tokens": {"healed": sha256(TOKEN.encode()).hexdigest()}}
            (place / "diary.yml").write_text(yaml.safe_dump({"diary": section}))
            (place / "diary_secret_key").write_text(secrets.token_urlsafe(64))
            manage(place, "migrate", "--verbosity=0")
            manage(place, "sync")
            begin = time.perf_counter()
            manage(place, "seed", f"--runs={runs}")
            seeded = time.perf_counter() - begin
            manage(place, "createuser", EMAIL, stdin=PASSWORD + "\n")
            with served(place) as port:
                reader = Reader(port)
                reader.log_in()
                found = {name: reader.measure(path) for name, path in addresses(reader).items()}
                together = list(crowd(reader, port))
                first, again = ingest(port)
    told = f"{engine}, {runs:,} runs: seeded in {seeded:.0f} s; {HEALED:,} records in {first:.1f} s, "
    told += f"again in {again:.1f} s; eight readers at once: {'; '.join(together)}"
    return found, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--databases", nargs="+", default=["postgresql", "sqlite"], choices=["postgresql", "sqlite"])
    options = parser.parse_args()
    (ROOT / ".cache").mkdir(exist_ok=True)
    columns, told = {}, []
    for engine in options.databases:
        for runs in options.runs:
            columns[f"{engine} {runs:,}"], line = bench(engine, runs)
            told.append(f"{line}; load {os.getloadavg()[0]:.1f}")
            print(told[-1], file=sys.stderr, flush=True)
    print(f"{os.cpu_count()} CPUs, {platform.release()}, Python {platform.python_version()}, {socket.gethostname()}\n")
    print(f"| page | {' | '.join(columns)} | KB |\n|---|{'---|' * (len(columns) + 1)}")
    for page in next(iter(columns.values())):
        row = [column[page] for column in columns.values()]
        figures = " | ".join(f"{each.median:.0f} / {each.p95:.0f}" for each in row)
        print(f"| {page} | {figures} | {max(each.size for each in row) / 1000:.0f} |")
    print("\n" + "\n".join(f"- {line}" for line in told))


if __name__ == "__main__":
    main()

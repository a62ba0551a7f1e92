"""The mirror between real hosts: what staging becomes, what it cannot reach, and what an accident leaves alone."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision import lab as labs
from tests.lab.conftest import ROOT, Fab

pytestmark = pytest.mark.lab

UNIT = "rota-task-restore_staging.service"
MEDIA = "/var/lib/rota/diary/media"
SQL = Path(__file__).with_name("mirror")

Query = Callable[[str, str], str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(lab: labs.Lab) -> Run:
    """Runs a command as root inside a host."""
    return lab.run


@pytest.fixture(scope="module")
def query(run: Run) -> Query:
    """Asks the diary's database of a host, as its superuser."""

    def ask(host: str, text: str) -> str:
        psql = ["runuser", "-u", "postgres", "--", "psql", "-d", "diary", "-v", "ON_ERROR_STOP=1", "-Atqc", text]
        return run(host, psql).stdout.strip()

    return ask


@pytest.fixture(scope="module")
def production(deployed: labs.Lab, run: Run, query: Query) -> labs.Lab:
    """Production with people, sessions, a run that says an address, and media."""
    query("production", (SQL / "people.sql").read_text())
    script = f"for n in 1 2 3; do echo cover $n | tee {MEDIA}/cover$n >/dev/null; done; chown -R rota-diary {MEDIA}"
    run("production", ["sh", "-c", script])
    return deployed


@pytest.fixture(scope="module")
def mirrored(production: labs.Lab, fab: Fab) -> str:
    """Staging after one mirror; what the command said."""
    return fab("restore_staging").stdout


def release_of(run: Run, host: str) -> str:
    return run(host, ["readlink", "/opt/rota/current"]).stdout.strip()


def seen(run: Run, query: Query) -> tuple[str, str, str]:
    """What staging serves."""
    people = query("staging", "SELECT string_agg(email || name, ',' ORDER BY id) FROM diary_person")
    files = run("staging", ["find", MEDIA, "-printf", "%P %s %T@\n"]).stdout
    return people, "".join(sorted(files.splitlines())), release_of(run, "staging")


def scratches(query: Query) -> str:
    """The databases on staging that a mirror makes and removes."""
    return query("staging", "SELECT datname FROM pg_database WHERE datname ~ '_(scratch|replaced)_'")


def test_staging_holds_production_s_content_with_nobody_s_address(mirrored: str, query: Query) -> None:
    assert query("staging", "SELECT count(*) FROM diary_review") == query(
        "production", "SELECT count(*) FROM diary_review"
    )
    assert query("production", "SELECT count(*) FROM diary_person WHERE email LIKE '%@library.example'") == "200"
    assert query("staging", "SELECT count(*) FROM diary_person WHERE email LIKE '%@library.example'") == "0"
    assert query("staging", "SELECT count(*) FROM diary_person WHERE email LIKE '%@masked.invalid'") >= "200"
    assert query("staging", "SELECT DISTINCT summary FROM diary_review") == "said by masked@masked.invalid"
    assert "masked diary_person.email: email, " in mirrored


def test_media_and_release_come_along(mirrored: str, run: Run) -> None:
    assert run("staging", ["cat", f"{MEDIA}/cover2"]).stdout == "cover 2\n"
    assert run("staging", ["stat", "-c", "%U:%G %a", MEDIA]).stdout == "rota-diary:www-data 2750\n"
    assert release_of(run, "staging") == release_of(run, "production")


def test_the_diary_of_staging_is_ready_and_its_own_administrators_may_log_in(
    mirrored: str, run: Run, query: Query
) -> None:
    ready = run("staging", PROBE).stdout
    assert json.loads(ready)["status"] == "ok"
    assert json.loads(ready)["environment"] == "staging"


PROBE = [
    "/opt/rota/current/venv/bin/python",
    "-Ic",
    "from pathlib import Path; from rota.packs.mirror.switch import SocketConnection as C; "
    "c = C(Path('/run/rota/diary.sock'), 10); c.request('GET', '/readyz'); print(c.getresponse().read().decode())",
]


def test_the_mirror_is_on_record_as_a_run_with_its_counts(mirrored: str, run: Run) -> None:
    said = run("staging", ["rota", "runs", "restore_staging", "--json"]).stdout
    newest = json.loads(said)[0]

    assert newest["status"] == "succeeded"
    assert newest["counts"]["masked_columns"] == len(newest["items"]) > 10
    assert newest["counts"]["rows"] > 400


@pytest.mark.parametrize(("host", "port"), [("backup", 80), ("production", 80), ("production", 5432), ("sink", 25)])
def test_nothing_of_staging_reaches_anything_that_is_not_listed(
    mirrored: str, production: labs.Lab, run: Run, host: str, port: int
) -> None:
    address = production.gateway if host == "sink" else production.hosts[host].address

    assert "refused" in connection(run, address, port) or "prohibited" in connection(run, address, port)


@pytest.mark.parametrize(("host", "port"), [("production", 22), ("production", 443), ("backup", 22)])
def test_what_the_mirror_the_diary_and_a_restore_need_is_listed(
    mirrored: str, production: labs.Lab, run: Run, host: str, port: int
) -> None:
    assert connection(run, production.hosts[host].address, port) == "open"


def connection(run: Run, address: str, port: int) -> str:
    """What becomes of a TCP connection from staging, tried by root."""
    script = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('open')\n"
        "except OSError as error: print(f'refused: {error}')\n"
    )
    return run("staging", ["python3", "-c", script, address, str(port)]).stdout.strip()


def test_a_check_shows_the_rule_of_every_column_and_changes_nothing(mirrored: str, fab: Fab, run: Run) -> None:
    before = run("staging", ["rota", "runs", "restore_staging", "--json"]).stdout

    shown = fab("restore_staging", "--check").stdout

    assert "diary_person.email: email" in shown
    assert run("staging", ["rota", "runs", "restore_staging", "--json"]).stdout == before


def test_production_refuses_to_be_mirrored_onto(production: labs.Lab, run: Run) -> None:
    command = ["/opt/rota/current/venv/bin/python", "-I", "-m", "rota.packs.mirror", "run"]

    done = run("production", command, check=False)

    assert done.returncode == 2
    assert "This host is no destination for a mirror: it belongs to 'production'" in done.stderr


def test_the_mirror_s_key_opens_nothing_else(mirrored: str, production: labs.Lab, run: Run) -> None:
    address = production.hosts["production"].address
    options = ["-T", "-i", "/etc/rota/keys/mirror", "-o", "BatchMode=yes", "-l", "rota-mirror", address]

    for command in (["cat", "/etc/passwd"], ["sudo", "id"], []):
        done = run("staging", ["ssh", *options, *command], check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("This key serves the mirror and nothing else")


@pytest.fixture
def large(production: labs.Lab, query: Query) -> Iterator[None]:
    """Production with so many rows that a mirror takes a while."""
    query("production", (SQL / "large.sql").read_text())
    yield
    query("production", (SQL / "small.sql").read_text())


@pytest.fixture
def started(mirrored: str, large: None, lab_environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A mirror that is in the middle of its rows."""
    words = [sys.executable, "-m", "fabric", "restore_staging"]
    with subprocess.Popen(
        words, cwd=ROOT, env=lab_environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert next((line for line in process.stdout if line.startswith("rows …")), None)
        yield process


def test_a_mirror_cut_from_production_in_the_middle_leaves_staging_as_it_was(
    started: "subprocess.Popen[str]", production: labs.Lab, run: Run, query: Query
) -> None:
    before = seen(run, query)
    production.cut("staging", "production")
    try:
        said, _ = started.communicate(timeout=120)
    finally:
        production.heal()

    assert started.returncode
    assert "Production did not give what the mirror asked for: rows" in said
    assert (seen(run, query), scratches(query)) == (before, "")


def test_a_mirror_killed_in_the_middle_leaves_staging_as_it_was_and_a_record(
    started: "subprocess.Popen[str]", run: Run, query: Query
) -> None:
    before, scratch = seen(run, query), scratches(query)
    entering = ["runuser", "-u", "rota-diary", "--", "psql", "-d", scratch, "-Atqc", "SELECT 1"]
    assert "permission denied for database" in run("staging", entering, check=False).stderr

    run("staging", ["systemctl", "kill", "--signal=KILL", UNIT])
    started.communicate(timeout=120)

    assert started.returncode
    assert (seen(run, query), scratches(query)) == (before, "")


def test_what_a_power_cut_left_of_a_mirror_is_removed_at_boot(mirrored: str, run: Run, query: Query) -> None:
    query("staging", "CREATE DATABASE diary_scratch_20260101T000000Z")

    run("staging", ["systemctl", "start", "rota-mirror-recover.service"])

    assert scratches(query) == ""
    assert run("staging", ["systemctl", "is-enabled", "rota-mirror-recover.service"]).stdout == "enabled\n"

"""The pack `reports` on a provisioned host: the example's nights in the task's own unit, and what the web server sends.

The wall is tried here as scripts meet it: as the user of the task, within its unit, on a host with real neighbours.
"""

import base64
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from provision import lab as labs
from tests.agent.reports import sandboxes
from tests.agent.reports.test_attacks import ATTACKS, PRELUDE, SIEGES, script_of
from tests.lab.agent_host import AgentHost
from tests.lab.browser import Browser

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "provision/example"
STATE = "/var/lib/rota/reports"
KEY = "0123456789abcdef0123456789abcdef"
MADE = {"press/titles.xml", "press/loans.csv", "museum/languages.json", "museum/opening.csv"}
SECRET = "secret of the other client"
SECONDS = 5
# The database is reached by a socket of this kind; what else listens in the file system is not to be seen.
ALLOWED = {"unix sockets"}
# Within a host's limits, though not within those of the tests that try the same on this machine.
HARMLESS = {"the disk", "one big file"}


class Host(AgentHost):
    """Production, which makes the lab's reports."""

    def put(self, folder: str, files: dict[str, str]) -> None:
        """Write a folder of text files that everybody may read."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(text.encode()), 0o644
                archive.addfile(entry, io.BytesIO(text.encode()))
        script = 'rm -rf "$1" && mkdir -p "$1" && base64 --decode | tar --extract --directory "$1"'
        self.do("sh", "-c", script, "sh", folder, input=base64.b64encode(packed.getvalue()).decode())

    def set_up(self, **settings: Any) -> None:
        """Have the night's task take other settings than the role's."""
        told = yaml.safe_load(self.do("cat", "/etc/rota/reports.yml").stdout)
        told["tasks"]["reports_nightly"]["settings"] |= settings
        self.do("tee", "/etc/rota/reports.yml", input=yaml.safe_dump(told))
        self.do("rota", "sync")

    def night(self, *words: str) -> dict[str, Any]:
        """One run of the night's task, in its unit, and its record."""
        self.do("rota", "run", "reports_nightly", *words, check=False)
        return self.runs("reports_nightly")[0]

    def items(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {item["name"]: item for item in self.show(run)["items"]}

    def show(self, run: dict[str, Any]) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.do("rota", "show", run["id"], "--json").stdout))

    def fetch(self, path: str, *words: str) -> tuple[int, dict[str, str], str]:
        """Ask the host's web server by its address: status, headers by small names, and body."""
        curl = ["curl", "--silent", "--show-error", "--insecure", "--include", "--max-time", "30", *words]
        done = subprocess.run(
            [*curl, f"https://{self.lab.hosts[self.name].address}{path}"], capture_output=True, text=True, check=True
        )
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        first, *lines = head.split("\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, body

    def sql(self, text: str) -> None:
        self.do("runuser", "-u", "postgres", "--", "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=library",
                "--command=SET ROLE librarian", "--file=-", input=text)  # fmt: skip


@pytest.fixture(scope="module")
def host(deployed: labs.Lab) -> Iterator[Host]:
    """The example is in its diary and in its database."""
    host = Host(deployed, "production")
    role = host.do("cat", "/etc/rota/reports.yml").stdout
    host.sql((EXAMPLE / "library.sql").read_text())
    reports = EXAMPLE / "reports"
    files = {str(path.relative_to(reports)): path.read_text() for path in reports.rglob("*") if path.is_file()}
    host.put("/srv/example", files)
    told = host.do("runuser", "-u", "rota-diary", "--", "rota-diary", "import_reports", "/srv/example").stdout
    assert told.startswith("Made or changed: ")
    yield host
    host.do("rm", "-rf", "/srv/example", "/srv/attacks")
    host.do("tee", "/etc/rota/reports.yml", input=role)
    host.do("rota", "sync")


def test_a_night_makes_what_is_due_and_one_that_fails_stops_no_other(host: Host) -> None:
    run = host.night("--set", "day=2026-03-01")
    assert (run["status"], run["reason"]) == ("failed", "exit 1"), run
    items = host.items(run)
    published = {name for name, item in items.items() if item["outcome"] == "published"}
    assert published == MADE, items
    assert "This failure is meant." in items["museum/broken.txt"]["message"]
    assert run["counts"]["rows"] > 900
    found = host.do(
        "find", f"{STATE}/exports", "-type", "f", "-not", "-path", "*/.*", "-printf", "%P %m %u %g\\n"
    ).stdout
    assert set(found.splitlines()) == {f"{name} 640 rota-reports rota-exports" for name in MADE}
    folders = host.do("find", f"{STATE}/exports", "-mindepth", "1", "-type", "d", "-printf", "%m %g\\n").stdout
    assert set(folders.splitlines()) == {"2750 rota-exports"}
    for user, may in (("www-data", True), ("rota-diary", True), ("rota", False), ("nobody", False)):
        reading = host.do("runuser", "-u", user, "--", "cat", f"{STATE}/exports/press/loans.csv", check=False)
        assert (reading.returncode == 0) is may, user


def test_a_second_night_publishes_the_same_and_the_diary_has_both(host: Host) -> None:
    host.night("--set", "day=2026-03-02")
    logs = "from rota.packs.reports.diary.models import RunLog; print(RunLog.objects.filter(is_success=True).count())"
    told = host.do("runuser", "-u", "rota-diary", "--", "rota-diary", "shell", "--command", logs).stdout
    assert int(told.splitlines()[-1]) >= len(MADE)


def test_the_web_server_sends_public_files_and_what_is_private_for_its_key(host: Host) -> None:
    status, headers, body = host.fetch("/reports/file/press/titles.xml")
    assert status == 200
    assert headers["content-type"] == "application/xml; charset=utf-8"
    assert body.startswith("<?xml")
    assert "On &lt;Salt&gt;" in body
    assert headers["content-security-policy"].startswith("sandbox;")
    assert headers["x-content-type-options"] == "nosniff"
    assert host.fetch("/reports/file/press/titles.xml", "--header", f"If-None-Match: {headers['etag']}")[0] == 304
    status, headers, body = host.fetch("/reports/file/press/titles.xml", "--header", "Range: bytes=0-4")
    assert (status, body) == (206, "<?xml")

    assert host.fetch("/reports/file/press/loans.csv")[0] in (401, 403, 404)
    assert host.fetch("/reports-exports/press/loans.csv")[0] == 404
    give = f"""from hashlib import sha256
from rota.packs.reports.diary.models import Client
Client.objects.filter(username="press").update(access_key=sha256(b"{KEY}").hexdigest())"""
    host.do("runuser", "-u", "rota-diary", "--", "rota-diary", "shell", "--command", give)
    for words in (["--header", f"Authorization: Bearer {KEY}"], []):
        status, headers, body = host.fetch("/reports/file/press/loans.csv" + ("" if words else f"?key={KEY}"), *words)
        assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8"), words
        assert body.startswith("isbn,name,copies,last_day\n")
    wrong = ["--header", f"Authorization: Bearer {KEY[::-1]}"]
    assert host.fetch("/reports/file/press/loans.csv", *wrong)[0] in (401, 403, 404)
    assert host.fetch("/reports/file/museum/languages.json", "--header", f"Authorization: Bearer {KEY}")[0] != 200
    log = host.do("cat", "/var/log/nginx/access.log").stdout
    assert "/reports/file/press/loans.csv" in log
    assert KEY not in log


REPORT = "/reports/clients/press/loans.csv/"


def test_an_editor_has_a_report_made_and_tries_another_text_of_it_in_the_diary(host: Host) -> None:
    person = Browser(host.lab, "ada@example.org", "administrator")

    def ended(asked: str) -> str:
        host.wait(lambda: "loans.csv" in person.get(asked) and not is_open(person.get(asked)))
        return person.get(asked)

    before = host.do("stat", "--format=%Y", f"{STATE}/exports/press/loans.csv").stdout
    made = ended(person.post(f"{REPORT}run", page=REPORT))
    assert "301" in made, made
    assert host.do("stat", "--format=%Y", f"{STATE}/exports/press/loans.csv").stdout > before

    form = {"start_date": "2026-01-01", "frequency": "D", "file_name": "loans.csv", "month_end": "skip"}
    form |= {"keep": "3", "timeout": "0", "memory": "0"}
    script = "from database import connect\nconnect().execute('CREATE TABLE mine (id int)')\n"
    tried = person.post(f"{REPORT}try", page=REPORT, **form, script=script, query="SELECT 1")
    assert tried.startswith("/reports/asked/"), tried
    page = ended(tried)
    assert "read-only transaction" in page or "permission denied" in page, page
    assert "CREATE TABLE" not in person.get(REPORT), "a dry run saves nothing"
    left = host.do("find", f"{STATE}/asked", "-type", "f").stdout
    assert left == ""


def test_a_program_has_a_report_made_as_of_old_and_waits_for_it(host: Host) -> None:
    person = Browser(host.lab, "ada@example.org", "administrator")
    _, made = person.send("/reports/tokens/make", page="/reports/tokens/", name="tests")
    token = re.search(r'<code class="link">([^<]+)</code>', made)
    identifier = re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", person.get(REPORT))
    assert token
    assert identifier
    bearer = ["--header", f"Authorization: Bearer {token[1]}", "--request", "POST"]
    status, _, body = host.fetch(f"/runtask/{identifier[0]}", *bearer)
    assert status == 200, body
    told = json.loads(body)
    assert list(told) == ["idTask", "message", "dateTime", "output", "success"]
    assert (told["idTask"], told["message"], told["success"]) == (identifier[0], "OK", True)
    assert host.fetch(f"/runtask/{identifier[0]}", "--request", "POST")[0] == 401
    assert host.fetch(f"/runtask/{identifier[0]}", "--header", f"Authorization: Bearer {token[1]}")[0] == 405


def is_open(page: str) -> bool:
    return 'id="live-state"' in page


def test_no_attack_passes_the_wall_in_the_tasks_own_unit(host: Host) -> None:
    """Each is a report of a client of its own; what it says is published, so that it can be read here."""
    attacks = [attack for attack in ATTACKS if attack.name not in ALLOWED]
    sleeping = ["systemd-run", "--quiet", "--unit=rota-test-victim", "--uid=rota-reports", "sleep", "600"]
    try:
        host.do(*sleeping)
        host.do("runuser", "-u", "rota-reports", "--", "tee", f"{STATE}/exports/press/other.csv", input=f"{SECRET}\n")
        victim = int(host.do("systemctl", "show", "--value", "-p", "MainPID", "rota-test-victim").stdout)
        around = SimpleNamespace(
            folder=Path("/var/lib/rota"),
            export=Path(f"{STATE}/exports/press/other.csv"),
            port=80,
            victim=SimpleNamespace(pid=victim),
            channel=5,
        )
        scripts = {
            f"a{number:03}": script_of(attack, cast(sandboxes.Host, around)) for number, attack in enumerate(attacks)
        }
        host.put("/srv/attacks", definitions("attacks", scripts))
        host.set_up(folder="/srv/attacks", guard="off")
        run = host.night()
        assert (run["status"], run["counts"]["reports"]) == ("succeeded", len(attacks)), host.show(run)
        for number, attack in enumerate(attacks):
            told = host.do("cat", f"{STATE}/exports/attacks/a{number:03}.txt").stdout
            assert told.startswith("refused:"), (attack.name, told)
        assert host.do("systemctl", "is-active", "rota-test-victim").stdout == "active\n"
        assert host.do("cat", f"{STATE}/exports/press/other.csv").stdout == f"{SECRET}\n"
    finally:
        host.do("systemctl", "stop", "rota-test-victim", check=False)
        host.do("rm", "-rf", f"{STATE}/exports/press/other.csv", f"{STATE}/exports/attacks")


def test_a_siege_of_all_kinds_at_once_ends_within_its_limits_and_leaves_nothing(host: Host) -> None:
    sieges = [siege for siege in SIEGES if siege.exit_code != 0 and siege.name not in HARMLESS]
    scripts = {f"s{number:03}": f"{PRELUDE}\n{siege.script}\n" for number, siege in enumerate(sieges)}
    host.put("/srv/attacks", definitions("siege", scripts))
    host.set_up(folder="/srv/attacks", guard="off", seconds=SECONDS, memory_mb=64, at_once=4)
    host.do("find", f"{STATE}/trees", "-mindepth", "1", "-delete")
    try:
        run = host.night()
        items = host.items(run)
        assert len(items) == len(sieges)
        assert {item["outcome"] for item in items.values()} == {"failed"}, items
        left = host.do("pgrep", "--list-full", "--uid", "rota-reports", check=False).stdout
        assert left == ""
        assert host.do("find", f"{STATE}/exports/siege", "-type", "f", check=False).stdout == ""
        assert host.do("find", f"{STATE}/trees", "-mindepth", "1").stdout == ""
    finally:
        host.do("rm", "-rf", f"{STATE}/exports/siege")


def test_a_night_that_is_killed_leaves_whole_files_and_the_next_one_makes_them(host: Host) -> None:
    slow = 'import time\nprint("a" * 100_000)\ntime.sleep(30)\nprint("b")\n'
    host.put("/srv/attacks", definitions("slow", {"quick": 'print("whole")\n', "slow": slow}))
    host.set_up(folder="/srv/attacks", seconds=60, at_once=2)
    try:
        host.do("systemctl", "start", "--no-block", "rota-task-reports_nightly.service")
        host.wait(lambda: bool(host.do("sh", "-c", f"cat {STATE}/exports/slow/quick.txt || true").stdout))
        host.do("systemctl", "kill", "--signal=KILL", "rota-task-reports_nightly.service")
        host.wait(lambda: host.do("pgrep", "--uid", "rota-reports", check=False).stdout == "")
        assert host.do("cat", f"{STATE}/exports/slow/quick.txt").stdout == "whole\n"
        assert host.do("test", "-e", f"{STATE}/exports/slow/slow.txt", check=False).returncode == 1
        host.put("/srv/attacks", definitions("slow", {"quick": 'print("whole")\n', "slow": 'print("b")\n'}))
        run = host.night()
        assert run["status"] == "succeeded", host.show(run)
        names = host.do("find", f"{STATE}/exports/slow", "-name", ".new-*").stdout
        assert names == "", "what the killed writer left is swept"
    finally:
        host.do("rm", "-rf", f"{STATE}/exports/slow")


def definitions(client: str, scripts: dict[str, str]) -> dict[str, str]:
    """A folder of one client with a report for each script, due every day."""
    told = yaml.safe_dump({"start_date": "2026-01-01", "frequency": "D", "is_active": True, "keep": 0})
    files = {f"{client}/client.yml": "name: Somebody\n"}
    for name, script in scripts.items():
        files |= {f"{client}/{name}.txt.yml": told, f"{client}/{name}.txt.py": script}
    return files

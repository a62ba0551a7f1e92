"""The pack `logs` on a provisioned host, with the logs that its own web server and diary write."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provision import lab as labs
from tests.lab.agent_host import AgentHost

pytestmark = pytest.mark.lab

STATE = "/var/lib/rota/logs"
OLD, OPEN = "/var/log/nginx/old-test.log", "/var/log/nginx/open-test.log"
ASK = """
import http.client, ssl, sys
server = http.client.HTTPSConnection("127.0.0.1", context=ssl._create_unverified_context())
server.putrequest("GET", "/login/?" + sys.argv[1]); server.putheader("Content-Length", sys.argv[2])
server.putheader("User-Agent", "Mozilla/5.0 Firefox/128.0"); server.endheaders()
print(server.getresponse().status)
"""
UNIT_ERROR = "MESSAGE=the shelf is empty\nPRIORITY=3\nOBJECT_SYSTEMD_UNIT=rota-diary.service\n"


class Host(AgentHost):
    """Production, whose tasks are the estate's own."""

    def ask(self, query: str, length: int = 0) -> int:
        """The status with which the web server answers to a request with a body of so many bytes."""
        return int(self.do("python3", "-c", ASK, query, str(length)).stdout)

    def run(self, task: str, *words: str) -> dict[str, Any]:
        """A run by hand, which has to succeed."""
        done = self.do("rota", "run", task, *words, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.runs(task)[0]


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[Host]:
    host = Host(deployed, "production")
    yield host
    host.do("rm", "-rf", OLD, OPEN, "/var/log/nginx/archive")


def until(host: Host, look: Callable[[], dict[str, Any]], count: str, least: float) -> dict[str, Any]:
    """The run by which so many were counted in all."""
    counted = 0.0
    latest: dict[str, Any] = {}

    def is_enough() -> bool:
        nonlocal counted, latest
        latest = look()
        counted += latest["counts"].get(count, 0)
        return counted >= least

    host.wait(is_enough)
    return latest


def test_visits_of_the_diary_are_counted(host: Host) -> None:
    host.run("process_logs", "--set", "today=true")
    assert [host.ask(f"visit-{number}") for number in range(3)] == [200] * 3
    until(host, lambda: host.run("process_logs", "--set", "today=true"), "requests", 3)
    reports = f"{STATE}/process_logs/reports/production"
    pages = host.do("find", reports, "-name", "*.html").stdout.split()
    assert {page.rpartition("/")[2] for page in pages} == {"awstats.production.html", "goaccess.html"}
    assert "Firefox" in host.do("cat", f"{reports}/goaccess.html").stdout


def test_errors_of_the_web_server_and_of_the_diary_are_mailed_once(host: Host) -> None:
    host.run("process_logged_errors")
    before = len(host.lab.mails())
    assert host.ask("x", 10**10) == 413
    host.do("logger", "--journald", input=UNIT_ERROR)
    # What is younger than five seconds waits for the next run, and systemd starts no unit five times in ten seconds.
    settled = time.monotonic() + 6
    host.wait(lambda: time.monotonic() > settled)
    until(host, lambda: host.run("process_logged_errors"), "errors", 2)
    assert host.run("process_logged_errors")["counts"] == {}
    mails = [mail for mail in host.lab.mails()[before:] if "in the logs of production" in str(mail["Subject"])]
    text = "".join(mail.get_content() for mail in mails)
    assert text.count("client intended to send too large body") == 1
    assert text.count("the shelf is empty") == 1
    assert {mail["X-RcptTo"] for mail in mails} == {"operator@example.org"}


def test_old_logs_are_compressed_but_for_one_that_is_in_use(host: Host) -> None:
    for path in (OLD, OPEN):
        host.do("touch", "--date=10 days ago", path)
        host.do("chown", "www-data:adm", path)
    unit = "rota-test-writer.service"
    host.do("systemd-run", f"--unit={unit}", f"--property=StandardOutput=append:{OPEN}", "sleep", "300")
    host.do("touch", "--date=10 days ago", OPEN)
    try:
        run = host.run("compress_old_logs")
    finally:
        host.do("systemctl", "stop", unit)
    outcomes = {item["name"]: item["outcome"] for item in run["items"]}
    assert (outcomes[OLD], outcomes[OPEN]) == ("compressed", "left")
    assert host.do("test", "-e", OLD, check=False).returncode == 1
    (archive,) = host.do("find", "/var/log/nginx/archive", "-name", "nginx-logs-*.zip").stdout.split()
    assert "old-test.log" in host.do("python3", "-m", "zipfile", "-l", archive).stdout
    assert host.do("stat", "--format=%a %G", archive).stdout == "640 adm\n", "who counts visits reads it as well"


def test_the_host_knows_which_security_updates_wait(host: Host) -> None:
    assert "security updates waiting" in host.run("check_host")["counts"]

"""Alerts on real hosts: what fails on production reaches its people once, and nothing of staging's leaves it."""

import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
import yaml

from provision.lab import Lab

pytestmark = pytest.mark.lab

FETCH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
OUTBOX = "/var/lib/rota/outbox"
MENDED = "/etc/rota-test-mended"
LOCKED_OUT = f"locked_out_{time.time_ns()}"  # on a lab that was kept, one that failed before is an incident already
TASKS = {
    "falter": {
        "description": "Count the books",
        "command": ["/bin/sh", "-c", f"echo the shelf is empty; test -e {MENDED}"],
    },
    LOCKED_OUT: {"description": "Open the door", "command": ["/bin/true"], "credentials": ["no_such_key"]},
}


class Host:
    """A host with two tasks that fail, and the mails the sink got since."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.before = 0

    def do(self, *words: str, check: bool = True, text: str | None = None) -> str:
        return self.lab.run(self.name, list(words), check=check, input=text).stdout

    def start(self, task: str) -> None:
        """As the timer does; systemd tells of a failure by its exit code."""
        self.do("systemctl", "start", f"rota-task-{task}.service", check=False)

    def look(self) -> None:
        self.do("systemctl", "start", "rota-alert.service")

    def mails(self, task: str) -> list[EmailMessage]:
        return [mail for mail in self.lab.mails()[self.before :] if f"] {task} " in str(mail["Subject"])]

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.do("rota", "status") + self.do("journalctl", "-u", "rota-alert@*")
            time.sleep(0.2)  # between two looks at the host


@pytest.fixture
def on(deployed: Lab) -> Iterator[Callable[[str], Host]]:
    """The host of this name, where falter succeeded last; afterwards it is as it was."""
    used: list[Host] = []

    def prepare(name: str) -> Host:
        host = Host(deployed, name)
        used.append(host)
        host.do("tee", "/etc/rota/zz-test.yml", text=yaml.safe_dump({"tasks": TASKS}))
        host.do("rota", "sync")
        host.do("touch", MENDED)
        host.start("falter")
        host.look()
        host.do("rm", MENDED)
        host.do("find", OUTBOX, "-name", "*-falter.*", "-delete")
        host.before = len(deployed.mails())
        return host

    yield prepare
    for host in used:
        host.do("rm", "-f", "/etc/rota/zz-test.yml", MENDED)
        host.do("rota", "sync")
        host.look()


def test_a_failing_task_is_told_once_and_so_is_its_recovery(on: Callable[[str], Host]) -> None:
    host = on("production")
    host.start("falter")
    host.wait(lambda: host.mails("falter"))
    host.start("falter")
    host.wait(lambda: "2 times; its people know" in host.do("rota", "status"))
    (mail,) = host.mails("falter")
    assert (mail["Subject"], mail["X-RcptTo"]) == (
        "[production] falter failed on production: exit 1",
        "operator@example.org",
    )
    for said in ("falter: Count the books", "production (production)", "the shelf is empty", "logs falter"):
        assert said in mail.get_content()
    assert 'rota_task_incident_open{task="falter"} 1' in host.do("python3", "-c", FETCH)
    host.do("touch", MENDED)
    host.start("falter")
    host.look()
    host.look()
    assert [mail["Subject"] for mail in host.mails("falter")[1:]] == ["[production] falter recovered on production"]


def test_a_task_that_never_starts_is_told_and_has_a_record(on: Callable[[str], Host]) -> None:
    host = on("production")
    host.start(LOCKED_OUT)
    host.wait(lambda: host.mails(LOCKED_OUT))
    reason = "never started: a credential is missing (exit 243)"
    assert reason in str(host.mails(LOCKED_OUT)[0]["Subject"])
    assert reason in host.do("rota", "runs", LOCKED_OUT)


def test_what_fails_on_staging_stays_there(on: Callable[[str], Host]) -> None:
    host = on("staging")
    host.start("falter")
    host.wait(lambda: "falter fails since" in host.do("rota", "status"))
    host.wait(lambda: "falter" in host.do("ls", OUTBOX))
    (path,) = [name for name in host.do("ls", OUTBOX).split() if "falter" in name]
    assert "[staging] falter failed on staging: exit 1" in host.do("cat", f"{OUTBOX}/{path}")
    assert "did not leave this host" in host.do("rota", "status")
    assert host.mails("falter") == []
    host.do("rm", f"{OUTBOX}/{path}")


def test_the_backup_host_has_a_voice(deployed: Lab) -> None:
    before = len(deployed.mails())
    assert "operator@example.org" in deployed.run("backup", ["rota", "alert", "--test"]).stdout
    assert "[backup] a trial from backup" in [mail["Subject"] for mail in deployed.mails()[before:]]

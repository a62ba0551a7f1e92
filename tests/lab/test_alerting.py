"""Alerts on real hosts: what fails on production reaches its people once, and nothing of staging's leaves it."""

import base64
import http.server
import importlib.metadata
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.lab import Lab
from tests.lab.browser import Browser

pytestmark = pytest.mark.lab

FETCH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
OUTBOX = "/var/lib/rota/outbox"
ALERTS = "/var/lib/rota/alerts"
URLS = "/etc/rota/credentials/alert_urls"
MENDED = "/etc/rota-test-mended"
SAID = "/etc/rota-test-said"
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
        self.urls = self.do("cat", URLS)

    def do(self, *words: str, check: bool = True, text: str | None = None) -> str:
        return self.lab.run(self.name, list(words), check=check, input=text).stdout

    def start(self, task: str) -> None:
        """As the timer does; systemd tells of a failure by its exit code."""
        self.do("systemctl", "start", f"rota-task-{task}.service", check=False)

    def declare(self, alerting: dict[str, Any], tasks: dict[str, Any]) -> None:
        """Have these tasks, and these settings of alerts beside the host's own; other tests' letters make no digest."""
        own = yaml.safe_load(self.do("cat", "/etc/rota/agent.yml"))["agent"].get("alert") or {}
        content = {"agent": {"alert": own | {"digest": 1000} | alerting}, "tasks": tasks}
        self.do("tee", "/etc/rota/zz-test.yml", text=yaml.safe_dump(content))

    def look(self) -> None:
        self.do("systemctl", "start", "rota-alert.service")

    def mails(self, task: str) -> list[EmailMessage]:
        return [mail for mail in self.lab.mails()[self.before :] if f"] {task} " in str(mail["Subject"])]

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 90
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
        host.declare({}, TASKS)
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
        host.do("rm", "-f", "/etc/rota/zz-test.yml", MENDED, SAID)
        host.do("tee", URLS, text=host.urls)
        host.do("rota", "sync")
        host.look()


def test_a_failing_task_is_told_once_and_so_is_its_recovery(on: Callable[[str], Host]) -> None:
    host = on("production")
    host.start("falter")
    host.wait(lambda: host.mails("falter"))
    host.start("falter")
    host.wait(lambda: "2 times: exit 1; its people know" in host.do("rota", "status"))
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


def test_a_handled_failure_is_told_no_more_until_it_fails_in_another_way(
    on: Callable[[str], Host], deployed: Lab
) -> None:
    host = on("production")
    host.declare({}, {"falter": TASKS["falter"] | {"command": ["/bin/sh", "-c", f"cat {SAID}; test -e {MENDED}"]}})
    host.do("rota", "sync")
    host.do("tee", SAID, text="row 3: bad date\n")
    host.start("falter")
    host.wait(lambda: host.mails("falter"))
    run = json.loads(host.do("rota", "runs", "falter", "--json"))[0]["id"]
    reviewer = Browser(deployed, "reviewer@example.org", "reviewer")
    host.wait(lambda: reviewer.find(f"/runs/{run}/"))
    reviewer.post(f"/runs/{run}/review", page=f"/runs/{run}/", state="done", assessment="ok")

    def shows(words: str) -> bool:
        host.look()
        return words in host.do("rota", "status")

    host.wait(lambda: shows("once: exit 1; handled by reviewer@example.org"))
    assert 'rota_task_incident_handled{task="falter"} 1' in host.do("python3", "-c", FETCH)
    host.do("tee", SAID, text="row 204: bad date\n")
    host.start("falter")
    host.wait(lambda: shows("2 times: exit 1; handled by reviewer@example.org"))
    assert len(host.mails("falter")) == 1
    host.do("tee", SAID, text="the disk is full\n")
    host.start("falter")
    host.wait(lambda: len(host.mails("falter")) == 2)
    assert "the disk is full" in host.mails("falter")[1].get_content()
    host.wait(lambda: shows("once: exit 1; its people know"))
    host.do("touch", MENDED)
    host.start("falter")
    host.look()
    host.wait(lambda: len(host.mails("falter")) == 3)


def test_a_task_that_never_starts_is_told_and_has_a_record(on: Callable[[str], Host]) -> None:
    host = on("production")
    host.start(LOCKED_OUT)
    host.wait(lambda: host.mails(LOCKED_OUT))
    reason = "never started: a credential is missing (exit 243)"
    assert reason in str(host.mails(LOCKED_OUT)[0]["Subject"])
    assert reason in host.do("rota", "runs", LOCKED_OUT, "--json")


def test_what_fails_on_staging_stays_there(on: Callable[[str], Host]) -> None:
    host = on("staging")
    host.start("falter")
    host.wait(lambda: "falter failed since" in host.do("rota", "status"))
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


@pytest.fixture
def receiver(deployed: Lab) -> Iterator[tuple[str, list[str]]]:
    """A web server where the mail sink is, and what it was asked; `/hang` gets no answer."""
    asked: list[str] = []
    released = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(f"{self.command} {self.path} {body.decode()}")
            if self.path == "/hang":
                released.wait(60)
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    settings = yaml.safe_load(deployed.run("production", ["cat", "/etc/rota/agent.yml"]).stdout)
    address = settings["agent"]["alert"]["server"]
    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    yield f"{address}:{server.server_port}", asked
    released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def apprise(deployed: Lab) -> Iterator[None]:
    """Apprise on production, as a deploy with the extra `channels` would have brought it."""
    names = [
        "apprise", "requests", "urllib3", "idna", "certifi", "charset_normalizer", "markdown", "oauthlib",
        "requests_oauthlib", "click",
    ]  # fmt: skip
    here = Path(str(importlib.metadata.distribution("apprise").locate_file("")))
    there = deployed.run("production", ["sh", "-c", "echo /opt/rota/current/venv/lib/python3*/site-packages"]).stdout
    packed = subprocess.run(["tar", "-c", "-C", here, *names], capture_output=True, check=True).stdout
    encoded = base64.b64encode(packed).decode()
    deployed.run("production", ["sh", "-c", f"base64 -d | tar -x -C {there.strip()}"], input=encoded)
    yield
    deployed.run("production", ["sh", "-c", f"cd {there.strip()} && rm -rf {' '.join(names)}"])


@pytest.mark.usefixtures("apprise")
def test_a_chat_that_hangs_delays_no_mail_and_a_watcher_hears_each_run(
    on: Callable[[str], Host], receiver: tuple[str, list[str]]
) -> None:
    """a chat hangs while a mail is to go out | no run waits for it, the mail goes out, and the chat is tried again"""
    host, (address, asked) = on("production"), receiver
    own = {"channels": ["chat", "stuck"], "to": ["operator@example.org", "chat", "stuck"]}
    tasks = TASKS | {"falter": TASKS["falter"] | {"heartbeat": "beat"}}
    host.declare(own, tasks)
    urls = {"chat": f"json://{address}/chat", "stuck": f"json://{address}/hang", "beat": f"http://{address}/beat"}
    host.do("tee", URLS, text=yaml.safe_dump(urls))
    host.do("rota", "sync")
    host.look()
    host.start("falter")
    host.wait(lambda: host.mails("falter"))
    host.wait(lambda: any("POST /chat" in each and "falter failed on production" in each for each in asked))
    host.wait(lambda: any("GET /beat/fail " in each for each in asked))
    host.wait(lambda: "stuck is not reached: channel stuck" in host.do("rota", "status"))
    assert address not in host.do("journalctl", "-u", "rota-alert@falter.service", "-o", "cat")
    asked.clear()
    host.do("touch", MENDED)
    host.start("falter")
    host.look()
    host.wait(lambda: any("GET /beat " in each for each in asked))
    host.wait(lambda: any("POST /chat" in each and "falter recovered" in each for each in asked))
    assert len(host.mails("falter")) == 2


def test_on_a_full_disk_and_without_its_secrets_alerting_goes_on_and_tells_once(on: Callable[[str], Host]) -> None:
    host = on("production")
    host.declare({"channels": ["chat"]}, TASKS)
    host.do("rota", "sync")
    host.do("rm", URLS)
    host.do("mount", "-t", "tmpfs", "-o", "size=64k,mode=2750,uid=rota,gid=rota", "tmpfs", ALERTS)
    try:
        host.look()
        host.do("dd", "if=/dev/zero", f"of={ALERTS}/fill", "bs=1k", check=False)
        host.start("falter")
        host.wait(lambda: host.mails("falter"))
        host.look()
        host.look()
        assert len(host.mails("falter")) == 1
        host.do("touch", MENDED)
        host.start("falter")
        host.look()
        host.look()
        assert len(host.mails("falter")) == 2
    finally:
        host.do("umount", ALERTS)

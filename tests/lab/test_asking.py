"""Asking hosts for something in the diary, on hosts that fetch it themselves."""

import re
import time
from collections.abc import Iterator

import pytest

from provision import lab as labs
from tests.lab.agent_host import SLEEP, AgentHost
from tests.lab.browser import Browser
from tests.lab.conftest import ROOT

pytestmark = pytest.mark.lab

CHECK = "/hosts/production/tasks/check_host/"
EVIL = "$(touch /tmp/owned) `touch /tmp/owned` ; touch /tmp/owned # \" ' %s \\n"


@pytest.fixture(scope="module")
def operator(deployed: labs.Lab) -> Browser:
    return Browser(deployed, "operator@example.org", "operator")


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, "development")
    yield host
    host.clear()


def tell_catalogue(host: AgentHost, operator: Browser, page: str, words: str = 'name="action" value="run"') -> None:
    """What the ship timer does every two minutes, until the page shows it: one that had begun already tells less."""

    def is_told() -> bool:
        host.do("systemctl", "start", "rota-ship.service", check=False)
        return words in operator.find(page)

    host.wait(is_told)


def seen(host: AgentHost, operator: Browser, page: str, words: str, seconds: float = 120) -> float:
    """Wait until the page shows this. Returns after how many seconds it did."""
    began = time.monotonic()
    host.wait(lambda: re.search(words, operator.get(page)) is not None, seconds)
    return time.monotonic() - began


def test_an_operator_asks_productions_check_to_run_and_sees_it_end(deployed: labs.Lab, operator: Browser) -> None:
    production = AgentHost(deployed, "production")
    tell_catalogue(production, operator, CHECK)
    asked = operator.post(f"{CHECK}ask", page=CHECK, action="run")
    ended = r'href="/runs/[^"]+">.*(succeeded|failed)'
    first = seen(production, operator, asked, ended, seconds=180)
    run = production.runs("check_host")[0]
    assert (run["trigger"], run["asked_by"]) == ("manual", "operator@example.org via the diary")
    assert asked == f"/asked/{run['id']}/"
    # The host has heard by now that somebody looks, and looks more often itself.
    again = operator.post(f"/runs/{run['id']}/ask", page=f"/runs/{run['id']}/")
    second = seen(production, operator, again, ended, seconds=180)
    print(f"seen to end after {first:.1f} s from idle, {second:.1f} s while somebody looks")
    assert production.runs("check_host")[0]["id"] in again


def test_a_request_to_a_host_that_is_down_expires_and_runs_never(host: AgentHost, operator: Browser) -> None:
    page = "/hosts/development/tasks/sleeper/"
    host.declare(sleeper=SLEEP | {"asking": True})
    before = host.runs("sleeper")
    tell_catalogue(host, operator, page)
    labs.kill(ROOT, host.name, host.lab.plan.inventory)
    asked = operator.post(f"{page}ask", page=page, action="run")
    assert "waiting" in operator.get(asked)
    # A quarter of an hour that nobody waits for here.
    expire = "UPDATE diary_hostrequest SET expires = now() WHERE state = 'waiting'"
    host.lab.run("production", ["runuser", "-u", "rota-diary", "--", "psql", "diary", "-c", expire])
    assert "nothing was done, and nothing will be" in operator.get(asked)
    labs.boot(ROOT, host.name, host.lab.plan.inventory)
    paused = operator.post(f"{page}ask", page=page, action="pause")
    seen(host, operator, paused, "done", seconds=120)
    assert host.runs("sleeper") == before
    assert "expired" in operator.get(asked)


def test_hostile_words_reach_the_work_as_words(host: AgentHost, operator: Browser) -> None:
    page = "/hosts/development/tasks/label/"
    work = {"description": "Label", "command": ["/bin/sh", "-c", 'printf %s "$ROTA_PARAM_LABEL"'], "asking": True}
    host.declare(label=work | {"parameters": {"label": {"type": "text"}}})
    tell_catalogue(host, operator, page)
    asked = operator.post(f"{page}ask", page=page, action="run", **{"set:label": EVIL})
    seen(host, operator, asked, r'href="/runs/[^"]+">.*succeeded')
    run = host.runs("label")[0]
    assert run["parameters"] == {"label": EVIL}
    assert host.do("rota", "show", run["id"], "--log").stdout.rstrip("\n") == EVIL
    assert host.do("test", "-e", "/tmp/owned", check=False).returncode != 0


def test_a_refusal_a_pause_and_its_end_are_told_by_the_host(host: AgentHost, operator: Browser) -> None:
    page = "/hosts/development/tasks/sleeper/"
    host.declare(sleeper=SLEEP | {"asking": True})
    tell_catalogue(host, operator, page)
    host.start("sleeper")
    refused = operator.post(f"{page}ask", page=page, action="run")
    seen(host, operator, refused, "The task runs already")
    paused = operator.post(f"{page}ask", page=page, action="pause", why="moving house")
    seen(host, operator, paused, "done")
    seen(host, operator, page, "Paused by operator@example.org via the diary.*moving house")
    resumed = operator.post(f"{page}ask", page=page, action="resume")
    seen(host, operator, resumed, "done")
    seen(host, operator, page, "Pause it")


def test_a_run_is_followed_while_it_goes_on(host: AgentHost, operator: Browser) -> None:
    work = 'rota item books written "two rows"; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done'
    host.declare(chatter={"description": "Chat", "command": ["/bin/sh", "-c", work]})
    host.start("chatter")
    run = host.runs("chatter")[0]["id"]
    host.wait(lambda: f"/runs/{run}/" in operator.get("/runs/?task=chatter"))
    first = seen(host, operator, f"/runs/{run}/", "line 1\n")
    last = [int(number) for number in re.findall(r"line (\d+)\n", operator.get(f"/runs/{run}/live"))][-1]
    second = seen(host, operator, f"/runs/{run}/live", f"line {last + 5}\n")
    print(f"first output seen after {first:.1f} s, five lines a second's worth later after {second:.1f} s")
    assert "two rows" in operator.get(f"/runs/{run}/")
    host.do("systemctl", "stop", "rota-task-chatter.service")
    seen(host, operator, f"/runs/{run}/live", "event: end")
    assert "stopped" in operator.get(f"/runs/{run}/")


def test_the_backup_host_heeds_nothing_that_the_diary_asks(deployed: labs.Lab, operator: Browser) -> None:
    backup = AgentHost(deployed, "backup")
    tell_catalogue(backup, operator, "/hosts/backup/tasks/check_host/", "heeds no requests")
    assert backup.do("systemctl", "cat", "rota-answer.path", check=False).returncode != 0

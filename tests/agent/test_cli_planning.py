"""Laws of `rota plan`, `rota pause` and their kin, and of what they ask of systemd."""

import contextlib
import io
import json
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rota import asking, catching_up, cli
from rota.adapters.plans import Plans
from rota.adapters.requests import Asked, Requests
from rota.adapters.spool import spool_of
from rota.core import places as layout
from rota.core.accounting import Units
from rota.core.errors import RotaError
from rota.core.plan import Plan, Planned
from rota.core.request import Request
from rota.core.status import Trigger
from rota.core.task import CatchUp, Task
from rota.planning import units_as
from rota.runner import make_identifier
from tests.agent import test_cli
from tests.agent.records import make_run

TASKS = """
agent: {host: here}
tasks:
  hourly: {description: Run by the hour, command: [/bin/true], schedule: "*:00 UTC", catch_up: none}
  daily:
    {description: Run by the day, command: [/bin/true], schedule: "12:30 UTC", catch_up: all, except: [01-01..12-31]}
  never: {description: Run by hand, command: [/bin/true]}
"""
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


@pytest.fixture
def home(tmp_path: Path) -> layout.Places:
    (tmp_path / "tasks.yml").write_text(TASKS)
    places = layout.under(tmp_path)
    spool_of(places).make()
    return places


class Rota:
    """The command in this process, which is many times as fast as in one of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: str) -> str:
        printed = io.StringIO()
        options = cli.parser().parse_args(["--home", str(self.home), *words])
        with contextlib.redirect_stdout(printed):
            options.command(options)
        return printed.getvalue()

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def rota(home: layout.Places, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rota]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield Rota(home.configuration)
    monkeypatch.undo()
    time.tzset()


def test_the_plan_of_a_host_is_one_list_by_time_with_why_some_slots_are_not_to_run(rota: Rota) -> None:
    shown = rota.json("plan")
    slots = [line["slot"] for line in shown]
    assert slots == sorted(slots)
    assert [line["status"] for line in shown if line["task"] == "hourly"] == ["planned"] * 24
    (daily,) = [line for line in shown if line["task"] == "daily"]
    assert (daily["status"], daily["reason"]) == ("will be skipped", "excepted: 01-01..12-31")
    assert set(daily) == {"task", "slot", "status", "reason", "run", "slots"}


def test_the_plan_of_a_task_tells_what_became_of_its_past_slots(rota: Rota, home: layout.Places) -> None:
    slot = NOW.replace(minute=0, second=0) - 3 * HOUR
    identifier = make_identifier(int(slot.timestamp() * 1000), b"x" * 10)
    ended = (slot + timedelta(minutes=1)).isoformat()
    run = make_run(id=identifier, task="hourly", slot=slot.isoformat(), started=slot.isoformat(), ended=ended)
    spool_of(home).store(run)
    Plans(home.plans).make()
    Plans(home.plans).store(
        "hourly", Plan(slots=(Planned(slot + 2 * HOUR),), missed=(Planned(slot + HOUR, "host was down"),))
    )
    shown = rota.json("plan", "hourly", "--days", "1")
    assert [(line["status"], line["run"]) for line in shown[:3]] == [
        ("succeeded", identifier),
        ("to be caught up", ""),
        ("due", ""),
    ]
    assert re.search(rf"hourly +succeeded +{identifier[-8:]}", rota("plan", "hourly"))


def test_a_span_of_the_plan_can_be_chosen(rota: Rota) -> None:
    begin = (NOW + timedelta(days=3)).replace(hour=0, minute=0, second=0)
    shown = rota.json(
        "plan", "hourly", "--since", f"{begin:%Y-%m-%dT%H:%M}", "--until", f"{begin + 5 * HOUR:%Y-%m-%dT%H:%M}"
    )
    assert len(shown) == 6
    assert "No slots between" in rota("plan", "daily", "--days", "0")
    assert "never has no schedule" in rota("plan", "never")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "hourly", "--days", "-1"), "--days is -1; it must be a number from 0 to 400"),
        (("plan", "--since", "2026-01-02", "--until", "2026-01-01"), "before it begins"),
        (("plan", "--since", "2020-01-02", "--until", "2026-01-01"), "more than 400 days"),
        (("plan", "houly"), "did you mean 'hourly'?"),
        (("pause", "hourly", "--until", "2020-01-01 08:00"), "until 2020-01-01 08:00:00 is past"),
        (("pause", "hourly", "--reason", "x" * 201), "its reason has 201 characters; it may have 200"),
        (("pause", "hourly", "--for", "0s"), "is past; it must be a time to come"),
        (("resume", "hourly"), "The task is not paused: hourly"),
        (("cancel", "hourly"), "hourly; asked for are: none"),
        (("run", "hourly", "--at", "2099-01-01"), "only a host's systemd starts it at a time"),
        (("catch-up", "hourly"), "an embedded Rota has no units"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(rota: Rota, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(RotaError) as error:
        rota(*words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_paused_task_is_shown_so_until_it_is_resumed(rota: Rota) -> None:
    answer = rota("pause", "hourly", "--for", "2h", "--reason", "moving\nhouse")
    assert re.search(r"hourly is paused until .* UTC by \S+, moving house;", answer)
    statuses = [line["status"] for line in rota.json("plan", "hourly")]
    assert statuses[:3] == ["will be skipped", "will be skipped", "planned"]
    assert rota.json("plan", "hourly")[0]["reason"].startswith("paused: until ")
    assert rota("resume", "hourly") == "hourly runs again as planned.\n"
    assert {line["status"] for line in rota.json("plan", "hourly")} == {"planned"}


def test_a_run_by_hand_says_that_its_task_is_paused_and_goes_ahead(rota: Rota, home: layout.Places) -> None:
    rota("pause", "never", "--reason", "moving house")
    answer = test_cli.Rota("--home", str(home.configuration))("run", "never")
    assert "never is paused; this run goes ahead" in answer.stderr
    assert len(spool_of(home).names("done")) == 1


def test_accounting_by_hand_says_what_it_did(rota: Rota) -> None:
    assert rota("account") == "0 slots recorded as skipped.\n"


def test_one_of_several_asked_runs_is_taken_back_by_its_time(rota: Rota, home: layout.Places) -> None:
    for hours in (1, 2):
        Requests(home.asked).store(Asked(task="never", at=NOW + hours * HOUR, asked_by="anna"))
    with pytest.raises(RotaError, match="which of never is meant?"):
        rota("cancel", "never")
    rota("cancel", "never", "--at", f"{NOW + HOUR:%Y-%m-%dT%H:%M:%S}")
    shown = rota.json("plan", "never")
    assert [(line["status"], line["reason"]) for line in shown] == [("asked for", "by anna")]


def test_a_run_is_asked_for_only_at_a_time_to_come(home: layout.Places) -> None:
    task = Task(name="never", description="Run", command=("/bin/true",))
    request = Request(id=make_identifier(0, b"x" * 10))
    with pytest.raises(asking.BadTime, match="is past"):
        asking.ask_for(task, home, NOW - HOUR, request, is_booted=True)


def test_what_is_caught_up_is_the_earliest_first_and_nothing_twice(home: layout.Places) -> None:
    task = Task(name="hourly", description="Run", command=("/bin/true",), catch_up=CatchUp.ALL)
    missed = [Planned(NOW - hours * HOUR, "host was down") for hours in (30, 3, 2)]
    Plans(home.plans).make()
    Plans(home.plans).store("hourly", Plan(missed=tuple(missed)))
    asked = Asked(task="hourly", at=NOW - 2.5 * HOUR, asked_by="anna", arguments=("--full",))
    Requests(home.asked).store(asked)
    wanted = list(catching_up.all_wanted(task, home, spool_of(home), NOW))
    assert [each.slot for each in wanted] == [missed[1].moment, asked.at, missed[2].moment]
    requests = [each.request for each in wanted]
    assert [request.trigger for request in requests] == [Trigger.CATCH_UP, Trigger.MANUAL, Trigger.CATCH_UP]
    assert (requests[1].asked_by, requests[1].arguments, requests[1].slot) == ("anna", ("--full",), asked.at)
    for each in wanted[:2]:
        identifier = make_identifier(time.time_ns() // 1_000_000, each.slot.isoformat().encode()[9:19])
        trigger = "manual" if each.asked else "catch_up"
        spool_of(home).store(make_run(id=identifier, task="hourly", slot=each.slot.isoformat(), trigger=trigger))
    assert [each.slot for each in catching_up.all_wanted(task, home, spool_of(home), NOW)] == [missed[2].moment]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The units that systemd is asked to start; none is running."""
    asked: list[str] = []
    monkeypatch.setattr(catching_up.systemd, "is_active", lambda _: False)
    monkeypatch.setattr(catching_up.systemd, "ask", lambda command: asked.append(command[-1]) or "")
    return asked


def test_a_start_that_was_another_s_is_not_tried_again(home: layout.Places, starts: list[str]) -> None:
    task = Task(name="hourly", description="Run", command=("/bin/true",), catch_up=CatchUp.ALL)
    Plans(home.plans).make()
    Plans(home.plans).store("hourly", Plan(missed=(Planned(NOW - HOUR, "host was down"),)))
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with pytest.raises(catching_up.NotCaughtUp, match="its timer was faster"):
        catching_up.catch_up(task, home, spool_of(home))
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGHUP, before[1])
    assert starts == ["rota-task-hourly.service"]
    assert list(home.requests.iterdir()) == []


RUNS = {"LoadState": "loaded", "ActiveState": "active", "ActiveEnterTimestamp": "@1764072000", "Result": "success"}
IDLE = {"LoadState": "loaded", "ActiveState": "inactive", "InactiveExitTimestamp": "@1764072000", "Job": "0"}


@pytest.mark.parametrize(
    ("timer", "service", "obstacle"),
    [
        ({}, {}, ""),
        ({"LoadState": "masked", "ActiveState": "inactive"}, {}, "its timer is masked"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, {}, "its timer is missing"),
        ({"ActiveState": "inactive"}, {}, "its timer is stopped"),
        ({"ActiveState": "failed", "Result": "resources"}, {}, "its timer failed: resources"),
        (
            {},
            {
                "LoadState": "bad-setting",
                "LoadError": 'org.freedesktop.systemd1.BadUnitSetting "Unit has a bad setting."',
            },
            'its unit cannot be loaded: "Unit has a bad setting."',
        ),
        ({}, {"ActiveState": "failed", "Result": "start-limit-hit"}, "its unit failed: start-limit-hit"),
        ({}, {"ActiveState": "failed", "Result": "exit-code"}, ""),
    ],
)
def test_what_keeps_a_task_from_starting_is_named(
    timer: dict[str, str], service: dict[str, str], obstacle: str
) -> None:
    assert units_as(RUNS | timer, IDLE | service).obstacle == obstacle


def test_a_unit_that_runs_or_waits_is_told_from_one_that_does_nothing() -> None:
    moment = datetime.fromtimestamp(1764072000, UTC)
    assert units_as(RUNS, IDLE) == Units(timer_since=moment)
    assert units_as(RUNS, IDLE | {"ActiveState": "activating"}) == Units(timer_since=moment, running_since=moment)
    assert units_as(RUNS, IDLE | {"Job": "123"}) == Units(timer_since=moment, is_queued=True)

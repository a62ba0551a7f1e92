"""What was asked for in the diary is judged by the host's own catalogue, carried out at most once, and answered."""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rota import answering
from rota.adapters.pauses import Pauses
from rota.adapters.spool import Spool
from rota.answering import Answering, answer_all
from rota.core import places as layout
from rota.core.catalogue import Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.host_request import Action, BadRequest, HostRequest, as_mapping, parse_request
from rota.core.parameter import Kind, Parameter
from rota.core.places import Places
from rota.core.record import AnswerRecord
from rota.core.request import Request
from rota.core.status import Environment
from rota.core.task import Task
from tests.agent.records import make_running, numbers

NOW = datetime.now(UTC)
LABEL = Parameter(name="label")
FULL = Parameter(name="full", kind=Kind.BOOLEAN)
EXPORT = Task(
    name="export",
    description="Export",
    command=("/bin/true",),
    parameters=(LABEL, FULL),
    items=("books", "films"),
    dry_run=("--dry-run",),
    asking=True,
)
BY_HAND = Task(name="by_hand", description="Restore", command=("/bin/true",))


def request(**changes: Any) -> HostRequest:
    identifier = uuid.UUID(int=(0x01980A3C0000 + next(numbers)) << 80 | 7 << 76 | 2 << 62)
    asked = HostRequest(
        id=identifier,
        action=Action.RUN,
        task="export",
        asked_by="anna@example.org",
        deadline=NOW + timedelta(minutes=10),
    )
    return replace(asked, **changes)


@dataclass
class Host:
    """A host whose systemd only remembers what it was to start."""

    places: Places
    spool: Spool
    agent: Agent
    started: list[Request] = field(default_factory=list)
    fails: RotaError | None = None

    def catalogue(self) -> Catalogue:
        return Catalogue(agent=self.agent, tasks={task.name: task for task in (EXPORT, BY_HAND)})

    def start(self, task: Task, places: Places, spool: Spool, asked: Request) -> str:
        if self.fails:
            raise self.fails
        self.started.append(asked)
        return asked.id

    def fetch(self, *requests: HostRequest) -> None:
        for each in requests:
            (self.places.fetched / f"{each.id}.json").write_text(json.dumps(as_mapping(each)))

    def answer(self, *, now: datetime = NOW, catalogue: Callable[[], Catalogue] | None = None) -> int:
        return answer_all(
            Answering(
                places=self.places,
                spool=self.spool,
                agent=self.agent,
                catalogue=catalogue or self.catalogue,
                now=lambda: now,
                is_live=False,
            )
        )

    def answers(self) -> list[AnswerRecord]:
        return [record for record in self.spool.records("done") if isinstance(record, AnswerRecord)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    places = layout.under(tmp_path)
    spool = Spool(places.spool, places.spare)
    spool.make()
    places.fetched.mkdir()
    made = Host(places, spool, Agent(host="here", environment=Environment.STAGING, asking=True))
    # systemd is the lab's to try.
    monkeypatch.setattr(answering, "has_unit", lambda *_: True)
    monkeypatch.setattr(answering, "start_only", made.start)
    return made


def test_a_run_begins_under_the_requests_own_id_with_what_was_asked_and_by_whom(host: Host) -> None:
    values = (("label", "two words; $(id)"), ("items", "films"), ("full", "yes"))
    asked = request(values=values, is_dry_run=True)
    host.fetch(asked)
    assert host.answer() == 1
    (started,) = host.started
    assert (started.id, started.asked_by) == (str(asked.id), "anna@example.org via the diary")
    assert started.parameters == {"label": "two words; $(id)", "items": ["films"], "full": True}
    assert (started.arguments, started.is_dry_run, started.is_attended) == (("--dry-run",), True, False)
    assert [(each.request, each.is_done, each.reason) for each in host.answers()] == [(asked.id, True, "")]
    assert list(host.places.fetched.iterdir()) == []


def test_what_is_fetched_again_is_not_done_again(host: Host) -> None:
    asked = request()
    for _ in range(3):
        host.fetch(asked)
        host.answer()
    assert (len(host.started), len(host.answers())) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "exprot"}, "There is no task of this name: 'exprot', did you mean 'export'?"),
        ({"task": "by_hand"}, "This is not to be asked for in the diary: by_hand; asking: true"),
        ({"values": (("lable", "x"),)}, "There is no parameter of this name: 'lable', did you mean 'label'?"),
        ({"values": (("full", "perhaps"),)}, "full is 'perhaps'; it must be true or false"),
        ({"values": (("label", "two\nlines"),)}, "it must be one line of text"),
        ({"values": (("items", "songs"),)}, "There is no item of this name: 'songs'"),
        ({"deadline": NOW - timedelta(seconds=1)}, "It was to begin earlier"),
        ({"action": Action.RESUME}, "The task is not paused"),
        ({"action": Action.PAUSE, "until": NOW}, "is past on the host"),
    ],
    ids=range(9),
)
def test_what_the_catalogue_does_not_allow_is_refused_with_the_reason(
    host: Host, changes: dict[str, Any], reason: str
) -> None:
    host.fetch(request(**changes))
    host.answer()
    (answer,) = host.answers()
    assert not answer.is_done
    assert reason in answer.reason
    assert host.started == []


def test_a_host_whose_setting_is_off_refuses_everything(host: Host) -> None:
    host.agent = replace(host.agent, asking=False)
    host.fetch(request(), request(action=Action.PAUSE))
    host.answer()
    assert [each.is_done for each in host.answers()] == [False, False]
    assert "refuses all such requests" in host.answers()[0].reason


def test_a_start_that_fails_and_a_catalogue_that_cannot_be_read_are_answers_too(host: Host) -> None:
    host.fails = RotaError("rota-task-export.service; see rota status")
    host.fetch(request())
    host.answer()

    def unreadable() -> Catalogue:
        raise RotaError("tasks.yml: while parsing")

    host.fetch(request())
    host.answer(catalogue=unreadable)
    assert ["rota status" in each.reason or "while parsing" in each.reason for each in host.answers()] == [True, True]


def test_what_was_interrupted_is_told_and_never_done_again(host: Host) -> None:
    begun, not_begun = request(), request()
    host.fetch(begun, not_begun)
    host.places.answered.mkdir()
    for each in (begun, not_begun):
        answering.claim(host.places.fetched / f"{each.id}.json", host.places.answered)
    host.spool.store(make_running(id=str(begun.id)), folder="running")
    host.fetch(begun, not_begun)
    assert host.answer() == 2
    assert {each.request: each.is_done for each in host.answers()} == {begun.id: True, not_begun.id: False}
    assert host.started == []


def test_an_id_under_which_something_has_run_is_not_run_again(host: Host) -> None:
    asked = request()
    (host.spool.folder / "output" / str(asked.id)).touch()
    host.fetch(asked)
    host.answer()
    assert (host.started, host.answers()[0].is_done) == ([], False)


def test_a_pause_and_its_end_are_carried_out_and_name_who_asked(host: Host) -> None:
    host.fetch(request(action=Action.PAUSE, until=NOW + timedelta(days=1), reason="moving house"))
    host.answer()
    assert [each.reason for each in host.answers()] == [""]
    paused = Pauses(host.places.pauses).load("export")
    assert paused is not None
    assert (paused.by, paused.reason) == ("anna@example.org via the diary", "moving house")
    host.fetch(request(action=Action.RESUME))
    host.answer()
    assert Pauses(host.places.pauses).load("export") is None
    assert [each.is_done for each in host.answers()] == [True, True]


def test_whatever_lies_in_the_folder_is_taken_away_and_does_nothing(host: Host) -> None:
    asked, other = request(), request()
    (host.places.fetched / "notes.txt").write_text("x")
    (host.places.fetched / "folder").mkdir()
    (host.places.fetched / f"{asked.id}.json").symlink_to("/etc/passwd")
    (host.places.fetched / f"{other.id}.json").write_text(json.dumps(as_mapping(request())))
    os.mkfifo(host.places.fetched / f"{request().id}.json")
    host.answer()
    assert list(host.places.fetched.iterdir()) == []
    assert host.started == []
    assert [each.is_done for each in host.answers()] == [False] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../etc/passwd"},
        {"id": "01980a3c-5b7e-4c31-9a52-1f0d3c2b4a59"},
        {"action": "explode"},
        {"task": "a b; rm"},
        {"asked_by": "anna"},
        {"asked_by": "a@b\nUser=root"},
        {"asked_by": "a@b <x>"},
        {"values": {"label": "x"}},
        {"values": [["label"]]},
        {"values": [["label", 3]]},
        {"values": [["label", "nul\0"]]},
        {"values": [["label", "x" * 3000]]},
        {"values": [[f"n{number}", "x"] for number in range(101)]},
        {"values": [["label", "x"]] * 1001},
        {"is_dry_run": "yes"},
        {"until": "2025-07-14T12:00:00"},
        {"deadline": None},
        {"reason": "two\nlines"},
        {"reason": "x" * 201},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_request_that_breaks_the_format_is_none(changes: dict[str, Any]) -> None:
    said = as_mapping(request())
    assert parse_request(said) == parse_request(json.loads(json.dumps(said)))
    with pytest.raises(BadRequest):
        parse_request(said | changes)
    with pytest.raises(BadRequest):
        parse_request({key: value for key, value in said.items() if key not in changes})


def test_answers_are_remembered_for_a_week(host: Host) -> None:
    host.fetch(request())
    host.answer()
    (mark,) = host.places.answered.iterdir()
    os.utime(mark, (0, 0))
    host.answer()
    assert list(host.places.answered.iterdir()) == []

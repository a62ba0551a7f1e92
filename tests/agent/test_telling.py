"""Laws of what opens an incident, of who hears of it when, and of what is not told at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rota.adapters.pauses import Pauses
from rota.core.incident import Kind, Told, Trouble, worsen
from rota.core.mail import parse_alerting
from rota.core.objective import Objective
from rota.core.pause import Pause
from rota.core.rule import NEVER, Escalation, Rule, parse_rule
from rota.core.status import Environment, Status
from rota.core.telling import LONGEST_WAIT, Receiver
from rota.core.window import parse as window
from tests.agent.alerted import TASK, TO, Host, subjects

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host of staging, whose letters can be read in its outbox."""
    return Host(tmp_path, Environment.STAGING)


def heard(host: Host) -> list[str]:
    """The subjects of all letters, without what they all begin and end with."""
    return [said.removeprefix("[staging] ").replace(" on books", "") for said in subjects(host.outbox())]


def to_whom(host: Host) -> list[tuple[str, str]]:
    """Which task, or how many, each letter is about, and whom it is for; oldest first."""
    letters = sorted(host.outbox(), key=lambda letter: letter["Date"].datetime)
    return [(str(letter["Subject"]).split()[1], str(letter["To"])) for letter in letters]


def rule(host: Host, **changes: Any) -> None:
    host.tasks["export"] = replace(host.tasks["export"], alert=Rule(**changes))


def usual(host: Host, seconds: float, number: int = 5) -> None:
    for _ in range(number):
        host.end(duration=seconds)
    host.look()


# -- what opens an incident


def test_attempts_before_the_last_are_not_told(host: Host) -> None:
    for _ in range(2):
        host.end("failed", retry_at=host.now + 2 * MINUTE)
        host.look()
    assert heard(host) == []
    assert "nobody is told before" in host.status()[0]
    host.end("failed")
    host.look()
    assert heard(host) == ["export failed: exit 3"]
    assert "failed   once" in host.outbox()[0].get_content()


def test_a_retry_that_succeeds_leaves_nothing_to_tell(host: Host) -> None:
    host.end("failed", retry_at=host.now + 2 * MINUTE)
    host.look()
    host.end()
    host.look()
    host.look(after=DAY)
    assert (heard(host), host.status()) == ([], [])


def test_a_retry_that_never_comes_is_told(host: Host) -> None:
    host.end("failed", retry_at=host.now + 2 * MINUTE)
    host.look()
    host.look(after=TASK.timeout + 10 * MINUTE)
    assert heard(host) == ["export failed: exit 3"]


def test_a_success_with_something_unexpected_is_told_and_one_without_closes_it(host: Host) -> None:
    host.end(unexpected=("rows is 0; expected >0",))
    host.look()
    host.end()
    host.look()
    assert heard(host) == ["export succeeded suspiciously: rows is 0; expected >0", "export recovered"]


@pytest.mark.parametrize(
    ("usually", "took", "is_strange"),
    [(600, 60, True), (600, 119, True), (600, 121, False), (600, 2999, False), (600, 3100, True),
     (1, 30, False), (1, 62, True), (50, 0.1, False), (600, None, False)],
)  # fmt: skip
def test_a_success_much_slower_or_faster_than_usual_is_suspicious(
    host: Host, usually: float, took: float | None, is_strange: bool
) -> None:
    usual(host, usually)
    host.end(duration=took)
    host.look()
    assert bool(heard(host)) is is_strange


def test_the_pace_may_be_anything_where_nobody_cares_or_nothing_is_usual_yet(host: Host) -> None:
    usual(host, 600, number=4)
    host.end(duration=1)
    host.look()
    rule(host, pace=0.0)
    host.end(duration=1)
    host.look()
    rule(host)
    host.end(duration=1, parameters={"items": ["Alpha"]})
    host.look()
    assert heard(host) == []


def test_a_run_that_takes_much_longer_than_usual_is_told_while_it_runs_and_once(host: Host) -> None:
    usual(host, 60)
    run = host.running()
    host.spool.store(run, folder="running")
    host.look(after=5 * MINUTE)
    assert heard(host) == []
    host.look(after=MINUTE)
    assert heard(host) == ["export is still running: for 6 min; usually it takes 1 min 00 s"]
    host.spool.store(replace(run, status=Status.SUCCEEDED, ended=host.now, duration=361.0))
    host.look()
    assert len(heard(host)) == 1
    host.end(duration=60)
    host.look()
    assert heard(host)[1:] == ["export recovered"]


def test_what_was_skipped_does_not_hide_a_failure_from_the_first_look(host: Host) -> None:
    for status, reason in (("failed", "exit 1"), ("failed", "exit 3"), ("skipped", "paused")):
        host.end(status, reason=reason)
    host.look()
    assert heard(host) == ["export failed: exit 3"]
    assert "once" in host.status()[0]


def test_a_run_that_somebody_watches_may_take_as_long_as_it_likes(host: Host) -> None:
    usual(host, 60)
    host.spool.store(replace(host.running(), attended=True), folder="running")
    host.look(after=HOUR)
    assert heard(host) == []


def test_a_run_counts_once_in_its_incident_however_often_it_is_judged() -> None:
    trouble = Trouble(run="1", kind=Kind.FAILED, reason="exit 3", since=datetime(2025, 7, 14, tzinfo=UTC))
    once = worsen(None, "export", trouble)
    assert worsen(once, "export", trouble) == once
    assert worsen(once, "export", replace(trouble, run="2")).failures == 2


def test_who_heard_of_the_end_hears_of_the_next_failure_and_who_did_not_only_of_the_end() -> None:
    now = datetime(2025, 7, 14, tzinfo=UTC)
    told = {who: Told(at=now, letter="x") for who in ("anna", "chat")}
    trouble = Trouble(run="2", kind=Kind.FAILED, reason="exit 3", since=now)
    before = worsen(None, "export", replace(trouble, run="1"))
    again = worsen(replace(before, told=told, recovered=now, closed_for=("anna",)), "export", trouble)
    assert (set(again.told), again.closed_for, again.is_open) == ({"chat"}, (), True)


def test_a_missed_slot_is_told_after_half_an_hour_unless_the_task_succeeds_before(host: Host) -> None:
    host.end()
    host.look()
    host.end("skipped", reason="host was down: for 40 min")
    host.look(after=20 * MINUTE)
    host.end()
    host.look(after=HOUR)
    assert (heard(host), host.status()) == ([], [])
    host.end("skipped", reason="never started: its timer was stopped")
    host.look()
    assert heard(host) == []
    host.look(after=30 * MINUTE)
    assert heard(host) == ["export did not run: never started: its timer was stopped"]
    assert "systemctl status rota-task-export.timer" in host.outbox()[0].get_content()


@pytest.mark.parametrize("word", ["paused: moving house", "excepted: 2025-07-14", "daylight saving", "stopped"])
def test_what_somebody_wished_is_no_alarm(host: Host, word: str) -> None:
    for _ in range(20):
        host.end("skipped", reason=word)
    host.look(after=DAY)
    assert heard(host) == []


@pytest.mark.parametrize("word", ["locked", "still running"])
def test_something_in_the_way_is_an_alarm_when_it_is_there_ten_times_in_a_row(host: Host, word: str) -> None:
    host.end()
    for _ in range(9):
        host.end("skipped", reason=word)
        host.look()
    host.end()
    for _ in range(9):
        host.end("skipped", reason=word)
        host.look()
    assert heard(host) == []
    host.end("skipped", reason=word)
    host.look()
    assert heard(host) == [f"export did not run: 10 times in a row: {word}"]


def test_a_success_that_is_too_old_is_told(host: Host) -> None:
    host.tasks["export"] = replace(TASK, objective=Objective(fresh=26 * HOUR))
    host.end()
    host.look(after=26 * HOUR - MINUTE)
    assert heard(host) == []
    host.look(after=2 * MINUTE)
    assert heard(host) == ["export is overdue: no success for 26 h 01 min; there should be one every 26 h"]


def test_a_task_that_does_not_run_because_somebody_wished_so_is_not_overdue(host: Host) -> None:
    host.tasks["export"] = replace(TASK, objective=Objective(fresh=26 * HOUR))
    host.end()
    host.look()
    host.now += 25 * HOUR
    host.end("skipped", reason="excepted: 2025-07-15")
    host.look(after=25 * HOUR)
    Pauses(host.places.pauses).store("export", Pause(since=host.now, until=None, by="anna", reason=""))
    host.look(after=9 * DAY)
    assert heard(host) == []


def test_a_task_that_is_needed_from_time_to_time_is_overdue_when_nothing_runs_it(host: Host) -> None:
    host.tasks["export"] = replace(TASK, schedule=(), every=6 * HOUR)
    host.end()
    host.look(after=7 * HOUR)
    assert heard(host) == []
    host.look(after=HOUR)
    assert heard(host)[0].startswith("export is overdue")


def test_what_somebody_watched_fail_opens_nothing_and_counts_in_what_is_open(host: Host) -> None:
    host.end()
    host.look()
    host.end("failed", attended=True)
    host.look()
    assert heard(host) == []
    host.end("failed")
    host.end("failed", attended=True)
    host.look()
    assert "2 times" in host.status()[0]
    host.end(attended=True)
    host.look()
    assert heard(host) == ["export failed: exit 3", "export recovered"]


def test_a_dry_run_neither_opens_nor_closes(host: Host) -> None:
    host.end()
    host.look()
    host.end("failed", dry_run=True)
    host.look()
    host.end("failed")
    host.end(dry_run=True)
    host.look()
    assert heard(host) == ["export failed: exit 3"]


# -- whom, and when


def test_a_task_may_alert_from_its_second_failure_in_a_row(host: Host) -> None:
    rule(host, after=2)
    for status in ("failed", "succeeded", "failed", "failed", "succeeded"):
        host.end(status)
        host.look()
    assert heard(host) == ["export failed: exit 3", "export recovered"]
    assert "2 times" in host.outbox()[0].get_content()


def test_others_are_told_of_what_stays_open_and_then_of_its_end(host: Host) -> None:
    rule(host, to=("anna@example.org",), then=Escalation(after=2 * HOUR, to=("head@example.org",)))
    host.end("failed")
    host.look()
    host.look(after=2 * HOUR)
    host.look()
    host.end()
    host.look()
    assert to_whom(host) == [
        ("export", "anna@example.org"),
        ("export", "head@example.org"),
        ("export", "anna@example.org, head@example.org"),
    ]
    host.end("failed")
    host.look()
    host.end()
    host.look()
    assert {to for _, to in to_whom(host)[3:]} == {"anna@example.org"}


def test_an_incident_that_stays_open_is_told_again_every_day(host: Host) -> None:
    host.end("failed")
    host.look()
    for _ in range(2 * 24):
        host.look(after=HOUR)
    assert heard(host)[1:] == [f"export has an incident open for {long}" for long in ("24 h", "2 days")]
    first, second, third = host.outbox()
    assert second["References"] == first["Message-ID"]
    assert third["References"] == second["Message-ID"]
    rule(host, remind=NEVER)
    host.look(after=9 * DAY)
    assert len(heard(host)) == 3


def test_in_quiet_hours_only_urgent_tasks_alert_and_the_rest_comes_as_a_digest_at_their_end(host: Host) -> None:
    """It is 12:00 UTC, 14:00 in Zurich."""
    host.settings(quiet=(window("14:00..15:30"),), zone="Europe/Zurich")
    for name in ("alarm", "blue", "red"):
        host.tasks[name] = replace(TASK, name=name, alert=Rule(urgent=name == "alarm"))
        host.end("failed", task=name)
    host.look()
    assert heard(host) == ["alarm failed: exit 3"]
    host.end(task="blue")
    host.look(after=80 * MINUTE)
    assert len(heard(host)) == 1
    host.look(after=10 * MINUTE)
    assert heard(host)[1:] == ["1 open and 1 recovered: incidents", "1 open and 1 recovered: incidents"]
    assert sorted(letter["To"] for letter in host.outbox()[1:]) == list(TO)
    text = host.outbox()[1].get_content()
    assert "red failed: exit 3" in text.partition("Recovered:")[0]
    assert "blue failed: exit 3" in text.partition("Recovered:")[2]
    host.look()
    assert len(heard(host)) == 3


def test_a_single_thing_that_gathered_in_quiet_hours_is_a_letter_of_its_own(host: Host) -> None:
    host.settings(quiet=(window("12:00..13:00"),))
    host.end("failed")
    host.look()
    host.look(after=HOUR)
    assert heard(host) == ["export failed: exit 3"]


def fail_many(host: Host, first: int, last: int) -> None:
    for number in range(first, last):
        name = f"task_{number}"
        host.tasks[name] = replace(TASK, name=name)
        host.end("failed", task=name)


def test_a_flood_is_one_digest_for_each_person(host: Host) -> None:
    fail_many(host, 0, 8)
    host.look()
    assert heard(host) == ["8 open: incidents", "8 open: incidents"]
    assert sorted(letter["To"] for letter in host.outbox()) == sorted(TO)
    assert all(f"task_{number} failed" in host.outbox()[0].get_content() for number in range(8))
    assert all("its people know" in line for line in host.status()[:8])


def test_a_flood_over_an_hour_is_a_digest_too_and_they_do_not_come_more_often_than_every_quarter(host: Host) -> None:
    host.settings(to=("anna@example.org",), digest=3)
    for number in range(7):
        fail_many(host, number, number + 1)
        host.look()
    assert len(heard(host)) == 4
    assert heard(host)[3] == "1 open: incidents"
    host.look(after=12 * MINUTE)
    assert heard(host)[4:] == ["3 open: incidents"]
    fail_many(host, 7, 8)
    host.look(after=HOUR)
    assert heard(host)[5:] == ["task_7 failed: exit 3"]


def test_who_has_few_tasks_gets_letters_while_others_drown(host: Host) -> None:
    fail_many(host, 0, 8)
    host.tasks["task_3"] = replace(host.tasks["task_3"], alert=Rule(to=("carla@example.org",)))
    host.look()
    assert [str(each["Subject"]) for each in host.outbox() if each["To"] == "carla@example.org"] == [
        "[staging] task_3 failed on books: exit 3"
    ]


def test_the_recovery_answers_the_digest_that_told_of_the_failure(host: Host) -> None:
    host.settings(to=("anna@example.org",))
    fail_many(host, 0, 8)
    host.look()
    (digest,) = host.outbox()
    host.end(task="task_1")
    host.look()
    (recovery,) = [letter for letter in host.outbox() if "recovered" in letter["Subject"]]
    assert recovery["References"] == digest["Message-ID"]
    assert recovery["Auto-Submitted"] == "auto-generated"


def test_the_letter_says_what_was_different(host: Host) -> None:
    usual(host, 600)
    host.end(release="20250714-b", duration=600.0)
    host.look()
    for number in range(2):
        host.end("failed", release=f"20250715-{number}", duration=2.0, parameters={"full": True})
    host.look()
    text = host.outbox()[-1].get_content()
    for said in ("It succeeded last at 2025-07-14", "The release was 20250714-b, and is 20250715-1 now.",
                 "It took 2.0 s; usually it takes 10 min 00 s.", "It was started with full=True."):  # fmt: skip
        assert said in text


# -- trying again


def test_the_wait_for_a_receiver_doubles_up_to_half_an_hour_and_ends_with_success() -> None:
    now, receiver, waits = datetime(2025, 7, 14, tzinfo=UTC), Receiver(), []
    for _ in range(8):
        receiver = receiver.missed(now, "refused")
        assert receiver.again
        waits.append((receiver.again - now) / MINUTE)
    assert waits == [0, 2, 4, 8, 16, 30, 30, 30]
    assert receiver.is_waiting(now)
    assert not receiver.is_waiting(now + LONGEST_WAIT)
    assert not receiver.is_waiting(now - HOUR), "a clock that was set back must not hold letters up"
    assert not receiver.reached(now, by_digest=False).is_waiting(now)


# -- what may be said


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({}, "a mapping of to, after, urgent, then, remind, pace"),
        ({"too": []}, "a mapping of to"),
        ({"to": "anna@example.org"}, "a list; each entry is a mail address or the name of a channel"),
        ({"to": ["Anna B"]}, "a list; each entry is"),
        ({"after": 0}, "a whole number from 1"),
        ({"urgent": "perhaps"}, "true or false"),
        ({"remind": "5min"}, "a duration of an hour at least"),
        ({"pace": 1}, "a factor from 1.5"),
        ({"then": {"after": "2h"}}, "a mapping like {after: 2h"),
        ({"then": {"after": "soon", "to": ["chat"]}}, "in it a duration like"),
    ],
)
def test_a_wrong_rule_is_told_what_would_be_right(value: object, right: str) -> None:
    with pytest.raises(ValueError, match=right.replace("{", r"\{")):
        parse_rule(value)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({"to": ["chat"]}, "'chat' is no mail address, and no name under channels"),
        ({"channels": ["Chat"]}, "a list of names in lower case"),
        ({"quiet": ["25:00..26:00"]}, "a list, and '25:00..26:00' in it"),
        ({"zone": "Mars/Crater"}, "a name of the time zone database"),
        ({"digest": 0}, "a whole number from 1"),
    ],
)
def test_wrong_settings_are_told_what_would_be_right(value: dict[str, object], right: str) -> None:
    with pytest.raises(ValueError, match=right):
        parse_alerting(value)


def test_what_is_said_is_what_is_done() -> None:
    assert parse_rule({"to": ["a@b.c", "chat"], "after": 2, "urgent": True, "remind": "never", "pace": "any"}) == Rule(
        to=("a@b.c", "chat"), after=2, urgent=True, remind=NEVER, pace=0.0
    )
    then = parse_rule({"then": {"after": "2h", "to": ["chat"]}}).then
    assert then == Escalation(after=2 * HOUR, to=("chat",))
    settings = parse_alerting({"to": [], "quiet": [], "zone": "Europe/Zurich", "channels": ["chat"], "urls": "urls"})
    assert (settings.zone, settings.channels, settings.quiet) == ("Europe/Zurich", ("chat",), ())

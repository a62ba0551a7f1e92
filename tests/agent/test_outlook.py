"""Laws of how a task looks: what needs somebody, what comes next, and since when it is overdue."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rota.core.history import Days, Ended, Standing, Tally
from rota.core.incident import Incident
from rota.core.objective import Objective
from rota.core.outlook import Concern, Known, Outlook, look
from rota.core.pause import Pause
from rota.core.plan import Plan, Planned
from rota.core.status import Environment, Status
from rota.core.task import Task
from tests.agent.records import make_running

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seen(known: Known, **fields: object) -> Outlook:
    task = Task(name="try", description="Try", command=("/bin/true",), **fields)  # type: ignore[arg-type] # any field
    return look(task, known, NOW, environment=Environment.STAGING)


def ended(status: str = "succeeded", *, ago: timedelta = HOUR, reason: str = "") -> Standing:
    run = Ended(run="x", started=NOW - ago, ended=NOW - ago, status=Status(status), reason=reason, duration=2.0)
    return Standing(latest=run, success=run if status == "succeeded" else None, durations=(1.0, 2.0, 6.0))


def planned(*from_now: timedelta, reason: str = "") -> Plan:
    return Plan(slots=tuple(Planned(NOW + each, reason) for each in from_now))


def test_a_task_that_failed_or_was_lost_needs_somebody() -> None:
    assert seen(Known(standing=ended("failed", reason="exit 3"))).why == ("exit 3",)
    assert seen(Known(standing=ended("lost"))).concern is Concern.NEEDS_SOMEBODY
    assert seen(Known(standing=ended())).concern is Concern.IS_FINE
    assert seen(Known()).result == "never ran"


def test_a_success_that_is_suspicious_needs_somebody() -> None:
    outlook = seen(Known(standing=ended(), unexpected=("rows is 0",)))
    assert (outlook.why, outlook.result) == (("needs analysis",), "succeeded, but rows is 0")


def test_a_task_that_misses_its_objective_needs_somebody() -> None:
    fresh = Objective(fresh=2 * HOUR)
    assert seen(Known(standing=ended()), objective=fresh).why == ()
    assert seen(Known(standing=ended(ago=3 * HOUR)), objective=fresh).why == ("stale",)
    pause = Pause(since=NOW - HOUR, until=None, by="anna")
    assert seen(Known(standing=ended(ago=3 * HOUR), pause=pause), objective=fresh).why == ()
    standing = replace(ended(), days=Days().add(NOW.toordinal(), Tally(succeeded=9, failed=1)))
    assert seen(Known(standing=standing), objective=Objective(success=0.9)).why == ()
    assert seen(Known(standing=standing), objective=Objective(success=0.95)).why == ("error budget spent",)


def test_an_open_incident_needs_somebody_and_one_that_is_over_does_not() -> None:
    incident = Incident(task="try", since=NOW, failures=1, run="x", reason="exit 3")
    assert seen(Known(standing=ended(), incident=incident)).why == ("exit 3",)
    assert not seen(Known(standing=ended(), incident=Incident(**(vars(incident) | {"recovered": NOW})))).why


def test_a_slot_that_passed_without_a_run_is_overdue_after_a_while() -> None:
    assert seen(Known(plan=planned(-HOUR))).overdue == NOW - HOUR
    assert seen(Known(plan=planned(-timedelta(minutes=5)))).overdue is None
    assert seen(Known(plan=planned(-HOUR)), spread=HOUR).overdue is None
    assert seen(Known(plan=planned(-HOUR), standing=ended(ago=HOUR))).overdue is None
    assert seen(Known(plan=planned(-HOUR), standing=ended(ago=2 * HOUR))).result == "overdue; succeeded"


def test_nothing_is_overdue_that_runs_is_paused_is_barred_or_is_not_for_this_host() -> None:
    plan = planned(-HOUR)
    pause = Pause(since=NOW - 2 * HOUR, until=NOW + HOUR, by="anna")
    assert not seen(Known(plan=plan, running=make_running())).overdue
    assert not seen(Known(plan=plan, pause=pause)).overdue
    assert not seen(Known(plan=planned(-HOUR, reason="excepted: 2026-03-01"))).overdue
    assert not seen(Known(plan=plan), environments=(Environment.PRODUCTION,)).overdue


def test_the_next_slot_is_the_first_that_is_to_run() -> None:
    plan = Plan(slots=(Planned(NOW - HOUR), Planned(NOW + HOUR, "excepted: x"), Planned(NOW + 2 * HOUR)))
    assert seen(Known(plan=plan)).next == NOW + 2 * HOUR


def test_what_somebody_asked_for_may_come_before_the_next_slot() -> None:
    assert seen(Known(plan=planned(2 * HOUR), asked=NOW + HOUR)).next == NOW + HOUR
    assert seen(Known(plan=planned(HOUR), asked=NOW + 2 * HOUR)).next == NOW + HOUR


def test_an_interval_counts_from_the_last_success() -> None:
    known = Known(standing=ended(ago=HOUR))
    assert seen(known, every=3 * HOUR).next == NOW + 2 * HOUR
    assert seen(Known(), every=3 * HOUR).next == NOW
    assert seen(Known(standing=ended(ago=9 * HOUR)), every=3 * HOUR).overdue == NOW - 6 * HOUR


def test_a_pause_that_is_over_is_none() -> None:
    over = Pause(since=NOW - 2 * HOUR, until=NOW - HOUR, by="anna")
    assert seen(Known(pause=over)).concern is Concern.IS_FINE
    assert seen(Known(pause=Pause(since=NOW - HOUR, until=None, by="anna"))).concern is Concern.IS_PAUSED


def test_what_needs_somebody_says_so_even_while_it_runs_again() -> None:
    outlook = seen(Known(standing=ended("failed", reason="exit 3"), running=make_running()))
    assert (outlook.concern, outlook.result) == (Concern.NEEDS_SOMEBODY, "running; before: failed: exit 3")
    assert seen(Known(standing=ended(), running=make_running())).result == "running"


def test_the_usual_duration_is_the_median() -> None:
    assert seen(Known(standing=ended())).median == 2.0

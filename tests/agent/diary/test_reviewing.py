"""What people say of runs: who may, what it changes, how it is found, and where it is carried."""

from typing import Any

import pytest
from django.urls import reverse

from rota.core.record import RunRecord, parse_record
from rota.core.review import MOST_ASKED, failure_of
from rota.diary.models import Host, Review, Run, RunTag
from rota.diary.reviewing import tags_in
from tests.agent.diary.conftest import Cast, Shipper, undone
from tests.agent.diary.records import failed, identifier, run, running
from tests.agent.diary.test_asking import listen


def at(minute: int) -> str:
    return f"2025-03-01T02:{minute:02d}:00.000000Z"


def say(cast: Cast, identifier: str, state: str = "done", role: str = "reviewer", **more: str) -> Any:
    return getattr(cast, role).post(reverse("review", args=[identifier]), {"state": state, **more})


def ship(production: Shipper, *records: dict[str, Any]) -> list[str]:
    return [result["id"] for result in production.ship(*records)]


def record_of(**changes: Any) -> RunRecord:
    record = parse_record(failed(**changes))
    assert isinstance(record, RunRecord)
    return record


@pytest.mark.each_engine
def test_a_review_says_what_a_run_was_and_is_found_by_it(cast: Cast, production: Shipper) -> None:
    here, there = ship(production, failed(), failed(task="other_task"))
    say(cast, here, assessment="issue", summary="The vendor's ticket is #4711.", tags="Disk #vendor")
    page = cast.viewer.get(reverse("run", args=[here])).content.decode()
    for said in ("done", "known issue", "The vendor&#x27;s ticket is #4711.", "#disk", "#vendor", "#4711"):
        assert said in page
    for query in ("tag=%23vendor", "tag=Disk", "tag=4711", "assessment=issue", "assessment=issue&tag=disk"):
        found = cast.viewer.get(f"/runs/?{query}").content.decode()
        assert here in found, query
        assert there not in found, query


def test_a_later_review_takes_the_place_of_the_earlier_and_both_stay_in_the_history(
    cast: Cast, production: Shipper
) -> None:
    (here,) = ship(production, failed())
    say(cast, here, "ongoing", summary="looking", tags="#disk")
    say(cast, here, "done", role="operator", summary="was the disk", assessment="not_ok", tags="#full")
    assert list(RunTag.objects.values_list("name", flat=True)) == ["full"]
    assert Run.objects.values_list("review", "assessment").get() == ("done", "not_ok")
    said = list(Review.objects.order_by("id").values_list("person__name", "state", "summary", "tags"))
    assert said == [("Reviewer", "ongoing", "looking", "#disk"), ("Operator", "done", "was the disk", "#full")]


def test_a_success_can_be_reviewed_as_well(cast: Cast, production: Shipper) -> None:
    (here,) = ship(production, run())
    say(cast, here, "needs_analysis", summary="far too few rows")
    assert here in cast.viewer.get("/runs/?review=open").content.decode()


@pytest.mark.parametrize(
    "form", [{"state": "fine"}, {"state": ""}, {"state": "done", "assessment": "splendid"}], ids=str
)
def test_what_is_none_of_our_words_changes_nothing(cast: Cast, production: Shipper, form: dict[str, str]) -> None:
    (here,) = ship(production, failed())
    cast.reviewer.post(reverse("review", args=[here]), form)
    assert Run.objects.get().review == "needs_analysis"
    assert not Review.objects.exists()


@pytest.mark.each_engine
def test_many_runs_are_reviewed_at_once_and_the_list_comes_back(cast: Cast, production: Shipper) -> None:
    one, two, three = ship(production, *(failed(started=at(minute)) for minute in (1, 2, 3)))
    form = {"run": [one, two, "no id"], "state": "done", "assessment": "other", "tags": "flood", "list": "?task=x"}
    response = cast.reviewer.post(reverse("review_many"), form)
    assert response.headers["Location"] == "/runs/?task=x"
    assert "2 runs are reviewed." in cast.reviewer.get("/runs/").content.decode() or Review.objects.count() == 2
    states = dict(Run.objects.values_list("pk", "review"))
    assert {str(key): state for key, state in states.items()} == {one: "done", two: "done", three: "needs_analysis"}


def test_a_list_to_go_back_to_is_on_this_page_only(cast: Cast, production: Shipper) -> None:
    form = {"run": ship(production, failed()), "state": "done", "list": "//evil.example/"}
    assert cast.reviewer.post(reverse("review_many"), form).headers["Location"] == "/runs/"


def test_nothing_ticked_says_what_to_do(cast: Cast) -> None:
    client = cast.reviewer
    client.post(reverse("review_many"), {"state": "done"})
    assert "Tick at least one run" in client.get("/runs/").content.decode()


@pytest.mark.parametrize("address", ["/runs/review", "/runs/01900000-0000-7000-8000-00000000ffff/review"])
def test_a_viewer_says_nothing(cast: Cast, address: str) -> None:
    assert cast.viewer.post(address, {"state": "done"}).status_code == 403


def test_a_viewer_sees_no_form_to_review_with(cast: Cast, production: Shipper) -> None:
    (here,) = ship(production, failed())
    for address in ("/runs/", reverse("run", args=[here])):
        assert 'name="state"' not in cast.viewer.get(address).content.decode()
        assert 'name="state"' in cast.reviewer.get(address).content.decode()


CARRIED = {
    ("done", "ok"): "done",
    ("done", "obsolete"): "done",
    ("done", "issue"): "ongoing",
    ("done", "not_ok"): "needs_analysis",
    ("done", ""): "needs_analysis",
    ("ongoing", ""): "ongoing",
    ("needs_analysis", "issue"): "needs_analysis",
}


@pytest.mark.each_engine
def test_what_was_said_is_carried_to_the_next_run_with_the_same_failure(
    cast: Cast, production: Shipper, subtests: pytest.Subtests
) -> None:
    for (state, assessment), review in CARRIED.items():
        with subtests.test(state, assessment=assessment), undone():
            (first,) = ship(production, failed(started=at(1), output="at 02:01:07\nno route to 192.0.2.7\n"))
            say(cast, first, state, assessment=assessment, summary="The line is down.", tags="#line")
            second, third = ship(
                production,
                failed(started=at(2), output="at 02:02:09\nno route to 192.0.2.9\n"),
                failed(started=at(3), output="no route to 192.0.2.1"),
            )
            for later in (second, third):
                found = Run.objects.get(pk=later)
                assert (found.review, found.assessment) == (review, assessment)
                assert list(found.tags.values_list("name", flat=True)) == ["line"]
                latest = found.reviews.get()
                assert (latest.summary, latest.person.name) == ("The line is down.", "Reviewer")
            assert str(Review.objects.get(run_id=second).carried_from_id) == first
            assert "carried from the run before" in cast.viewer.get(reverse("run", args=[second])).content.decode()


@pytest.mark.parametrize(
    "later",
    [
        {"reason": "timeout"},
        {"reason": "exit 4", "exit_code": 4},
        {"output": "something else entirely\n"},
        {"task": "other_task"},
        {"status": "lost", "reason": "exit 3"},
    ],
    ids=lambda later: ", ".join(later),
)
def test_nothing_is_carried_to_another_failure(cast: Cast, production: Shipper, later: dict[str, object]) -> None:
    (first,) = ship(production, failed(started=at(1)))
    say(cast, first, "ongoing", summary="On it.")
    (second,) = ship(production, failed(started=at(2), **later))
    assert Run.objects.get(pk=second).review == "needs_analysis"
    assert not Review.objects.filter(run_id=second).exists()


@pytest.mark.each_engine
def test_nothing_is_carried_past_a_success_but_past_skipped_slots_and_retries(cast: Cast, production: Shipper) -> None:
    (first,) = ship(production, failed(started=at(1)))
    say(cast, first, "ongoing", summary="On it.")
    skipped = run(started=at(2), status="skipped", reason="locked", exit_code=None)
    attempt = failed(started=at(3), retry_at=at(4))
    _, _, again, _, later = ship(
        production, skipped, attempt, failed(started=at(4)), run(started=at(5)), failed(started=at(6))
    )
    assert Run.objects.get(pk=again).review == "ongoing"
    assert Run.objects.get(pk=later).review == "needs_analysis"


def test_what_is_said_of_a_running_run_is_not_replaced_by_what_is_carried(cast: Cast, production: Shipper) -> None:
    first, second = ship(production, failed(started=at(1)), running(started=at(2)))
    say(cast, first, "ongoing", summary="On it.")
    say(cast, second, "done", assessment="ok", summary="This one does not matter.")
    ship(production, failed(id=second, started=at(2)))
    assert Run.objects.values_list("review", "assessment").get(pk=second) == ("done", "ok")


def test_a_failure_is_the_same_whatever_differs_by_nature() -> None:
    one = failure_of(record_of(output="2025-03-01 02:30 row 17 of 3,204 in /tmp/x81/a.csv: bad date\n\n"))
    same = failure_of(record_of(output="more\n2025-03-02 02:31 row 204 of 9,001 in /tmp/y5/a.csv: bad date\n"))
    other = failure_of(record_of(output="2025-03-01 02:30 row 17 of 3,204 in /tmp/x81/a.csv: bad name\n"))
    assert one == same != other
    assert failure_of(record_of(status="succeeded", reason="")) == ""
    suspicious = [
        failure_of(record_of(status="succeeded", reason="", output=output, unexpected=[f"rows is {rows}; expected >9"]))
        for rows, output in ((0, "done\n"), (3, "done\n"))
    ]
    assert suspicious[0] == suspicious[1] != ""


def test_tags_are_words_behind_a_hash() -> None:
    assert tags_in("#Disk, (#full-again) a#b ## # #_x #Größe #disk #1") == ("disk", "full-again", "b", "größe", "1")


def told(production: Shipper, *runs: str, **more: Any) -> dict[str, Any]:
    """What the diary answers a host that asks about these failures: of each the handling, or None."""
    answer = listen(production, failures=list(runs), **more)
    return {each["run"]: each["handled"] for each in answer.get("reviews", [])}


@pytest.mark.each_engine
def test_a_host_that_asks_about_its_failures_hears_who_handled_which(cast: Cast, production: Shipper) -> None:
    here, there, another = ship(production, failed(), failed(task="other_task"), failed(task="third_task"))
    say(cast, here, "ongoing", summary="looking")
    assert told(production, here, there, identifier(), "no id") == {here: None, there: None}
    say(cast, here, assessment="not_ok", role="operator")
    say(cast, there, assessment="ok")
    said = told(production, here, there)
    assert [(said[each]["by"], said[each]["holds"]) for each in (here, there)] == [
        ("operator@example.org", False),
        ("reviewer@example.org", True),
    ]
    say(cast, here, "needs_analysis", summary="it is back")
    assert told(production, here, another) == {here: None, another: None}
    Run.objects.filter(pk=there).update(host=Host.objects.create(name="staging"))
    assert told(production, there) == {}, "another host's failure is none of its own"


def test_a_known_issue_that_comes_back_is_handled_for_its_host(cast: Cast, production: Shipper) -> None:
    (first,) = ship(production, failed(started=at(1), slot=at(1)))
    say(cast, first, assessment="issue")
    (second,) = ship(production, failed(started=at(2), slot=at(2)))
    assert Run.objects.get(pk=second).review == "ongoing"
    assert told(production, second)[second]["holds"] is True


@pytest.mark.each_engine
def test_whatever_a_host_asks_about_costs_two_queries_more(
    cast: Cast, production: Shipper, django_assert_max_num_queries: Any
) -> None:
    runs = ship(production, *(failed(task=f"task_{number}") for number in range(120)))
    cast.reviewer.post(reverse("review_many"), {"run": runs, "state": "done"})
    with django_assert_max_num_queries(9):
        assert len(told(production, *runs)) == MOST_ASKED
    for odd in list[Any]([None, "x", [[]] * 5000, {"a": 1}, [None, 3]]):
        assert "reviews" not in listen(production, failures=odd)

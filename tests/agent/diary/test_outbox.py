"""The outbox shows what would have been sent: all of it, narrowed, page by page, and one by one."""

import uuid
from hashlib import sha256
from typing import Any

import pytest
from django.urls import reverse

from rota.diary.models import Host, Mark, Outbound, Token
from rota.diary.paging import PAGE
from rota.diary.searching.index import index
from rota.diary.searching.keeping import fill
from tests.agent.diary.conftest import TOKEN, Cast, Shipper
from tests.agent.diary.records import caught, failed
from tests.agent.diary.test_pages import at, text_of


@pytest.fixture
def staging(database: Any) -> Shipper:
    host = Host.objects.create(name="staging", environment="staging")
    Token.objects.create(host=host, digest=sha256(TOKEN.encode()).hexdigest())
    return Shipper(host)


def sent(**changes: Any) -> dict[str, Any]:
    return caught(**({"host": "staging", "environment": "staging"} | changes))


def test_an_empty_outbox_says_what_would_appear_and_that_production_catches_nothing(cast: Cast) -> None:
    page = text_of(cast.viewer, "/outbox/")
    assert "<code>rota alert --test</code>" in page
    assert "only production and its backup host speak to the world" in page


def test_the_outbox_lists_what_was_caught_newest_first(cast: Cast, staging: Shipper) -> None:
    staging.ship(*(sent(at=at(minute), subject=f"letter {minute}") for minute in (2, 0, 1)))
    page = text_of(cast.viewer, "/outbox/")
    places = [page.index(f"letter {minute}") for minute in (2, 1, 0)]
    assert places == sorted(places)
    for shown in ("anna@example.org", "and 1 more", "staging", "send_reports", "mail"):
        assert shown in page


NARROWED = {
    "": {"a", "b", "c"},
    "environment=staging": {"a", "b", "c"},
    "environment=production": set(),
    "host=staging": {"a", "b", "c"},
    "host=nowhere": set(),
    "means=channel": {"b"},
    "task=collect_files": {"c"},
    "means=mail&task=collect_files": {"c"},
    "text=NEEDLE": {"a"},
    "text=chat": {"b"},
    "text=eva@example": {"c"},
    "text=a_b": set(),
    "text=hay+-chat": {"a"},
    "text=need*&means=mail&environment=staging": {"a"},
    "text=needle&host=production": set(),
    "text=%22open": set(),
    "text=%00": {"a", "b", "c"},
    "before=nonsense": {"a", "b", "c"},
}


@pytest.mark.each_engine
def test_the_outbox_is_narrowed_by_its_address(cast: Cast, staging: Shipper) -> None:
    letters = {
        "a": sent(text="a needle in hay"),
        "b": sent(means="channel", to=["chat"], subject="a chat's"),
        "c": sent(task="collect_files", to=["eva@example.org"]),
    }
    staging.ship(*letters.values())
    client = cast.viewer

    def found(query: str) -> set[str]:
        page = text_of(client, f"/outbox/?{query}")
        return {name for name, letter in letters.items() if letter["id"] in page}

    assert {query: found(query) for query in NARROWED} == NARROWED


@pytest.mark.each_engine
def test_the_choices_are_what_was_caught_so_far(cast: Cast, staging: Shipper) -> None:
    staging.ship(sent(means="ftp"), sent(means="heartbeat", task=""), sent(means="ftp", task="collect_files"))
    context = cast.viewer.get("/outbox/").context
    assert context["means"] == ["ftp", "heartbeat"]
    assert context["tasks"] == ["collect_files", "send_reports"]


@pytest.mark.each_engine
def test_paging_shows_every_letter_once(cast: Cast, staging: Shipper) -> None:
    # Five share each moment, so that the id has to settle their order.
    staging.ship(*(sent(at=at(number // 5)) for number in range(2 * PAGE + 7)))
    expected = [str(pk) for pk in Outbound.objects.order_by("-at", "-id").values_list("pk", flat=True)]
    client = cast.viewer
    for query in ("?means=mail", "?text=failed&means=mail"):
        seen, address = list[list[str]](), query
        while address:
            page = client.get(f"/outbox/{address}").context["page"]
            seen.append([str(row.pk) for row in page.rows])
            last, address = page, page.older
        assert [len(rows) for rows in seen] == [PAGE, PAGE, 7]
        assert sum(seen, []) == expected
        back = client.get(f"/outbox/{last.newer}").context["page"]
        assert [str(row.pk) for row in back.rows] == seen[1]


@pytest.mark.each_engine
def test_what_was_caught_before_there_was_an_index_is_read_into_it(cast: Cast, staging: Shipper) -> None:
    identifier = staging.ship(sent(text="a needle in hay"))[0]["id"]
    index().forget([uuid.UUID(identifier)])
    Mark.objects.create(name="caught: not before", value="2100-01-01T00:00:00+00:00")
    page = text_of(cast.viewer, "/outbox/?text=needle")
    assert "may be missing" in page
    assert identifier not in page
    assert fill(lambda done: None) == 1
    page = text_of(cast.viewer, "/outbox/?text=needle")
    assert "may be missing" not in page
    assert identifier in page
    assert text_of(cast.viewer, "/runs/?text=needle").count("No run is like this") == 1


def test_a_letter_s_page_shows_to_whom_of_what_and_all_of_its_text(cast: Cast, staging: Shipper) -> None:
    ran = failed(host="staging", environment="staging")
    letter = sent(run=ran["id"], text="first\n\x1b[31mred\x1b[0m \u202eturned\n")
    staging.ship(letter, ran)
    own, of_run = reverse("caught", args=[letter["id"]]), reverse("run", args=[ran["id"]])
    page = text_of(cast.viewer, own)
    for shown in (
        "anna@example.org",
        "ben@example.org",
        "first",
        '<span class="ansi-red">red</span>',
        "U+202E",
        of_run,
    ):
        assert shown in page
    assert own in text_of(cast.viewer, of_run), "the run's page leads to what it would have sent"


def test_a_letter_of_a_run_that_the_diary_has_not_leads_nowhere(cast: Cast, staging: Shipper) -> None:
    letter = sent(run="01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59")
    staging.ship(letter)
    page = text_of(cast.viewer, reverse("caught", args=[letter["id"]]))
    assert "not in the diary" in page
    assert reverse("run", args=[letter["run"]]) not in page


def test_a_letter_without_words_says_so(cast: Cast, staging: Shipper) -> None:
    letter = sent(subject="", text="", task="")
    staging.ship(letter)
    assert "It says nothing below its subject." in text_of(cast.viewer, reverse("caught", args=[letter["id"]]))
    assert letter["id"] in text_of(cast.viewer, "/outbox/")


def test_what_turns_the_reading_direction_is_marked_in_subject_and_receivers(cast: Cast, staging: Shipper) -> None:
    letter = sent(subject="gpj.\u202eexe", to=["anna\u202e@example.org"])
    staging.ship(letter)
    for address in ("/outbox/", reverse("caught", args=[letter["id"]])):
        page = text_of(cast.viewer, address)
        assert page.count("U+202E") >= 2
    assert "\u202e" not in text_of(cast.viewer, "/outbox/")


def test_a_stranger_reads_no_letter(cast: Cast, staging: Shipper) -> None:
    letter = sent()
    staging.ship(letter)
    assert cast.stranger.get(reverse("caught", args=[letter["id"]])).status_code == 302
    assert cast.viewer.get(reverse("caught", args=[uuid.uuid4()])).status_code == 404

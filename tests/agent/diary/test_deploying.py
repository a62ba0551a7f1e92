"""The pages say how runs fared after a deploy, and which deploy came between a failure and the last good run."""

import re

import pytest

from tests.agent.diary.conftest import Cast, Shipper
from tests.agent.diary.records import deploy, failed, run

pytestmark = pytest.mark.each_engine


def at(minute: int) -> str:
    return f"2025-03-01T02:{minute:02}:00Z"


def test_a_deploy_answers_for_what_began_to_fail_after_it(cast: Cast, production: Shipper) -> None:
    results = production.ship(
        deploy(started=at(10), release="one"),
        deploy(started=at(20), release="refused", status="failed"),
        deploy(started=at(30), release="two"),
        run(task="fine", started=at(1)),
        failed(task="worse", started=at(2)),
        run(task="mended", started=at(3)),
        run(task="again", started=at(4)),
        run(task="fine", started=at(11)),
        failed(task="worse", started=at(12)),
        failed(task="mended", started=at(13)),
        failed(task="again", started=at(14), retry_at=at(15)),
        run(task="again", started=at(15), trigger="retry", attempt=2),
        run(task="again", started=at(16), unexpected=["rows is 0"]),
        failed(task="fine", started=at(17), dry_run=True),
        run(task="mended", started=at(31)),
        run(task="fine", started=at(32), unexpected=["rows is 0"]),
    )
    broke_mended, broke_fine = results[9]["id"], results[15]["id"]
    page = cast.viewer.get("/releases/").content.decode()
    said = re.findall(r"Failed before it: (\d+ of \d+) runs, (?:<a[^>]*>)?after it: (\d+ of \d+)", page)
    assert said == [("4 of 9", "1 of 2"), ("1 of 4", "3 of 5")]
    told = re.findall(r"Good before it, and not after it:.*?</td>", page)
    assert [re.findall(r'href="/runs/([^/]*)/"', each) for each in told] == [[broke_fine], [broke_mended]]


def test_the_page_of_a_failure_says_which_deploy_came_between(cast: Cast, production: Shipper) -> None:
    _, good, still, between, lone = (
        each["id"]
        for each in production.ship(
            deploy(started=at(10), release="the new one"),
            run(started=at(1)),
            failed(started=at(2)),
            failed(started=at(11)),
            failed(task="lone", started=at(11)),
        )
    )
    pages = {each: cast.viewer.get(f"/runs/{each}/").content.decode() for each in (good, still, between, lone)}
    assert "no deploy came between" in pages[still]
    assert "the deploy of <code>the new one</code>" in pages[between]
    assert f"/runs/{good}/" in pages[between]
    assert "Last good" not in pages[good] + pages[lone]

"""What a host tells of a run that somebody follows: whole lines from where the diary is, and only so much at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from rota.adapters.spool import Spool
from rota.core.record import KEEP_BYTES
from rota.following import MOST_BYTES, MOST_FOLLOWED, MOST_LINE, news

RUN = "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", tmp_path / "spare")
    made.make()
    return made


def write(spool: Spool, content: bytes) -> None:
    (spool.folder / "output" / RUN).write_bytes(content)


def report(spool: Spool, *lines: object) -> None:
    with (spool.folder / "tmp" / f"{RUN}.report").open("a") as stream:
        stream.writelines(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)


def told(spool: Spool, output: object = 0, reported: object = 0) -> dict[str, Any]:
    found = list(news(spool, [{"run": RUN, "output": output, "report": reported}]))
    return found[0] if found else {}


def test_whole_lines_are_told_from_where_the_diary_is(spool: Spool) -> None:
    write(spool, b"one\ntwo\nthr")
    first = told(spool)
    assert (first["output"], first["text"]) == ([0, 8], "one\ntwo\n")
    assert told(spool, 8) == {}
    write(spool, "one\ntwo\nthree é\0\n".encode() + b"\xff\n")
    assert told(spool, 8)["text"] == "three é␀\n�\n"
    assert told(spool) == told(spool), "it remembers nothing"


def test_a_line_that_does_not_end_is_told_when_it_is_long(spool: Spool) -> None:
    write(spool, b"x" * MOST_LINE)
    assert told(spool) == {}
    write(spool, b"x" * (MOST_LINE + 1))
    assert told(spool)["output"] == [0, MOST_LINE + 1]


def test_of_what_is_printed_too_fast_the_newest_is_told_with_a_mark(spool: Spool) -> None:
    write(spool, b"old\n" * 50_000 + b"new\n")
    found = told(spool)
    assert found["output"] == [0, 200_004]
    assert found["text"].startswith(f"[… {200_004 - MOST_BYTES} bytes are shown when the run has ended …]\n")
    assert found["text"].endswith("new\n")
    assert len(found["text"]) < MOST_BYTES + 100


def test_an_output_that_has_lost_its_middle_goes_on_after_its_head(spool: Spool) -> None:
    write(spool, b"h" * (KEEP_BYTES - 1) + b"\n" + b"tail\n")
    found = told(spool, 1_000_000)
    assert found["output"] == [1_000_000, KEEP_BYTES + 5]
    assert found["text"].endswith("]\ntail\n")


def test_items_and_counts_are_told_once_each_and_broken_lines_are_passed_over(spool: Spool) -> None:
    report(spool, {"item": "a", "outcome": "written"}, {"count": "rows", "value": 2}, "no JSON", [], {"count": "rows"})
    report(spool, {"count": "rows", "value": 3})
    first = told(spool)
    assert first["items"] == [{"name": "a", "outcome": "written", "message": ""}]
    assert first["counts"] == {"rows": 5}
    report(spool, {"item": "b"})
    second = told(spool, 0, first["report"][1])
    assert ([each["name"] for each in second["items"]], second["counts"]) == (["b"], {})


@pytest.mark.parametrize(
    "followed",
    [None, "x", [None], [{}], [{"run": "../../etc/passwd"}], [{"run": RUN, "output": -5, "report": "x"}], [{"run": 3}]],
    ids=str,
)
def test_whatever_the_diary_follows_nothing_else_is_read(spool: Spool, followed: Any) -> None:
    assert list(news(spool, followed)) == []


def test_links_and_pipes_in_an_outputs_place_are_not_read(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (spool.folder / "output" / RUN).symlink_to(tmp_path / "secret")
    assert told(spool) == {}


def test_no_more_runs_are_told_of_than_a_message_may_hold(spool: Spool) -> None:
    write(spool, b"one\n")
    assert len(list(news(spool, [{"run": RUN}] * (MOST_FOLLOWED + 5)))) == MOST_FOLLOWED

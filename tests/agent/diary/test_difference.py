"""The page of a run's difference says what is new and what is missing beside the last good run, soon and as text."""

import random
import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import pytest

from rota.diary.comparing import difference_of
from tests.agent.diary.conftest import Cast, Shipper
from tests.agent.diary.records import failed, run, running

pytestmark = pytest.mark.each_engine

SIGNS = {"ins": "+", "del": "-", "span": " "}


def at(minute: int) -> str:
    return f"2025-03-01T02:{minute:02}:00Z"


def ship(production: Shipper, *records: object) -> list[str]:
    return [str(each["id"]) for each in production.ship(*records)]


def page_of(cast: Cast, identifier: str, **query: str) -> str:
    response = cast.viewer.get(f"/runs/{identifier}/difference/?{urlencode(query)}")
    assert response.status_code == 200
    return str(response.content.decode())


def lines_in(page: str) -> list[str]:
    """The lines of the difference, each behind its sign; `⋯` stands for those that are left out."""
    found = re.findall(r'<(ins|del|span) class="(?:line"><a href="[^"]*">\d+</a>|left-out">)(.*)\n</', page)
    return [text if text == "⋯" else SIGNS[element] + re.sub("<[^>]*>", "", text) for element, text in found]


def test_a_run_is_compared_with_the_last_good_one_or_another(cast: Cast, production: Shipper) -> None:
    bad_one = failed(
        started=at(3),
        output="read 5 files in 9 s\n<script>\x1b[31mno\u202e\nbye\n",
        counts={"reports": 0, "<b>": 1},
        items=[{"name": "<i>april.pdf", "outcome": "failed", "message": ""}],
        release="20250301T000000Z-ba9876543210",
        parameters={"full": True},
        duration=60.0,
    )
    good, suspicious, bad, _ = ship(
        production,
        run(started=at(1), output="read 5 files in 2 s\nall well\nbye\n"),
        run(started=at(2), output="read 5 files in 2 s\n", unexpected=["rows is 0"]),
        bad_one,
        run(started=at(4)),
    )
    page = page_of(cast, bad)
    assert lines_in(page) == [" read 5 files in 9 s", "-all well", "+&lt;script&gt;noU+202E", " bye"]
    assert "<script" not in page
    for said in ("failed: exit 3", "full=True", bad_one["release"], "&lt;b&gt;", "&lt;i&gt;april.pdf", "march.pdf"):
        assert said in page, said
    german = cast.viewer.get(f"/runs/{bad}/difference/", HTTP_ACCEPT_LANGUAGE="de").content.decode()
    for said in ("erfolgreich", "fehlgeschlagen: Exit-Code 3", "1 min 0 s"):
        assert f"<td>{said}</td>" in german, said
    assert f'<option value="{good}">' in page
    assert "-read 5 files in 2 s" in lines_in(page_of(cast, bad, exact="yes"))
    assert "-all well" not in lines_in(page_of(cast, bad, beside=suspicious))
    assert f"/runs/{bad}/difference/" in cast.viewer.get(f"/runs/{bad}/").content.decode()
    for unknown in ("none", f"{bad[:-4]}0000"):
        assert cast.viewer.get(f"/runs/{bad}/difference/?beside={unknown}").status_code == 404


def test_where_there_is_nothing_to_compare_the_page_says_why(cast: Cast, production: Shipper) -> None:
    lone, first, same, unsent, going = ship(
        production,
        failed(task="lone", output="no\n"),
        run(started=at(1), output="took 1 s\n"),
        run(started=at(2), output="took 2 s\n"),
        failed(started=at(3), output="", output_bytes=7),
        running(started=at(4)),
    )
    assert "No good run" in page_of(cast, lone)
    assert "No good run" in page_of(cast, first)
    assert "are the same, but for times" in page_of(cast, same)
    assert "Result, parameters, release, counts, duration and memory are the same" in page_of(cast, same)
    assert "are the same." in page_of(cast, first, beside=first, exact="yes")
    assert "has not sent the output" in page_of(cast, unsent)
    assert "still under way" in page_of(cast, going)


def lines_of(seed: int) -> list[str]:
    words = random.Random(seed)  # noqa: S311  any words will do
    return [f"2025-03-01T02:30:00Z worker[{n}]: {words.random()} took 0.3 s" for n in range(16_000)]


def mixed(lines: list[str], seed: int = 1) -> list[str]:
    return random.Random(seed).sample(lines, len(lines))  # noqa: S311  any order will do


def changed(lines: Sequence[str]) -> list[str]:
    return [line if number % 100 else f"new {line}" for number, line in enumerate(lines)]


SHORT = [f"{n * n % 9973:x}".translate(str.maketrans("0123456789", "ghijklmnop")) for n in range(100_000)]
LONG = "word " * 200_000
MEGABYTES: dict[str, Callable[[], tuple[Sequence[str], Sequence[str]]]] = {
    "the same": lambda: (lines_of(1), lines_of(1)),
    "all different": lambda: (lines_of(1), [f"other {line[::-1]}" for line in lines_of(2)]),
    "one in a hundred": lambda: (lines_of(1), changed(lines_of(1))),
    "short lines": lambda: (SHORT, changed(SHORT)),
    "short lines that moved": lambda: (SHORT, ["new", *mixed(SHORT)]),
    "one line": lambda: ([LONG], [f"{LONG[:600_000]}!{LONG[600_000:]}"]),
    "control characters": lambda: (["\x01" * 1000] * 1000, ["\x02" * 1000] * 1000),
}
AMOUNTS = {
    "the same": (0, 0),
    "all different": (16_000, 16_000),
    "one in a hundred": (160, 160),
    "short lines": (1000, 1000),
    "short lines that moved": (1, 0),
    "one line": (1, 1),
    "control characters": (1000, 1000),
}


@pytest.mark.parametrize("case", MEGABYTES)
def test_two_outputs_of_a_megabyte_are_compared_soon(case: str) -> None:
    before, after = ("\n".join(lines) + "\n" for lines in MEGABYTES[case]())
    began = time.monotonic()
    found = difference_of(after, before, is_exact=False)
    assert time.monotonic() - began < 3  # it takes at most a fifth of a second; the machine may be busy
    assert (found.added, found.removed) == AMOUNTS[case]
    assert found.is_in_order is (case != "short lines that moved")
    assert sum(len(line.html) for line in found.lines if line) < 300_000

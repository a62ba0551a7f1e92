"""Laws of normalising: it settles at once, and hides what changes by nature and nothing else."""

import re
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rota.core.normalising import KINDS, normalise

DIGITS = st.integers(0, 10**6)
MONTHS = st.sampled_from("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31))  # noqa: DTZ001 - as text they have no zone
LETTERS = st.text("abcxyz", min_size=1, max_size=8)
VALUES = {
    "time": st.one_of(
        MOMENTS.map(lambda moment: moment.isoformat(sep=" ")),
        MOMENTS.map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z"),
        MOMENTS.map(lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S,%f+02:00")),
        MOMENTS.map(lambda moment: moment.strftime("%d/%b/%Y:%H:%M:%S +0000")),
        MOMENTS.map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S +0000")),
        MOMENTS.map(lambda moment: moment.strftime("%a %b %d %H:%M:%S UTC %Y")),
        MOMENTS.map(lambda moment: moment.strftime("%b %e %H:%M:%S")),
        MOMENTS.map(lambda moment: moment.strftime("%Y/%m/%d %H:%M:%S")),
        MOMENTS.map(lambda moment: moment.strftime("%H:%M")),
    ),
    "id": st.one_of(st.uuids().map(str), st.integers(16**7, 16**40).map(lambda number: f"a0{number:x}"[:40])),
    "address": st.one_of(
        st.ip_addresses(v=4).map(str),
        st.integers(0, 2**64).map(hex),
        st.tuples(st.ip_addresses(v=4), st.integers(1, 65535)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    ),
    "duration": st.one_of(
        st.tuples(DIGITS, st.sampled_from("s ms h min days seconds".split())).map(lambda pair: f"{pair[0]} {pair[1]}"),
        st.tuples(DIGITS, DIGITS).map(lambda pair: f"{pair[0]}.{pair[1]}s"),
        st.tuples(DIGITS, DIGITS).map(lambda pair: f"{pair[0]} h {pair[1] % 60:02d} min"),
        st.tuples(DIGITS, DIGITS).map(lambda pair: f"{pair[0]}m{pair[1]}s"),
    ),
    "size": st.tuples(DIGITS, st.sampled_from(["B", " kB", " MB", "GiB", " bytes", "M"])).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    ),
    "path": st.tuples(st.lists(LETTERS, min_size=1, max_size=4), DIGITS).map(
        lambda pair: f"/{'/'.join(pair[0])}/{pair[1]}.csv"
    ),
}
WORDS = st.text("abcde ,.;()='\"", max_size=12)
PIECES = st.lists(st.tuples(WORDS, st.sampled_from(sorted(VALUES))), max_size=6)


@st.composite
def two_fillings(draw: st.DrawFn) -> tuple[str, str]:
    """The same words twice, with other values of the same kinds in between."""
    pieces = draw(PIECES)
    both = [(f"{words} {draw(VALUES[kind])} ", f"{words} {draw(VALUES[kind])} ") for words, kind in pieces]
    return "".join(one for one, _ in both), "".join(other for _, other in both)


@given(two_fillings())
def test_two_outputs_that_differ_only_in_such_values_are_equal(texts: tuple[str, str]) -> None:
    assert normalise(texts[0]) == normalise(texts[1])


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(),
        two_fillings().map(lambda texts: "".join(texts)),
        st.lists(st.sampled_from([*"0123456789:./-<>[] ,TZ+", "Nov ", "Mon", "path", " s", "MB", "a1b2c3d4"])).map(
            "".join
        ),
    )
)
@example("\x1b\x1b[0m[0m")
@example("2026-11-22-3 s/a/Nov 22 09:17:11")
def test_normalising_what_is_normalised_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text())
def test_lines_stay_lines(text: str) -> None:
    assert normalise(text).count("\n") == text.count("\n")


@given(st.text("abcdefghijklm xyz\n,.;!?", max_size=60), st.integers(0, 10**9))
def test_words_and_plain_numbers_are_kept(words: str, number: int) -> None:
    text = re.sub(" +", " ", f"{words} rows {number} ")
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("opened /srv/in/books.csv", "opened <path>/books.csv"),
        ("opened /tmp/tmpabcdef", "opened <path>"),
        ('File "/opt/rota/releases/20261122/x/work.py", line 12', 'File "<path>/work.py", line 12'),
        ("Nov  2 09:17:11 host sshd[4711]: ok", "<time> host sshd[<id>]: ok"),
        ("pid 12 and process=44", "pid <id> and process=<id>"),
        ("fe80::1 aa:bb:cc:dd:ee:ff", "<address> <address>"),
        ("1,204 rows, 97%, line 12, version 1.2", "1,204 rows, 97%, line 12, version 1.2"),
        ("took 0:00:12.5, 45 MB, commit 3bf85d8", "took <time>, <size>, commit <id>"),
        ("\x1b[31mred\x1b[0m \t words", "red words"),
    ],
)
def test_known_answers(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_every_kind_has_its_law() -> None:
    assert VALUES.keys() == KINDS.keys()


def test_a_whole_module_keeps_almost_all_of_its_lines() -> None:
    """Text that is no log has few such values."""
    text = Path(__file__).with_name("records.py").read_text()
    changed = [
        line
        for line, after in zip(text.split("\n"), normalise(text).split("\n"), strict=True)
        if line.split() != after.split()
    ]
    assert len(changed) < 3

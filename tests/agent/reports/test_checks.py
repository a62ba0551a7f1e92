"""Laws of checks: what parsers take is taken, what they refuse is refused with its place, in little memory."""

import csv
import io
import json
import tracemalloc
from datetime import date
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports import checks
from rota.packs.reports.checks import BadOutput, check
from rota.packs.reports.definitions import Check, Task


def task(*asked: Check, shrink_percent: int | None = None, file_name: str = "a.xml") -> Task:
    return Task(
        id="t",
        id_homedir="c",
        file_name=file_name,
        start_date=date(2024, 1, 1),
        checks=asked,
        shrink_percent=shrink_percent,
    )


def refused(content: bytes, asked: Check, file_name: str = "a.xml") -> str:
    """What is said against it; "" where nothing is."""
    try:
        checks.CHECKS[asked](io.BytesIO(content), file_name)
    except BadOutput as error:
        return str(error).removeprefix("The output is not published: ")
    return ""


LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE l [
 <!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<a/>", ""),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>", ""),
        (b"<!DOCTYPE html><html/>", ""),
        (b"<a>&lt;&#65;</a>", ""),
        (b"<a>\n <b></a>", "line 2, column 7: XML: mismatched tag"),
        (b"", "line 1, column 1: XML: no element found"),
        (b"<a>\n<b/>", "line 2, column 5: XML: no element found"),
        (b"<a/><b/>", "line 1, column 5: XML: junk after document element"),
        (b"<a>\xff</a>", "line 1, column 4: XML: not well-formed (invalid token)"),
        (b"<a>&nbsp;</a>", "line 1, column 4: XML: undefined entity"),
        (LAUGHS, "line 3, column 13: it declares the entity 'a'"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "line 1, column 52: it declares"),
        (b"<?xml version='1.0' encoding='no-such'?><a/>", "line 1"),
        (b"<a>" * 501, "line 1, column 1501: its elements lie in each other more than 500 deep"),
    ],
)
def test_xml_is_well_formed_and_cannot_grow(content: bytes, said: str) -> None:
    assert refused(content, Check.XML).startswith(said)
    assert bool(refused(content, Check.XML)) == bool(said)


JSON = [
    (b"{}", ""),
    (b' [1, -0.5e+3, true, null, "a\\u00e9\\n", {"a": {"b": []}}] \n', ""),
    (b"0", ""),
    (b'"\xc3\xa9"', ""),
    (b"", "line 1, column 1: JSON: it ends too early"),
    (b"[1,\n 2,]", "line 2, column 4: JSON: unexpected ']'"),
    (b'{"a" 1}', "line 1, column 6: JSON: unexpected '1'"),
    (b'{"\xc3\xa9\xc3\xa9" 1}', "line 1, column 7: JSON: unexpected '1'"),
    (b"[1] 2", "line 1, column 5: JSON: unexpected '2'"),
    (b"[NaN]", "line 1, column 2: JSON: unexpected 'NaN]'"),
    (b"[01]", "line 1, column 2: JSON: unexpected '01]'"),
    (b"['a']", "line 1, column 2: JSON: unexpected"),
    (b'["a\nb"]', "line 1, column 2: JSON: unexpected"),
    (b"[1}", "line 1, column 3: JSON: unexpected '}'"),
    (b"[1", "line 1, column 3: JSON: it ends too early"),
    (b"\xef\xbb\xbf{}", "line 1, column 1: JSON: unexpected"),
    (b'["a",\n "\xff"]', "line 2, column 3: it is not UTF-8"),
    (b'["\xc3', "line 1, column 3: it is not UTF-8"),
    (b"[" * 501, "line 1, column 501: its arrays and objects lie in each other"),
    (b"]", "line 1, column 1: JSON: unexpected ']'"),
]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 18])
@pytest.mark.parametrize(("content", "said"), JSON)
def test_json_is_whole_wherever_its_blocks_end(content: bytes, said: str, block: int) -> None:
    with patch.object(checks, "BLOCK", block):
        found = refused(content, Check.JSON)
    assert bool(found) == bool(said)
    assert found.startswith(said[:8])
    if block > 7:
        assert found.startswith(said)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_a_long_string_of_json_is_taken() -> None:
    assert refused(b'["' + b"text" * 4 * checks.BLOCK + b'"]', Check.JSON) == ""


@given(json_values, st.booleans(), st.sampled_from([None, 1]), st.integers(1, 40))
def test_what_python_writes_as_json_is_taken(value: object, ascii_only: bool, indent: int | None, block: int) -> None:
    content = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    with patch.object(checks, "BLOCK", block):
        assert refused(content, Check.JSON) == ""


def is_strict_json(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(st.text('[]{},:"\\ \n0123.-+eEtrufalsn/bé', max_size=12), st.integers(1, 12))
def test_what_python_refuses_as_json_is_refused(text: str, block: int) -> None:
    with patch.object(checks, "BLOCK", block):
        assert (refused(text.encode(), Check.JSON) == "") is is_strict_json(text)


@pytest.mark.parametrize(
    ("content", "file_name", "said"),
    [
        (b"a,b\n1,2\n", "a.csv", ""),
        (b'\xef\xbb\xbfa;b\r\n1;"2\n3"\r\n', "a.csv", ""),
        (b"a\tb\n1,5\t2\n", "a.tsv", ""),
        (b"a\tb\n1\t2\n", "a.kbart", ""),
        (b'a\n"x""y"\n\n', "a.csv", ""),
        (b"a,b\n", "a.csv", ""),
        (b"", "a.csv", "line 1: CSV: there is no header"),
        (b"a,,b\n", "a.csv", "line 1: CSV: column 2 has no name"),
        (b"a,b,a\n", "a.csv", "line 1: CSV: two columns are called 'a'"),
        (b"a,b\n1,2\n3\n", "a.csv", "line 3: CSV: 1 columns, and 2 in the header"),
        (b'a,b\n"1\n2",3,4\n', "a.csv", "line 3: CSV: 3 columns"),
        (b'a,b\n"1,2\n', "a.csv", "line 2: CSV: unexpected end of data"),
        (b'a,b\n"1"x,2\n', "a.csv", "line 2: CSV: ',' expected after '\"'"),
        (b"a,b\n\xff,2\n", "a.csv", "line 2, column 1: it is not UTF-8"),
        (b"a\n" + b"x" * (1 << 20) + b"\n", "a.csv", "line 2: CSV: a line is longer"),
    ],
)
def test_csv_has_a_header_and_rows_as_long_as_it(content: bytes, file_name: str, said: str) -> None:
    found = refused(content, Check.CSV, file_name)
    assert found.startswith(said)
    assert bool(found) == bool(said)


cell = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=5)


@given(st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(cell, min_size=width, max_size=width), max_size=5)))
def test_what_python_writes_as_csv_is_taken(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    width = len(rows[0]) if rows else 2
    csv.writer(text).writerows([[f"c{number}" for number in range(width)], *rows])
    assert refused(text.getvalue().encode(), Check.CSV, "a.csv") == ""


@pytest.mark.parametrize(("content", "said"), [(b"", "it is empty"), (b" \r\n\t", "nothing but blanks"), (b" x", "")])
def test_what_must_not_be_empty_has_more_than_blanks(content: bytes, said: str) -> None:
    assert said in refused(content, Check.NOT_EMPTY)
    assert bool(refused(content, Check.NOT_EMPTY)) == bool(said)


@pytest.mark.parametrize(
    ("size", "percent", "previous", "good"),
    [
        (90, 10, 100, True),
        (89, 10, 100, False),
        (0, 100, 100, True),
        (99, 0, 100, False),
        (100, 0, 100, True),
        (1, None, 100, True),
        (1, 10, None, True),
        (0, 10, 0, True),
    ],
)
def test_an_output_may_shrink_by_so_much(
    tmp_path: Path, size: int, percent: int | None, previous: int | None, good: bool
) -> None:
    path = tmp_path / "output"
    path.write_bytes(b"x" * size)
    if good:
        check(path, task(shrink_percent=percent), previous)
    else:
        with pytest.raises(BadOutput, match="% are allowed"):
            check(path, task(shrink_percent=percent), previous)


def test_all_checks_of_a_task_are_made(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_bytes(b"<a/>")
    check(path, task(Check.NOT_EMPTY, Check.XML))
    with pytest.raises(BadOutput, match="JSON"):
        check(path, task(Check.NOT_EMPTY, Check.XML, Check.JSON))
    assert checks.CHECKS.keys() == set(Check)


@pytest.mark.parametrize(
    ("asked", "begin", "repeated", "end"),
    [
        (Check.XML, b"<a>", b"<b>some text</b>\n", b"</a>"),
        (Check.JSON, b"[0", b',{"a": "some text"}', b"]"),
        (Check.CSV, b"a,b\n", b"some,text\n", b""),
    ],
)
def test_a_longer_output_is_checked_in_no_more_memory(
    tmp_path: Path, asked: Check, begin: bytes, repeated: bytes, end: bytes
) -> None:
    peaks = []
    for times in (10_000, 30_000):
        path = tmp_path / "output"
        path.write_bytes(begin + repeated * times + end)
        tracemalloc.start()
        try:
            check(path, task(asked, file_name="a.csv"))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < checks.BLOCK

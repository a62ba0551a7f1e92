"""Laws of what scripts include: the original's vectors, everything it found, and what it missed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports.definitions import Definitions, Query, Script, ScriptType
from rota.packs.reports.dependencies import Kind, UnknownImports, collect, imports_of, legacy_imports
from rota.packs.reports.syntax import LARGEST, BadScript


def names(body: str, *, is_library: bool = False) -> list[str]:
    return [f"{each.kind}.{each.name}" for each in imports_of(body, is_library=is_library)]


def library(name: str, body: str = "") -> Script:
    return Script(id=f"s-{name}", name=name, type=ScriptType.SNIP, body=body)


def query(name: str) -> Query:
    return Query(id=f"q-{name}", name=name, is_library=":" not in name)


@pytest.mark.parametrize(
    ("text", "snippets", "queries"),
    [
        ("from sniplets import a", "", ""),
        ("\nfrom sniplets import a as b, c", "a c", ""),
        ("\nfrom sniplets import (a, b)", "(a b)", ""),
        ("\nfrom sniplets import a # note, d", "a d", ""),
        ("\n  from sniplets import a", "", ""),
        ("\nimport sniplets.a", "", ""),
        ("\nfrom sniplets import a;import b", "a;import", ""),
        ("\nfrom queries import q1,q2 as w, q3", "", "q1 q2 q3"),
        ("\nfrom queries.abc_corp import some_report_xml as m", "", "abc_corp:some_report_xml"),
        ("\nfrom queries.a.b import c", "", "a.b:c"),
        ("\nfrom queriesx import c", "", "x:c"),
        ("\nfrom sniplets import a\r\nfrom queries import b\r\n", "a", "b"),
        (
            "\nfrom sniplets import mysql_connect\nfrom sniplets import test123\nfrom sniplets import mysql_connect\n"
            "from queries.comicsgrid import comic_books_rss\nfrom queries import countries",
            "mysql_connect test123",
            "comicsgrid:comic_books_rss countries",
        ),
    ],
)
def test_the_original_s_answers_are_kept(text: str, snippets: str, queries: str) -> None:
    found = legacy_imports(text)
    assert (" ".join(found.snippets), " ".join(found.queries)) == (snippets, queries)


def test_no_script_imports_nothing() -> None:
    assert legacy_imports(None) == legacy_imports("")
    assert imports_of("") == ()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("from sniplets import a", "sniplets.a"),
        ("from sniplets import a as b, c", "sniplets.a sniplets.c"),
        ("from sniplets import (\n  a,\n  b as x,\n)", "sniplets.a sniplets.b"),
        ("from sniplets import a # note, d", "sniplets.a"),
        ("from sniplets import a;import b", "sniplets.a"),
        ("from sniplets import \\\n  a", "sniplets.a"),
        ("import sniplets.a", "sniplets.a"),
        ("import sniplets.a as b, json, queries.c.d", "sniplets.a queries.c:d"),
        ("import sniplets, queries", ""),
        ("from sniplets.a import connect", "sniplets.a"),
        ("from queries import q1,q2 as w", "queries.q1 queries.q2"),
        ("from queries.abc import some_xml as m", "queries.abc:some_xml"),
        ("from queries.a.b import c", "queries.a:b:c"),
        ("from queriesx import c\nfrom my.sniplets import d", ""),
        ("if 1:\n  try:\n    from sniplets import a\n  except ImportError: pass", "sniplets.a"),
        ("def f():\n  class C:\n    async def g(self):\n      from queries import a\n", "queries.a"),
        ("# from sniplets import a\n'''\nfrom sniplets import b\n'''", ""),
        ("from sniplets import *", "sniplets.*"),
        ("from . import a", ""),
        ("from sniplets import a\nfrom sniplets import a", "sniplets.a sniplets.a"),
        ("x = 1\r\nfrom sniplets import a\r\n", "sniplets.a"),
        ("\ufefffrom sniplets import a", "sniplets.a"),
    ],
)
def test_imports_are_found_wherever_they_stand(body: str, expected: str) -> None:
    assert names(body) == expected.split()


def test_libraries_may_import_each_other_relatively() -> None:
    body = "from . import a\nfrom .b import c\nfrom .. import d\nfrom .. queries import e"
    assert names(body, is_library=True) == ["sniplets.a", "sniplets.b"]


def test_a_place_is_counted_in_characters() -> None:
    (found,) = imports_of("x = 'ünï'; from queries import län")
    assert (found.kind, found.line, found.column) == (Kind.QUERY, 1, 32)


word = st.sampled_from(["a", "b_1", "some_report_xml", "_", "É", "import_"])
imported = st.lists(
    st.builds(lambda name, other: f"{name} as {other}" if other else name, word, st.none() | word),
    min_size=1,
    max_size=4,
)
package = st.just("sniplets") | st.just("queries") | st.builds(lambda a, b: f"queries.{a}{b}", word, st.just("") | word)
statement = st.builds(
    lambda source, things, gap, end: f"from{gap}{source}{gap}import{gap}{f',{gap}'.join(things)}{end}",
    package,
    imported,
    st.sampled_from([" ", "  "]),
    st.sampled_from(["", " ", "\r", "\nx = 1"]),
)


@given(st.lists(statement, max_size=4).map(lambda lines: "\n".join(["", *lines])))
def test_nothing_that_the_original_found_is_lost(body: str) -> None:
    ours, legacy = set(names(body)), legacy_imports(body)
    assert ours >= {f"sniplets.{name}" for name in legacy.snippets}
    assert ours >= {f"queries.{name}" for name in legacy.queries}


def test_what_libraries_include_is_included_once() -> None:
    main = Script(id="m", name="abc:f_xml", id_query="q-abc:f_xml", body="from sniplets import a")
    definitions = Definitions(
        scripts=(
            main,
            library("a", "from sniplets import b\nfrom queries import one"),
            library("b", "from . import a, c\nfrom queries import one"),
            library("c"),
            library("unused"),
        ),
        queries=(query("abc:f_xml"), query("one"), query("two")),
    )
    found = collect(main, definitions)
    assert [each.name for each in found.snippets] == ["a", "b", "c"]
    assert [each.name for each in found.queries] == ["one", "abc:f_xml"]


def test_the_original_s_collector_gives_the_same() -> None:
    body = """
from queries import lib_query_1,lib_query_2 as whatever, lib_query_3
from sniplets import lib_script_1,lib_script_2 as younameit
from sniplets import lib_script_3
"""
    main = Script(id="m", name="abc:f_xml", id_query="q-abc:f_xml", body=body)
    scripts = [library(f"lib_script_{n}") for n in (1, 2, 3)]
    queries = [query(name) for name in ("abc:f_xml", "lib_query_1", "lib_query_2", "lib_query_3")]
    found = collect(main, Definitions(scripts=(main, *scripts), queries=tuple(queries)))
    assert {each.name for each in found.snippets} == {f"lib_script_{n}" for n in (1, 2, 3)}
    assert [each.name for each in found.queries] == ["lib_query_1", "lib_query_2", "lib_query_3", "abc:f_xml"]


@pytest.mark.parametrize("body", ["from queries.one import query", "from queries import one", "import queries.one"])
def test_a_query_is_found_by_its_module_and_by_what_is_in_it(body: str) -> None:
    main = Script(id="m", name="main", body=body)
    assert [each.name for each in collect(main, Definitions(scripts=(main,), queries=(query("one"),))).queries] == [
        "one"
    ]


def test_every_unknown_name_is_told_with_its_line_and_the_nearest_known() -> None:
    body = "from sniplets import a, mysql_conect\n\nfrom queries.abc import countris"
    main = Script(id="m", name="abc:main", body=body)
    definitions = Definitions(
        scripts=(main, library("a", "import sniplets.gone"), library("mysql_connect")),
        queries=(query("abc:countries"),),
    )
    with pytest.raises(UnknownImports) as caught:
        collect(main, definitions)
    assert [str(each) for each in caught.value.unknown] == [
        "abc:main, line 1: sniplets has no 'mysql_conect', did you mean 'mysql_connect'?",
        "abc:main, line 3: queries has no 'abc:countris', did you mean 'abc:countries'?",
        "a, line 1: sniplets has no 'gone'",
    ]


PRESS = Script(id="p", name="press:titles_xml", id_query="q-press:titles_xml")


@pytest.mark.parametrize(
    ("name", "body", "reaches"),
    [
        ("press:a_csv", "from queries.press import titles_xml", True),
        ("museum:a_csv", "from queries.press import titles_xml", False),
        ("museum:a_csv", "from queries.press.titles_xml import query", False),
        ("museum:a_csv", "import queries.press.titles_xml", False),
        ("museum:a_csv", "from sniplets import far", False),
        ("press:a_csv", "from sniplets import far", False),
        ("pres:a_csv", "from queries.press import titles_xml", False),
        ("press", "from queries.press import titles_xml", False),
        ("museum:a_csv", "from queries import shared", True),
    ],
)
def test_a_client_s_queries_are_for_its_own_scripts(name: str, body: str, reaches: bool) -> None:
    main = Script(id="m", name=name, body=body)
    far = library("far", "from queries.press import titles_xml")
    definitions = Definitions(scripts=(main, PRESS, far), queries=(query("press:titles_xml"), query("shared")))
    if reaches:
        assert len(collect(main, definitions).queries) == 1
        return
    with pytest.raises(UnknownImports):
        collect(main, definitions)


def test_no_hint_tells_what_another_client_has() -> None:
    main = Script(id="m", name="museum:a_csv", body="from queries.press import titles_xm")
    said = []
    for known in ((), (query("press:titles_xml"),), (query("press:titles_xm"),)):
        with pytest.raises(UnknownImports) as caught:
            collect(main, Definitions(scripts=(main, PRESS), queries=known))
        said.append(str(caught.value))
    assert len(set(said)) == 1
    assert "a library query" in said[0]


def test_its_own_query_is_a_script_s_whatever_it_is_called() -> None:
    main = Script(id="m", name="museum:a_csv", id_query="q-press:titles_xml")
    assert collect(main, Definitions(scripts=(main,), queries=(query("press:titles_xml"),))).queries


def test_main_scripts_are_no_libraries() -> None:
    main = Script(id="m", name="main", body="from sniplets import other")
    with pytest.raises(UnknownImports):
        collect(main, Definitions(scripts=(main, replace(library("other"), type=ScriptType.MAIN))))


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        ("x = 1\nI am a syntax error", 2, "invalid syntax"),
        ("\n\nreturn 1", 3, "outside function"),
        ("a\n\0", 2, "NUL"),
        ("\n\n'\ud800'", 3, "half a character"),
        ("(" * 10_000, 1, "too many nested"),
        ("-" * 200_000 + "1", 0, "nested too deeply"),
        ("a" + ".b" * 60_000, 0, "nested too deeply"),
        ("x = 1\n" * LARGEST, 0, "at most"),
        ("# coding: utf-7\n", 1, "declares the encoding utf-7"),
        ("#!/usr/bin/python\n# -*- coding: latin-1 -*-\n", 2, "declares the encoding"),
        ("# coding: no-such\n", 1, "unknown encoding"),
    ],
)
def test_what_cannot_be_parsed_says_where_and_why(body: str, line: int, reason: str) -> None:
    with pytest.raises(BadScript, match=reason) as caught:
        imports_of(body, "abc:f_xml")
    assert caught.value.line == line
    assert "abc:f_xml" in str(caught.value)


@given(st.text() | st.text("()[]{}'\"\\\n\r\t:;#=. fromimportsniplets*", max_size=60))
def test_any_text_is_parsed_or_refused(body: str) -> None:
    try:
        imports_of(body)
    except BadScript:
        return

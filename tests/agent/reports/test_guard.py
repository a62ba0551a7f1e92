"""Laws of the code guard: the original's answers, the ways round it that it missed, and none of its false alarms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports.guard import EVAL, EXEC, OPEN, OS, SUBPROCESS, inspect, legacy_words, message, words_of
from rota.packs.reports.syntax import BadScript


def words(body: str) -> list[str]:
    return list(words_of(inspect(body)))


VECTORS = [
    ('import os\nos.system("x")', [OS], [OS]),
    ("from os import system", [], [OS]),
    ("cursor.execute(q)", [], []),
    ("urlopen(u)", [OPEN], []),
    ("x.reopen (f)", [OPEN], []),
    ("videos.append(1)", [OS], []),
    ("retrieval(x)", [EVAL], []),
    ("codec_exec (1)", [EXEC], []),
    ("# open (x)", [OPEN], []),
    ('s = "eval("', [EVAL], []),
    ('u = "https://oapen.os.example/"', [OS], []),
    ("exec\t(x)", [], [EXEC]),
    ("(exec\n(x))", [], [EXEC]),
    ("import subprocess as s\ns.run(1)", [], [SUBPROCESS]),
    ('getattr(__builtins__,"op"+"en")("f")', [], [EXEC, OPEN]),
    ('__import__("os")', [], [EXEC, OS]),
    ('import pathlib\npathlib.Path("x").read_text()', [], [OPEN]),
    ('import io\nio.open("x")', [OPEN], [OPEN]),
    ('OPEN("x")', [], []),
    ("", [], []),
    ('open (f"{x}")\nexec(test)\ncursor.execute(query)', [EXEC, OPEN], [EXEC, OPEN]),
    ("blabla(1)\ndo_it(2)", [], []),
    ("exec(whatever)\nsome, open(whatever)", [EXEC, OPEN], [EXEC, OPEN]),
    ("os.whatever(1)\neval(2)", [EVAL, OS], [EVAL]),
]


@pytest.mark.parametrize(("body", "legacy", "ours"), VECTORS)
def test_the_original_s_answers_are_kept_and_ours_are_right(body: str, legacy: list[str], ours: list[str]) -> None:
    assert sorted(legacy_words(body)) == sorted(legacy)
    assert words(body) == ours


def test_no_script_is_no_danger() -> None:
    assert legacy_words(None) == ()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("f = open\nf(1)", OPEN),
        ("ｏｐｅｎ('f')", OPEN),
        ("from io import open as o", OPEN),
        ("from codecs import open as o", OPEN),
        ("from builtins import eval as e\ne(1)", EVAL),
        ("from builtins import *", EXEC),
        ("import builtins as b\nb.open('f')", OPEN),
        ("import builtins as b\nb.compile", EXEC),
        ("__builtins__['ev' 'al']", EXEC),
        ("globals()['__builtins__']", EXEC),
        ("vars(io)['open']", OPEN),
        ("io.__dict__['op' + f'{\"en\"}']", OPEN),
        ("import sys\nsys.modules['os'].system('x')", OS),
        ("import sys\nsys.modules.get('subprocess')", SUBPROCESS),
        ("import importlib as i\ni.import_module('os')", OS),
        ("from importlib import import_module as load\nload(name)", EXEC),
        ("load = __import__\nload('o' + 's')", EXEC),
        ("__import__(name)", EXEC),
        ("import ctypes", EXEC),
        ("().__class__.__base__.__subclasses__()", EXEC),
        ("(lambda: 0).__globals__", EXEC),
        ("object.__getattribute__(f, '__glo' 'bals__')", EXEC),
        ("from operator import methodcaller\nmethodcaller('read_text')", OPEN),
        ("import shutil\nshutil.copy(a, b)", OPEN),
        ("import tempfile\ntempfile._os.system('x')", OS),
        ("from shutil import os as harmless", OS),
        ("import posix", OS),
        ("import os.path as p\np.join(1)", OS),
        ("def f():\n  from os import path", OS),
        ("import asyncio\nasyncio.create_subprocess_shell('x')", SUBPROCESS),
        ("from asyncio import create_subprocess_exec as c", SUBPROCESS),
        ("import multiprocessing.pool", SUBPROCESS),
        ("p.write_bytes(b'')", OPEN),
        ("@eval\n@input\ndef f(): pass", EVAL),
        ("async def f():\n  return [x async for x in y if eval(x)]", EVAL),
        ("match x:\n  case y if exec(y): pass", EXEC),
        ("f'{eval(\"1\")}'", EVAL),
        ("x: eval('1') = 2", EVAL),
    ],
)
def test_ways_round_the_original_are_found(body: str, word: str) -> None:
    assert word in words(body)


@pytest.mark.parametrize(
    "body",
    [
        "'''\nimport os\nos.system('x')\neval(1)'''",
        "from urllib.request import urlopen\nurlopen('https://example.org/os.html')",
        "row['open'], row['os'], row.get('exec'), country.code",
        "import re, json, csv, io\nre.compile('x')\nio.StringIO()",
        "connection.execute('select eval(1)')",
        "retrieval = 1\nosmosis = 2\nosmosis.x\nreopen(3)",
        "import pathlib\npathlib.PurePath('x').name",
        "def opening(opener): return opener.opened",
        "frame.eval('a + b')\nsession.exec(1)",
        "getattr(row, name), getattr(row, 'title', '')",
        "from sniplets import code, imp\nfrom queries.abc import open_access_xml",
        "print(__name__, __file__)",
        "vars()['x'], globals()['y'], locals().get('z')",
        "import sys\nsys.modules['json']",
        "device.os.name",
    ],
)
def test_what_is_harmless_is_no_finding(body: str) -> None:
    assert inspect(body) == ()


def test_findings_say_line_and_column_in_characters() -> None:
    body = "x = 1\nif x:\n    y = 'ünï', open('f')\nimport json, os"
    assert [str(found) for found in inspect(body)] == [
        f"line 3, column 16: {OPEN}",
        f"line 4, column 1: {OS}",
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"trilobiet:file_xml": [OPEN]}, "Illegal instructions found: {trilobiet:file_xml=[open()]}"),
        ({"a": [EXEC, OPEN], "b": [EVAL]}, "Illegal instructions found: {a=[exec(), open()], b=[eval()]}"),
        (
            {"s": [OS, SUBPROCESS], "t": []},
            "Illegal instructions found: {s=[os.[any method], subprocess.[any method]]}",
        ),
        ({"s": []}, ""),
        ({}, ""),
    ],
)
def test_the_message_is_the_original_s(found: dict[str, list[str]], expected: str) -> None:
    assert message(found) == expected


@pytest.mark.parametrize(
    "body", ["(" * 10_000, "-" * 100_000 + "x", "x" + "[0]" * 50_000, "\0", "'\ud800'", "1\n" * 200_000, "x y"]
)
def test_what_cannot_be_parsed_is_refused_without_a_crash(body: str) -> None:
    with pytest.raises(BadScript):
        inspect(body)


def test_a_long_sum_is_no_crash() -> None:
    assert words("getattr(x, " + "+".join(["''"] * 400) + "+'open')") == [OPEN]


@given(st.lists(st.sampled_from([body for body, _, ours in VECTORS if not ours and "\n" not in body])))
def test_harmless_lines_stay_harmless_together(lines: list[str]) -> None:
    assert inspect("\n".join(lines)) == ()


@given(st.sampled_from([body for body, _, ours in VECTORS if ours]), st.integers(0, 5))
def test_a_finding_stays_found_wherever_it_stands(body: str, depth: int) -> None:
    nested = body
    for _ in range(depth):
        nested = "if x:\n" + "".join(f"  {line}\n" for line in nested.splitlines())
    assert words(nested) == words(body)

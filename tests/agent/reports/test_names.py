"""Laws of names: the rules of the original's form hold everywhere, and say what would be right."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports import names
from rota.packs.reports.definitions import Client, Definitions, Query, Script, ScriptType, Task
from rota.packs.reports.names import BadName, check_definitions, check_file_name, check_library_name, check_username

CLIENT = Client(id="c", name="Some Press", username="Press")
SCRIPT = Script(id="s", name="press:a_xml")
TASK = Task(id="t", id_homedir="c", file_name="A.xml", extension="xml", id_script="s", start_date=date(2024, 1, 1))


def problems(**changed: object) -> str:
    whole = Definitions(clients=(CLIENT,), tasks=(TASK,), scripts=(SCRIPT,))
    return "\n".join(check_definitions(replace(whole, **changed)))  # type: ignore[arg-type]  # values of fields


@pytest.mark.parametrize("name", ["abc", "A_1", "___", "x" * 45, "TMP1"])
def test_a_user_name_is_three_to_forty_five_word_characters(name: str) -> None:
    check_username(name)


@pytest.mark.parametrize("name", ["", "ab", "x" * 46, "a b", "a/b", "..", "...", "a-b", "ünal", "abc\n", "tmp", "TMP"])
def test_no_other_user_name_is_taken(name: str) -> None:
    with pytest.raises(BadName):
        check_username(name)


@pytest.mark.parametrize("name", ["a.py", "report.xml", "a.b.xml", "_.csv", "R" * 96 + ".xml"])
def test_a_file_name_has_an_extension(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "a.b",
        "abcd",
        "abc.",
        "....",
        ".htaccess",
        "../a.xml",
        "a/b.xml",
        "a b.xml",
        "é.xml",
        "a.xml\n",
        "x" * 97 + ".xml",
    ],
)
def test_no_file_name_is_hidden_leaves_its_folder_or_lacks_an_extension(name: str) -> None:
    with pytest.raises(BadName):
        check_file_name(name)


@given(st.text(max_size=8) | st.from_regex(r"[./\\\w]{3,12}"))
def test_what_is_taken_for_a_file_name_is_one_part_of_a_path(name: str) -> None:
    try:
        check_file_name(name)
    except BadName:
        return
    assert name.isascii()
    assert not set("/\\\0\n") & set(name)
    assert name not in {".", ".."}
    assert not name.startswith(".")


@pytest.mark.parametrize(
    ("name", "right"), [("Ab", False), ("a", False), ("a_1", True), ("1a", False), ("is", False), ("a:b", False)]
)
def test_a_library_can_be_imported(name: str, right: bool) -> None:
    if right:
        check_library_name(name)
    else:
        with pytest.raises(BadName):
            check_library_name(name)


@pytest.mark.parametrize("key", ["0" * 32, "0123456789abcdefABCDEF0123456789"])
def test_a_key_has_32_hexadecimal_digits(key: str) -> None:
    names.check_key(key)


@pytest.mark.parametrize("key", ["", "0" * 31, "g" * 32, "0" * 32 + "\n"])
def test_a_bad_key_is_not_repeated(key: str) -> None:
    with pytest.raises(BadName) as caught:
        names.check_key(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("username", "file_name", "name"),
    [
        ("Trilobiet", "File.xml", "trilobiet:file_xml"),
        ("abc", "a_b.CSV", "abc:a_b_csv"),
        ("abc", "a.b.xml", "abc:a_b_xml"),
        ("abc", "a.b.c.xml", "abc:a_b_c_xml"),
    ],
)
def test_a_task_s_code_is_named_after_it_so_that_python_can_import_it(username: str, file_name: str, name: str) -> None:
    assert names.code_name(username, file_name) == name
    assert names.is_importable(name)


@pytest.mark.parametrize(("name", "extension"), [("a.xml", "xml"), ("a.b.C", "C"), ("abc", ""), ("abc.", "")])
def test_an_extension_follows_the_last_dot(name: str, extension: str) -> None:
    assert names.extension_of(name) == extension


def test_a_sound_set_has_no_problems() -> None:
    assert not problems()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"clients": (CLIENT, replace(CLIENT, id="d", username="PRESS"))}, "'Press' and 'PRESS' are one name"),
        ({"tasks": (TASK, replace(TASK, id="u", file_name="a.xml", id_script=None))}, "are one name"),
        ({"tasks": (replace(TASK, file_name="../A.xml"),)}, "'/' at place 3"),
        ({"tasks": (replace(TASK, extension="csv"),)}, "extension is said to be 'csv'"),
        ({"scripts": ()}, "its script s is not there"),
        ({"scripts": (replace(SCRIPT, type=ScriptType.SNIP),)}, "is a library"),
        ({"scripts": (replace(SCRIPT, name="other"),)}, "'press:a_xml' would be right"),
        ({"scripts": (replace(SCRIPT, id_query="q"),)}, "its query q is not there"),
        ({"tasks": (TASK, replace(TASK, id="u", file_name="b.xml"))}, "belongs to 2 reports"),
        ({"queries": (Query(id="q", name="Lib", is_library=True),)}, "'L' at place 1"),
        ({"queries": (Query(id="q", name="press", is_library=True),)}, "of the client Press are imported from queries"),
        ({"queries": (Query(id="q", name="press:1_xml"),)}, "Python cannot import it"),
        ({"queries": (Query(id="q", name="ab"), Query(id="r", name="ab"))}, "'ab' and 'ab' are one name"),
    ],
)
def test_what_is_wrong_with_a_set_is_said(changed: dict[str, object], said: str) -> None:
    assert said in problems(**changed)


@pytest.mark.parametrize("check", [check_username, check_file_name, check_library_name])
def test_a_long_name_is_not_repeated_whole(check: Callable[[str], None]) -> None:
    with pytest.raises(BadName) as caught:
        check("x" * 10_000)
    assert len(str(caught.value)) < 200

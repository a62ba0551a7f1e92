"""Laws of definitions as files: what is written is read the same, and what is wrong says in which file and line."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.packs.reports.definitions import (
    Check,
    Client,
    Definitions,
    Frequency,
    MonthEnd,
    Query,
    Script,
    ScriptType,
    Task,
)
from rota.packs.reports.folder import (
    BadFolder,
    NotWritable,
    canonical,
    files_of,
    identifier,
    read_folder,
    write_folder,
)
from rota.packs.reports.names import code_name

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        "a\r\nb\r\n",
        "\tx\n",
        "trailing  \n\n  \n",
        "0644",
        "12:30",
        "no",
        "2024-01-31",
        "~",
        "ünï\u2028",
        "# x\n",
        "\ufeff",
    ]
)
ids = st.sampled_from(["", *"abcdefgh"])


def build(draw: st.DrawFn) -> Definitions:
    """A client or two, with tasks that own, share, or lack their scripts and queries; and some that nobody owns."""
    usernames = draw(st.lists(st.sampled_from(["abc", "Press_1", "___"]), unique=True, max_size=2))
    clients = [
        Client(
            id=identifier("client", name) if draw(st.booleans()) else identifier("its own", name),
            name=draw(text),
            username=name,
            password=draw(text),
            access_key=draw(text),
            is_editable=draw(st.booleans()),
            notes=draw(text),
        )
        for name in usernames
    ]
    scripts, queries, tasks = [], [], []
    for name in draw(st.lists(st.sampled_from(["lib", "lib_2", "gone:a_xml", "gone:a_b.xml"]), unique=True)):
        queries.append(
            Query(
                id=identifier("its own", name),
                name=name,
                body=draw(text),
                notes=draw(text),
                is_library=draw(st.booleans()),
            )
        )
        kind = draw(st.sampled_from(ScriptType))
        wanted = draw(st.sampled_from([None, *(query.id for query in queries)]))
        scripts.append(Script(id=identifier("its own", name), name=name, body=draw(text), type=kind, id_query=wanted))
    for client in clients:
        for file_name in draw(
            st.lists(st.sampled_from(["a.xml", "A.csv", "a.b.json", "client.yml", "a.xml.py"]), unique=True)
        ):
            name = code_name(client.username, file_name) if draw(st.booleans()) else f"{client.username}:{file_name}"
            if draw(st.booleans()):
                query = Query(id=identifier("query", name), name=name, body=draw(text), params=draw(text))
                if draw(st.booleans()):
                    queries.append(query)
                wanted = draw(st.sampled_from([None, *(query.id for query in queries)]))
                scripts.append(
                    Script(id=identifier("script", name), name=name, body=draw(text), id_query=wanted, notes=draw(text))
                )
            tasks.append(
                Task(
                    id=identifier("its own", name),
                    id_homedir=client.id,
                    file_name=file_name,
                    extension=draw(st.sampled_from(["", file_name.rpartition(".")[2]])),
                    id_script=draw(st.sampled_from([None, *(script.id for script in scripts)])),
                    description=draw(text),
                    start_date=draw(st.dates()),
                    frequency=draw(st.sampled_from(Frequency)),
                    is_active=draw(st.booleans()),
                    is_public=draw(st.booleans()),
                    notes=draw(text),
                    month_end=draw(st.sampled_from(MonthEnd)),
                    catch_up=draw(st.booleans()),
                    checks=tuple(draw(st.lists(st.sampled_from(Check), unique=True))),
                    shrink_percent=draw(st.none() | st.integers(0, 100)),
                    keep=draw(st.integers(0, 9)),
                    timeout=draw(st.integers(0, 9)),
                )
            )
    return Definitions(tuple(clients), tuple(tasks), tuple(scripts), tuple(queries))


@pytest.mark.parametrize("notes", ["\x85", "a\x85b", "\u2028", "a\u2029 b", "a\r\nb", "a\nb", " \n", "\ufeff", "\t"])
def test_a_text_with_unusual_ends_of_lines_stays_as_it_is(tmp_path: Path, notes: str) -> None:
    client = Client(id="c", name="Acme", username="acme", notes=notes)
    write_folder(Definitions(clients=(client,)), tmp_path)
    assert read_folder(tmp_path).clients == (client,)


@settings(max_examples=25, deadline=None)
@given(st.composite(build)())
def test_what_is_written_is_read_the_same(definitions: Definitions) -> None:
    with TemporaryDirectory() as name:
        write_folder(definitions, Path(name))
        assert read_folder(Path(name)) == canonical(definitions)
        assert write_folder(definitions, Path(name)) == ()


SMALL = {
    "abc/client.yml": "name: Some Press\n",
    "abc/titles.xml.yml": "start_date: 2024-01-31\nfrequency: W\nis_active: true\n",
    "abc/titles.xml.py": "from sniplets import connect\r\n",
    "abc/titles.xml.sql": "select 1",
    "libraries/connect.py": "",
    "libraries/countries.sql": "select 2\n",
    "README.md": "ours",
    "docs/page.md": "not a client",
}


def put(folder: Path, **changed: str | None) -> Path:
    for name, content in {**SMALL, **{key.replace("__", "/"): value for key, value in changed.items()}}.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode())
    return folder


def test_what_is_written_by_hand_needs_no_ids(tmp_path: Path) -> None:
    found = read_folder(put(tmp_path))
    (task,), (query, library) = found.tasks, found.queries
    script = found.script_of(task)
    assert script is not None
    assert (script.name, script.body) == ("abc:titles_xml", "from sniplets import connect\r\n")
    assert found.query_of(script) == query
    assert (query.name, query.is_library, library.is_library) == ("abc:titles_xml", False, True)
    assert (task.start_date, task.frequency, task.extension) == (date(2024, 1, 31), Frequency.WEEKLY, "xml")
    assert list(found.snippets) == ["connect"]
    assert read_folder(tmp_path) == found
    assert write_folder(found, tmp_path) == ()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "abc/titles.xml.yml",
            "keep: 1\n\nfrequenzy: M\n",
            "titles.xml.yml, line 3: there is no 'frequenzy', did you mean 'freq",
        ),
        ("abc/titles.xml.yml", "keep: 1\nfrequency: Q\n", "line 2: 'Q' is not a valid Frequency; one of D, W, M, Y"),
        ("abc/titles.xml.yml", "start_date: soon\n", "abc/titles.xml.yml, line 1: Invalid isoformat string: 'soon'"),
        ("abc/titles.xml.yml", "is_active: true\n", "abc/titles.xml.yml, line 1: start_date: is missing"),
        (
            "abc/titles.xml.yml",
            "start_date: 2024-01-31\nis_active: yes\n",
            "line 2: is_active: expected bool, not 'yes'",
        ),
        ("abc/titles.xml.yml", "a: b: c\n", "abc/titles.xml.yml, line 1, column 5"),
        ("abc/titles.xml.yml", "- a\n", "abc/titles.xml.yml, line 1: expected names with values"),
        ("abc/titles.xml.yml", None, "abc/titles.xml.py: it belongs to no report; there is no titles.xml.yml"),
        ("abc/titles.xml.py", None, "abc/titles.xml.yml, line 1: there is a query, and no script"),
        ("abc/client.yml", None, "abc/client.yml: it is missing"),
        ("abc/client.yml", "name: 12\n", "abc/client.yml, line 1: name: expected str, not 12"),
        (
            "abc/titles.xml.yml",
            "start_date: 2024-01-31\nscript: other\n",
            "line 2: it is said to be 'other', but there is titles.xml.py",
        ),
        (
            "abc/b.xml.yml",
            "start_date: 2024-01-31\nscript: conect\n",
            "abc/b.xml.yml, line 2: there is no script 'conect', did you mean 'connect'?",
        ),
        ("abc/b.yml", "start_date: 2024-01-31\n", "abc/b.yml: This name cannot be used"),
        ("tmp/client.yml", "name: T\n", "tmp: This name cannot be used: user name 'tmp'"),
        ("libraries/abc.sql", "select 3", "libraries/abc.sql: This name cannot be used: library query 'abc'"),
        ("libraries/gone.py.yml", "notes: x\n", "libraries/gone.py.yml: there is no gone.py"),
    ],
)
def test_what_is_wrong_says_in_which_file_and_line(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    with pytest.raises(BadFolder) as caught:
        read_folder(put(tmp_path, **{name: content}))
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, abc__x="", **{"abc/client.yml": "name: 1\n", "x_y/client.yml": "nam: 1\n"})
    (tmp_path / "libraries/bad.py").write_bytes(b"\n\xff")
    with pytest.raises(BadFolder) as caught:
        read_folder(tmp_path)
    assert [problem.partition(",")[0] for problem in caught.value.problems] == [
        "abc/client.yml",
        "libraries/bad.py",
        "x_y/client.yml",
    ]


def test_what_is_gone_is_removed_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    found = read_folder(put(tmp_path))
    (tmp_path / "abc/README").write_text("ours")
    changed = write_folder(Definitions(), tmp_path)
    assert {str(name) for name in changed} == {name for name in SMALL if name.startswith(("abc", "lib"))}
    left = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert left == {"README.md", "docs/page.md", "abc/README"}
    write_folder(found, tmp_path)
    assert read_folder(tmp_path) == found


@pytest.mark.parametrize(
    "theirs", ["libraries/theirs.py", "libraries/sub/theirs.sql", "abc/titles.xml.py", "libraries/connect.py"]
)
def test_what_is_not_ours_is_neither_replaced_nor_removed(tmp_path: Path, theirs: str) -> None:
    found = read_folder(put(tmp_path / "reports"))
    (tmp_path / "other" / theirs).parent.mkdir(parents=True)
    (tmp_path / "other" / theirs).write_text("theirs")
    with pytest.raises(NotWritable, match=f"{theirs} would be lost"):
        write_folder(found, tmp_path / "other")
    assert [each.read_text() for each in (tmp_path / "other").rglob("*") if each.is_file()] == ["theirs"]


def test_hashes_are_for_the_owner_of_the_files_alone(tmp_path: Path) -> None:
    client, other = (Client(id=name, name="Some Press", username=name) for name in ("abc", "other"))
    file = tmp_path / "abc/client.yml"
    write_folder(Definitions(clients=(client, other)), tmp_path)
    assert file.stat().st_mode & 0o044
    secret = Definitions(clients=(replace(client, access_key="0" * 64), other))
    write_folder(secret, tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert write_folder(secret, tmp_path) == ()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "other/client.yml").stat().st_mode & 0o044


@pytest.mark.parametrize(
    "wrong",
    [
        Definitions(clients=(Client(id="c", name="n", username="../x"),)),
        Definitions(clients=(Client(id="c", name="n", username="libraries"),)),
        Definitions(scripts=(Script(id="s", name="../x"),)),
        Definitions(scripts=(Script(id="s", name="aa", body="\ud800"),)),
        Definitions(scripts=(Script(id="s", name="aa", id_query="gone"),)),
        Definitions(scripts=(Script(id="s", name="aa"), Script(id="t", name="aa"))),
        Definitions(queries=(Query(id="s", name="aa"), Query(id="s", name="ab"))),
    ],
)
def test_what_no_file_can_hold_is_refused_before_anything_is_written(tmp_path: Path, wrong: Definitions) -> None:
    put(tmp_path)
    with pytest.raises(NotWritable):
        write_folder(wrong, tmp_path)
    assert read_folder(tmp_path).tasks


def test_what_follows_from_its_place_is_not_written() -> None:
    client = Client(id=identifier("client", "abc"), name="Some Press", username="abc")
    task = Task(
        id=identifier("task", "abc/a.xml"),
        id_homedir=client.id,
        file_name="a.xml",
        extension="xml",
        description="First line,\nsecond line: ünï.\n",
        start_date=date(2024, 1, 31),
        checks=(Check.XML,),
    )
    files = files_of(Definitions(clients=(client,), tasks=(task,)))
    assert {str(name): content.decode() for name, content in files.items()} == {
        "abc/client.yml": "name: Some Press\n",
        "abc/a.xml.yml": "description: |\n  First line,\n  second line: ünï.\nstart_date: 2024-01-31\n"
        "frequency: M\nis_active: false\nchecks:\n- xml\n",
    }
    assert files_of(Definitions(clients=(replace(client, id="own"),)))[Path("abc/client.yml")].startswith(b"id: own\n")

"""What a deploy would change, told from the commits of a real repository."""

from pathlib import Path

import pytest

from provision.preview import SHOWN_COMMITS, preview
from provision.release import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "Ann")
    git(tmp_path, "config", "user.email", "ann@example.org")
    return tmp_path


def commit(repository: Path, title: str, **files: str) -> str:
    """Make a commit and return the name that its release would have."""
    for name, text in files.items():
        (repository / "agent").mkdir(exist_ok=True)
        (repository / "agent" / name).write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "-q", "--allow-empty", "-m", title)
    return f"20260101T000000Z-{git(repository, 'rev-parse', 'HEAD')[:12]}"


def test_each_host_is_told_with_the_commits_that_come_in(repository: Path) -> None:
    old, _, new = (commit(repository, title) for title in ("first", "mend the lock", "name the host"))

    told = list(preview(repository, {"a": old, "b": new, "c": None}, {"a": new, "b": new, "c": new}))

    assert told[:3] == [f"a: {old} → {new}", f"b: stays at {new}", f"c: no release → {new}"]
    assert told[3] == "Commits that come in (2):"
    assert [line.split(maxsplit=1)[1] for line in told[4:]] == ["name the host", "mend the lock"]


def test_going_back_names_what_goes_out(repository: Path) -> None:
    old, new = commit(repository, "first"), commit(repository, "second")

    told = list(preview(repository, {"a": new}, {"a": old}))

    assert told[1] == "Commits that go out (1):"
    assert told[2].endswith(" second")


def test_a_release_of_another_clone_is_called_that(repository: Path) -> None:
    known, unknown = commit(repository, "first"), "20260101T000000Z-0123456789ab"

    assert list(preview(repository, {"a": unknown}, {"a": known}, diff=True))[1:] == [
        f"{unknown}: no commit of this clone, so what lies between cannot be listed"
    ]


def test_the_files_that_reach_hosts_are_listed_on_demand(repository: Path) -> None:
    old = commit(repository, "first", here="1")
    (repository / "README").write_text("not for hosts")
    new = commit(repository, "second", here="2")

    shown = "\n".join(preview(repository, {"a": old}, {"a": new}, diff=True))

    assert "agent/here | 2 +-" in shown
    assert "README" not in shown
    assert "agent/here" not in "\n".join(preview(repository, {"a": old}, {"a": new}))


def test_many_commits_are_counted(repository: Path) -> None:
    releases = [commit(repository, f"number {n}") for n in range(SHOWN_COMMITS + 6)]

    told = list(preview(repository, {"a": releases[0]}, {"a": releases[-1]}))

    assert told[1] == f"Commits that come in ({SHOWN_COMMITS + 5}):"
    assert told[-1] == "  … and 5 more"

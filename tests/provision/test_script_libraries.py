"""What report scripts may import: locked, fetched with a release and told before it, for the hosts that name a lock."""

import hashlib
import json
from pathlib import Path

import pytest

from provision import deploying, release
from provision.preview import library_changes
from tests.provision.test_preview import commit
from tests.provision.test_release import NOW, PLATFORM, build, git, index, members, pin_line, repository, wheel, write

__all__ = ["index", "repository"]

LOCK = "requirements/report-scripts.txt"


def build_with(repository: Path, cache: Path, lock: str = LOCK) -> Path:
    source = release.resolve(repository, "HEAD")
    about = {"cache": cache, "now": NOW, "who": "ann@desk"}
    return release.bundle(repository, source, (), PLATFORM, **about, scripts=lock)  # type: ignore[arg-type]  # by name


@pytest.fixture
def with_libraries(repository: Path, index: Path) -> Path:
    write(repository, {LOCK: pin_line(wheel(index, "shelf"))})
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "Two")
    return repository


def relock(repository: Path, text: str) -> None:
    write(repository, {LOCK: text})
    git(repository, "commit", "--quiet", "--all", "--message", "Three")


def test_a_bundle_lists_them_apart_from_the_agent_s(with_libraries: Path, index: Path, tmp_path: Path) -> None:
    found = members(build_with(with_libraries, tmp_path / "cache"))

    digest = hashlib.sha256((index / "shelf-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert found["libraries.txt"].decode() == f"shelf==1.0 --hash=sha256:{digest}\n"
    assert "wheels/shelf-1.0-py3-none-any.whl" in found
    assert b"shelf" not in found["requirements.txt"]
    assert json.loads(found["RELEASE.json"])["script_requirements"] == LOCK


def test_a_host_that_names_no_lock_gets_none(with_libraries: Path, tmp_path: Path) -> None:
    found = members(build(with_libraries, tmp_path / "cache"))

    assert "libraries.txt" not in found
    assert "wheels/shelf-1.0-py3-none-any.whl" not in found


BAD = {
    "shelf==1.0\n": r"shelf==1.0 in requirements/report-scripts.txt has no hash",
    "shelf>=1.0 --hash=sha256:aa\n": r"'shelf>=1.0' pins no version",
    "shelf==1.* --hash=sha256:aa\n": r"pins no version",
    "--index-url https://example.org/\n": r"is not NAME==VERSION",
    "shelf @ https://example.org/shelf.whl --hash=sha256:aa\n": r"pins no version",
}


@pytest.mark.parametrize("text", BAD)
def test_a_lock_that_leaves_something_open_is_refused(with_libraries: Path, tmp_path: Path, text: str) -> None:
    relock(with_libraries, text)

    with pytest.raises(release.BadLock, match=BAD[text]):
        build_with(with_libraries, tmp_path / "cache")


def test_a_package_without_a_wheel_for_the_hosts_python_is_named(
    with_libraries: Path, index: Path, tmp_path: Path
) -> None:
    relock(with_libraries, pin_line(wheel(index, "later", "cp399-cp399-manylinux_2_17_x86_64")))

    with pytest.raises(release.MissingWheel, match=r"later==1.0 for Python 3.11 on x86_64"):
        build_with(with_libraries, tmp_path / "cache")


@pytest.mark.parametrize("lock", ["requirements/absent.txt", "/etc/passwd", "requirements/../x.txt", "x.txt"])
def test_a_host_names_nothing_but_a_lock_of_the_commit(with_libraries: Path, tmp_path: Path, lock: str) -> None:
    with pytest.raises(release.BadLock, match=lock):
        build_with(with_libraries, tmp_path / "cache", lock)


def test_a_release_made_with_another_lock_is_not_what_the_host_needs() -> None:
    def report(wanted: str, made: str) -> deploying.Report:
        installed = {"id": "R", "extras": [], "script_requirements": made}
        answer = {"current": installed, "previous": None, "armed": None, "python": "3.11", "machine": "x86_64"}
        answer |= {"extras": [], "diary": False, "serving": None, "releases": [installed]}
        return deploying.parse_report("host", answer | {"script_requirements": wanted})

    assert report(LOCK, LOCK).runs("R")
    assert report("", "").runs("R")
    assert not report(LOCK, "").runs("R")
    assert not report("", LOCK).runs("R")


def test_a_preview_tells_which_packages_come_go_and_change(tmp_path: Path) -> None:
    def locked(title: str, text: str) -> str:
        write(tmp_path, {LOCK: text})
        return commit(tmp_path, title)

    git(tmp_path, "init", "--quiet")
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        git(tmp_path, "config", name, value)
    old = locked("first", "a==1\nb==1\nc==1\nw==1 ; sys_platform == 'win32'\n")
    new = locked("second", "a==1\nb==2\nd==1\n")

    told = list(library_changes(tmp_path, (old, LOCK), (new, LOCK), PLATFORM))

    assert told == [f"What scripts may import ({LOCK}):", "  b 1 → 2", "  c 1 → (gone)", "  d (new) → 1"]
    assert list(library_changes(tmp_path, (new, LOCK), (new, LOCK), PLATFORM)) == []
    assert list(library_changes(tmp_path, (None, ""), (old, ""), PLATFORM)) == []
    assert len(list(library_changes(tmp_path, (None, ""), (new, LOCK), PLATFORM))) == 4
    assert list(library_changes(tmp_path, ("20260101T000000Z-0123456789ab", LOCK), (new, LOCK), PLATFORM)) == []
    with pytest.raises(release.BadLock, match="has no requirements/absent.txt"):
        list(library_changes(tmp_path, (old, LOCK), (new, "requirements/absent.txt"), PLATFORM))

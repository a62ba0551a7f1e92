"""A bundle is what its commit says, byte for byte, and whatever cannot be built is refused with the reason."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision import release
from provision.release import Pin, Platform

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLATFORM = Platform("3.11", "x86_64")

PACKAGE = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "rota"
version = "0.1.0"

[project.optional-dependencies]
diary = ["leaf"]

[tool.setuptools.packages.find]
where = ["src"]
"""


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *author, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def wheel(folder: Path, name: str, tag: str = "py3-none-any") -> Path:
    """A wheel of one empty module, written by hand: what pip fetches, not how it is built, matters here."""
    import zipfile

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def pin_line(path: Path, marker: str = "") -> str:
    name, version, _ = path.name.split("-", 2)
    return f"{name}=={version}{marker} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole world of wheels."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def repository(tmp_path: Path, index: Path) -> Path:
    folder = tmp_path / "repository"
    write(
        folder,
        {
            "agent/pyproject.toml": PACKAGE,
            "agent/src/rota/__init__.py": '"""A small agent."""\n',
            "requirements/agent.txt": "",
            "requirements/agent-diary.txt": pin_line(wheel(index, "leaf")),
            "README.md": "Not for hosts.\n",
        },
    )
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "One", "--date", "2026-01-02T03:04:05Z")
    return folder


def build(repository: Path, cache: Path, *extras: str, dirty: bool = False, ref: str = "HEAD") -> Path:
    source = release.resolve(repository, ref, dirty=dirty)
    return release.bundle(repository, source, extras, PLATFORM, cache=cache, now=NOW, who="ann@desk")


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {name: stream.read() for name in tar.getnames() if (stream := tar.extractfile(name))}


def test_the_same_commit_gives_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "somewhere" / "else"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))

    one = build(repository, tmp_path / "one", "diary")
    other = build(clone, tmp_path / "other", "diary")

    assert one.read_bytes() == other.read_bytes()


def test_a_bundle_holds_the_wheels_their_hashes_and_where_they_came_from(repository: Path, tmp_path: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")

    found = members(build(repository, tmp_path / "cache", "diary"))

    wheels = {name.removeprefix("wheels/"): content for name, content in found.items() if name.endswith(".whl")}
    assert set(wheels) == {"rota-0.1.0-py3-none-any.whl", "leaf-1.0-py3-none-any.whl"}
    digests = {name.split("-")[0]: hashlib.sha256(content).hexdigest() for name, content in wheels.items()}
    assert found["requirements.txt"].decode() == (
        f"leaf==1.0 --hash=sha256:{digests['leaf']}\nrota[diary]==0.1.0 --hash=sha256:{digests['rota']}\n"
    )
    about = json.loads(found["RELEASE.json"])
    assert about["commit"] == commit
    assert about["id"].endswith(f"Z-{commit[:12]}")
    assert (about["dirty"], about["extras"], about["built_by"]) == (False, ["diary"], "ann@desk")
    assert about["built_at"] == "2026-03-01T12:00:00Z"


def test_a_release_is_named_by_commit_time_and_commit() -> None:
    committed = datetime.fromisoformat("2026-01-02T04:04:05+01:00")

    assert release.release_id(committed, "0123456789abcdef" + "0" * 24) == "20260102T030405Z-0123456789ab"


def test_a_bundle_is_made_once(repository: Path, tmp_path: Path) -> None:
    first = build(repository, tmp_path / "cache")
    made = first.stat().st_ino

    assert build(repository, tmp_path / "cache") == first
    assert first.stat().st_ino == made


def test_hosts_with_other_extras_get_another_bundle(repository: Path, tmp_path: Path) -> None:
    assert build(repository, tmp_path / "cache") != build(repository, tmp_path / "cache", "diary")


def test_a_dirty_tree_is_refused_with_the_list_of_files(repository: Path, tmp_path: Path) -> None:
    write(repository, {"README.md": "Changed.\n", "notes.txt": "New.\n"})

    with pytest.raises(release.DirtyTree) as refused:
        build(repository, tmp_path / "cache")

    assert "M README.md" in str(refused.value)
    assert "?? notes.txt" in str(refused.value)


def test_a_dirty_tree_is_built_when_asked_for_and_says_so(repository: Path, tmp_path: Path) -> None:
    clean = release.resolve(repository, "HEAD")
    write(repository, {"agent/src/rota/added.py": "ADDED = 1\n"})
    before = git(repository, "status", "--porcelain")

    path = build(repository, tmp_path / "cache", dirty=True)

    about = json.loads(members(path)["RELEASE.json"])
    assert about["dirty"] is True
    assert about["commit"] == clean.commit
    assert about["id"] != clean.id
    assert b"added.py" in members(path)["wheels/rota-0.1.0-py3-none-any.whl"]
    assert git(repository, "status", "--porcelain") == before, "the index is left alone"


def test_the_same_changes_are_the_same_release(repository: Path) -> None:
    write(repository, {"agent/src/rota/added.py": "ADDED = 1\n"})

    assert release.resolve(repository, "HEAD", dirty=True).id == release.resolve(repository, "HEAD", dirty=True).id


def test_changes_do_not_hinder_the_release_of_another_commit(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Two")
    write(repository, {"notes.txt": "New.\n"})

    assert release.resolve(repository, first).dirty is False


def test_an_unknown_ref_is_named(repository: Path) -> None:
    with pytest.raises(release.UnknownRef, match="'v9'"):
        release.resolve(repository, "v9")


def test_a_ref_that_looks_like_an_option_is_only_a_ref(repository: Path) -> None:
    with pytest.raises(release.UnknownRef, match="--help"):
        release.resolve(repository, "--help")


def test_a_commit_without_an_agent_is_refused(repository: Path, tmp_path: Path) -> None:
    git(repository, "rm", "--quiet", "-r", "agent")
    git(repository, "commit", "--quiet", "--message", "Two")

    with pytest.raises(release.NotDeployable, match="agent"):
        build(repository, tmp_path / "cache")


def test_a_package_that_does_not_build_shows_why(repository: Path, tmp_path: Path) -> None:
    write(repository, {"agent/pyproject.toml": PACKAGE.replace('"rota"', '"no name"')})
    git(repository, "commit", "--quiet", "--all", "--message", "Two")

    with pytest.raises(release.BuildFailed, match="name"):
        build(repository, tmp_path / "cache")


def test_a_locked_wheel_that_no_host_can_run_is_named(repository: Path, index: Path, tmp_path: Path) -> None:
    foreign = wheel(index, "foreign", "cp311-cp311-win_amd64")
    write(repository, {"requirements/agent.txt": pin_line(foreign)})
    git(repository, "commit", "--quiet", "--all", "--message", "Two")

    with pytest.raises(release.MissingWheel, match=r"foreign==1.0 for Python 3.11 on x86_64"):
        build(repository, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_wheel_other_than_the_locked_one_is_refused(repository: Path, index: Path, tmp_path: Path) -> None:
    altered = index / "leaf-1.0-py3-none-any.whl"
    altered.write_bytes(wheel(tmp_path / "other", "leaf").read_bytes() + b"\0")

    with pytest.raises(release.AlteredWheel, match="leaf"):
        build(repository, tmp_path / "cache", "diary")


def test_wheels_once_fetched_need_no_network(repository: Path, index: Path, tmp_path: Path) -> None:
    build(repository, tmp_path / "cache", "diary")
    for path in index.iterdir():
        path.unlink()
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Two")

    assert build(repository, tmp_path / "cache", "diary").exists()


def test_an_index_out_of_reach_is_called_that() -> None:
    output = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\n"
        "ERROR: No matching distribution found for leaf==1.0"
    )

    assert str(release.download_error(output, PLATFORM)).startswith("The locked wheels are not cached yet")


def test_markers_are_judged_for_the_host_not_for_this_machine() -> None:
    lock = (
        "old==1.0 ; python_full_version < '3.13' \\\n    --hash=sha256:aa\n"
        "windows==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:bb\n"
        "Every.Where==1.0 \\\n    --hash=sha256:cc \\\n    --hash=sha256:dd\n"
    )

    assert [pin.name for pin in release.pins_of(lock, Platform("3.11", "x86_64"))] == ["old", "every-where"]
    assert release.pins_of(lock, Platform("3.13", "aarch64")) == (
        Pin("every-where", "1.0", ("sha256:cc", "sha256:dd")),
    )


def test_locks_that_disagree_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"agent-a.txt": "x==1 --hash=sha256:aa\n", "agent-b.txt": "x==2 --hash=sha256:bb\n"},
    )

    with pytest.raises(release.BadLock, match=r"x==2 and x==1"):
        release.locked(tmp_path, ("a", "b"), PLATFORM)


def test_an_extra_without_a_lock_is_refused_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, {"agent-a.txt": ""})

    with pytest.raises(release.BadLock, match=r"agent-b.txt; there are: agent-a.txt"):
        release.locked(tmp_path, ("b",), PLATFORM)


def test_a_requirement_without_a_hash_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"agent.txt": "x==1\n"})

    with pytest.raises(release.BadLock, match="x==1 .* has no hash"):
        release.locked(tmp_path, (), PLATFORM)


def test_the_locks_name_no_address() -> None:
    for path in (Path(__file__).parents[2] / "requirements").glob("*.txt"):
        assert "://" not in path.read_text(), path.name


def test_old_bundles_are_forgotten(tmp_path: Path) -> None:
    import os

    for number in range(release.KEPT_BUNDLES + 3):
        path = tmp_path / f"{number}.tar"
        path.touch()
        os.utime(path, (number, number))

    release.forget_old(tmp_path)

    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == list(range(3, release.KEPT_BUNDLES + 3))

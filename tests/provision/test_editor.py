"""The editor of scripts in a release: its files are in the wheel, and without the programs that make it all else is."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest

from provision import editor
from provision.caching import digest_of
from tests.provision.test_release import PACKAGE, build, git, index, members, repository, write

__all__ = ["index", "repository"]

SOURCES = {"package.json": "{}", "package-lock.json": "{}", "editor.js": "// nothing"}
DATA = '\n[tool.setuptools.package-data]\nrota = ["**/*.js", "**/*.txt"]\n'


@pytest.fixture
def with_editor(repository: Path) -> Path:
    write(repository, {f"agent/editor/{name}": text for name, text in SOURCES.items()})
    write(repository, {"agent/pyproject.toml": PACKAGE + DATA})
    for package in ("packs", "packs/reports", "packs/reports/diary"):
        write(repository, {f"agent/src/rota/{package}/__init__.py": ""})
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "Two")
    return repository


@pytest.fixture
def without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "tar"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))


def shipped(path: Path) -> set[str]:
    content = members(path)["wheels/rota-0.1.0-py3-none-any.whl"]
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        return {name.rpartition("/")[2] for name in wheel.namelist() if "/static/" in name}


def test_a_wheel_has_the_editor_and_its_licences(with_editor: Path, without_npm: None, tmp_path: Path) -> None:
    made = tmp_path / "cache/editor" / digest_of(editor.FORMAT, *SOURCES.values())
    write(made, {editor.BUNDLE: "// made before", editor.LICENCES: "MIT"})

    assert shipped(build(with_editor, tmp_path / "cache")) == {editor.BUNDLE, editor.LICENCES}


def test_without_the_programs_for_it_a_release_is_made_and_says_what_it_lacks(
    with_editor: Path, without_npm: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = build(with_editor, tmp_path / "cache")

    said = capsys.readouterr().out
    assert said == (
        "Scripts will be edited in plain text areas, for their editor could not be made: "
        "npm is not there; on Debian: apt-get install npm esbuild\n"
    )
    assert shipped(path) == set()
    made = tmp_path / "cache/editor" / digest_of(editor.FORMAT, *SOURCES.values())
    write(made, {editor.BUNDLE: "// made meanwhile", editor.LICENCES: "MIT"})
    assert shipped(build(with_editor, tmp_path / "cache")) == {editor.BUNDLE, editor.LICENCES}


def test_the_licence_of_each_package_in_the_bundle_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"node_modules/@a/b/LICENSE": "of b", "node_modules/c/LICENSE": "of c"})
    inputs = ["node_modules/c/x/y.js", "node_modules/@a/b/x.js", "node_modules/@a/b/y.js", "editor.js"]

    assert editor.licences(tmp_path, inputs) == "@a/b\n\nof b\nc\n\nof c"


def test_the_lock_has_hashes_and_no_addresses() -> None:
    import json

    lock = json.loads((Path(__file__).parents[2] / "agent/editor/package-lock.json").read_text())
    packages = {name: about for name, about in lock["packages"].items() if name}
    assert packages
    assert all(about["integrity"].startswith("sha512-") for about in packages.values())
    assert not [name for name, about in packages.items() if "resolved" in about]

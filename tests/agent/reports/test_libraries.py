"""Libraries of a release as scripts see them: installed by the host's own program, and not to be changed."""

import hashlib
import importlib.metadata
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rota.adapters.report import Report
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.tasks import libraries_of
from tests.agent.neighbours import open_folder
from tests.agent.reports.sandboxes import run
from tests.provision.test_release import wheel
from tests.provision.test_release_host import A, B, Host, make_bundle, release_json

LOCK = "requirements/report-scripts.txt"


def wheel_with_a_c_extension(folder: Path) -> Path:
    """MarkupSafe again as it was before it was installed here."""
    found = importlib.metadata.distribution("markupsafe")
    tag = (found.read_text("WHEEL") or "").partition("\nTag: ")[2].partition("\n")[0]
    path = folder / f"markupsafe-{found.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or ():
            if "__pycache__" not in file.parts:
                archive.write(str(file.locate()), str(file))
    return path


def bundle_with(path: Path, release: str, *wheels: Path) -> str:
    lines = []
    for each in wheels:
        name, version, _ = each.name.split("-", 2)
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(each.read_bytes()).hexdigest()}\n")
    about = release_json(release) | {"script_requirements": LOCK}
    replaced = {
        "RELEASE.json": json.dumps(about).encode(),
        "libraries.txt": "".join(lines).encode(),
        **{f"wheels/{each.name}": each.read_bytes() for each in wheels},
    }
    return str(make_bundle(path, release, replaced=replaced))


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    with open_folder("libraries") as folder:
        kept, tempfile.tempdir = tempfile.tempdir, str(folder)
        yield folder
        tempfile.tempdir = kept


@pytest.fixture(scope="module")
def host(ground: Path) -> Host:
    """A host that has two releases, the first with libraries and the second with none."""
    host = Host(ground / "root")
    host.ask("install", bundle_with(ground / "a.bundle", A, wheel(ground, "shelf"), wheel_with_a_c_extension(ground)))
    host.ask("install", bundle_with(ground / "b.bundle", B))
    return host


def test_they_lie_in_a_folder_of_their_own(host: Host) -> None:
    libraries = host.releases / A / "libraries"
    assert (libraries / "shelf.py").exists()
    assert not list((host.releases / A / "venv").rglob("shelf*"))
    assert [*libraries.rglob("_speedups*.so")]
    assert all(path.stat().st_uid == Path(libraries).parent.stat().st_uid for path in libraries.rglob("*"))
    assert not [path for path in libraries.rglob("*") if path.stat().st_mode & 0o022]
    assert list((host.releases / B / "libraries").iterdir()) == []


def test_installing_them_again_changes_nothing_and_others_replace_them(host: Host, ground: Path) -> None:
    assert host.ask("install", bundle_with(ground / "b.bundle", B))["changed"] is False
    assert host.ask("install", bundle_with(ground / "b.bundle", B, wheel(ground, "shelf")))["changed"] is True
    assert (host.releases / B / "libraries/shelf.py").exists()
    assert host.ask("install", bundle_with(ground / "b.bundle", B))["changed"] is True
    assert list((host.releases / B / "libraries").iterdir()) == []


def test_the_host_says_which_lock_it_needs(host: Host) -> None:
    assert host.ask("status")["script_requirements"] == ""
    (host.root / "etc/rota/script-requirements").write_text(f"{LOCK}\n")
    assert host.ask("status")["script_requirements"] == LOCK
    assert {one["id"]: one["script_requirements"] for one in host.ask("status")["releases"]} == {A: LOCK, B: LOCK}


def test_scripts_import_them_also_those_in_c_and_can_change_nothing(host: Host) -> None:
    script = """
import errno, os, shelf
from markupsafe import _speedups, escape
print(shelf.__file__, _speedups.__file__.partition("_speedups")[2][-3:], escape("<"))
for change in (lambda: open("/libraries/more.py", "w"), lambda: os.unlink(shelf.__file__),
               lambda: os.chmod(shelf.__file__, 0o777), lambda: os.mkdir("/libraries/x")):
    try:
        change()
        print("changed")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    came = run(Bubblewrap((host.releases / A / "libraries").resolve()), script)
    assert (came.ending.errors, came.output) == ("", "/libraries/shelf.py .so &lt;\n" + "EROFS\n" * 4)
    came = run(Bubblewrap((host.releases / B / "libraries").resolve()), "import shelf")
    assert came.ending.errors.endswith("ModuleNotFoundError: No module named 'shelf'\n")


def test_a_run_keeps_the_libraries_it_began_with(host: Host) -> None:
    host.use(A)
    libraries = libraries_of(Report(None), host.opt / "current/libraries")
    host.use(B)
    assert libraries == host.releases / A / "libraries"

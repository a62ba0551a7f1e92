"""The editor of scripts in the diary: CodeMirror from npm, bundled by esbuild for the agent's wheel."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from provision.caching import digest_of, publish
from provision.errors import OperatorError

SOURCES = ("package.json", "package-lock.json", "editor.js")
SHIPPED = Path("src/rota/packs/reports/diary/static/reports")
BUNDLE, LICENCES = "codemirror.js", "codemirror.txt"
FORMAT = 1
"""Part of the cache's key: a change of the commands below makes what was bundled before unknown."""

INSTALL = [
    *("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"),
    *("--fetch-retries=1", "--fetch-timeout=30000", "--loglevel=error"),
]
PACK = [
    *("esbuild", "editor.js", "--bundle", "--minify", "--format=iife", "--target=es2020", "--charset=utf8"),
    *("--legal-comments=none", "--log-level=error", "--metafile=meta.json", f"--outfile={BUNDLE}"),
    f"--banner:js=// CodeMirror; its licences are in {LICENCES}",
]


class NoEditor(OperatorError):
    """Scripts will be edited in plain text areas, for their editor could not be made"""


def put_into(agent: Path, cache: Path) -> None:
    """Put the editor's files into the agent's sources, where they have an editor; made once for each state of them.

    Raises NoEditor.
    """
    if not (agent / "editor").is_dir():
        return
    made = bundled(agent / "editor", cache / "editor")
    (agent / SHIPPED).mkdir(parents=True, exist_ok=True)
    for name in (BUNDLE, LICENCES):
        target = agent / SHIPPED / name
        shutil.copyfile(made / name, target)
        target.chmod(0o644)


def bundled(sources: Path, cache: Path) -> Path:
    """The folder of the finished files. Raises NoEditor."""
    folder = cache / digest_of(FORMAT, *((sources / name).read_text() for name in SOURCES))
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as name:
            work, done = Path(name), Path(name) / "done"
            for source in SOURCES:
                shutil.copy(sources / source, work)
            call(INSTALL, work)
            call(PACK, work)
            done.mkdir()
            shutil.copy(work / BUNDLE, done)
            (done / LICENCES).write_text(licences(work, json.loads((work / "meta.json").read_text())["inputs"]))
            publish(done, folder)
    return folder


def call(command: list[str], folder: Path) -> None:
    """Raises NoEditor."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoEditor(f"{command[0]} is not there; on Debian: apt-get install npm esbuild") from None
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise NoEditor(f"{' '.join(command[:2])}, exit {done.returncode}\n{said}")


def licences(work: Path, inputs: Iterable[str]) -> str:
    """The licence of every package that a file of the bundle is from."""
    packages = {package_of(path) for path in inputs if path.startswith("node_modules/")}
    return "\n".join(f"{name}\n\n{(work / 'node_modules' / name / 'LICENSE').read_text()}" for name in sorted(packages))


def package_of(path: str) -> str:
    """The package of `node_modules/@scope/name/…` or `node_modules/name/…`."""
    words = path.split("/")
    return "/".join(words[1:3] if words[1].startswith("@") else words[1:2])

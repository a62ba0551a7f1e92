"""A release as one file: a commit's wheels and the list that says which they are, made reproducibly and cached."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from provision import editor
from provision.caching import digest_of, publish
from provision.errors import OperatorError

# Part of every cache key: a change of what a bundle holds makes old bundles unknown.
FORMAT = 1
KEPT_BUNDLES = 10
SCRIPT_LOCK = re.compile(r"requirements/[\w.-]+\.txt", re.ASCII)
"""What a host may name as the lock of the packages that report scripts import."""
# The oldest C library among the supported systems is Debian 12's, 2.36; wheels for any older one run there too.
GLIBC_MINORS = range(5, 37)


class UnknownRef(OperatorError):
    """Git knows no commit of this name."""


class DirtyTree(OperatorError):
    """The working tree differs from the commit"""


class NotDeployable(OperatorError):
    """This commit holds nothing that a host could run"""


class BuildFailed(OperatorError):
    """The wheel of this commit could not be built"""


class MissingWheel(OperatorError):
    """No wheel of a locked requirement runs on these hosts"""


class NoNetwork(OperatorError):
    """The locked wheels are not cached yet, and the package index does not answer"""


class AlteredWheel(OperatorError):
    """A downloaded wheel is not the one that was locked"""


class DownloadFailed(OperatorError):
    """The locked wheels could not be fetched"""


class BadLock(OperatorError):
    """A lock cannot be used"""


@dataclass(frozen=True)
class Platform:
    """What wheels must run on: a host's Python ("3.11") and its machine ("x86_64")."""

    python: str
    machine: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.machine}"


@dataclass(frozen=True)
class Source:
    """What is built: `tree` is archived; for a clean commit it is the commit itself."""

    ref: str
    commit: str
    tree: str
    dirty: bool
    committed: datetime

    @property
    def id(self) -> str:
        return release_id(self.committed, self.tree)


@dataclass(frozen=True)
class Pin:
    """One locked requirement."""

    name: str
    version: str
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def lines(self) -> str:
        return " \\\n    ".join([str(self), *(f"--hash={value}" for value in self.hashes)]) + "\n"


def release_id(committed: datetime, tree: str) -> str:
    """The name of a release: when its commit was made, and the first twelve digits of what it was built from."""
    return f"{committed.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tree[:12]}"


# -- the source -------------------------------------------------------------------------------------------------


def resolve(repository: Path, ref: str, *, dirty: bool = False) -> Source:
    """The source that `ref` names.

    Changes in the working tree concern only the commit that is checked out: with `dirty` they become part of the
    release, without it they are refused (DirtyTree). Raises UnknownRef.
    """
    commit = commit_of(repository, ref)
    changed = changed_files(repository) if commit == commit_of(repository, "HEAD") else ()
    if changed and not dirty:
        listed = "".join(f"\n  {line}" for line in changed)
        raise DirtyTree(f"commit or stash these first, or say --dirty outside production:{listed}")
    committed = datetime.fromtimestamp(int(git(repository, "show", "-s", "--format=%ct", commit)), UTC)
    tree = working_tree(repository) if changed else commit
    return Source(ref, commit, tree, bool(changed), committed)


def commit_of(repository: Path, ref: str) -> str:
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except subprocess.CalledProcessError:
        raise UnknownRef(f"{ref!r}; `git fetch` brings what others pushed, `git branch --all` lists") from None


def changed_files(repository: Path) -> tuple[str, ...]:
    """Files that differ from the commit, untracked ones included, in the form of `git status --short`."""
    return tuple(git(repository, "status", "--porcelain").splitlines())


def working_tree(repository: Path) -> str:
    """The working tree as a tree object, without touching the index; equal trees have equal names."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(repository, "read-tree", "HEAD", environment=index)
        git(repository, "add", "--all", environment=index)
        return git(repository, "write-tree", environment=index)


def git(repository: Path, *words: str, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *words],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.rstrip("\n")


@contextmanager
def extracted(repository: Path, source: Source) -> Iterator[Path]:
    """A temporary folder with what of the source concerns hosts; the modes of files do not depend on this machine."""
    with tempfile.TemporaryDirectory(prefix="rota-release-") as name:
        folder = Path(name)
        archive = folder / "source.tar"
        try:
            git(
                repository,
                *("-c", "tar.umask=0022", "archive", "--format=tar", f"--output={archive}"),
                *(source.tree, "agent", "requirements"),
            )
        except subprocess.CalledProcessError as error:
            raise NotDeployable(f"{source.ref}: {error.stderr.strip()}") from None
        subprocess.run(["tar", "-x", "-C", str(folder), "-f", str(archive)], check=True)
        archive.unlink()
        yield folder


# -- the locked requirements ------------------------------------------------------------------------------------


def lock_names(extras: Sequence[str]) -> tuple[str, ...]:
    """The locks that together hold everything for these extras."""
    return tuple(f"agent-{extra}.txt" for extra in sorted(extras)) or ("agent.txt",)


def pins_of(lock: str, platform: Platform) -> tuple[Pin, ...]:
    """The requirements of one lock file that apply on a platform. Raises BadLock for what pins no version."""
    found = []
    for entry in re.sub(r"\\\n", " ", lock).splitlines():
        words = entry.split(" #")[0].split("--hash=")
        if words[0].strip() and not entry.startswith("#"):
            requirement, version = pinned(words[0].strip())
            if requirement.marker is None or requirement.marker.evaluate(markers(platform)):
                hashes = tuple(word.strip() for word in words[1:])
                found.append(Pin(canonicalize_name(requirement.name), version, hashes))
    return tuple(found)


def pinned(text: str) -> tuple[Requirement, str]:
    """A requirement and the one version that it admits. Raises BadLock."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise BadLock(f"{text!r} is not NAME==VERSION with its hashes") from None
    exactly = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
    if exactly is None:
        raise BadLock(f"{text!r} pins no version")
    return requirement, exactly[1]


def markers(platform: Platform) -> dict[str, str]:
    """The environment in which a lock's markers are judged: the host's, not this machine's."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{platform.python}.0",
        "os_name": "posix",
        "platform_machine": platform.machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{platform.python}.0",
        "python_version": platform.python,
        "sys_platform": "linux",
    }


def locked(requirements: Path, extras: Sequence[str], platform: Platform) -> tuple[Pin, ...]:
    """Everything these extras need, by name. Raises BadLock when a lock is missing or two of them disagree."""
    pins: dict[str, Pin] = {}
    for name in lock_names(extras):
        for pin in hashed(requirements / name, platform, "agent*.txt"):
            if pins.setdefault(pin.name, pin).version != pin.version:
                raise BadLock(f"{pin} and {pins[pin.name]} are both wanted; `fab lock` resolves anew")
    return tuple(pins[name] for name in sorted(pins))


def script_pins(source: Path, lock: str, platform: Platform) -> tuple[Pin, ...]:
    """What report scripts may import by this lock, as `requirements/report-scripts.txt`. Raises BadLock."""
    if not SCRIPT_LOCK.fullmatch(lock):
        raise BadLock(f"{lock!r}; a host may name requirements/NAME.txt")
    return hashed(source / lock, platform, "*.txt")


def hashed(path: Path, platform: Platform, others: str) -> tuple[Pin, ...]:
    """The pins of a lock that exists and has hashes. Raises BadLock; a missing one is told with the `others`."""
    if not path.exists():
        there = ", ".join(sorted(other.name for other in path.parent.glob(others)))
        raise BadLock(f"the commit has no requirements/{path.name}; there are: {there}")
    pins = pins_of(path.read_text(), platform)
    for pin in pins:
        if not pin.hashes:
            raise BadLock(f"{pin} in requirements/{path.name} has no hash; `fab lock` resolves anew")
    return pins


# -- wheels -----------------------------------------------------------------------------------------------------


def platform_tags(machine: str) -> tuple[str, ...]:
    """The tags of wheels that run on a supported system; pip knows no "or older" for these."""
    return tuple(f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC_MINORS)) + (
        f"manylinux2014_{machine}",
        f"manylinux2010_{machine}",
        f"manylinux1_{machine}",
        f"linux_{machine}",
    )


def download_command(requirements: Path, folder: Path, platform: Platform) -> list[str]:
    """Fetch exactly the locked files, for another Python than ours; the lock is complete, so nothing is resolved."""
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", str(folder)),
        *("--implementation", "cp", "--python-version", platform.python),
        *(word for tag in platform_tags(platform.machine) for word in ("--platform", tag)),
        *("--requirement", str(requirements)),
    ]


def wheelhouse(pins: Sequence[Pin], platform: Platform, cache: Path) -> tuple[Path, ...]:
    """The wheels of the locked requirements, fetched once per lock and platform into `cache`/wheelhouse.

    Raises MissingWheel, NoNetwork, AlteredWheel, DownloadFailed.
    """
    text = "".join(pin.lines for pin in pins)
    folder = cache / "wheelhouse" / digest_of(FORMAT, platform.python, platform.machine, text)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as name:
            part = Path(name) / "wheels"
            part.mkdir()
            (Path(name) / "requirements.txt").write_text(text)
            download(download_command(Path(name) / "requirements.txt", part, platform), platform)
            publish(part, folder)
    return tuple(sorted(folder.glob("*.whl")))


def download(command: Sequence[str], platform: Platform) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise download_error(done.stderr, platform)


def download_error(output: str, platform: Platform) -> OperatorError:
    """What an operator should know of pip's words."""
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if re.search(r"Retrying \(|NewConnectionError|Name or service not known|name resolution|timed out", output):
        return NoNetwork(f"{missing.group(1) if missing else platform}; try again with a network")
    if "DO NOT MATCH THE HASHES" in output:
        return AlteredWheel(output[output.index("DO NOT MATCH") :].strip())
    if missing:
        return MissingWheel(f"{missing.group(1)} for {platform}; lock another version with `fab lock`")
    return DownloadFailed("\n".join(output.strip().splitlines()[-5:]))


def build_command(package: Path, folder: Path) -> list[str]:
    """Build the agent's wheel with the locked setuptools of this environment, so that no network is needed."""
    return [
        *("uv", "build", "--quiet", "--wheel", "--offline", "--no-build-isolation"),
        *("--python", sys.executable, "--out-dir", str(folder), str(package)),
    ]


def build_wheel(package: Path, folder: Path, committed: datetime) -> Path:
    """The wheel of the agent; equal sources give equal bytes, whenever and wherever they are built."""
    epoch = {"SOURCE_DATE_EPOCH": str(int(committed.timestamp())), "PYTHONHASHSEED": "0"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        build_command(package, folder),
        env={**os.environ, **epoch, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=0o022,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise BuildFailed("\n".join(done.stdout.strip().splitlines()[-10:]) or "uv gave no reason")
    return wheels[0]


# -- the bundle -------------------------------------------------------------------------------------------------


def bundle(
    repository: Path,
    source: Source,
    extras: Sequence[str],
    platform: Platform,
    *,
    cache: Path,
    now: datetime,
    who: str,
    scripts: str = "",
) -> Path:
    """The tar that one kind of host installs from, made once per source, extras and platform in `cache`/bundles.

    `scripts` is the lock of what report scripts may import, if any; it is installed apart from the agent.
    A bundle without the editor of scripts is made anew each time: what was lacking may be there now.
    """
    key = digest_of(FORMAT, *sorted(extras), platform.python, platform.machine, *([scripts] if scripts else []))
    path = cache / "bundles" / f"{source.id}-{key[:12]}.tar"
    if path.exists():
        os.utime(path)
        return path
    with extracted(repository, source) as folder:
        if not has_editor(folder / "agent", cache):
            path = path.with_suffix(".plain.tar")
        built = folder / "built"
        built.mkdir()
        wheel = build_wheel(folder / "agent", built, source.committed)
        wheels = (wheel, *wheelhouse(locked(folder / "requirements", extras, platform), platform, cache))
        about = release_json(source, version_of(wheel), extras, now=now, who=who, scripts=scripts)
        texts = {"requirements.txt": requirements_text(wheels, extras)}
        if scripts:
            libraries = wheelhouse(script_pins(folder, scripts, platform), platform, cache)
            texts["libraries.txt"] = requirements_text(libraries, ())
            wheels += libraries
        write_beside(path, bundle_bytes(about, texts, wheels, source.committed))
    forget_old(path.parent)
    return path


def has_editor(agent: Path, cache: Path) -> bool:
    """Whether the agent's sources have all that their pages can use; says what is lacking, for they work without it."""
    try:
        editor.put_into(agent, cache)
    except editor.NoEditor as reason:
        print(reason, flush=True)
        return False
    return True


def release_json(
    source: Source, version: str, extras: Sequence[str], *, now: datetime, who: str, scripts: str = ""
) -> dict[str, Any]:
    """What a release says of itself in RELEASE.json."""
    return {
        "id": source.id,
        "commit": source.commit,
        "ref": source.ref,
        "dirty": source.dirty,
        "built_at": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "built_by": who,
        "version": version,
        "extras": sorted(extras),
        "script_requirements": scripts,
    }


def requirements_text(wheels: Sequence[Path], extras: Sequence[str]) -> str:
    """The shipped wheels as hashed requirements: exactly these files and no others can be installed."""
    lines = []
    for path in wheels:
        name, version, _, _ = parse_wheel_filename(path.name)
        wanted = f"[{','.join(sorted(extras))}]" if name == "rota" and extras else ""
        lines.append(f"{name}{wanted}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n")
    return "".join(sorted(lines))


def bundle_bytes(
    about: Mapping[str, Any], texts: Mapping[str, str], wheels: Sequence[Path], committed: datetime
) -> bytes:
    """A tar without anything of this machine in it: no owners, no times but the commit's, sorted names."""
    members = {
        "RELEASE.json": json.dumps(about, indent=2, sort_keys=True).encode() + b"\n",
        **{name: text.encode() for name, text in texts.items()},
        **{f"wheels/{path.name}": path.read_bytes() for path in wheels},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(members[name]), int(committed.timestamp()), 0o644
            tar.addfile(member, io.BytesIO(members[name]))
    return buffer.getvalue()


def version_of(wheel: Path) -> str:
    return str(parse_wheel_filename(wheel.name)[1])


def write_beside(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
        part.write(content)
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).replace(path)


def forget_old(folder: Path) -> None:
    """Keep the bundles used last."""
    by_use = sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_use[KEPT_BUNDLES:]:
        path.unlink(missing_ok=True)

"""What a deploy or a rollback would change, for `--check`: each host's step, and the commits that come in or go out."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from provision.release import BadLock, Platform, git, pins_of

SHOWN_COMMITS = 20
HOST_PARTS = ("agent", "requirements")
"""What of a commit reaches hosts."""


def preview(
    repository: Path, current: Mapping[str, str | None], wanted: Mapping[str, str], *, diff: bool = False
) -> Iterator[str]:
    """Lines that tell of hosts whose release is `current` what `wanted` would change.

    With `diff` also the files that differ between the releases, of those that reach hosts. Commits are named by the
    releases' own digits; a release of a commit that this clone does not have is called that.
    """
    for host, release in wanted.items():
        if current[host] == release:
            yield f"{host}: stays at {release}"
        else:
            yield f"{host}: {current[host] or 'no release'} → {release}"
    for old, new in sorted({(current[host], release) for host, release in wanted.items()}, key=str):
        if old and old != new:
            yield from changes(repository, old, new, diff=diff)


def changes(repository: Path, old: str, new: str, *, diff: bool) -> Iterator[str]:
    unknown = [release for release in (old, new) if not has(repository, digits(release), "commit")]
    if unknown:
        yield f"{' and '.join(unknown)}: no commit of this clone, so what lies between cannot be listed"
    else:
        yield from listed("Commits that come in", commits(repository, digits(old), digits(new)))
        yield from listed("Commits that go out", commits(repository, digits(new), digits(old)))
    if diff and all(has(repository, digits(release), "tree") for release in (old, new)):
        yield git(repository, "diff", "--stat=100", digits(old), digits(new), "--", *HOST_PARTS) or "No file differs."


def library_changes(
    repository: Path, old: tuple[str | None, str], new: tuple[str, str], platform: Platform
) -> Iterator[str]:
    """Lines that tell which packages come, go and change for report scripts between two releases with their locks.

    Nothing where no package does, or where the release before is no commit of this clone. Raises BadLock.
    """
    if old[0] and not has(repository, digits(old[0]), "tree"):
        return
    before, after = versions(repository, *old, platform), versions(repository, *new, platform)
    lines = [
        f"  {name} {before.get(name, '(new)')} → {after.get(name, '(gone)')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if lines:
        yield f"What scripts may import ({new[1] or 'nothing'}):"
        yield from lines


def versions(repository: Path, release: str | None, lock: str, platform: Platform) -> dict[str, str]:
    """The version of each package in the lock of a release."""
    if not release or not lock:
        return {}
    try:
        text = git(repository, "show", f"{digits(release)}:{lock}")
    except subprocess.CalledProcessError:
        raise BadLock(f"{release} has no {lock}") from None
    return {pin.name: pin.version for pin in pins_of(text, platform)}


def listed(what: str, found: list[str]) -> Iterator[str]:
    if found:
        yield f"{what} ({len(found)}):"
        yield from (f"  {line}" for line in found[:SHOWN_COMMITS])
        if len(found) > SHOWN_COMMITS:
            yield f"  … and {len(found) - SHOWN_COMMITS} more"


def digits(release: str) -> str:
    """What the release was built from, abbreviated: a commit, or the tree of changes never committed."""
    return release.rpartition("-")[2]


def commits(repository: Path, old: str, new: str) -> list[str]:
    return git(repository, "log", "--oneline", "--no-decorate", f"{old}..{new}").splitlines()


def has(repository: Path, name: str, kind: str) -> bool:
    """Whether this clone has an object of this name that is, or leads to, a `commit` or a `tree`."""
    try:
        git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{{kind}}}")
    except subprocess.CalledProcessError:
        return False
    return True

"""Addresses of the static files: each carries its content's fingerprint, so that browsers may keep it for good."""

import hashlib
from functools import lru_cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage


class FingerprintedStorage(StaticFilesStorage):
    """Files stay where the package has them: the address changes with the content, the file's name does not.

    During a deploy a page of the old release can so ask the new one for its style sheet and get one.
    """

    def url(self, name: str | None) -> str:
        return f"{super().url(name)}?v={fingerprint(name or '')}"


@lru_cache
def fingerprint(name: str) -> str:
    found = finders.find(name)
    if not isinstance(found, str):
        raise FileNotFoundError(f"static file {name}")
    return hashlib.sha256(Path(found).read_bytes()).hexdigest()[:12]

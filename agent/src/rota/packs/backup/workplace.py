"""A folder to work in, for one holder at a time."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rota.core.errors import RotaError
from rota.packs.backup.configuration import Places


class WorkUnderWay(RotaError):
    """The same is under way on this host already."""


@contextmanager
def working_folder(places: Places, purpose: str) -> Iterator[Path]:
    """An empty folder that only root can enter; what an interrupted run left in it goes first."""
    folder = places.work / purpose
    places.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (places.work / f"{purpose}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkUnderWay(purpose) from error
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

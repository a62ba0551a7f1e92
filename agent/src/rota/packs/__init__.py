"""Packs: families of tasks, one folder each; a pack's `tasks.py` declares them with `@task`."""

import importlib.util

from rota.adapters.report import Report
from rota.core.task import task

__all__ = ["Report", "needs", "task"]


def needs(module: str) -> None:
    """Have the pack offer no tasks where this module of its extra is not installed.

    It is only looked for: the catalogue reads the tasks of all packs each time, and imports little for that.
    Raises ModuleNotFoundError.
    """
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

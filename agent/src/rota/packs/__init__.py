"""Packs: families of tasks, one folder each; a pack's `tasks.py` declares them with `@task`."""

from rota.adapters.report import Report
from rota.core.task import task

__all__ = ["Report", "task"]

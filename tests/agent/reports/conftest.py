"""A desk at which reports are made, with the real sandbox, and what is defined there."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from rota.packs.reports.definitions import Client, Definitions, Frequency, Query, Script, ScriptType, Task
from rota.packs.reports.running import Desk
from rota.packs.reports.sandbox import Limits
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.workplace import Workplace

FIRST = date(2026, 1, 1)

Define = Callable[..., Definitions]


def defined(
    *bodies: str, libraries: tuple[Script, ...] = (), queries: tuple[Query, ...] = (), **of_task: object
) -> Definitions:
    """One client, with a daily report for each of these scripts: one.txt, two.txt, three.txt …"""
    names = ("one", "two", "three", "four", "five")[: len(bodies)]
    scripts = [
        Script(id=f"s-{name}", name=f"acme:{name}_txt", body=body) for name, body in zip(names, bodies, strict=True)
    ]
    said = {"start_date": FIRST, "frequency": Frequency.DAILY, "is_active": True, **of_task}
    tasks = [
        Task(id=f"t-{name}", id_homedir="c", file_name=f"{name}.txt", id_script=f"s-{name}", **said) for name in names
    ]  # type: ignore[arg-type]  # values of fields
    return Definitions(
        clients=(Client(id="c", name="Acme", username="acme"),),
        tasks=tuple(tasks),
        scripts=(*scripts, *libraries),
        queries=queries,
    )


def library(name: str, body: str) -> Script:
    return Script(id=f"l-{name}", name=name, type=ScriptType.SNIP, body=body)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The exports lie where the sandbox cannot see them; folders are made as on a host."""
    places = Workplace(tmp_path / "reports")
    places.make()
    return Desk(places=places, sandbox=Bubblewrap(), limits=Limits(seconds=20), host="here")

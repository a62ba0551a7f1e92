"""Laws of all packs: the catalogue reads the tasks of every pack each time, so reading them brings in little."""

import subprocess
import sys
from pathlib import Path

import pytest

from rota import packs

SOURCE = Path(packs.__file__).parents[2]


def test_reading_the_tasks_of_all_packs_imports_no_driver_of_a_database() -> None:
    asked = "import sys; from rota.catalogue import discover; print(*discover()); print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    tasks, modules = (line.split() for line in answer.stdout.splitlines())
    assert {"backup.backup", "mirror.restore_staging"} <= set(tasks)
    assert not {"psycopg", "django", "jinja2"} & set(modules)


def test_a_pack_whose_extra_is_missing_offers_nothing() -> None:
    packs.needs("json")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        packs.needs("no_such_module")

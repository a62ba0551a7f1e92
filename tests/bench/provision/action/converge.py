"""The `converge` action, that also writes down what it would have the host do: for the benchmark of provisioning."""

from __future__ import annotations

import json
import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

PLUGIN = Path(__file__).resolve().parents[4] / "provision/plugins/action/converge.py"
found = spec_from_file_location("converge_action", PLUGIN)
if found is None or found.loader is None:
    raise ImportError(str(PLUGIN))
converge = module_from_spec(found)
found.loader.exec_module(converge)


class ActionModule(converge.ActionModule):  # type: ignore[name-defined, misc]  # loaded above, as Ansible loads plugins
    """Writes one file per step and host into the folder that ROTA_BENCH_RECORD names."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._record = Path(os.environ["ROTA_BENCH_RECORD"]) / str((task_vars or {})["inventory_hostname"])
        answer: dict[str, Any] = super().run(tmp, task_vars)
        return answer

    def _on_host(self, described: dict[str, Any]) -> dict[str, Any]:
        self._record.mkdir(parents=True, exist_ok=True)
        number = len(list(self._record.iterdir()))
        text = json.dumps({"role": self._task._role.get_name(), "described": described})
        (self._record / f"{number:02}.json").write_text(text)
        answer: dict[str, Any] = super()._on_host(described)
        return answer

"""Renders what a `converge` step describes on the control side and hands it to the module in one call."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

LISTS = ("packages", "users", "certificates", "files", "check", "keys", "units")
CONCERNS = (*LISTS, "postgres")
MANAGED = "Written by Rota's roles; a change made here is overwritten by the next provision."
ORIGINS = ("template", "source", "content")


def wanted(entries: list[Any]) -> list[Any]:
    """The entries whose `when` is absent or true, without it."""
    return [
        {name: value for name, value in entry.items() if name != "when"} if isinstance(entry, dict) else entry
        for entry in entries
        if not isinstance(entry, dict) or entry.get("when", True)
    ]


def origin_of(entry: dict[str, Any]) -> str | None:
    """Which of template, source and content the entry's text comes from."""
    given = [origin for origin in ORIGINS if origin in entry]
    if entry.get("state", "file") != "file":
        if given:
            raise AnsibleActionFail(f"{entry.get('path')}: only a file has a {given[0]}")
        return None
    if len(given) != 1:
        raise AnsibleActionFail(f"{entry.get('path')}: a file takes exactly one of {', '.join(ORIGINS)}")
    return given[0]


class ActionModule(ActionBase):
    """Reads templates and files beside the role, as ansible.builtin.template and copy would."""

    _supports_check_mode = True
    _supports_diff = True
    _VALID_ARGS = frozenset(CONCERNS)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Everything secret travels in `contents`, which the module may not log; the rest may be seen."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        described = {name: wanted(self._task.args.get(name) or []) for name in LISTS}
        described["postgres"] = self._task.args.get("postgres") or {}
        contents: dict[str, str] = {}
        files = []
        for entry in described["files"]:
            origin = origin_of(entry)
            if origin is not None:
                text = self._text(origin, entry, task_vars)
                contents[str(entry["path"])] = base64.b64encode(text).decode()
            files.append({name: value for name, value in entry.items() if name not in ORIGINS})
        result = self._execute_module(
            module_name="converge",
            module_args={**described, "files": files, "contents": json.dumps(contents)},
            task_vars=task_vars,
        )
        result.pop("invocation", None)
        return dict(result)

    def _text(self, origin: str, entry: dict[str, Any], task_vars: dict[str, Any]) -> bytes:
        if origin == "content":
            if not isinstance(entry["content"], str):
                raise AnsibleActionFail(
                    f"{entry['path']}: content is to be text; lacks it a filter such as to_nice_yaml?"
                )
            return str(entry["content"]).encode()
        try:
            found = self._find_needle("templates" if origin == "template" else "files", entry[origin])
        except AnsibleError as error:
            raise AnsibleActionFail(f"{entry['path']}: {error}") from error
        return self._rendered(found, task_vars) if origin == "template" else Path(found).read_bytes()

    def _rendered(self, path: str, task_vars: dict[str, Any]) -> bytes:
        template = trust_as_template(self._loader.get_text_file_contents(path))
        beside = [*task_vars.get("ansible_search_path", []), self._loader.get_basedir(), str(Path(path).parent)]
        templar = self._templar.copy_with_new_env(
            searchpath=[str(place) for folder in beside for place in (Path(folder) / "templates", folder)],
            available_variables={"ansible_managed": MANAGED, **task_vars},
        )
        text = templar.template(
            template, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
        )
        return str("" if text is None else text).encode()

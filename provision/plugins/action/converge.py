"""Renders what a `converge` step describes on the control side and hands it to the host in one round trip."""

from __future__ import annotations

import base64
import json
import shlex
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent / "host" / "converge.py"
INTERPRETER = "/usr/bin/python3"
# Reads the length of the program, the program, and leaves the rest of the input to it.
BOOTSTRAP = (
    "import sys; r = sys.stdin.buffer; "
    "exec(compile(r.read(int(r.readline())), 'converge', 'exec'), {'__name__': '__main__'})"
)

LISTS = ("packages", "users", "certificates", "files", "check", "keys", "units")
CONCERNS = frozenset({*LISTS, "postgres"})
MANAGED = "Written by Rota's roles; a change made here is overwritten by the next provision."
ORIGINS = ("template", "source", "content")


def arguments_beside() -> ModuleType:
    """The module of the same name, which holds the documentation and the specification of the arguments."""
    found = spec_from_file_location("converge_arguments", HERE.parent / "modules" / "converge.py")
    assert found is not None  # noqa: S101 - for the type checker: a path that ends in .py always has a spec
    assert found.loader is not None  # noqa: S101 - as above
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


SPEC = arguments_beside()


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
    _VALID_ARGS = CONCERNS

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Describe the state wholly here, so that the host needs nothing but Python, and one round trip."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        self._validate_variables(task_vars)
        described = {name: wanted(self._task.args.get(name) or []) for name in LISTS}
        contents, files = {}, []
        for entry in described["files"]:
            origin = origin_of(entry)
            if origin is not None:
                contents[str(entry["path"])] = base64.b64encode(self._text(origin, entry, task_vars)).decode()
            files.append({name: value for name, value in entry.items() if name not in ORIGINS})
        validated = ArgumentSpecValidator(SPEC.ARGUMENTS).validate(
            {**described, "files": files, "postgres": self._task.args.get("postgres") or {}}
        )
        if validated.error_messages:
            raise AnsibleActionFail("; ".join(validated.error_messages))
        return self._on_host({**validated.validated_parameters, "contents": contents})

    def _on_host(self, described: dict[str, Any]) -> dict[str, Any]:
        """The program and then the request go through the session's input; nothing of them is in an argument or log."""
        request = {
            "role": self._task._role.get_name() if self._task._role else None,
            "described": described,
            "check": self._task.check_mode,
            "diff": self._task.diff,
        }
        program = PROGRAM.read_bytes()
        said = self._low_level_execute_command(
            shlex.join([INTERPRETER, "-I", "-c", BOOTSTRAP]),
            in_data=b"%d\n%s%s" % (len(program), program, json.dumps(request).encode()),
        )
        try:
            answer: dict[str, Any] = json.loads(said["stdout_lines"][-1])
        except (IndexError, ValueError):
            reason = (said["stderr"] or said["stdout"]).strip()[-2000:]
            raise AnsibleActionFail(f"the host did not answer as expected (exit {said['rc']}): {reason}") from None
        return answer

    def _validate_variables(self, task_vars: dict[str, Any]) -> None:
        """The role's variables against its argument specs: as Ansible would do it, without a step of its own."""
        role = self._task._role
        if role is None:
            return
        # Read here with libyaml: Ansible's own reader would cost as much as the whole step.
        specs = yaml.load(Path(role._role_path, "meta/argument_specs.yml").read_text(), Loader=yaml.CSafeLoader)
        options = specs["argument_specs"]["main"]["options"]
        defaults = role._default_vars  # tests hold that these fit the specs
        set_elsewhere = [name for name in options if name in task_vars and task_vars[name] != defaults.get(name)]
        given = self._templar.template({name: task_vars[name] for name in set_elsewhere})
        validated = ArgumentSpecValidator(options).validate(given, validate_role_argument_spec=True)
        if validated.error_messages:
            raise AnsibleActionFail(f"variables of the role {role.get_name()}: {'; '.join(validated.error_messages)}")

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

"""Calls a subcommand of rota-release on the host and says whether it changed something."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: rota_release
short_description: one step of a deploy, done by rota-release on the host
description:
  - Runs C(/usr/local/sbin/rota-release) and passes its answer on.
  - In check mode nothing but C(status) runs.
options:
  command: {description: the subcommand, type: str, required: true}
  arguments: {description: what follows it, type: list, elements: str, default: []}
  token: {description: what the session that holds the lock of deploys took it with, type: str}
"""

PROGRAM = "/usr/local/sbin/rota-release"


def command_line(command: str, arguments: list[str], token: str | None) -> list[str]:
    """The argument list of one call."""
    return [PROGRAM, "--json", *(["--token", token] if token else []), command, *arguments]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "command": {"type": "str", "required": True},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "token": {"type": "str", "no_log": False},  # no secret: it tells deploys apart
        },
        supports_check_mode=True,
    )
    command = module.params["command"]
    if module.check_mode and command != "status":
        module.exit_json(changed=True)
    code, out, err = module.run_command(command_line(command, module.params["arguments"], module.params["token"]))
    try:
        answer = json.loads(out)
    except ValueError:
        module.fail_json(msg=f"rota-release {command} exit {code}: {(err or out).strip()}")
    message = answer.pop("message", "")
    if code:
        module.fail_json(msg=message, error=answer.get("error"))
    module.exit_json(msg=message, **answer)


if __name__ == "__main__":
    main()

"""The generated parts of docs/: written from what they describe, compared with it by the tests."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment

from provision.inventory import ENVIRONMENTS

HEADER = "<!-- Written by `./run docs`; change what it describes instead. -->\n"


def pages(root: Path) -> dict[Path, str]:
    """Every generated page: its path, and the text that belongs there."""
    return {
        root / "docs" / "commands.md": commands_page(),
        root / "docs" / "agent-commands.md": HEADER + agent_commands(root),
        root / "docs" / "settings.md": settings_page(role_specs(root), hosts_of_roles(root)),
    }


def write(root: Path) -> None:
    """Write every generated page anew; says which changed."""
    for path, text in pages(root).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(root)}")


def agent_commands(root: Path) -> str:
    """The page that the agent makes of its own commands: it is asked as a program, for nothing here imports it."""
    environ = {**os.environ, "PYTHONPATH": str(root / "agent" / "src")}
    command = [sys.executable, "-m", "rota.cli.reference"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def commands_page() -> str:
    """All commands of fabfile.py with their sentences and options."""
    from fabfile import namespace

    rows = [
        (f"`{name}`", sentence(task), options(task))
        for name, task in sorted(all_tasks(namespace), key=lambda row: row[0])
    ]
    intro = "The first word selects the environment, the second acts on it: `./run production deploy`."
    return "\n".join([HEADER, "# Commands", "", intro, "", table(("command", "does", "options"), rows), ""])


def all_tasks(namespace: Any) -> Iterable[tuple[str, Any]]:
    """Names as typed, with their Invoke tasks."""
    return [(name, namespace[name]) for name in namespace.task_names]


def sentence(task: Any) -> str:
    return (task.__doc__ or "").strip().splitlines()[0]


def options(task: Any) -> str:
    """The long options of a command, as the command line takes them."""
    arguments = task.get_arguments()
    words = [
        argument.name.upper() if argument.positional else f"--{argument.name.strip('_').replace('_', '-')}"
        for argument in arguments
    ]
    return " ".join(f"`{word}`" for word in words)


def role_specs(root: Path) -> dict[str, Mapping[str, Any]]:
    """The argument specification of every role, by role."""
    specs = {}
    for path in sorted((root / "roles").glob("*/meta/argument_specs.yml")):
        specs[path.parents[1].name] = yaml.safe_load(path.read_text())["argument_specs"]["main"]
    return specs


def hosts_of_roles(root: Path) -> dict[str, str]:
    """Which environments' hosts the site playbook gives each role, in the order of the playbook."""
    [play] = yaml.safe_load((root / "provision" / "site.yml").read_text())
    played = {}
    for step in play["tasks"]:
        if imported := step.get("ansible.builtin.import_role"):
            played[imported["name"]] = environments_where(step.get("when", []))
    return played


def environments_where(when: str | list[str]) -> str:
    """The environments in which these conditions of a step hold, in an estate that has all of them."""
    conditions = [when] if isinstance(when, str) else when
    hold = [Environment(autoescape=True).compile_expression(one) for one in conditions]
    groups = {name: [name] for name in ENVIRONMENTS}
    holds = [
        name
        for name in ENVIRONMENTS
        if all(one(base_environment=name, group_names=[name], groups=groups) for one in hold)
    ]
    missing = [name for name in ENVIRONMENTS if name not in holds]
    if not missing:
        return "every host"
    return f"all but {missing[0]}" if len(missing) == 1 else ", ".join(holds)


def settings_page(specs: Mapping[str, Mapping[str, Any]], played: Mapping[str, str]) -> str:
    """Every role: what it is for, the hosts that have it; then its variables with type, default, meaning."""
    overview = [(f"[`{role}`](#{role})", one_line(specs[role]["short_description"]), on) for role, on in played.items()]
    parts = [HEADER, "# Roles and their settings", "", table(("role", "concern", "on"), overview), ""]
    parts += ["Their variables follow; override them in `group_vars/`.", ""]
    for role, spec in specs.items():
        rows = [
            (f"`{name}`", str(option.get("type", "str")), default(option), one_line(option.get("description", "")))
            for name, option in sorted((spec.get("options") or {}).items())
        ]
        parts += [f"## {role}", "", one_line(spec.get("short_description", "")), ""]
        parts += [table(("variable", "type", "default", "means"), rows), ""] if rows else []
    return "\n".join(parts)


def default(option: Mapping[str, Any]) -> str:
    if "default" not in option:
        return "none"
    value = option["default"]
    return (
        f"`{value}`"
        if isinstance(value, str | int | float | bool)
        else f"`{yaml.safe_dump(value, default_flow_style=True).strip()}`"
    )


def one_line(text: str | list[str]) -> str:
    return " ".join((" ".join(text) if isinstance(text, list) else text).split())


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "---|" * len(lines[0].split("|")[1:-1]))
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines)

"""YAML in configuration files, read as people mean it: 0644, 12:30, 1_000, no and 2026-12-25 are text.

YAML 1.1 makes 420, 750, 1000, false and a date of them, of which only the last is ever meant. What is left are
numbers as everybody writes them, `true`, `false` and `null`, as in JSON.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MOST = 100_000
"""How many values a file may hold, with those that its aliases repeat."""
HINTS = {
    r"'\t'": "YAML indents by blanks, not by tabs",
    "alias": 'write what begins with * in quotes, as in schedule: "*-*-* 02:40:00"',
    "mapping values are not allowed": "write text that has a colon in it in quotes",
    "cannot start any token": "write such text in quotes",
}
"""What would be right, by what the parser says."""


class BadYaml(Exception):
    """A file holds what cannot be read; the message says where, and what would be right."""


class AsWritten(float):
    """A number with a point, shown as its author wrote it: 3.10 may be meant as a version."""

    text: str

    def __new__(cls, text: str) -> "AsWritten":
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Loader(yaml.SafeLoader):
    """Reads what the safe loader reads, but for the words of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the base has it


for tag, words, first in (
    ("merge", r"<<", "<"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"0|-?[1-9][0-9]{0,17}", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}(?:e[-+][0-9]{1,3})?", "-0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{words})$"), list(first))


def construct_number(loader: Loader, node: yaml.ScalarNode) -> AsWritten:
    return AsWritten(str(loader.construct_scalar(node)))


Loader.add_constructor("tag:yaml.org,2002:float", construct_number)


def read_yaml(path: Path) -> object:
    """What the file holds; None where that is nothing. Raises BadYaml, and OSError."""
    content = path.read_bytes()
    try:
        return parse_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadYaml(f"line {line}: the byte 0x{content[error.start]:02x} is not UTF-8; save it as UTF-8") from None


def parse_yaml(text: str) -> object:
    """What the text holds. Raises BadYaml."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        count(node, {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise BadYaml(in_words(error)) from None
    except RecursionError:
        raise BadYaml("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise BadYaml(" ".join(str(error).split())) from None


def in_words(error: yaml.MarkedYAMLError) -> str:
    """Where the parser stopped, why, and what would be right."""
    mark = error.problem_mark or error.context_mark
    said = ", ".join(filter(None, (error.context, error.problem)))
    hint = next((f"; {right}" for sign, right in HINTS.items() if sign in said), "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}{hint}" if mark else said


def count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds. Refuses a key that is written twice, and aliases that unfold without bounds."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.MarkedYAMLError(problem="an alias of what it stands in", problem_mark=node.start_mark)
        return known[id(node)]
    known[id(node)] = 0
    if isinstance(node, yaml.MappingNode):
        refuse_repeated(node)
    found = 1 + sum(count(part, known) for part in parts_of(node))
    if found > MOST:
        raise yaml.MarkedYAMLError(problem=f"with its aliases more than {MOST} values", problem_mark=node.start_mark)
    known[id(node)] = found
    return found


def parts_of(node: yaml.Node) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def refuse_repeated(node: yaml.MappingNode) -> None:
    """Refuse a key that is written twice, of which the last would count."""
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is written twice", problem_mark=key.start_mark)
        seen.add(key.value)

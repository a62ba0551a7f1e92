"""A lab host with Rota deployed, on which tests declare tasks of their own and look at what became of them."""

import json
import time
from collections.abc import Callable
from typing import Any

import yaml

from provision import lab as labs

SLEEP = {"description": "Sleep", "command": ["/bin/sh", "-c", "echo asleep; exec sleep 600"]}


class AgentHost:
    """One host of the lab."""

    def __init__(self, lab: labs.Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.declared: set[str] = set()

    def do(self, *words: str, check: bool = True, input: str | None = None) -> Any:  # noqa: A002 - the lab's own word
        return self.lab.run(self.name, list(words), check=check, input=input)

    def declare(self, **tasks: Any) -> None:
        self.declared |= tasks.keys()
        self.do("tee", "/etc/rota/zz-test.yml", input=yaml.safe_dump({"tasks": tasks}))
        self.do("rota", "sync")

    def runs(self, task: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.do("rota", "runs", task, "--json").stdout)
        return found

    def start(self, task: str) -> None:
        """Begin a run and return when it is under way."""
        before = len(self.runs(task))
        self.do("systemctl", "start", "--no-block", f"rota-task-{task}.service")
        self.wait(lambda: len(self.runs(task)) > before)

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.2)  # between two looks at the host

    def clear(self) -> None:
        """Take the test's tasks away again, and what of them still runs."""
        self.do("systemctl", "stop", *(f"rota-task-{task}.service" for task in self.declared), check=False)
        self.do("rm", "-f", "/etc/rota/zz-test.yml")
        self.do("rota", "sync")

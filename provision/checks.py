"""What `fab test`, `fab lint` and `fab lock` run: lists of commands, and what becomes of their exit codes."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.errors import OperatorError

LOCKS: dict[str, list[str]] = {
    "control": ["pyproject.toml"],
    "dev": ["pyproject.toml", "agent/pyproject.toml", "--all-extras", "--group", "dev"],
    "bench": ["--group", "pyproject.toml:bench"],
    "agent": ["agent/pyproject.toml"],
    "agent-channels": ["agent/pyproject.toml", "--extra", "channels"],
    "agent-diary": ["agent/pyproject.toml", "--extra", "diary"],
    "agent-geoip": ["agent/pyproject.toml", "--extra", "geoip"],
    "agent-oidc": ["agent/pyproject.toml", "--extra", "oidc"],
    "agent-postgres": ["agent/pyproject.toml", "--extra", "postgres"],
    "agent-reports": ["agent/pyproject.toml", "--extra", "reports"],
    "agent-calendars": ["agent/pyproject.toml", "--extra", "calendars"],
    "report-scripts": ["--group", "pyproject.toml:report-scripts"],
}
# Made in this order: what the development lock pins, the others pin to the same version.
LOCK_ORDER = ("dev", "control", "bench", *(name for name in LOCKS if name.startswith(("agent", "report"))))
# Rota's peers live in an environment of their own, and want other versions than we do.
UNCONSTRAINED = ("dev", "bench")


# What pytest ends with where words chose no test of a kind.
NO_TESTS = 5


class NoSuchTests(OperatorError):
    """There are no tests of this kind"""


def lint_commands() -> dict[str, list[str]]:
    """Every static check by name; those that take longest first."""
    # These folders hold nothing of Ansible's, but far more files than those that do.
    without = [word for folder in ("agent", "docs", "tests") for word in ("--exclude", folder)]
    return {
        "playbooks": ["ansible-lint", "--offline", "--profile", "production", "-q", *without],
        "types": ["mypy", "agent/src/rota", "provision", "fabfile.py"],
        "form": ["ruff", "check", "."],
        "layout": ["ruff", "format", "--check", "."],
        # import-linter finds the agent by Python's own path. The tests must not: what they install stands alone.
        "layers": ["env", "PYTHONPATH=agent/src", "lint-imports", "--no-cache"],
        "scripts": ["shellcheck", "run", ".ci/run"],
    }


def test_commands(only: str, words: Sequence[str]) -> dict[str, list[str]]:
    """The test runs by name; `only` is one of them, or empty for all.

    The browser's run is one of its own: Playwright leaves an event loop in its process, and Django refuses to work
    beside one.
    """
    parallel = ["pytest", "-q", "-n", "3", "--dist", "loadfile", "-m"]
    kinds = {
        "unit": [*parallel, "not lab and not browser and not servers", *words],
        "browser": ["pytest", "-q", "-m", "browser", *words],
        "servers": [*parallel, "servers", *words],
        # Each of the two workers has a lab of its own.
        "lab": ["pytest", "-v", "-n", "2", "--dist", "loadfile", "-m", "lab", *words],
    }
    if only and only not in kinds:
        raise NoSuchTests(f"{only!r}; there are: {', '.join(kinds)}")
    return {name: argv for name, argv in kinds.items() if only in ("", name)}


def lock_command(name: str, *, constrained: bool) -> list[str]:
    """The command that resolves one lock file: hashed, for all platforms, without addresses."""
    options = ["--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--universal", "--python-version=3.11"]
    constraint = ["--constraint=requirements/dev.txt"] if constrained else []
    return ["uv", "pip", "compile", *options, *constraint, *LOCKS[name], "--output-file", f"requirements/{name}.txt"]


def lab_can_run() -> bool:
    """The lab boots containers: it needs root on Linux."""
    return sys.platform == "linux" and os.geteuid() == 0


def lint(root: Path) -> int:
    """Run every static check, two at a time, all of them even when one fails; returns 1 if any failed.

    What each says is shown whole, in their order.
    """
    failed = 0
    with ThreadPoolExecutor(2) as pool:
        checks = [pool.submit(run_unseen, name, argv, root) for name, argv in lint_commands().items()]
        for check in checks:
            code, told = check.result()
            print(told, flush=True)
            failed = max(failed, code)
    return failed


def run_tests(root: Path, only: str = "", words: str = "") -> int:
    """Run the static checks and the tests; stops at the first kind that fails."""
    if only == "" and (code := lint(root)):
        return code
    for name, argv in test_commands(only, words.split()).items():
        if name == "lab" and not lab_can_run():
            print("The tests on real hosts need root on Linux: they did not run here.", flush=True)
        elif code := run(f"{name} tests", argv, root, fine=(0, NO_TESTS) if words else (0,)):
            return code
    return 0


def take_pictures(root: Path) -> int:
    """Walk through the diary and put its pictures where docs/ shows them."""
    walk = ["pytest", "-q", "-m", "browser", "tests/browser/test_ten_minutes.py"]
    return run("pictures", ["env", f"ROTA_PICTURES={root}/docs/images", *walk], root)


def lock(root: Path) -> int:
    """Resolve every lock file anew; the newest versions that the declared ranges admit."""
    for name in LOCK_ORDER:
        (root / "requirements" / f"{name}.txt").unlink(missing_ok=True)
        if code := run(f"lock {name}", lock_command(name, constrained=name not in UNCONSTRAINED), root):
            return code
    return 0


def run(name: str, argv: Sequence[str], root: Path, fine: Sequence[int] = (0,)) -> int:
    """Run one command in the repository and say how long it took; returns 0 for an exit code that is fine, else 1."""
    print(headline(name, argv), flush=True)
    began = time.monotonic()
    code = subprocess.run(argv, cwd=root, env=with_bytecode(os.environ), check=False).returncode
    print(verdict(name, code, began, fine), flush=True)
    return 0 if code in fine else 1


def run_unseen(name: str, argv: Sequence[str], root: Path) -> tuple[int, str]:
    """The same with its output in one text, to be shown later; returns 0 or 1, and the text."""
    began = time.monotonic()
    done = subprocess.run(
        argv,
        cwd=root,
        env=with_bytecode(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    code = done.returncode
    return int(code != 0), f"{headline(name, argv)}\n{done.stdout}{verdict(name, code, began)}"


def headline(name: str, argv: Sequence[str]) -> str:
    return f"── {name}: {' '.join(argv)}"


def verdict(name: str, code: int, began: float, fine: Sequence[int] = (0,)) -> str:
    return f"── {name}: {'ok' if code in fine else f'FAILED, exit {code}'} in {time.monotonic() - began:.1f} s"


def with_bytecode(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python keeps what it compiled; else each of hundreds of processes compiles all anew."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}

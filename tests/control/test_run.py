"""The entry script on a fresh clone, in an empty home."""

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's files as a clone would have them, with a home of its own beside."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / "rota" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "rota" / name)
    (folder / "home").mkdir()
    return folder / "rota"


def run(clone: Path, *words: str, path: str = "/usr/sbin:/usr/bin:/sbin:/bin") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return subprocess.run(
        ["./run", *words],
        cwd=clone,
        env={**environment, "HOME": str(clone.parent / "home"), "PATH": path, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_fresh_clone_lists_its_commands(clone: Path) -> None:
    first = run(clone)
    assert first.returncode == 0, first.stderr
    assert "deploy" in first.stdout
    assert "Making .venv" in first.stderr


def test_a_second_run_makes_nothing_and_says_nothing(clone: Path) -> None:
    run(clone)
    again = run(clone)
    assert again.stderr == ""
    assert "deploy" in again.stdout


def test_a_changed_lock_is_installed(clone: Path) -> None:
    run(clone)
    with (clone / "requirements" / "control.txt").open("a") as lock:
        lock.write("# one more line\n")
    assert "Installing requirements/control.txt" in run(clone).stderr


@pytest.fixture
def copied(clone: Path) -> Iterator[Path]:
    """Another place with all that the clone has, its environment too."""
    run(clone)
    elsewhere = clone.with_name("elsewhere")
    shutil.copytree(clone, elsewhere, symlinks=True, copy_function=os.link)
    yield elsewhere
    shutil.rmtree(elsewhere)


def test_an_environment_that_was_made_elsewhere_is_made_anew(copied: Path) -> None:
    answer = run(copied)
    assert answer.returncode == 0, answer.stderr
    assert "Making .venv" in answer.stderr
    assert (copied / ".venv" / "bin" / "fab").read_text().startswith(f"#!{copied}/")


def test_an_environment_whose_python_was_replaced_is_made_anew(clone: Path, copied: Path) -> None:
    """As by an upgrade of the system; the stand-in for the new Python makes no environment, which is told."""
    (copied / ".venv" / "bin" / "python").unlink()
    (copied / ".venv" / "bin" / "python").symlink_to("/usr/bin/false")
    python = clone.parent / "python3"
    python.write_text('#!/bin/sh\ntest "$1" = -c\n')
    python.chmod(stat.S_IRWXU)
    inside = ["bwrap", "--dev-bind", "/", "/", "--bind", copied, clone, "--bind", python, "/usr/bin/python3"]
    answer = subprocess.run([*inside, "./run"], cwd=clone, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "Making .venv" in answer.stderr


def with_tools(clone: Path, **tools: str) -> str:
    """A PATH on which these programs are scripts of the test's own."""
    folder = clone.parent / "tools"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in tools.items():
        (folder / name.replace("_", "-")).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name.replace("_", "-")).chmod(stat.S_IRWXU)
    for stamp in (clone / ".cache").glob("packages-*"):
        stamp.unlink()
    return f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def policy(clone: Path) -> Iterator[Path]:
    """The file that keeps services of new packages stopped, in a /usr/sbin of the test's own."""
    folder = clone.parent / "sbin"
    folder.mkdir()
    yield folder / "policy-rc.d"
    shutil.rmtree(folder)


def install(clone: Path, policy: Path, apt: str) -> "subprocess.Popen[str]":
    """`./run` as root where every package is missing, with a stand-in for apt-get; a session of its own."""
    path = with_tools(clone, dpkg_query="exit 1", id="echo 0", apt_get=apt)
    return subprocess.Popen(
        ["bwrap", "--dev-bind", "/", "/", "--bind", str(policy.parent), "/usr/sbin", "./run", "--list"],
        cwd=clone,
        env={**os.environ, "HOME": str(clone.parent / "home"), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # else it may be ignored, and sh keeps to that
    )


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_an_installation_that_is_interrupted_leaves_no_policy_behind(
    clone: Path, policy: Path, number: signal.Signals
) -> None:
    with install(clone, policy, "touch /usr/sbin/begun; exec sleep 60") as running:
        wait_for(policy.with_name("begun").exists)
        os.killpg(running.pid, number)
    wait_for(lambda: not policy.exists())


def test_a_policy_that_a_killed_run_left_is_taken_away_by_the_next_and_no_other(clone: Path, policy: Path) -> None:
    with install(clone, policy, "exec sleep 60") as running:
        wait_for(policy.exists)
        os.killpg(running.pid, signal.SIGKILL)
    assert policy.exists()
    with install(clone, policy, f"test -x {policy} && exit 0") as again:
        again.communicate()
    assert (again.returncode, policy.exists()) == (0, False)
    policy.write_text("#!/bin/sh\nexit 0\n")
    with install(clone, policy, "exit 0") as foreign:
        foreign.communicate()
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # a poll of the file system, bounded by the deadline


def test_an_ordinary_user_is_told_what_to_install_and_goes_on(clone: Path) -> None:
    """With a dpkg-query that knows nothing, every package is missing."""
    answer = run(clone, path=with_tools(clone, dpkg_query="exit 1", id="echo 1000"))
    assert answer.returncode == 0, answer.stderr
    assert "apt-get install git openssh-client python3-venv rsync" in answer.stderr
    assert "deploy" in answer.stdout


def test_the_environment_belongs_to_the_user_who_made_it(clone: Path) -> None:
    run(clone)
    assert (clone / ".venv").owner() == pwd.getpwuid(os.geteuid()).pw_name


def pins(lock: str) -> set[str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return {line.split()[0] for line in text.splitlines() if re.match(r"[a-z0-9]", line)}


def test_the_development_lock_holds_all_that_the_control_side_needs() -> None:
    """So one environment serves both, and `./run` need not switch between them."""
    assert pins("control") <= pins("dev")

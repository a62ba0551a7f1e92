"""Mirrors that are killed, cut off or let down in the middle: what staging serves is as it was."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rota.adapters import postgres
from rota.packs.mirror import mirroring, supervise, switch
from rota.packs.mirror.configuration import load_destination
from rota.packs.mirror.progress import Progress
from rota.packs.mirror.source import SourceFailed
from rota.packs.mirror.switch import NotReady, ProgramFailed
from tests.agent.mirror.conftest import HERE, RELEASE, SOURCES, Estate
from tests.agent.mirror.test_mirroring import leftovers, mirror

pytestmark = pytest.mark.servers

STAGES = ["ask", "structure", "rows", "mask", "check", "indexes", "media"]
ROOT = HERE.parents[2]


def command(estate: Estate, environment: Path, word: str) -> list[str]:
    driver = [sys.executable, str(HERE / "driver.py"), str(environment)]
    return [*driver, "--configuration", str(estate.configuration), word]


def surroundings() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{SOURCES}:{ROOT}"}


def kill_in_stage(estate: Estate, environment: Path, stage: str) -> None:
    """Start a mirror, and kill it, its programs left to themselves, when it says that the stage begins."""
    words = command(estate, environment, "work")
    with subprocess.Popen(words, env=surroundings(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = next((line for line in process.stdout if line == f"{stage} …\n"), None)
        process.kill()
    assert said
    assert process.returncode == -signal.SIGKILL


def run(estate: Estate, environment: Path, word: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(estate, environment, word), env=surroundings(), capture_output=True, text=True, timeout=60, check=False
    )


def test_a_mirror_killed_in_any_stage_leaves_staging_as_it_was_and_the_next_one_succeeds(
    estate: Estate, environment: Path
) -> None:
    before = estate.seen()

    for stage in STAGES:
        kill_in_stage(estate, environment, stage)
        assert supervise.recover(estate.configuration) == 0
        assert (estate.seen(), leftovers(estate)) == (before, []), stage

    mirror(estate)
    assert estate.query("SELECT count(*) FROM reader") == [(300,)]
    assert leftovers(estate) == []


@pytest.fixture
def programs(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first in PATH whose `systemctl` writes down what it was asked, and may be told to kill or to fail."""
    folder = estate.folder / "programs"
    folder.mkdir()
    for name in ("systemctl", "rota-release"):
        program = folder / name
        program.write_text(f"#!/bin/sh\nHERE={folder}\n" + (HERE / "program.sh").read_text())
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    estate.configure(service="rota-diary.service", release_program=[str(folder / "rota-release")])
    return folder


def use_release(estate: Estate, release: str) -> None:
    """Have production run a release, and staging an older one of its own."""
    (estate.folder / "production" / "opt" / "current").symlink_to(f"releases/{release}")
    old = estate.folder / "staging" / "opt" / "releases" / "20260101T000000Z-ba9876543210"
    old.mkdir()
    (estate.folder / "staging" / "opt" / "current").symlink_to(f"releases/{old.name}")


def release_here(estate: Estate) -> str:
    return (estate.folder / "staging" / "opt" / "current").readlink().name


@pytest.mark.parametrize("at", ["systemctl stop", "rota-release rollback", "after", "systemctl restart"])
def test_a_mirror_killed_inside_its_switch_goes_back_by_itself(
    estate: Estate, environment: Path, programs: Path, at: str
) -> None:
    use_release(estate, RELEASE)
    estate.configure(after=[["systemctl", "after"]])
    before = (estate.seen(), release_here(estate))
    (programs / "kill").write_text(at.replace("after", "systemctl after"))

    done = run(estate, environment, "run")

    assert done.returncode == 2
    assert done.stderr == "The mirror was killed; this host is as it was before: by SIGKILL\n"
    assert "everything is back as it was before" in done.stdout
    assert (estate.seen(), release_here(estate)) == before
    assert leftovers(estate) == []
    assert (programs / "log").read_text().splitlines()[-1] == "systemctl restart rota-diary.service"


def test_a_switch_that_nobody_could_undo_at_once_is_undone_later(
    estate: Estate, environment: Path, programs: Path
) -> None:
    before = estate.seen()
    (programs / "kill").write_text("systemctl restart")
    run(estate, environment, "work")
    assert estate.query("SELECT count(*) FROM reader") == [(300,)]

    done = run(estate, environment, "recover")

    assert done.returncode == 0
    assert (estate.seen(), leftovers(estate)) == (before, [])
    assert run(estate, environment, "recover").stdout == ""


def test_going_back_can_itself_be_killed(estate: Estate, environment: Path, programs: Path) -> None:
    before = estate.seen()
    for at in ("systemctl restart", "systemctl stop", "systemctl restart"):
        (programs / "kill").write_text(at)
        run(
            estate,
            environment,
            "recover" if switch.journal(load_destination(estate.configuration)).exists() else "work",
        )

    run(estate, environment, "recover")

    assert estate.seen() == before


def test_the_release_that_production_runs_comes_along(estate: Estate, programs: Path) -> None:
    use_release(estate, RELEASE)

    result = mirror(estate)

    assert release_here(estate) == RELEASE
    place = estate.folder / "staging" / "opt" / "releases" / RELEASE / "RELEASE.json"
    assert place.read_text() == f'{{"id": "{RELEASE}"}}'
    assert result.counts["release_bytes"] > 0


def test_a_program_that_fails_in_the_switch_is_named_and_everything_goes_back(estate: Estate, programs: Path) -> None:
    use_release(estate, RELEASE)
    before = (estate.seen(), release_here(estate))
    (programs / "fail").write_text("systemctl restart")

    kept = "library_before_20260101T000000Z"  # by a restore
    estate.query(f'CREATE DATABASE "{kept}"', database="postgres")

    with pytest.raises(ProgramFailed, match="systemctl restart rota-diary.service ended with 1: no such luck"):
        mirror(estate)

    assert (estate.seen(), release_here(estate)) == before
    assert leftovers(estate) == [kept]


def test_a_service_that_does_not_become_ready_brings_the_old_content_back(estate: Estate, programs: Path) -> None:
    estate.configure(readiness={"socket": str(estate.folder / "diary.sock"), "seconds": 0.5})
    before = estate.seen()

    with pytest.raises(NotReady, match=r"/readyz at .* said nothing \(.*No such file"):
        mirror(estate)

    assert estate.seen() == before


@contextmanager
def cutting_proxy(port: int, after: int) -> Iterator[int]:
    """A TCP proxy before `port` that ends any connection that has brought more than `after` bytes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=accept_all, args=(listener, port, after), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def accept_all(listener: socket.socket, port: int, after: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", port))
        for one, other, limit in ((near, far, None), (far, near, after)):
            threading.Thread(target=forward, args=(one, other, limit), daemon=True).start()


def forward(one: socket.socket, other: socket.socket, limit: int | None) -> None:
    seen = 0
    try:
        while (chunk := one.recv(65536)) and (limit is None or seen < limit):
            seen += len(chunk)
            other.sendall(chunk)
    except OSError:
        pass  # the other direction was cut
    for end in (one, other):
        with closing(end):
            end.close() if end.fileno() < 0 else end.shutdown(socket.SHUT_RDWR)


def test_a_connection_cut_in_the_middle_of_the_rows_leaves_staging_as_it_was(estate: Estate) -> None:
    estate.query((HERE / "covers.sql").read_text(), estate.there)
    before, lines = estate.seen(), list[str]()
    with cutting_proxy(estate.sshd.port, after=1_000_000) as port:
        estate.configure(source=estate.settings["source"] | {"port": port})

        with pytest.raises(SourceFailed, match="rows ended with 255"):
            mirror(estate, lines)

    assert lines[-1] == "rows …"
    assert (estate.seen(), leftovers(estate)) == (before, [])


def test_two_mirrors_at_once_do_not_meet(estate: Estate) -> None:
    destination = load_destination(estate.configuration)

    with (
        postgres.restoring(destination.database, destination.server),
        pytest.raises(postgres.RestoreUnderWay, match="library"),
    ):
        mirroring.mirror(destination, Progress(lambda line: None), datetime.now(UTC))


def test_production_refuses_each_command_that_could_change_it(estate: Estate, environment: Path) -> None:
    environment.write_text("production\n")
    before = estate.seen()

    for word in ("run", "work", "recover", "check"):
        done = run(estate, environment, word)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("This host is no destination for a mirror: it belongs to 'production'")

    assert estate.seen() == before


def test_no_argument_names_the_environment(estate: Estate) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "rota.packs.mirror", "--help"],
        env=surroundings(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    options = {word.strip("[],") for word in said.split() if word.strip("[]").startswith("-")}
    assert options == {"-h", "--help", "--configuration"}

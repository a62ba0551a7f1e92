"""The host's side of a deploy, against a root of its own: killed at any moment, `current` names a complete release."""

import fcntl
import functools
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import random
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

import pytest

from rota.core.record import DeployRecord, parse_record

PROGRAM = Path(__file__).parents[2] / "roles/agent/files/rota-release"
A, B, C, D = (f"2026010{day}T000000Z-{digit * 12}" for day, digit in enumerate("abcd", start=1))

# Audit events of everything that leaves a trace.
ACTS = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod", "subprocess.Popen"}


def load_program() -> Any:
    """rota-release as a module; its name has no ending that Python would know it by."""
    loader = importlib.machinery.SourceFileLoader("rota_release", str(PROGRAM))
    module = importlib.util.module_from_spec(cast(Any, importlib.util.spec_from_loader("rota_release", loader)))
    sys.modules["rota_release"] = module  # dataclasses look their module up
    with_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = with_bytecode
    return module


rota_release = load_program()

# Notes every call beside itself; `cat` shows a unit as systemd would.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/systemctl.log"
if [ "$1" = cat ]; then cat "$(dirname "$0")/$2"; fi
"""

DIARY_UNIT = """# /etc/systemd/system/rota-diary.service
[Unit]
Description=The diary
Requires=rota-diary.socket
[Service]
Type=notify
User=rota-diary
LoadCredential=diary_secret_key:/etc/rota/credentials/diary_secret_key
ExecStart={link}/venv/bin/gunicorn \\
    --workers 2 rota.diary.wsgi
Restart=on-failure
[Install]
WantedBy=multi-user.target
# /etc/systemd/system/rota-diary.service.d/memory.conf
[Service]
MemoryMax=512M
"""

SYNC_UNIT = """[Service]
Type=oneshot
User=rota-diary
LoadCredential=diary_admin_password:/etc/rota/credentials/diary_admin_password
ExecStart={link}/venv/bin/rota-diary sync
"""


class Host:
    """A root for rota-release, with systemd and PostgreSQL's programs played by scripts."""

    def __init__(self, root: Path) -> None:
        self.root, self.programs = root, root / "programs"
        self.opt = root / "opt/rota"
        self.releases = self.opt / "releases"
        for folder in (self.programs, self.releases, root / "etc/rota", root / "run/rota", root / "var/lib/rota/spool"):
            folder.mkdir(parents=True, exist_ok=True)
        (root / "etc/rota/environment").write_text("staging\n")
        self.play("systemctl", SYSTEMCTL)

    def play(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)

    def argv(self, *words: str) -> list[str]:
        options = ("--root", str(self.root), "--programs", str(self.programs), "--json")
        return ["/usr/bin/python3", "-I", str(PROGRAM), *options, *words]

    def ask(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Run a subcommand here; what is killed or held runs in a process of its own."""
        with redirect_stdout(io.StringIO()) as said:
            code = rota_release.main(self.argv(*words)[3:])
        assert code == expect, said.getvalue()
        return cast(dict[str, Any], json.loads(said.getvalue()))

    def kill_at(self, moment: int, *words: str) -> bool:
        """Run a subcommand in a process that dies at its nth act on files or programs; whether it came so far."""
        child = os.fork()
        if child == 0:
            acts = iter(range(moment))
            mortal = os.getpid()

            def die(event: str, about: tuple[Any, ...]) -> None:
                is_act = event in ACTS or (event == "open" and about[2] & (os.O_WRONLY | os.O_RDWR))
                if is_act and os.getpid() == mortal and next(acts, None) is None:
                    os.kill(mortal, signal.SIGKILL)

            sys.addaudithook(die)
            with redirect_stdout(io.StringIO()):
                os._exit(rota_release.main(self.argv(*words)[3:]))
        status = os.waitpid(child, 0)[1]
        return os.WIFSIGNALED(status)

    def kill_during(self, seconds: float, *words: str) -> None:
        with subprocess.Popen(self.argv(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()

    @property
    def current(self) -> str | None:
        link = self.opt / "current"
        return link.readlink().name if link.is_symlink() else None

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.releases.iterdir()}

    def systemctl_calls(self) -> list[str]:
        log = self.programs / "systemctl.log"
        return log.read_text().splitlines() if log.exists() else []

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.root / "var/lib/rota/spool/done").glob("*"))]

    def put(self, release: str, rota: str = "exit 0", extras: tuple[str, ...] = ()) -> None:
        """A complete release whose `rota` is a line of shell."""
        folder = self.releases / release
        (folder / "venv/bin").mkdir(parents=True)
        (folder / "venv/bin/rota").write_text(f"#!/bin/sh\necho {release} $1 >>{self.root}/rota.log\n{rota}\n")
        (folder / "venv/bin/rota").chmod(0o755)
        (folder / "requirements.txt").write_text("")
        (folder / "RELEASE.json").write_text(json.dumps(release_json(release, extras)))

    def use(self, release: str) -> None:
        """The ordinary way to a release: armed, switched, confirmed."""
        self.ask("arm", release)
        self.ask("switch", release)
        self.ask("disarm", release)

    def serve_diary(self) -> None:
        (self.root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/systemd/system/rota-diary.service").write_text("")
        (self.programs / "rota-diary.service").write_text(DIARY_UNIT.format(link=self.opt / "current"))
        (self.programs / "rota-diary-sync.service").write_text(SYNC_UNIT.format(link=self.opt / "current"))


def release_json(release: str, extras: tuple[str, ...] = ()) -> dict[str, Any]:
    commit = release[-12:] * 3 + "0000"
    about = {"id": release, "commit": commit, "ref": "main", "dirty": False, "extras": list(extras)}
    return {**about, "built_at": "2026-01-01T00:00:00Z", "built_by": "ann@desk", "version": "0.1.0"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


@functools.cache
def wheel_of_rota() -> bytes:
    buffer = io.BytesIO()
    about = "Metadata-Version: 2.1\nName: rota\nVersion: 0.1.0\nProvides-Extra: diary\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rota/__init__.py", "")
        archive.writestr("rota/large.bin", bytes(200_000))
        archive.writestr("rota/cli.py", "import sys\n\n\ndef main():\n    print(sys.prefix, *sys.argv[1:])\n")
        archive.writestr("rota-0.1.0.dist-info/METADATA", about)
        archive.writestr("rota-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("rota-0.1.0.dist-info/entry_points.txt", "[console_scripts]\nrota = rota.cli:main\n")
        archive.writestr("rota-0.1.0.dist-info/RECORD", "")
    return buffer.getvalue()


def make_bundle(
    path: Path, release: str, extras: tuple[str, ...] = (), replaced: dict[str, bytes] | None = None
) -> Path:
    wheel = wheel_of_rota()
    wanted = f"[{','.join(extras)}]" if extras else ""
    members = {
        "RELEASE.json": json.dumps(release_json(release, extras)).encode(),
        "requirements.txt": f"rota{wanted}==0.1.0 --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n".encode(),
        "wheels/rota-0.1.0-py3-none-any.whl": wheel,
    }
    members.update(replaced or {})
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., str]:
    return lambda release=A, **more: str(make_bundle(tmp_path / "a.bundle", release, **more))


# -- install ----------------------------------------------------------------------------------------------------


def test_an_installed_release_runs_from_its_own_folder(host: Host, bundle: Callable[..., str]) -> None:
    path = bundle()

    answer = host.ask("install", path)

    folder = host.releases / A
    assert answer["changed"] is True
    said = subprocess.run([folder / "venv/bin/rota", "check"], capture_output=True, text=True, check=True).stdout
    assert said == f"{folder}/venv check\n"
    assert json.loads((folder / "RELEASE.json").read_text())["id"] == A
    assert not Path(path).exists(), "the bundle is used up"
    assert b".part" not in b"".join(f.read_bytes() for f in (folder / "venv/bin").iterdir() if not f.is_symlink())


def test_installing_again_changes_nothing(host: Host, bundle: Callable[..., str]) -> None:
    host.ask("install", bundle())
    made = (host.releases / A).stat().st_ino

    assert host.ask("install", bundle())["changed"] is False
    assert (host.releases / A).stat().st_ino == made


def test_a_release_made_for_other_extras_is_replaced_in_one_act(host: Host, bundle: Callable[..., str]) -> None:
    host.ask("install", bundle())
    host.use(A)

    host.ask("install", bundle(extras=("diary",)))

    assert json.loads((host.releases / A / "RELEASE.json").read_text())["extras"] == ["diary"]
    assert host.names == {A}


def test_a_killed_installation_leaves_no_release_and_can_be_begun_again(host: Host, bundle: Callable[..., str]) -> None:
    chance = random.Random(7)
    host.put(B)
    host.use(B)
    for _ in range(5):
        host.kill_during(chance.uniform(0.1, 1.2), "install", bundle())
        assert host.current == B
        assert (host.releases / A / "RELEASE.json").exists() == (host.releases / A).exists()

    host.ask("install", bundle())

    assert subprocess.run([host.releases / A / "venv/bin/rota"], check=True, capture_output=True).stdout
    assert host.names == {A, B}


@pytest.mark.parametrize("largest_file", [2_000, 100_000])
def test_a_full_disk_leaves_nothing_half(host: Host, bundle: Callable[..., str], largest_file: int) -> None:
    """A limit on files stands for the disk: writing fails in the same places, needs no rights, and ends by itself."""
    path = bundle()
    argv = ["/usr/bin/prlimit", f"--fsize={largest_file}", *host.argv("install", path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stdout + done.stderr
    assert json.loads(done.stdout)["error"] == "NoSpace", done.stdout
    assert host.names == set()
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("replaced", "reason"),
    [
        ({"RELEASE.json": b'{"id": "../../etc"}'}, "names no release"),
        ({"RELEASE.json": b"{"}, "bundle"),
    ],
)
def test_a_bundle_that_is_none_is_refused(
    host: Host, bundle: Callable[..., str], replaced: dict[str, bytes], reason: str
) -> None:
    answer = host.ask("install", bundle(replaced=replaced), expect=2)

    assert answer["error"] == "BadBundle"
    assert reason in answer["message"]


def test_a_bundle_cannot_write_outside_its_release(host: Host, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a.bundle", A)
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("wheels/../../../../../escaped.whl")
        tar.addfile(member, io.BytesIO())

    assert host.ask("install", str(path), expect=2)["error"] == "BadBundle"
    assert host.names == set()


def test_a_wheel_other_than_the_listed_one_is_not_installed(host: Host, bundle: Callable[..., str]) -> None:
    path = bundle(replaced={"requirements.txt": b"rota==0.1.0 --hash=sha256:" + b"0" * 64 + b"\n"})

    answer = host.ask("install", path, expect=2)

    assert "DO NOT MATCH THE HASHES" in answer["message"]
    assert host.names == set()


# -- switch, confirm, go back -----------------------------------------------------------------------------------


def test_nothing_is_switched_without_a_way_back(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.ask("switch", A)

    answer = host.ask("switch", B, expect=2)

    assert answer["error"] == "NotArmed"
    assert host.current == A


def test_the_first_release_of_a_host_needs_no_way_back_but_is_confirmed_too(host: Host) -> None:
    host.put(A)

    assert host.ask("arm", A)["changed"] is False
    assert host.ask("switch", A)["changed"] is True
    assert host.ask("return")["changed"] is False
    assert host.current == A
    assert host.ask("status")["armed"]["release"] == A
    assert host.ask("disarm", A)["changed"] is True
    assert host.ask("status")["armed"] is None


def test_a_deploy_takes_only_its_own_way_back(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    with session(host, "later"):
        host.ask("--token", "later", "arm", B)
        host.ask("--token", "later", "switch", B)
        assert host.ask("--token", "earlier", "return")["changed"] is False
        assert host.current == B
        assert host.ask("--token", "later", "return")["changed"] is True
        assert host.current == A


def test_the_way_back_is_a_timer_that_outlives_session_and_reboot(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)

    host.ask("arm", B, "--seconds", "90")

    units = host.root / "etc/systemd/system"
    assert "OnActiveSec=90\n" in (units / "rota-release-return.timer").read_text()
    assert f"ExecStart={PROGRAM} " in (units / "rota-release-return.service").read_text()
    assert host.systemctl_calls()[-2:] == [
        "enable --quiet rota-release-return.timer",
        "restart rota-release-return.timer",
    ]


def test_an_unconfirmed_release_is_left_and_that_is_recorded(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    host.ask("arm", B)
    host.ask("switch", B)
    assert host.current == B

    host.ask("return")

    assert host.current == A
    [record] = host.records()
    assert (record["kind"], record["action"], record["status"]) == ("deploy", "return", "returned")
    assert (record["release"], record["previous"]) == (A, B)
    assert (record["environment"], record["commit"], record["version"]) == ("staging", "a" * 36 + "0000", 1)
    assert not list((host.root / "etc/systemd/system").glob("rota-release-*"))
    assert host.ask("return")["changed"] is False
    assert host.ask("disarm", B, expect=2)["error"] == "GoneBack"


def test_a_confirmed_release_stays(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    host.use(B)

    assert host.ask("return")["changed"] is False
    assert host.current == B
    assert host.records() == []


def test_a_way_back_whose_switch_never_came_ends_quietly(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    host.ask("arm", B)

    host.ask("return")

    assert host.current == A
    assert host.records() == []


def test_arming_again_after_the_switch_keeps_the_way_back(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    host.ask("arm", B)
    host.ask("switch", B)

    host.ask("arm", B)
    host.ask("return")

    assert host.current == A


@pytest.mark.parametrize("steps", [("arm",), ("arm", "switch")], ids=" and ".join)
def test_the_way_back_never_leads_to_a_release_that_nobody_confirmed(host: Host, steps: tuple[str, ...]) -> None:
    """B was switched to by a deploy that died; while it waits to be confirmed C is deployed and is left alone too."""
    for release in (A, B, C):
        host.put(release)
    host.use(A)
    host.ask("arm", B)
    host.ask("switch", B)
    for step in steps:
        host.ask(step, C)

    host.ask("return")

    assert host.current == A
    assert host.records()[0]["previous"] == (C if "switch" in steps else B)
    assert host.ask("status")["armed"] is None


def test_a_third_deploy_in_a_row_that_dies_goes_back_to_the_confirmed_release_as_well(host: Host) -> None:
    for release in (A, B, C, D):
        host.put(release)
    host.use(A)
    for release in (B, C, D):
        host.ask("arm", release)
        host.ask("switch", release)

    host.ask("return")

    assert host.current == A


def test_going_back_passes_over_a_release_that_nobody_confirmed(host: Host) -> None:
    for release in (A, B, C):
        host.put(release)
    host.use(A)
    host.ask("arm", B)
    host.ask("switch", B)
    host.use(C)

    host.ask("rollback")

    assert host.current == A


@pytest.mark.parametrize("steps", [("arm",), ("arm", "switch")], ids=" and ".join)
def test_the_confirmed_release_can_be_deployed_again_over_one_that_nobody_confirmed(
    host: Host, steps: tuple[str, ...]
) -> None:
    for release in (A, B, C):
        host.put(release)
    host.use(C)
    host.use(A)
    host.ask("arm", B)
    host.ask("switch", B)
    for step in steps:
        host.ask(step, A)

    host.ask("return")

    assert host.current == A
    host.ask("rollback")
    assert host.current == C


def test_units_are_synced_by_the_code_that_is_switched_to(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    host.use(B)
    host.ask("rollback")

    assert (host.root / "rota.log").read_text().splitlines() == [f"{A} sync", f"{B} sync", f"{A} sync"]


def test_a_release_whose_units_cannot_be_synced_fails_and_the_way_back_works(host: Host) -> None:
    host.put(A)
    host.put(B, rota="echo no such calendar >&2; exit 3")
    host.use(A)
    host.ask("arm", B)

    answer = host.ask("switch", B, expect=2)

    assert "exit 3" in answer["message"]
    assert "no such calendar" in answer["message"]
    host.ask("return")
    assert host.current == A


def test_going_back_twice_goes_further_back(host: Host) -> None:
    for release in (A, B, C):
        host.put(release)
        host.use(release)

    host.ask("rollback")
    assert host.current == B
    host.ask("rollback")
    assert host.current == A
    assert host.ask("rollback", expect=2)["error"] == "NoPrevious"


def test_one_can_go_to_any_release_by_name(host: Host) -> None:
    for release in (A, B, C):
        host.put(release)
        host.use(release)

    assert host.ask("rollback", "--to", A)["changed"] is True
    assert host.ask("rollback", "--to", A)["changed"] is False
    assert host.current == A
    answer = host.ask("rollback", "--to", D, expect=2)
    assert answer["error"] == "UnknownRelease"
    assert C in answer["message"]


@pytest.mark.parametrize("step", ["arm", "switch", "disarm", "return", "rollback", "prune"])
def test_killed_at_any_moment_the_link_names_a_complete_release(host: Host, step: str) -> None:
    """Each step dies at its first act, then at its second and so on; then it is done to the end."""
    names = [A, B, C]
    for name in names:
        host.put(name)
    host.use(A)
    before = {"arm": [], "switch": ["arm"], "disarm": ["arm", "switch"], "return": ["arm", "switch"]}
    last = {"return": ["return"], "rollback": ["rollback", "--to", A], "prune": ["prune"]}.get(step, [step, B])
    moments = 0
    while True:
        host.ask("rollback", "--to", A)
        for earlier in before.get(step, ["arm", "switch", "disarm"]):
            host.ask(earlier, B)
        killed = host.kill_at(moments, *last)
        assert host.current in (A, B)
        assert host.names >= {A, B}
        assert host.ask("status")["current"]["id"] == host.current
        if not killed:
            break
        host.ask(*last)
        assert host.current == {"return": A, "arm": A}.get(step, host.current)
        moments += 1
    assert moments >= 4, "it died often enough to mean something"


def test_a_host_heals_itself_wherever_a_deploy_was_killed(host: Host) -> None:
    """A deploy's steps die one act later each time; the way back alone then brings a release that was confirmed."""
    for name in (A, B):
        host.put(name)
    host.use(A)
    for step in ("arm", "switch", "disarm"):
        moment = 0
        while host.kill_at(moment, step, B):
            host.ask("return")
            assert not (host.opt / "armed.json").exists()
            assert host.current == A or step == "disarm"
            host.ask("rollback", "--to", A)
            for earlier in ("arm", "switch")[: ("arm", "switch", "disarm").index(step)]:
                host.ask(earlier, B)
            moment += 1


# -- locks ------------------------------------------------------------------------------------------------------


@contextmanager
def session(host: Host, token: str, who: str = "ann@desk") -> Iterator[subprocess.Popen[str]]:
    argv = host.argv("--token", token, "lock", "--who", who)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"locked": True}
        yield process
        process.kill()


def test_a_second_deploy_is_told_who_holds_the_lock(host: Host) -> None:
    with session(host, "one"):
        answer = host.ask("lock", "--who", "bob@desk", expect=75)

    assert answer["error"] == "Locked"
    assert "ann@desk" in answer["message"]


def test_the_lock_is_free_when_its_session_ends(host: Host) -> None:
    with session(host, "one") as process:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)

    with session(host, "two"):
        assert host.ask("status")["lock"]["who"] == "ann@desk"
    assert host.ask("status")["lock"] is None


def test_the_lock_is_free_when_its_holder_is_killed(host: Host) -> None:
    with session(host, "one") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        with session(host, "two"):
            pass


def test_one_can_wait_for_the_lock(host: Host) -> None:
    with session(host, "one") as first:
        argv = host.argv("lock", "--who", "bob@desk", "--wait", "30")
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
            assert first.stdin is not None
            first.stdin.close()
            assert second.stdout is not None
            assert json.loads(second.stdout.readline()) == {"locked": True}
            second.kill()


def test_waiting_ends_in_time(host: Host) -> None:
    with session(host, "one"):
        assert host.ask("lock", "--who", "bob@desk", "--wait", "0.5", expect=75)["error"] == "Locked"


def test_a_deploy_that_lost_its_lock_cannot_go_on(host: Host) -> None:
    host.put(A)
    with session(host, "one"):
        assert host.ask("--token", "one", "arm", A)["changed"] is False
        assert host.ask("--token", "other", "arm", A, expect=2)["error"] == "LockLost"
        assert host.ask("arm", A, expect=75)["error"] == "Locked"
    assert host.ask("--token", "one", "arm", A, expect=2)["error"] == "LockLost"


def test_the_way_back_needs_no_lock_of_deploys(host: Host) -> None:
    host.put(A)
    host.put(B)
    host.use(A)
    host.ask("arm", B)
    host.ask("switch", B)
    with session(host, "one"):
        host.ask("return")
    assert host.current == A


def test_a_program_started_by_a_killed_installation_keeps_the_next_one_waiting(
    host: Host, bundle: Callable[..., str]
) -> None:
    """Else an orphaned pip would write into the folder that the next installation makes."""
    host.opt.mkdir(parents=True, exist_ok=True)
    host.kill_during(0.6, "install", bundle())
    with (host.opt / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # comes back only when no orphan is left
        part = host.releases / f".{A}.part"
        shutil.rmtree(part, ignore_errors=True)
        assert not part.exists()


# -- prune ------------------------------------------------------------------------------------------------------


def many(host: Host, count: int) -> list[str]:
    names = [f"202601{day:02}T000000Z-{day:012x}" for day in range(1, count + 1)]
    for name in names:
        host.put(name)
        host.use(name)
    return names


def test_five_releases_are_kept(host: Host) -> None:
    names = many(host, 6)

    answer = host.ask("prune")

    assert answer["removed"] == names[:1]
    assert host.names == set(names[1:])
    assert host.ask("prune")["changed"] is False


def test_the_one_in_use_and_the_one_before_it_are_never_removed(host: Host) -> None:
    names = many(host, 4)
    host.ask("rollback", "--to", names[1])

    host.ask("prune", "--keep", "1")

    assert host.names == set(names[:2])


def test_a_release_with_an_open_run_is_never_removed(host: Host) -> None:
    names = many(host, 4)
    folder = host.root / "var/lib/rota/spool/running"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"kind": "run", "release": names[0]}))

    host.ask("prune", "--keep", "1")

    assert names[0] in host.names
    assert names[1] not in host.names


def test_nothing_that_a_task_leaves_among_the_run_records_stops_a_deploy(host: Host) -> None:
    names = many(host, 2)
    folder = host.root / "var/lib/rota/spool/running"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "bytes.json").write_bytes(b"\xff\xfe")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "text.json").write_text('"release"')
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may not be long
        listening.bind("socket.json")
        os.chdir(here)

    host.ask("prune", "--keep", "1")

    assert host.names == set(names)


def test_a_release_of_a_running_process_is_never_removed(host: Host) -> None:
    names = many(host, 4)
    program = host.releases / names[0] / "venv/bin/wait"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        host.ask("prune", "--keep", "1")
        assert names[0] in host.names
        process.kill()
    host.ask("prune", "--keep", "1")
    assert names[0] not in host.names


def test_pruning_sweeps_what_was_left_half_done(host: Host) -> None:
    many(host, 1)
    for name in (f".{B}.part", f".{C}.gone"):
        (host.releases / name / "venv").mkdir(parents=True)
    (host.opt / f"{B}.bundle").touch()

    host.ask("prune")

    assert len(host.names) == 1
    assert not list(host.opt.glob("*.bundle"))


# -- the diary --------------------------------------------------------------------------------------------------


class Diary(BaseHTTPRequestHandler):
    """Says that it is ready, as the release its server was made for."""

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        release = cast(Any, self.server).release
        body = json.dumps({"status": "ok" if release else "no database", "release": release}).encode()
        self.send_response(200 if release else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""

    def address_string(self) -> str:
        return "socket"


@contextmanager
def answering(path: Path, release: str | None) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(path), Diary) as server:
        cast(Any, server).release = release
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


@pytest.fixture
def diary_host(tmp_path: Path) -> Iterator[Host]:
    """A host that serves the diary; its root has a short name, for a socket's path may not be long."""
    root = Path("/tmp") / f"rr{os.getpid()}"  # noqa: S108 - short on purpose, removed below
    host = Host(root)
    host.serve_diary()
    host.play("runuser", '#!/bin/sh\nshift 3\nexec "$@"\n')
    host.play("pg_dump", '#!/bin/sh\necho "dump $*"\n')
    yield host
    shutil.rmtree(root)


def test_the_diary_is_restarted_behind_its_socket_unless_it_runs_the_release_already(diary_host: Host) -> None:
    diary_host.put(A)
    with answering(diary_host.root / "run/rota/diary.sock", A):
        diary_host.ask("switch", A)
    assert "restart rota-diary.service" not in diary_host.systemctl_calls()

    with answering(diary_host.root / "run/rota/diary.sock", B):
        diary_host.ask("switch", A)
    assert diary_host.systemctl_calls()[-2:] == ["start rota-diary.socket", "restart rota-diary.service"]
    assert not [call for call in diary_host.systemctl_calls() if "stop" in call and "socket" in call]


def test_a_release_proves_its_health_on_a_second_socket(diary_host: Host) -> None:
    diary_host.put(A)
    diary_host.play("systemctl", SYSTEMCTL + f"cp {diary_host.root}/run/systemd/system/*probe* $(dirname $0) || :\n")
    with answering(diary_host.root / "run/rota/diary-probe.sock", A):
        diary_host.ask("probe", A)

    service = (diary_host.programs / "rota-diary-probe.service").read_text()
    assert f"ExecStart={diary_host.releases}/{A}/venv/bin/gunicorn --workers 2 rota.diary.wsgi" in " ".join(
        service.split(" ")
    ).replace("      ", " ").replace("     ", " ")
    assert "User=rota-diary\n" in service
    assert "LoadCredential=diary_secret_key:/etc/rota/credentials/diary_secret_key\n" in service
    assert "MemoryMax=512M\n" in service
    assert "rota-diary.socket" not in service
    assert "[Install]" not in service
    assert "stop rota-diary-probe.socket rota-diary-probe.service" in diary_host.systemctl_calls()
    assert not list((diary_host.root / "run/systemd/system").iterdir())


def test_a_release_that_answers_as_another_is_not_healthy(diary_host: Host) -> None:
    diary_host.put(A)
    with answering(diary_host.root / "run/rota/diary-probe.sock", B):
        answer = diary_host.ask("probe", A, expect=2)

    assert answer["error"] == "Unhealthy"


def test_migrations_run_as_the_diary_does_and_their_failure_shows_why(diary_host: Host) -> None:
    diary_host.put(A)
    system = diary_host.root / "run/systemd/system"
    log = diary_host.root / f"run/rota/rota-diary-migrate-{A[-12:]}.service.log"
    script = f'if [ "$1" = start ]; then cp {system}/$2 {diary_host.programs}; echo no such column >{log}; exit 1; fi\n'
    diary_host.play("systemctl", SYSTEMCTL + script)

    answer = diary_host.ask("migrate", A, expect=2)

    assert "no such column" in answer["message"]
    unit = (diary_host.programs / f"rota-diary-migrate-{A[-12:]}.service").read_text()
    assert f"ExecStart={diary_host.releases}/{A}/venv/bin/rota-diary migrate --noinput\n" in unit
    assert "Type=oneshot\n" in unit
    assert "Type=notify" not in unit
    assert "gunicorn" not in unit
    assert "User=rota-diary\n" in unit


def test_only_the_sync_after_migrations_may_read_the_first_password(diary_host: Host) -> None:
    diary_host.put(A)
    script = f'if [ "$1" = start ]; then cp {diary_host.root}/run/systemd/system/$2 {diary_host.programs}; fi\n'
    diary_host.play("systemctl", SYSTEMCTL + script)

    diary_host.ask("migrate", A)

    migrating, syncing = (
        (diary_host.programs / f"rota-diary-{word}-{A[-12:]}.service").read_text() for word in ("migrate", "sync")
    )
    assert "diary_admin_password" in syncing
    assert "diary_admin_password" not in migrating
    assert f"ExecStart={diary_host.releases}/{A}/venv/bin/rota-diary sync\n" in syncing


def test_the_database_is_copied_first_and_five_copies_are_kept(diary_host: Host) -> None:
    diary_host.put(A)
    for _ in range(2):
        diary_host.ask("dump", A)
    folder = diary_host.root / "var/lib/rota/predeploy"
    assert (folder / f"{A}.dump").read_text() == "dump -Fc diary\n"
    assert (folder / f"{A}.dump").stat().st_mode & 0o777 == 0o600
    assert len(list(folder.iterdir())) == 2, "an earlier copy stays beside the newer"

    for day in range(10, 17):
        other = f"202601{day}T000000Z-{day:012x}"
        diary_host.put(other)
        diary_host.ask("dump", other)
    assert len(list(folder.glob("*.dump"))) == 5


def test_a_failed_copy_of_the_database_leaves_the_earlier_one(diary_host: Host) -> None:
    diary_host.put(A)
    diary_host.ask("dump", A)
    diary_host.play("pg_dump", "#!/bin/sh\necho half\necho connection lost >&2\nexit 1\n")

    answer = diary_host.ask("dump", A, expect=2)

    assert "connection lost" in answer["message"]
    folder = diary_host.root / "var/lib/rota/predeploy"
    assert [path.read_text() for path in folder.iterdir()] == ["dump -Fc diary\n"]


def test_a_release_without_what_the_host_needs_is_refused(diary_host: Host) -> None:
    diary_host.put(A)

    answer = diary_host.ask("check", A, expect=2)

    assert answer["error"] == "NotProvisioned"
    assert "diary, postgres" in answer["message"]


# -- records, words ---------------------------------------------------------------------------------------------


def test_a_deploy_is_written_down_once(host: Host) -> None:
    host.put(A)
    identity = "01890000-0000-7000-8000-000000000000"
    words = ("record", "--action", "deploy", "--status", "succeeded", "--release", A, "--who", "ann@desk")
    more = ("--id", identity, "--ref", "v1", "--started", "2026-01-01T00:00:00Z")

    assert host.ask(*words, *more)["changed"] is True
    assert host.ask(*words, *more)["changed"] is False

    [record] = host.records()
    assert record["id"] == identity
    assert record["ref"] == "v1"
    assert record["started"] == "2026-01-01T00:00:00.000000Z"
    assert set(record) == {
        *("version", "kind", "id", "host", "environment", "action", "release", "commit", "ref", "who"),
        *("started", "ended", "duration", "status", "reason", "previous"),
    }


@pytest.mark.parametrize("release", [A, D], ids=["installed", "never installed"])
def test_the_diary_understands_whatever_is_written_down(host: Host, release: str) -> None:
    """Also of a deploy that failed early, long reasons in any script, and an operator whose clock is ahead."""
    host.put(A)
    words = ("--action", "deploy", "--status", "failed", "--release", release, "--who", "é" * 300, "--ref", "v" * 300)

    host.ask("record", *words, "--reason", "…\udcff" * 2000, "--started", "2100-01-01T00:00:00Z")

    [record] = host.records()
    read = parse_record(record)
    assert isinstance(read, DeployRecord)
    assert read.commit == ("a" * 36 + "0000" if release == A else "")
    assert read.duration == 0
    for text, most in ((read.who, 200), (read.ref, 255), (read.reason, 2000)):
        assert most - 4 < len(text.encode()) <= most


def test_a_record_bears_the_name_that_the_agents_records_bear(host: Host) -> None:
    template = (PROGRAM.parents[1] / "templates/agent.yml.j2").read_text()
    text = template.replace("{{ inventory_hostname }}", "library-north.example")
    (host.root / "etc/rota/agent.yml").write_text(text)
    host.put(A)

    host.ask("record", "--action", "deploy", "--status", "succeeded", "--release", A, "--who", "ann@desk")

    assert [record["host"] for record in host.records()] == ["library-north.example"]
    assert host.ask("status")["host"] == "library-north.example"


def test_the_spool_is_written_to_with_its_owners_rights(diary_host: Host) -> None:
    """Else its owner could plant a link there, and root would write or give away what the link names."""
    diary_host.put(A)
    spool = diary_host.root / "var/lib/rota/spool"
    if os.geteuid() == 0:
        os.chown(spool, 65534, 65534)
    owner = spool.stat().st_uid
    told = diary_host.root / "told"
    words = ("record", "--action", "deploy", "--status", "succeeded", "--release", A, "--who", "ann@desk")
    child = os.fork()
    if child == 0:
        seen: list[str] = []

        def note(event: str, about: tuple[Any, ...]) -> None:
            is_act = event in ACTS or (event == "open" and isinstance(about[2], int) and about[2] & os.O_WRONLY)
            if event == "os.chown" or (is_act and str(spool) + "/" in str(about[0])):
                seen.append(f"{event} {os.geteuid()}")

        sys.addaudithook(note)
        with redirect_stdout(io.StringIO()):
            code = rota_release.main(diary_host.argv(*words)[3:])
        told.write_text("\n".join(seen))
        os._exit(code)

    assert os.waitpid(child, 0)[1] == 0
    assert set(told.read_text().splitlines()) == {
        f"{act} {owner}" for act in ("os.mkdir", "os.remove", "open", "os.rename")
    }
    [path] = (spool / "done").iterdir()
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (owner, 0o640)


def test_ids_of_records_are_ordered_by_time_and_of_version_seven(host: Host) -> None:
    host.put(A)
    words = ("record", "--action", "deploy", "--status", "failed", "--release", A, "--who", "ann@desk")

    ids = [host.ask(*words)["id"] for _ in range(3)]

    assert ids == sorted(ids)
    assert all(one[14] == "7" and one[19] in "89ab" for one in ids)


def test_the_list_reads_like_a_page(host: Host) -> None:
    for release in (A, B):
        host.put(release)
        host.use(release)

    text = host.ask("list")["message"]

    assert text.splitlines()[0].startswith(f"- {A}  main")
    assert text.splitlines()[1].startswith(f"* {B}  main")


def test_every_subcommand_explains_itself(host: Host) -> None:
    text = subprocess.run(host.argv("--help"), capture_output=True, text=True, check=True).stdout

    for name in ("lock", "status", "install", "check", "migrate", "probe", "arm", "switch", "disarm", "rollback"):
        done = subprocess.run(host.argv(name, "--help"), capture_output=True, text=True, check=True)
        assert name in text
        assert len(done.stdout.splitlines()) > 3

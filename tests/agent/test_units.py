"""Laws of the units a catalogue is compiled to."""

import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest

from rota import checks, units
from rota.adapters import systemd
from rota.catalogue import discover, load
from rota.core import places
from rota.core.catalogue import Agent, Catalogue
from rota.core.mail import Alerting, Tls
from rota.core.status import Environment
from rota.core.task import CatchUp, Network, Task

HOST = places.on_host()
AGENT = Agent(host="here", environment=Environment.STAGING, diary="https://diary.example")
PLAIN = Task(name="plain", description="Say 100 % of it", command=("/bin/echo", "a b", "$HOME", "50%", '"', "\\", ""))
FULL = Task(
    name="full",
    description="Use every field",
    command=("/bin/true",),
    schedule=("*-*-* 02:10:00", "Mon 04:00"),
    zone="Europe/Zurich",
    catch_up=CatchUp.LATEST,
    spread=timedelta(minutes=5),
    lock="disk",
    lock_wait=timedelta(minutes=1),
    groups=("adm",),
    network=Network.ANY,
    read=(PurePosixPath("/home/x"), PurePosixPath("/root/100% of: it")),
    write=(PurePosixPath("/var/log"), PurePosixPath("/srv/my files"), PurePosixPath('/home/"a" \\ b')),
    credentials=("diary_token",),
    environment={"GREETING": 'a "b" 100%'},
    service={"IOWeight": "50"},
    memory="512M",
    address_space="2G",
    cpu="50%",
)
CAPABLE = replace(
    PLAIN, name="capable", user="root", capabilities=("CAP_DAC_READ_SEARCH",), network=Network.LOCAL, exposure=3.0
)
TASKS = [PLAIN, FULL, CAPABLE]
needs_systemd = pytest.mark.usefixtures("analyzer")


@pytest.fixture(scope="session")
def analyzer() -> str:
    path = shutil.which("systemd-analyze")
    assert path, "systemd-analyze is missing: apt-get install systemd"
    return path


def catalogue(*tasks: Task) -> Catalogue:
    return Catalogue(AGENT, {task.name: task for task in tasks})


def compiled(*tasks: Task) -> dict[str, str]:
    return units.compile_units(catalogue(*tasks), HOST, package=Path("/opt/rota/current/venv/rota"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every unit there is, in files; the agent's own program replaced by one that exists here."""
    for name, text in compiled(*TASKS).items():
        (tmp_path / name).write_text(text.replace("/usr/local/bin/rota", "/bin/true"))
    return tmp_path


@needs_systemd
def test_every_unit_verifies_silently(folder: Path) -> None:
    assert systemd.complaints(systemd.verify_command(sorted(folder.iterdir()))) == []


@needs_systemd
@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_every_service_stays_under_its_exposure_line(folder: Path, task: Task) -> None:
    assert checks.exposure_of(folder / units.unit_name(task.name)) <= task.exposure


@needs_systemd
@pytest.mark.parametrize(
    "unit", ["rota-ship.service", "rota-reconcile.service", "rota-alert.service", "rota-look.service"]
)
def test_housekeeping_stays_under_the_line_of_ordinary_tasks(folder: Path, unit: str) -> None:
    assert checks.exposure_of(folder / unit) <= 1.5


def test_a_task_without_a_schedule_has_no_timer() -> None:
    assert units.PREFIX + "plain.timer" not in compiled(PLAIN)


def test_a_host_without_a_diary_ships_nothing() -> None:
    quiet = Catalogue(replace(AGENT, diary=None), {})
    assert not [name for name in units.compile_units(quiet, HOST, package=Path("/x")) if "ship" in name]


def test_a_failed_unit_starts_the_alert_of_its_task() -> None:
    assert (
        "\nOnFailure=rota-alert@plain.service\n" in compiled(PLAIN)["rota-task-plain.service"].partition("[Service]")[0]
    )
    assert "/usr/local/bin/rota alert %i\n" in compiled()["rota-alert@.service"]


def test_a_run_that_succeeded_is_looked_at_and_others_that_end_meanwhile_with_it() -> None:
    assert "\nOnSuccess=rota-look.service\n" in compiled(PLAIN)["rota-task-plain.service"].partition("[Service]")[0]
    look = compiled()["rota-look.service"]
    assert "\nStartLimitIntervalSec=0\n" in look.partition("[Service]")[0]
    assert look.index("\nExecStartPre=/usr/bin/sleep 5\n") < look.index("\nExecStart=/usr/local/bin/rota alert\n")
    assert "ExecStartPre" not in compiled()["rota-alert.service"]


def test_only_a_host_with_an_account_at_its_mail_server_gives_alerts_a_password() -> None:
    assert "LoadCredential" not in compiled()["rota-alert@.service"]
    agent = replace(AGENT, alerting=Alerting(user="rota", tls=Tls.TLS))
    text = units.compile_units(Catalogue(agent, {}), HOST, package=Path("/x"))["rota-alert@.service"]
    assert "\nLoadCredential=alert_password:/etc/rota/credentials/alert_password\n" in text


def test_all_units_are_recognised_as_ours_and_nothing_else_is() -> None:
    assert all(units.OURS.fullmatch(name) for name in compiled(*TASKS))
    others = ("rota-diary.service", "rota-sync.service", "nginx.service", "rota-task-x.socket", "rota-release.timer")
    assert not any(units.OURS.fullmatch(name) for name in others)


def test_the_hash_changes_with_the_unit_and_only_then() -> None:
    assert compiled(PLAIN) == compiled(PLAIN)
    assert unit_hash(PLAIN) != unit_hash(replace(PLAIN, nice=6))


def test_a_path_is_one_path_whatever_it_holds() -> None:
    lines = compiled(FULL)["rota-task-full.service"].splitlines()
    assert 'ReadWritePaths="/srv/my files"' in lines
    assert 'BindReadOnlyPaths="/root/100%% of: it"' in lines
    assert 'BindPaths="/home/\\"a\\" \\\\ b"' in lines


def unit_hash(task: Task) -> str:
    return compiled(task)[units.unit_name(task.name)].partition(" hash=")[2][:12]


@needs_systemd
def test_a_command_is_quoted_so_that_its_words_stay_what_they_are(tmp_path: Path) -> None:
    words = ["/bin/echo", "a b", "$HOME", "50%", '"', "\\", "", "tab\there", "ä", "it's", "; rm", "%n"]
    line = units.exec_start(words)
    script = "import shlex, sys; print(shlex.split(sys.argv[1].replace('%%', '%')) == sys.argv[2:])"
    answer = subprocess.run(
        ["/usr/bin/python3", "-c", script, line.removeprefix(":").replace("\\t", "\t"), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout == "True\n"
    unit = tmp_path / "x.service"
    unit.write_text(f"[Service]\nType=oneshot\nExecStart={line}\n")
    assert systemd.complaints(systemd.verify_command([unit])) == []


def test_units_speak_of_the_current_release_and_not_of_the_one_that_wrote_them() -> None:
    path = Path("/opt/rota/releases/20250101T000000Z-0123456789ab/venv/lib/rota")
    assert units.through_current(path, HOST) == Path("/opt/rota/current/venv/lib/rota")
    assert units.through_current(Path("/usr/lib/rota"), HOST) == Path("/usr/lib/rota")


@pytest.fixture
def root(tmp_path: Path) -> places.Places:
    return places.on_host(tmp_path)


def sync(root: places.Places, *tasks: Task) -> list[units.Change]:
    changes = units.find_changes(compiled(*tasks), root.units)
    units.apply(changes, catalogue(*tasks), root, is_live=False)
    return changes


def test_a_second_sync_changes_nothing(root: places.Places) -> None:
    assert sync(root, *TASKS)
    assert sync(root, *TASKS) == []


def test_every_task_has_a_lock_file_that_it_can_read_and_finds_no_other(root: places.Places) -> None:
    sync(root, PLAIN, FULL)
    assert {path.name for path in root.locks.iterdir()} == {"plain.lock", "disk.lock"}
    assert {path.stat().st_mode & 0o777 for path in root.locks.iterdir()} == {0o644}
    service = compiled(FULL)["rota-task-full.service"]
    assert f"\nTemporaryFileSystem={HOST.locks}:ro\nBindReadOnlyPaths=-{HOST.locks}/disk.lock\n" in service


def test_a_lock_that_is_held_stays_held_over_a_sync(root: places.Places) -> None:
    sync(root, PLAIN)
    lock = root.locks / "plain.lock"
    inode = lock.stat().st_ino
    sync(root, PLAIN)
    assert lock.stat().st_ino == inode


def test_timers_and_paths_are_enabled(root: places.Places) -> None:
    sync(root, FULL)
    link = root.units / "timers.target.wants" / "rota-task-full.timer"
    assert link.resolve() == root.units / "rota-task-full.timer"
    assert (root.units / "paths.target.wants" / "rota-ship.path").is_symlink()


def test_a_timer_that_was_disabled_is_enabled_again(root: places.Places) -> None:
    sync(root, FULL)
    link = root.units / "timers.target.wants" / "rota-task-full.timer"
    link.unlink()
    assert [change.unit for change in sync(root, FULL)] == ["rota-task-full.timer"]
    assert link.is_symlink()


def test_units_of_a_task_that_is_gone_are_removed_and_others_are_left_alone(root: places.Places) -> None:
    sync(root, *TASKS)
    stranger = root.units / "nginx.service"
    stranger.write_text("[Service]\n")
    assert {change.unit for change in sync(root, PLAIN, CAPABLE)} == {"rota-task-full.service", "rota-task-full.timer"}
    assert not (root.units / "rota-task-full.service").exists()
    assert not (root.units / "timers.target.wants" / "rota-task-full.timer").is_symlink()
    assert stranger.exists()


def test_a_change_shows_as_a_diff(root: places.Places) -> None:
    sync(root, PLAIN)
    (change,) = units.find_changes(compiled(replace(PLAIN, nice=6)), root.units)
    assert "-Nice=5\n+Nice=6\n" in change.diff


def test_only_changed_timers_that_catch_up_are_stamped(root: places.Places) -> None:
    late = replace(FULL, name="late", catch_up=CatchUp.NONE)
    changes = units.find_changes(compiled(FULL, late), root.units)
    stamps = units.stamps(changes, catalogue(FULL, late), root)
    assert stamps == [root.stamps / "stamp-rota-task-full.timer"]
    assert set(units.to_restart(changes)) >= {"rota-task-full.timer", "rota-task-late.timer", "rota-ship.path"}


@needs_systemd
@pytest.mark.parametrize("name", discover())
def test_every_packs_task_compiles_to_a_unit_under_its_line(tmp_path: Path, name: str) -> None:
    """With settings only where it cannot do without; packs that need more test their own."""
    settings = {"logs.compress_old_logs": {"folders": ["/var/log"]}}.get(name, {})
    (tmp_path / "tasks.yml").write_text(f"tasks: {{it: {{task: {name}, settings: {settings}}}}}")
    found = load(tmp_path, host="here", environment="staging", python=["/usr/bin/python3"], packs=discover())
    unit = tmp_path / "rota-task-it.service"
    unit.write_text(units.compile_service(found.task("it"), AGENT, HOST, package=Path("/x")))
    assert systemd.complaints(systemd.verify_command([unit])) == []
    assert checks.exposure_of(unit) <= found.task("it").exposure


@needs_systemd
def test_a_check_finds_what_would_go_wrong(tmp_path: Path) -> None:
    wrong = replace(
        FULL,
        command=("/no/such",),
        schedule=("not a time",),
        credentials=("no_such",),
        user="nobody_at_all",
        service={"ProtectSystem": "no", "Wrong": "1", "CapabilityBoundingSet": "CAP_SYS_ADMIN"},
    )
    wanted = ("command:", "schedule 'not a time", "credentials:", "user:", "'Wrong'", "exposure")
    problems = list(checks.find_problems(catalogue(wrong), HOST, compiled(wrong)))
    for each in wanted:
        assert any(each in problem for problem in problems), (each, problems)

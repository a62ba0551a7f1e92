"""Laws of the units a catalogue is compiled to."""

import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest

from rota import checks, runner, units
from rota.adapters import systemd
from rota.catalogue import discover, load
from rota.core import places
from rota.core.catalogue import Agent, Catalogue
from rota.core.mail import Alerting, Tls
from rota.core.needed import is_due
from rota.core.quantities import parse_duration
from rota.core.schedule import schedule_of, shifts_in
from rota.core.status import Environment
from rota.core.task import CatchUp, Dst, Network, Task

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
    service={"IPAccounting": "yes"},
    memory="512M",
    address_space="2G",
    cpu="50%",
)
CAPABLE = replace(
    PLAIN, name="capable", user="root", capabilities=("CAP_DAC_READ_SEARCH",), network=Network.LOCAL, exposure=3.0
)
WATCHING = replace(
    PLAIN,
    name="watching",
    watch=(PurePosixPath("/srv/100% in"),),
    write=(PurePosixPath("/srv/100% in"),),
    state=True,
    io_weight=20,
)
NEEDED = replace(PLAIN, name="needed", every=timedelta(hours=6))
TASKS = [PLAIN, FULL, CAPABLE, WATCHING, NEEDED]
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
needs_systemd = pytest.mark.usefixtures("analyzer")


@pytest.fixture(scope="session")
def analyzer() -> str:
    path = shutil.which("systemd-analyze")
    assert path, "systemd-analyze is missing: apt-get install systemd"
    return path


def catalogue(*tasks: Task) -> Catalogue:
    return Catalogue(AGENT, {task.name: task for task in tasks})


def compiled(*tasks: Task) -> dict[str, str]:
    return compile_all(catalogue(*tasks), package=Path("/opt/rota/current/venv/rota"))


def compile_all(catalogue: Catalogue, package: Path = Path("/x"), now: datetime = NOW) -> dict[str, str]:
    return units.compile_units(catalogue, HOST, package=package, now=now)


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
    assert not [name for name in compile_all(quiet) if "ship" in name]


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
    text = compile_all(Catalogue(agent, {}))["rota-alert@.service"]
    assert "\nLoadCredential=alert_password:/etc/rota/credentials/alert_password\n" in text


def test_alerts_know_urls_only_where_they_may_speak_and_go_out_without_them(tmp_path: Path) -> None:
    agent = replace(AGENT, alerting=Alerting(channels=("chat",)), environment=Environment.PRODUCTION)
    name = "rota-alert@.service"
    text = units.compile_units(Catalogue(agent, {}), HOST, package=Path("/x"), now=NOW)[name]
    assert "\nLoadCredential=alert_urls:/etc/rota/credentials/alert_urls\n" in text
    assert "\nSetCredential=alert_urls:\\n\n" in text
    (tmp_path / name).write_text(text.replace("/usr/local/bin/rota", "/bin/true"))
    assert systemd.complaints(systemd.verify_command([tmp_path / name])) == []
    silent = Catalogue(replace(agent, environment=Environment.STAGING), {})
    assert "alert_urls" not in units.compile_units(silent, HOST, package=Path("/x"), now=NOW)[name]


def test_the_runner_s_shield_is_the_one_that_it_lays_down() -> None:
    assert f"\nOOMScoreAdjust={runner.SHIELD.decode()}" in compiled(FULL)["rota-task-full.service"]


def test_work_whose_memory_has_no_limit_finds_no_shield_that_it_could_take() -> None:
    assert "\nOOMScoreAdjust=" not in compiled(PLAIN)["rota-task-plain.service"]


def test_what_may_not_be_in_memory_may_not_be_in_swap_either() -> None:
    assert "\nMemoryMax=512M\n" in (limited := compiled(FULL)["rota-task-full.service"])
    assert "\nMemorySwapMax=0\n" in limited
    assert "Memory" not in compiled(PLAIN)["rota-task-plain.service"].replace("MemoryDeny", "")


def test_all_units_are_recognised_as_ours_and_nothing_else_is() -> None:
    assert all(units.OURS.fullmatch(name) for name in compiled(*TASKS))
    others = ("rota-diary.service", "rota-sync.service", "nginx.service", "rota-task-x.socket", "rota-release.timer")
    assert not any(units.OURS.fullmatch(name) for name in others)


def test_the_hash_changes_with_the_unit_and_only_then() -> None:
    assert compiled(PLAIN) == compiled(PLAIN)
    assert unit_hash(PLAIN) != unit_hash(replace(PLAIN, nice=6))


def test_what_is_told_of_a_unit_is_its_hash_and_each_line_that_hardens_it(root: places.Places) -> None:
    secret = replace(
        FULL, service={"SetCredential": "key:secret", "ProtectSystem": "full"}, command=("/bin/x", "hash=0")
    )
    sync(root, PLAIN, secret)
    told = units.told_units(catalogue(PLAIN, CAPABLE, secret), root.units)
    assert {name: each.hash for name, each in told.items()} == {"plain": unit_hash(PLAIN), "full": unit_hash(secret)}
    assert [each.exposure for each in told.values()] == [PLAIN.exposure, FULL.exposure]
    lines = (root.units / "rota-task-full.service").read_text().split("[Service]")[1].splitlines()
    said = [line for line in lines if "=" in line and not line.startswith("#")]
    does_not = r"(Type|Exec\w+|LoadCredential|SetCredential|Environment|Standard\w+|Success\w+|Timeout\w+|KillMode)=.*"
    assert list(told["full"].hardening) == [line for line in said if not re.match(does_not, line)]


def test_a_path_is_one_path_whatever_it_holds() -> None:
    lines = compiled(FULL)["rota-task-full.service"].splitlines()
    assert 'ReadWritePaths="/srv/my files"' in lines
    assert 'BindReadOnlyPaths="/root/100%% of: it"' in lines
    assert 'BindPaths="/home/\\"a\\" \\\\ b"' in lines


def test_a_colon_in_a_path_does_not_make_two_of_it() -> None:
    task = replace(FULL, write=(PurePosixPath("/home/a:b"),))
    assert 'BindPaths="/home/a:b"' in compiled(task)["rota-task-full.service"].splitlines()


def test_a_backslash_at_the_end_of_a_line_swallows_no_other() -> None:
    task = replace(
        WATCHING,
        description="Import C:\\",
        watch=(PurePosixPath("/srv/in\\"), PurePosixPath("/srv/b")),
        service={"SyslogIdentifier": "a\\", "Nice": "1"},
        schedule=("02:00 UTC",),
    )
    for text in compiled(task).values():
        assert not re.search(r"\\$", text, re.MULTILINE)


def unit_hash(task: Task) -> str:
    return compiled(task)[units.unit_name(task.name)].partition(" hash=")[2][:12]


@needs_systemd
def test_a_command_is_quoted_so_that_its_words_stay_what_they_are(tmp_path: Path) -> None:
    words = ["/bin/echo", "a b", "$HOME", "50%", '"', "\\", "", "tab\there", "ä", "it's", "; rm", "%n", ";", "a:b"]
    words += ["line\nbreak", "carriage\rreturn", "\x1b[1m", "\x7f", "ends in \\", "\N{LINE SEPARATOR}", "x" * 50_000]
    line = units.exec_start(words)
    unescaped = re.sub(r"\\x(..)", lambda found: chr(int(found[1], 16)), line.removeprefix(":").replace("%%", "%"))
    assert shlex.split(unescaped) == words
    assert not re.search(r"[\0-\x1f\x7f]", line)  # for systemd a carriage return ends a line as well
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
    rest = [task for task in TASKS if task is not FULL]
    assert {change.unit for change in sync(root, *rest)} == {"rota-task-full.service", "rota-task-full.timer"}
    assert not (root.units / "rota-task-full.service").exists()
    assert not (root.units / "timers.target.wants" / "rota-task-full.timer").is_symlink()
    assert stranger.exists()


def test_a_change_shows_as_a_diff(root: places.Places) -> None:
    sync(root, PLAIN)
    (change,) = units.find_changes(compiled(replace(PLAIN, nice=6)), root.units)
    assert "-Nice=5\n+Nice=6\n" in change.diff


def test_a_unit_that_somebody_masked_stays_so_with_what_starts_it(root: places.Places) -> None:
    sync(root, FULL)
    unit = root.units / "rota-task-full.service"
    unit.unlink()
    unit.symlink_to("/dev/null")
    (root.units / "timers.target.wants" / "rota-task-full.timer").unlink()
    assert sync(root, replace(FULL, nice=6)) == []
    assert units.is_masked(unit)
    assert {change.unit for change in sync(root)} == {"rota-task-full.service", "rota-task-full.timer"}


def test_a_unit_that_systemd_does_not_have_in_use_is_started(
    root: places.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "rota-task-full.service": ("inactive", "no"),
        "rota-task-full.timer": ("inactive", "no"),
        "rota-task-watching.path": ("failed", "no"),
        "rota-task-watching.service": ("activating", "yes"),
        "rota-task-watching.timer": ("active", "no"),
    }
    keys = ("ActiveState", "NeedDaemonReload")
    monkeypatch.setattr(systemd, "show", lambda names, _: [dict(zip(keys, told[name], strict=True)) for name in names])
    behind = units.units_behind([*told, "rota-alert@.service"])
    assert behind == {"rota-task-full.timer", "rota-task-watching.path", "rota-task-watching.service"}
    sync(root, FULL)
    (change,) = units.find_changes(compiled(FULL), root.units, behind={"rota-task-full.timer"})
    assert (change.unit, change.is_behind, change.before) == ("rota-task-full.timer", True, change.after)


def test_what_a_sync_restarts_are_timers_and_path_units_alone(root: places.Places) -> None:
    changes = units.find_changes(compiled(FULL, WATCHING), root.units)
    mine = {name for name in units.to_restart(changes) if "task" in name}
    assert mine == {"rota-task-full.timer", "rota-task-watching.timer", "rota-task-watching.path"}


def test_no_timer_leaves_catching_up_to_systemd() -> None:
    for catch_up in CatchUp:
        text = compiled(replace(FULL, catch_up=catch_up))["rota-task-full.timer"]
        assert "\nPersistent=no\n" in text


def calendars_of(task: Task, now: datetime = NOW) -> list[str]:
    text = compile_all(catalogue(task), now=now)[f"rota-task-{task.name}.timer"]
    return [line.removeprefix("OnCalendar=") for line in text.splitlines() if line.startswith("OnCalendar=")]


def elapses(calendars: list[str], base: datetime, until: datetime) -> set[datetime]:
    """When a timer of these elapses, as systemd says."""
    found: set[datetime] = set()
    for calendar in calendars:
        command = systemd.calendar_command(calendar, base=f"{base:%Y-%m-%d %H:%M:%S} UTC", iterations=60)
        answer = subprocess.run(["env", "TZ=UTC", *command], capture_output=True, text=True, check=True)
        told = re.findall(r"(?:elapse|Iter\. #\d+): \w{3} (\S+ \S+) UTC", answer.stdout)
        found |= {datetime.fromisoformat(text).replace(tzinfo=UTC) for text in told}
    return {moment for moment in found if moment <= until}


@needs_systemd
@pytest.mark.parametrize("dst", Dst)
@pytest.mark.parametrize("zone", ["Europe/Zurich", "Australia/Lord_Howe", "Pacific/Chatham", "America/Havana"])
def test_a_timer_elapses_at_every_slot_around_shifts_of_the_clocks(zone: str, dst: Dst) -> None:
    task = replace(FULL, zone=zone, dst=dst, schedule=("*:15/30", "02:10", "00:20"))
    schedule = schedule_of(task)
    assert schedule
    for shift in shifts_in(ZoneInfo(zone), 2027):
        begin, end = shift.moment - timedelta(hours=4), shift.moment + timedelta(hours=6)
        wanted = {slot.moment for slot in schedule.slots(begin, end) if not slot.barred}
        assert elapses(calendars_of(task), begin, end) == wanted


def test_a_schedule_that_no_shift_touches_has_no_line_of_its_own() -> None:
    assert calendars_of(replace(FULL, dst=Dst.BOTH, schedule=("08:00",))) == ["08:00 Europe/Zurich"]


def test_lines_for_shifts_of_the_clocks_change_once_a_year() -> None:
    task = replace(FULL, dst=Dst.RUN_ONCE, schedule=("02:30",))
    lines = calendars_of(task, datetime(2026, 1, 1, tzinfo=UTC))
    assert lines[1:] == ["2026-03-29 01:00:00 UTC", "2027-03-28 01:00:00 UTC", "2028-03-26 01:00:00 UTC"]
    assert calendars_of(task, datetime(2026, 12, 31, tzinfo=UTC)) == lines
    assert len(calendars_of(task, datetime(2027, 1, 1, tzinfo=UTC))) == len(lines)


@pytest.mark.parametrize(
    ("every", "minutes"), [("1min", 1), ("1h", 3), ("100min", 5), ("2h 30min", 6), ("6h", 10), ("30d", 10)]
)
def test_a_success_is_looked_after_twenty_times_before_it_is_too_old(every: str, minutes: int) -> None:
    task = replace(PLAIN, every=parse_duration(every))
    assert calendars_of(task) == [f"*-*-* *:0/{minutes}:00 UTC"]


def test_a_task_that_keeps_its_success_fresh_finds_its_own_success_alone() -> None:
    service = compiled(replace(PLAIN, every=timedelta(hours=6)))["rota-task-plain.service"]
    assert f"\nTemporaryFileSystem={HOST.successes}:ro\nBindPaths=-{HOST.successes}/plain\n" in service
    assert f"every=21600 success={HOST.successes}/plain" in service


def test_a_success_that_never_was_is_long_ago_and_one_that_was_is_kept(root: places.Places) -> None:
    task = replace(PLAIN, every=timedelta(hours=6))
    sync(root, task)
    file = root.success("plain")
    assert is_due(file.read_text(), NOW, every=timedelta(hours=6))
    assert file.stat().st_mode & 0o777 == 0o664
    file.write_text(f"{NOW.timestamp():010.0f} 0000000000\n")
    sync(root, task)
    assert not is_due(file.read_text(), NOW, every=timedelta(hours=6))


def test_a_folder_is_watched_and_swept_and_never_given_up() -> None:
    found = compiled(WATCHING)
    assert "\nDirectoryNotEmpty=/srv/100%% in\n" in found["rota-task-watching.path"]
    assert calendars_of(WATCHING) == ["*-*-* *:0/5:00 UTC"]
    service = found["rota-task-watching.service"]
    assert "\nStartLimitIntervalSec=0\n" in service.partition("[Service]")[0]
    assert 'watch=/srv/100%% in"' in service


def test_a_watched_folder_with_a_schedule_needs_no_sweep() -> None:
    task = replace(WATCHING, schedule=("02:00",), zone="UTC")
    assert calendars_of(task) == ["02:00 UTC"]
    assert " watch=" not in compiled(task)["rota-task-watching.service"]


def test_a_task_finds_its_own_plan_alone() -> None:
    service = compiled(FULL)["rota-task-full.service"]
    assert f"\nTemporaryFileSystem={HOST.plans}:ro\nBindReadOnlyPaths=-{HOST.plans}/full\n" in service
    assert f"plan={HOST.plans}/full spread=300 " in service


@needs_systemd
@pytest.mark.parametrize("name", discover())
def test_every_packs_task_compiles_to_a_unit_under_its_line(tmp_path: Path, name: str) -> None:
    """With settings only where it cannot do without; packs that need more test their own."""
    needed: dict[str, object] = {
        "logs.compress_old_logs": {"folders": ["/var/log"]},
        "logs.cull_old_exports": {"folders": ["/srv/download"]},
        "logs.process_logs": {"sites": {"www.example.org": "/var/log/access.log*"}},
    }
    settings = needed.get(name, {})
    (tmp_path / "tasks.yml").write_text(f"tasks: {{it: {{task: {name}, settings: {settings}}}}}")
    found = load(tmp_path, host="here", environment="staging", python=["/usr/bin/python3"], packs=discover())
    unit = tmp_path / "rota-task-it.service"
    unit.write_text(units.compile_service(found.task("it"), AGENT, HOST, package=Path("/x")))
    assert systemd.complaints(systemd.verify_command([unit])) == []
    assert checks.exposure_of(unit) <= found.task("it").exposure

"""Laws of `rota check`: every mistake it knows is told with task, key, value and what would be right."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from rota import checks, units
from rota.adapters.calendars import UnreadCalendar
from rota.checks import Problem, command_problems
from rota.core import places, scheduling
from rota.core.catalogue import Agent, Catalogue
from rota.core.fields import FIELDS
from rota.core.mail import Alerting
from rota.core.rule import Rule
from rota.core.scheduling import problems_of
from rota.core.status import Environment
from rota.core.task import CatchUp, Dst, Task
from rota.core.window import parse
from tests.agent.reaching import lines_that_complain, reached, told

SAID = "it must be a whole number from -20 to 19"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HOST = places.on_host()
PLAIN = Task(name="plain", description="Do nothing", command=("/bin/true",))
DAILY = replace(PLAIN, name="daily", schedule=("08:00",), zone="UTC", catch_up=CatchUp.NONE)
AGENT = Agent(host="here", environment=Environment.PRODUCTION)


def task_of(program: Path) -> Task:
    return replace(PLAIN, command=(str(program),))


def test_a_program_of_the_release_is_looked_for_in_the_release_that_asks(tmp_path: Path) -> None:
    """On a host's first deploy nothing is in use yet."""
    here = places.on_host(tmp_path)
    name = Path(sys.executable).name
    assert not list(command_problems(task_of(here.current / "venv" / "bin" / name), here))
    assert list(command_problems(task_of(here.current / "venv" / "bin" / "no-such-program"), here))


def test_a_program_of_the_host_is_looked_for_where_it_says(tmp_path: Path) -> None:
    here = places.on_host(tmp_path)
    assert not list(command_problems(task_of(Path("/bin/true")), here))
    assert list(command_problems(task_of(tmp_path / "true"), here))


def problems(*tasks: Task, agent: Agent = AGENT, is_elsewhere: bool = False) -> list[Problem]:
    catalogue = Catalogue(agent, {task.name: task for task in tasks})
    compiled = units.compile_units(catalogue, HOST, package=Path("/x"), now=NOW)
    return list(checks.find_problems(catalogue, HOST, compiled, now=NOW, is_elsewhere=is_elsewhere))


def zurich(expression: str, dst: Dst | None = None) -> Task:
    return replace(DAILY, schedule=(expression,), zone="Europe/Zurich", dst=dst)


def named(name: str, **fields: object) -> Task:
    return replace(DAILY, name=name, heavy=True, **fields)  # type: ignore[arg-type]  # of any field


SCHEDULES: list[tuple[list[Task], str]] = [
    ([replace(DAILY, schedule=("2020-01-01",))], "task daily: schedule: '2020-01-01' names no moment from now on"),
    ([replace(DAILY, schedule=("08:00", "*-02-30"))], "schedule: '*-02-30' names no moment from now on"),
    ([replace(DAILY, only=(parse("2020-01-01"),))], "no slot of the coming year (excepted: outside 2020-01-01)"),
    ([replace(DAILY, excepted=(parse("07:00..09:00"),))], "no slot of the coming year (excepted: 07:00..09:00)"),
    ([zurich("02:30")], "dst: '02:30': 02:30 does not exist on 2027-03-28 in Europe/Zurich; say dst: run_once, skip"),
    ([zurich("*-10-* 02:30")], "dst: '*-10-* 02:30': 02:30 comes twice on 2027-10-31 in Europe/Zurich"),
    ([zurich("*:0/30")], "dst: '*:0/30': 02:00 does not exist on 2027-03-28"),
    ([zurich("2030-03-31 02:30")], "02:30 does not exist on 2030-03-31"),
    (
        [named("one"), named("two")],
        "task one: heavy: one and two both begin at 2026-11-23 08:00 UTC, and both are heavy",
    ),
    (
        [named("one", schedule=("*:0/20",)), named("two", schedule=("Sat *:40:30",))],
        "both begin at 2026-11-28 00:40 UTC",
    ),
]
FINE = [
    [zurich("02:30", Dst.SKIP)],
    [zurich("*:0/30", Dst.BOTH)],
    [zurich("03:00"), replace(DAILY, name="utc", schedule=("02:30",))],
    [zurich("*-07-* 02:30")],
    [replace(DAILY, schedule=("2040-01-01",))],
    [replace(DAILY, only=(parse("2027-11-01"),))],
    [named("one"), named("two", schedule=("08:01",))],
    [named("one"), named("two", excepted=(parse("07:59..08:01"),), schedule=("08:00", "09:00"))],
    [named(name, lock="disk", lock_wait=timedelta(hours=1)) for name in ("one", "two")],
    [replace(named("one"), heavy=False), named("two")],
]


@pytest.mark.parametrize(("tasks", "expected"), SCHEDULES)
def test_a_schedule_that_would_surprise_is_told(tasks: list[Task], expected: str) -> None:
    found = [Problem(*said).text for said in problems_of(tasks, NOW)]
    assert [text for text in found if expected in text], found


@pytest.mark.parametrize("tasks", FINE)
def test_a_schedule_that_would_not_surprise_is_let_be(tasks: list[Task]) -> None:
    assert list(problems_of(tasks, NOW)) == []


HOSTS: list[tuple[Task, str]] = [
    (replace(PLAIN, command=("/no/such",)), "task plain: command: there is no program '/no/such' that can be executed"),
    (replace(PLAIN, credentials=("none",)), "task plain: credentials: /etc/rota/credentials/none is missing"),
    (replace(PLAIN, user="nobody_at_all"), "task plain: user: 'nobody_at_all' is no user of this host"),
    (replace(PLAIN, groups=("no_group",)), "task plain: groups: 'no_group' is no group of this host"),
    (replace(PLAIN, write=(PurePosixPath("/no/such"),)), "task plain: write: /no/such does not exist"),
    (replace(PLAIN, read=(PurePosixPath("/home/nobody/x"),)), "task plain: read: /home/nobody/x does not exist"),
    (replace(PLAIN, watch=(PurePosixPath("/bin/true"),)), "task plain: watch: /bin/true is no folder of this host"),
    (
        replace(PLAIN, watch=(PurePosixPath("/srv"),)),
        "task plain: watch: the work cannot take files out of /srv; add it",
    ),
    (replace(PLAIN, alert=Rule(to=("ops",))), "task plain: alert: there is no channel 'ops'"),
    (
        replace(PLAIN, heartbeat="beat"),
        "task plain: heartbeat: /etc/rota/credentials/alert_urls has no URL named 'beat'",
    ),
    (replace(PLAIN, service={"Wrong": "1"}), "task plain: unit: rota-task-plain.service:"),
    (replace(PLAIN, exposure=0.1), "at most 0.1 is allowed: take back what"),
    (
        replace(DAILY, schedule=("Sun *:50",), zone="Pacific/Chatham", dst=Dst.SKIP),
        "'Sun *:50': systemd gives up where the clocks of Pacific/Chatham are set, at 2027-09-26 02:45 (Resource",
    ),
]
AGENTS = [
    (Alerting(user="rota"), "agent: alert: credential: /etc/rota/credentials/alert_password is missing"),
    (Alerting(channels=("chat",)), "agent: alert: channels: /etc/rota/credentials/alert_urls has no URL named 'chat'"),
    (Alerting(heartbeat="beat"), "agent: alert: heartbeat: /etc/rota/credentials/alert_urls has no URL named 'beat'"),
]


@pytest.mark.parametrize(("task", "expected"), HOSTS)
def test_what_the_host_lacks_is_told(task: Task, expected: str) -> None:
    found = [problem.text for problem in problems(task)]
    assert [text for text in found if expected in text], found


@pytest.mark.parametrize(("alerting", "expected"), AGENTS)
def test_what_alerts_lack_is_told(alerting: Alerting, expected: str) -> None:
    found = [problem.text for problem in problems(agent=replace(AGENT, alerting=alerting))]
    assert [text for text in found if expected in text], found


def test_every_problem_is_among_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(checks.__file__)
    with reached(file) as lines:
        problems(*(replace(task, name=f"t{number}") for number, (task, _) in enumerate(HOSTS)))
        monkeypatch.setattr(checks.importlib.util, "find_spec", lambda _: None)
        monkeypatch.setattr(checks, "read_urls", unreadable)
        here = Catalogue(replace(AGENT, alerting=Alerting(user="rota", channels=("chat",))), {})
        (tmp_path / "etc/rota").mkdir(parents=True)
        (tmp_path / "etc/rota/tasks.yaml").touch()
        assert [problem.key for problem in checks.file_problems(places.on_host(tmp_path))] == ["tasks.yaml"]
        (wanting,) = checks.calendar_problems(replace(DAILY, excepted=(UnreadCalendar(Path("/etc/rota/x.ics")),)))
        assert wanting.text.startswith("task daily: except: /etc/rota/x.ics needs the extra `calendars`: on a host, ")
        shared = {name: replace(PLAIN, name=name, heartbeat="beat") for name in ("one", "two")}
        assert [problem.text for problem in checks.heartbeat_problems(Catalogue(AGENT, shared))] == [
            "task two: heartbeat: 'beat' is the heartbeat of one as well; give it one of its own"
        ]
        told_of_agent = [problem.text for problem in checks.alerting_problems(here, places.on_host(tmp_path))]
    assert "agent: alert: channels: Apprise is not installed; add channels to agent_extras, and deploy" in told_of_agent
    assert "agent: alert: urls: it holds no mapping" in told_of_agent
    assert told(file, lines_that_complain(file, "Problem") - lines) == []


def unreadable(path: Path) -> dict[str, str]:
    raise checks.UrlsUnreadable("it holds no mapping")


def test_a_task_that_lacks_nothing_has_no_problem() -> None:
    assert problems(replace(PLAIN, write=(PurePosixPath("/srv"),), watch=(PurePosixPath("/srv"),)), DAILY) == []


def test_elsewhere_only_what_needs_no_host_is_told() -> None:
    lacking = replace(zurich("02:30"), command=("/no/such",), credentials=("none",), user="nobody_at_all")
    assert {problem.key for problem in problems(lacking, is_elsewhere=True)} == {"dst"}


Rota = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rota(tmp_path: Path) -> Rota:
    """The command on a root of its own."""
    (tmp_path / "etc/rota").mkdir(parents=True)

    def run(*words: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (tmp_path / "etc/rota" / f"{name}.yml").write_text(text)
        command = [sys.executable, "-m", "rota.cli", "--root", str(tmp_path), *words]
        path = str(Path(checks.__file__).parents[1])
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PYTHONPATH": path, "PATH": "/usr/bin"}
        )

    return run


def test_each_problem_is_a_line_with_its_file_and_none_is_said_so(rota: Rota, tmp_path: Path) -> None:
    fine = "tasks: {t: {command: [/bin/true], description: d}}"
    answer = rota("check", "--elsewhere", a=fine)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "1 tasks, no problems.\n", "")
    answer = rota("check", "--elsewhere", b="tasks: {t: {watch: [/srv/in]}}")
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        f"{tmp_path}/etc/rota/b.yml: task t: watch: the work cannot take files out of /srv/in; add it to write",
        f"rota: The catalogue has problems: 1 in {tmp_path}/etc/rota",
    ]


def test_problems_are_given_as_json(rota: Rota, tmp_path: Path) -> None:
    text = "tasks: {t: {command: [/bin/true], description: d, watch: [/srv/in]}}"
    answer = rota("check", "--elsewhere", "--json", a=text)
    said = "the work cannot take files out of /srv/in; add it to write"
    problem = {"task": "t", "key": "watch", "said": said, "file": f"{tmp_path}/etc/rota/a.yml"}
    assert json.loads(answer.stdout) == {"tasks": 1, "problems": [problem]}
    assert answer.returncode == 2


def test_all_that_keeps_the_catalogue_from_being_read_is_told(rota: Rota, tmp_path: Path) -> None:
    files = {"a": "tasks: {t: {command: [/bin/true], description: d, nice: 99}}", "b": "tasks: {u: {nise: 3}, v: 3}"}
    folder = tmp_path / "etc/rota"
    assert rota("check", **files).stderr.splitlines() == [
        f"{folder}/b.yml: task u: unknown key 'nise', did you mean 'nice'?; keys are: {', '.join(FIELDS)}",
        f"{folder}/b.yml: task v: it is 3; it must be a mapping of fields",
        f"rota: The catalogue has problems: 2 in {folder}",
    ]
    (folder / "b.yml").unlink()
    answer = rota("check", "--json")
    problem = {"task": "t", "key": "nice", "said": f"nice is 99; {SAID}", "file": f"{folder}/a.yml"}
    assert json.loads(answer.stdout) == {"tasks": 0, "problems": [problem]}
    assert answer.returncode == 2


def test_a_file_that_is_not_read_is_told(rota: Rota, tmp_path: Path) -> None:
    (tmp_path / "etc/rota").joinpath("tasks.yaml").write_text("tasks: {}")
    assert "tasks.yaml: it is not read; only files named *.yml are" in rota("check", "--elsewhere").stderr


def test_of_many_heavy_tasks_each_is_looked_at_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two by two, a year of ninety tasks would be gone through four thousand times."""
    looked: list[str] = []

    def minutes(task: Task, now: datetime) -> Iterator[datetime]:
        looked.append(task.name)
        return iter([now])

    monkeypatch.setattr(scheduling, "minutes", minutes)
    tasks = [named(f"t{number}") for number in range(20)]
    assert [name for name, _, _ in problems_of(tasks, NOW)] == [task.name for task in tasks[:-1]]
    assert looked == [task.name for task in tasks]

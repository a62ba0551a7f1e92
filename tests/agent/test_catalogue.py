"""Laws of the catalogue: what is accepted, and what every refusal says."""

import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from rota import catalogue
from rota.catalogue import BadConfiguration, discover, load
from rota.core import fields
from rota.core.catalogue import Catalogue, UnknownTask
from rota.core.fields import FIELDS
from rota.core.task import CatchUp, Network
from tests.agent.reaching import lines_that_complain, reached, told

PACKS = discover()
COMMAND = "command: [/bin/true], description: Do nothing"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdefgh")
)
DAILY = "schedule: '08:00', zone: UTC, catch_up: none"


def read(folder: Path, **files: str) -> Catalogue:
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return load(folder, host="here", environment="staging", python=["/usr/bin/python3"], packs=PACKS)


def refusal(folder: Path, **files: str) -> str:
    with pytest.raises(BadConfiguration) as caught:
        read(folder, **files)
    return str(caught.value)


def test_four_lines_make_a_task(tmp_path: Path) -> None:
    text = 'tasks: {greet: {command: [/bin/echo, hi], description: Say hi, schedule: "02:10 UTC", catch_up: latest}}'
    task = read(tmp_path, tasks=text).task("greet")
    assert task.command == ("/bin/echo", "hi")
    assert task.calendars == ("02:10 UTC",)
    assert (task.catch_up, task.network, task.lock_name) == (CatchUp.LATEST, Network.NONE, "greet")


def test_a_packs_task_needs_nothing_but_its_name(tmp_path: Path) -> None:
    task = read(tmp_path, tasks="tasks: {check_host: }").task("check-host")
    assert task.pack == "logs"
    assert task.command == ("/usr/bin/python3", "-m", "rota.packs", "logs.check_host")
    assert task.calendars == ("*-*-* *:05:00 UTC",)
    assert task.description.startswith("Look at disks")


def test_a_packs_task_may_have_another_name_and_settings(tmp_path: Path) -> None:
    text = "tasks: {shop_logs: {task: logs.compress_old_logs, settings: {folders: [/srv/shop]}}}"
    assert read(tmp_path, tasks=text).task("shop_logs").command[-1] == '{"folders": ["/srv/shop"]}'


def test_a_later_file_overrides_single_fields(tmp_path: Path) -> None:
    catalogue = read(tmp_path, a=f"tasks: {{t: {{{COMMAND}, nice: 3}}}}", b="tasks: {t: {nice: 7}}")
    assert (catalogue.task("t").nice, catalogue.task("t").command) == (7, ("/bin/true",))


def test_a_disabled_task_is_validated_and_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, tasks=f"tasks: {{t: {{{COMMAND}, enabled: false}}}}").tasks == {}
    assert "whole number" in refusal(tmp_path, tasks=f"tasks: {{t: {{{COMMAND}, enabled: false, nice: 99}}}}")


def test_the_agent_is_who_the_configuration_says_or_else_the_host(tmp_path: Path) -> None:
    assert read(tmp_path).agent.host == "here"
    text = "agent: {host: web, environment: production, diary: {url: https://diary.example/, certificate: /etc/x.pem}}"
    agent = read(tmp_path, agent=text).agent
    assert (agent.host, agent.environment, agent.diary) == ("web", "production", "https://diary.example")


def test_other_owners_sections_are_theirs(tmp_path: Path) -> None:
    assert read(tmp_path, x="diary: {hosts: [a]}\nbackup: 3\nmirror: []").tasks == {}


def test_a_day_is_a_window_as_text_and_as_yamls_own(tmp_path: Path) -> None:
    text = f"tasks: {{t: {{{COMMAND}, {DAILY}, except: [2026-12-25, '2026-12-25', 12-25]}}}}"
    windows = read(tmp_path, tasks=text).task("t").excepted
    assert [window.text for window in windows] == ["2026-12-25", "2026-12-25", "12-25"]


def test_a_hosts_every_takes_the_place_of_a_packs_schedule(tmp_path: Path) -> None:
    task = read(tmp_path, tasks="tasks: {check_host: {every: 6h}}").task("check_host")
    assert (task.every, task.schedule, task.catch_up) == (timedelta(hours=6), (), None)


@pytest.mark.parametrize(("environments", "is_armed"), [("staging", True), ("[production, backup]", False)])
def test_a_task_of_other_environments_is_there_and_does_not_run_by_itself(
    tmp_path: Path, environments: str, is_armed: bool
) -> None:
    text = f"tasks: {{t: {{{COMMAND}, {DAILY}, watch: [/srv/in], environments: {environments}}}}}"
    task = read(tmp_path, tasks=text).task("t")
    assert (bool(task.schedule), bool(task.watch)) == (is_armed, is_armed)


MISTAKES = [
    ("taks: {}", "unknown key 'taks', did you mean 'tasks'?"),
    ("tasks: [a]", "key tasks: it is ['a']; it must be a mapping"),
    ("- a", "must be a mapping of agent, tasks"),
    ("tasks: {a: {}, a: {}}", "line 1, column 16: the key 'a' is written twice"),
    ("tasks: {", "line 1, column 9: while parsing a flow"),
    ("tasks:\n\tt: {}", "line 2, column 1: while scanning for the next token, found character '\\t' that cannot start "
     "any token; YAML indents by blanks, not by tabs"),
    ("tasks: {t: {schedule: *-*-* 02:40}}", "while scanning an alias, expected alphabetic or numeric character, but "
     "found '*'; write what begins with * in quotes, as in schedule: \"*-*-* 02:40:00\""),
    ("tasks: {t: {schedule: *daily}}", "found undefined alias 'daily'; write what begins with * in quotes"),
    ("tasks:\n  t:\n    description: Note: this", "mapping values are not allowed here; write text that has a colon"),
    ("tasks:\n  t:\n    description: @home", "found character '@' that cannot start any token; write such text in"),
    ("tasks: !!python/name:os.system", "could not determine a constructor for the tag"),
    ("tasks: \x00", "unacceptable character #x0000"),
    ("tasks: &a {t: *a}", "an alias of what it stands in"),
    (BOMB, "with its aliases more than 100000 values"),
    ("tasks: !!int soon", "invalid literal for int()"),
    ("tasks: {Bad-Name: {}}", "the task 'Bad-Name' must be a lower-case word"),
    ("tasks: {t: 3}", "task t: it is 3; it must be a mapping"),
    (f"tasks: {{t: {{{COMMAND}, timout: 3}}}}", "task t: unknown key 'timout', did you mean 'timeout'?"),
    (f"tasks: {{t: {{{COMMAND}, timeout: 99999999999}}}}", "timeout is 99999999999; it must be a duration like 90s"),
    (f"tasks: {{t: {{{COMMAND}, timeout: 9999999999999w}}}}", "it must be a duration like 90s"),
    (f"tasks: {{t: {{{COMMAND}, timeout: .inf}}}}", "timeout is '.inf'; it must be a duration like 90s"),
    (f"tasks: {{t: {{{COMMAND}, timeout: 0}}}}", "timeout is 0; it must be a duration like 90s, 30min or 1h 30min;"),
    (f"tasks: {{t: {{{COMMAND}, memory: 0}}}}", "memory is 0; it must be a size in bytes like 512M"),
    (f"tasks: {{t: {{{COMMAND}, memory: '0'}}}}", "memory is '0'; it must be a size in bytes like 512M"),
    (f"tasks: {{t: {{{COMMAND}, schedule: 760}}}}", "schedule is 760; it must be a text or a list of texts, in quotes"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10', zone: no}}}}", "zone is 'no'; it must be a name of the time zone"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10', zone: false}}}}", "zone is False; it must be a line of text, in"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10', zone: Europe/Zurch}}}}", "zone is 'Europe/Zurch', did you mean "
     "'Europe/Zurich'?; it must be a name of the time zone database"),
    (f'tasks: {{t: {{{COMMAND}, schedule: "02:10\\nUTC", catch_up: none}}}}', "it must be a text or a list of texts"),
    (f"tasks: {{t: {{{COMMAND}, except: [2026-02-30], {DAILY}}}}}", "'2026-02-30' in it a day (2026-12-25"),
    (f"tasks: {{t: {{{COMMAND}, items: [[a]]}}}}", "items is [['a']]; it must be a list of different names"),
    (f"tasks: {{t: {{{COMMAND}, timeout: soon}}}}", "timeout is 'soon'; it must be a duration like 90s"),
    (f"tasks: {{t: {{{COMMAND}, memory: lots}}}}", "memory is 'lots'; it must be a size in bytes like 512M"),
    (f"tasks: {{t: {{{COMMAND}, network: wide}}}}", "network is 'wide'; it must be one of none, local, any"),
    (f"tasks: {{t: {{{COMMAND}, write: [x]}}}}", "write is ['x']; it must be a list of whole paths"),
    (f'tasks: {{t: {{{COMMAND}, write: ["/a\\nUser=root"]}}}}', "it must be a list of whole paths"),
    (f"tasks: {{t: {{{COMMAND}, credentials: [a/b]}}}}", "the name of a file in /etc/rota/credentials"),
    (f"tasks: {{t: {{{COMMAND}, service: {{x: y}}}}}}", "it must be a mapping of systemd directives"),
    (f"tasks: {{t: {{{COMMAND}, enabled: 1}}}}", "it must be true or false"),
    ("tasks: {t: {command: rm -rf x, description: d}}", "no shell splits a text into words"),
    ("tasks: {t: {command: [rm], description: d}}", "the program's whole path"),
    ("tasks: {t: {command: [/bin/true]}}", "description is missing"),
    (f"tasks: {{t: {{{COMMAND}, task: logs.check_host}}}}", "both task and command"),
    (f"tasks: {{t: {{{COMMAND}, settings: {{a: 1}}}}}}", "settings are for a pack's task"),
    ("tasks: {chek_host: }", "no pack has a task of this name, did you mean 'check_host'?"),
    ("tasks: {t: {task: logs.chek_host}}", "task is 'logs.chek_host', did you mean 'logs.check_host'?"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10'}}}}", "schedule '02:10' has no time zone; add zone:"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10', zone: Mars/Base}}}}", "zone is 'Mars/Base'"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10 UTC', zone: UTC}}}}", "names a zone, and so does zone"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10 UTC'}}}}", "catch_up is missing"),
    (f"tasks: {{t: {{{COMMAND}, schedule: 'Mo 02:10 UTC', catch_up: none}}}}", "schedule is 'Mo 02:10 UTC': 'Mo'"),
    (f"tasks: {{t: {{{COMMAND}, schedule: '02:10 UTC', every: 6h}}}}", "both schedule and every"),
    (f"tasks: {{t: {{{COMMAND}, every: 30s}}}}", "every is '30s'; it must be a duration of a minute at least"),
    (f"tasks: {{t: {{{COMMAND}, every: 6h, dst: skip}}}}", "dst says how to treat slots; without a schedule"),
    (f"tasks: {{t: {{{COMMAND}, only: [Mon]}}}}", "only says how to treat slots; without a schedule"),
    (f"tasks: {{t: {{{COMMAND}, dst: twice}}}}", "dst is 'twice'; it must be one of run_once, skip, both"),
    (f"tasks: {{t: {{{COMMAND}, except: [Xmas]}}}}", "a list, and 'Xmas' in it a day (2026-12-25"),
    (f"tasks: {{t: {{{COMMAND}, except: /none.ics, {DAILY}}}}}", "except: /none.ics: No such file"),
    (f"tasks: {{t: {{{COMMAND}, environments: [live]}}}}", "one of development, staging, production, backup, or a"),
    (f"tasks: {{t: {{{COMMAND}, watch: in}}}}", "watch is 'in'; it must be a list of whole paths"),
    (f"tasks: {{t: {{{COMMAND}, io_weight: 0}}}}", "io_weight is 0; it must be a whole number from 1 to 10000"),
    ("tasks: {compress_old_logs: }", "the setting 'folders' is missing; it must be a list; each entry is a"),
    ("tasks: {compress_old_logs: {settings: {folders: [x]}}}", "the setting 'folders[0]' is 'x'; it must be a"),
    ("tasks: {compress_old_logs: {settings: {folder: []}}}", "unknown setting 'folder', did you mean 'folders'?"),
    ("tasks: {check_host: {settings: {clock: 1}}}", "the setting 'clock' is 1; it must be true or false"),
    (f"tasks: {{t: {{{COMMAND}, description: 3}}}}", "the key 'description' is written twice"),
    ("tasks: {t: {command: [/bin/true], description: 3}}", "description is 3; it must be a line of text"),
    (f"tasks: {{t: {{{COMMAND}, schedule: [], zone: UTC}}}}", "schedule is []; it must be a text or a list of texts"),
    ("tasks: {t: {command: [], description: d}}", "command is []; it must be a list like [/usr/bin/program, argument]"),
    ('tasks: {t: {command: [/bin/true, "a\\nb"], description: d}}', "it must be a list of arguments without line"),
    (f"tasks: {{t: {{{COMMAND}, groups: adm}}}}", "groups is 'adm'; it must be a list; each entry is a group of the"),
    (f"tasks: {{t: {{{COMMAND}, dry_run: yes}}}}", "dry_run is 'yes'; it must be a list of words, like [--dry-run]"),
    (f"tasks: {{t: {{{COMMAND}, items: [a, a]}}}}", "items is ['a', 'a']; it must be a list of different names"),
    (f"tasks: {{t: {{{COMMAND}, environment: {{A: [1]}}}}}}", "UPPER_CASE names, each with one line of text"),
    (f'tasks: {{t: {{{COMMAND}, environment: {{A: "x\\ry"}}}}}}', "UPPER_CASE names, each with one line of text"),
    (f'tasks: {{t: {{{COMMAND}, service: {{Nice: "1\\rUser=x"}}}}}}', "directives, each with one line of text"),
    ('tasks: {t: {command: [/bin/echo, "\\ud800"], description: x}}', "a list of arguments without line breaks"),
    (f"tasks: {{t: {{{COMMAND}, exposure: 11}}}}", "exposure is 11; it must be a number up to 10, as systemd-analyze"),
    ("tasks: {check_host: {settings: [a]}}", "settings is ['a']; it must be a mapping of settings"),
    (f"tasks: {{t: {{{COMMAND}, parameters: [full]}}}}", "parameters: of a command it must be a mapping by name"),
    (f"tasks: {{t: {{{COMMAND}, parameters: {{x: {{type: odd}}}}}}}}", "task t: parameters: x: type is 'odd'"),
    ("tasks: {check_host: {parameters: {x: {type: text}}}}", "parameters: of a pack's task it must be a list of its"),
    ("tasks: {check_host: {parameters: [clok]}}", "task check_host: parameters: "),
    ("tasks: {check_host: {dry_run: [--dry]}}", "dry_run: a pack's function has a setting of that name, or cannot"),
    ("agent: {alert: x}", "agent: alert is 'x'; it must be a mapping of "),
    ("agent: {alert: {port: 0}}", "agent: alert: "),
    ("agent: {keep: x}", "agent: keep is 'x'; it must be a mapping of "),
    ("agent: {keep: {age: soon}}", "agent: keep: "),
    ("agent: {asking: perhaps}", "agent: asking is 'perhaps'; it must be true or false"),
    ("agent: {listen: 1s}", "agent: listen is '1s'; it must be a duration from 2s to 1h, or never"),
    ("agent: {hots: a}", "agent: unknown key 'hots', did you mean 'host'?"),
    ("agent: {environment: stagin}", "environment is 'stagin', did you mean 'staging'?"),
    ("agent: {diary: x}", "diary is 'x'; it must be a mapping with url and certificate"),
    ("agent: {diary: {url: 'http://diary.example'}}", "it must begin with https://"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_is_refused_with_file_task_key_value_and_what_is_right(
    tmp_path: Path, text: str, expected: str
) -> None:
    said = refusal(tmp_path, tasks=text)
    assert said.startswith("The configuration cannot be used: ")
    assert str(tmp_path / "tasks.yml") in said
    assert expected in said


@pytest.mark.parametrize("module", [catalogue, fields])
def test_every_refusal_is_among_these_mistakes(tmp_path: Path, module: ModuleType) -> None:
    file = Path(module.__file__ or "")
    with reached(file) as lines:
        for text, _ in MISTAKES:
            refusal(tmp_path, tasks=text)
        (tmp_path / "tasks.yml").unlink()
        (tmp_path / "folder.yml").mkdir()
        assert "folder.yml: Is a directory" in refusal(tmp_path)
        with pytest.raises(ValueError, match="the setting 'since' is 'soon'; it must be a date like 2026-01-31"):
            catalogue.convert("since", "soon", date)
    missing = lines_that_complain(file, "BadConfiguration", "ValueError") - lines
    assert told(file, missing) == []


def test_an_unknown_task_is_told_with_those_there_are(tmp_path: Path) -> None:
    catalogue = read(tmp_path, tasks=f"tasks: {{greet: {{{COMMAND}}}}}")
    with pytest.raises(UnknownTask, match="'gret', did you mean 'greet'\\?; there are: greet"):
        catalogue.task("gret")


@pytest.mark.parametrize("name", PACKS)
def test_every_packs_task_says_what_it_does_when_and_how_missed_slots_are_treated(name: str) -> None:
    task = PACKS[name]
    assert len(task.description) > 10
    assert task.defaults.keys() <= FIELDS.keys()
    for key, value in task.defaults.items():
        FIELDS[key].read(value)
    if "schedule" in task.defaults:
        assert {"zone", "catch_up"} <= task.defaults.keys()


def test_numbers_and_answers_reach_the_work_as_their_author_wrote_them(tmp_path: Path) -> None:
    """YAML 1.1 would make 420, 750, 3.1, 1000, True and a date of them."""
    words = "0644, 12:30, 3.10, 1_000, yes, off, 2026-01-31, 0x1F, 1e3, true, 42, -7, 0.5"
    text = f"""tasks: {{t: {{command: [/bin/chmod, {words}], description: d, items: [08, 3.10, no],
        environment: {{MODE: 0644, AT: 12:30, VERSION: 3.10, DEBUG: yes, PLAIN: true}}}}}}"""
    task = read(tmp_path, tasks=text).task("t")
    assert ", ".join(task.command[1:]) == words
    assert task.environment == {"MODE": "0644", "AT": "12:30", "VERSION": "3.10", "DEBUG": "yes", "PLAIN": "true"}
    assert task.items == ("08", "3.10", "no")


def test_a_time_needs_no_quotes(tmp_path: Path) -> None:
    text = f"tasks: {{t: {{{COMMAND}, schedule: [12:40, 02:40], zone: UTC, catch_up: none}}}}"
    assert read(tmp_path, tasks=text).task("t").schedule == ("12:40", "02:40")


@pytest.mark.parametrize(("said", "is_there"), [("yes", True), ("True", True), ("no", False), ("'false'", False)])
def test_an_answer_may_be_yes_or_no(tmp_path: Path, said: str, is_there: bool) -> None:
    assert bool(read(tmp_path, tasks=f"tasks: {{t: {{{COMMAND}, enabled: {said}}}}}").tasks) is is_there


def test_aliases_and_merges_serve_as_anywhere(tmp_path: Path) -> None:
    text = """tasks:
  a: {command: [/bin/true], description: A, environment: &b {<<: &a {KEY: 1, LAST: 1}, KEY: 2}}
  b: {command: [/bin/true], description: B, environment: {<<: *b, LAST: 3}}
  c: {command: [/bin/true], description: C, environment: {<<: *a}}
"""
    tasks = read(tmp_path, tasks=text).tasks
    assert [dict(task.environment) for task in tasks.values()] == [
        {"KEY": "2", "LAST": "1"},
        {"KEY": "2", "LAST": "3"},
        {"KEY": "1", "LAST": "1"},
    ]


def test_a_file_that_is_not_utf_8_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_bytes("tasks:\n  # Zürich\n".encode("latin-1"))
    assert "tasks.yml: line 2: the byte 0xfc is not UTF-8; save it as UTF-8" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "tasks:\n", "﻿tasks: {}\r\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, tasks=text).tasks == {}


def test_what_editors_hide_beside_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".#tasks.yml").symlink_to("somebody@here.1234")
    (tmp_path / ".ansible_tmp.yml").write_text("tasks: {")
    assert read(tmp_path, tasks=f"tasks: {{t: {{{COMMAND}}}}}").tasks.keys() == {"t"}


@pytest.mark.parametrize(
    "wrong",
    [
        f"{DAILY}, except: /none.ics",
        "schedule: '02:10', catch_up: none",
        "schedule: '25:10', zone: UTC, catch_up: none",
        "zone: Mars/Base",
        "nice: 99",
        "settings: {a: 1}",
        "task: logs.check_host",
        "parameters: [x]",
        "schedule: '02:10 UTC'",
    ],
)
def test_a_mistake_is_told_of_the_file_that_makes_it(tmp_path: Path, wrong: str) -> None:
    said = refusal(tmp_path, a=f"tasks: {{t: {{{COMMAND}}}}}", b=f"tasks: {{t: {{{wrong}}}}}")
    assert f": {tmp_path}/{'a' if 'catch_up is' in said else 'b'}.yml: task t: " in said


def test_a_wrong_setting_of_a_pack_or_the_agent_is_told_of_its_file(tmp_path: Path) -> None:
    files = {"a": "agent: {host: here}\ntasks: {check_host: }", "b": "tasks: {check_host: {settings: {clock: 1}}}"}
    assert f"{tmp_path}/b.yml: task check_host: the setting" in refusal(tmp_path, **files)
    assert f"{tmp_path}/b.yml: agent: environment is" in refusal(tmp_path, **files | {"b": "agent: {environment: x}"})
    assert f"{tmp_path}/b.yml: agent: alert: port" in refusal(tmp_path, **files | {"b": "agent: {alert: {port: 0}}"})


def test_all_that_is_wrong_can_be_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"agent: {{hots: x}}\ntasks: {{one: {{{COMMAND}, nice: 99}}, two: {{{COMMAND}}}}}")
    (tmp_path / "b.yml").write_text("tasks: {three: {}, two: {zone: Mars}}")
    found = catalogue.examine(tmp_path, host="h", environment="staging", python=["/usr/bin/python3"], packs=PACKS)
    assert isinstance(found, list)
    assert [(each.file.name, each.task, each.key) for each in found] == [
        ("a.yml", "", "hots"),
        ("a.yml", "one", "nice"),
        ("b.yml", "three", "command"),
        ("b.yml", "two", "zone"),
    ]
    assert refusal(tmp_path).endswith(" (and 3 more; rota check lists all)")


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    assert "tasks.yml: it is nested too deeply" in refusal(tmp_path, tasks="tasks: " + "[" * 2000)


def test_a_long_wrong_value_is_cut(tmp_path: Path) -> None:
    said = refusal(tmp_path, tasks=f"tasks: {{t: {{{COMMAND}, nice: {list(range(5000))}}}}}")
    assert "nice is [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]; it must be a whole number" in said


def test_a_calendar_keeps_nothing_else_from_being_read_until_the_deploy_that_brings_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`group_vars` reach a host by a provisioning, before the release that can read calendars."""
    monkeypatch.setitem(sys.modules, "icalendar", None)
    text = f"tasks: {{t: {{{COMMAND}, {DAILY}, except: /etc/rota/holidays.ics}}, u: {{{COMMAND}}}}}"
    found = read(tmp_path, tasks=text)
    assert found.tasks.keys() == {"t", "u"}
    (window,) = found.task("t").excepted
    assert (window.text, window.around(datetime(2026, 12, 25, tzinfo=UTC))) == ("/etc/rota/holidays.ics", "")

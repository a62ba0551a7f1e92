"""Laws of counting visits, with the real AWStats and GoAccess: every day once, none lost, and nobody's address kept."""

import gzip
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rota.packs.logs import tailing, visits
from rota.packs.logs.outcomes import SomeFailed
from rota.packs.logs.tasks import BadSetting, compress_old_logs, process_logs
from tests.agent.logs.conftest import Said, age
from tests.agent.logs.web_servers import apache, nginx
from tests.agent.neighbours import open_folder

TODAY = datetime.now(UTC)
AGENT = '"-" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"'
BOTH = ["awstats", "goaccess"]


def request(days_ago: int, minute: int, *, host: str = "192.0.2.7", path: str = "/a.html", size: int = 1000) -> str:
    at = (TODAY - timedelta(days=days_ago)).replace(hour=10, minute=minute, second=0)
    return f'{host} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET {path} HTTP/1.1" 200 {size} {AGENT}\n'


def date(days_ago: int) -> str:
    return f"{TODAY - timedelta(days=days_ago):%Y-%m-%d}"


class Estate:
    """A folder of access logs, and what the task makes of them."""

    def __init__(self, folder: Path, new_report: Callable[[], Said]) -> None:
        self.logs, self.state, self.new_report = folder / "logs", folder / "state", new_report
        self.logs.mkdir()

    def write(self, name: str, *requests: str) -> Path:
        path = self.logs / name
        with path.open("a") as stream:
            stream.write("".join(requests))
        return path

    def count(self, **settings: Any) -> Said:
        said = self.new_report()
        sites = {"www.example.org": f"{self.logs}/access.log*"}
        process_logs(said, **({"sites": sites, "state": self.state, "reports": ["awstats"]} | settings))
        return said

    @property
    def folder(self) -> Path:
        return self.state / "process_logs"

    def days(self, site: str = "www.example.org") -> dict[str, tuple[int, ...]]:
        """By day what AWStats has: pages, hits, bytes, visits."""
        found: dict[str, tuple[int, ...]] = {}
        for path in (self.folder / site / "awstats").glob("awstats*.txt"):
            (table,) = re.findall(r"^BEGIN_DAY \d+\n(.*?)^END_DAY", path.read_text(), re.MULTILINE | re.DOTALL)
            for line in table.splitlines():
                day, *numbers = line.split()
                found[f"{day[:4]}-{day[4:6]}-{day[6:]}"] = tuple(map(int, numbers))
        return found


@pytest.fixture
def estate(tmp_path: Path, new_report: Callable[[], Said], monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.delenv("ROTA_TASK", raising=False)
    return Estate(tmp_path, new_report)


def test_what_awstats_says_of_a_known_log_is_what_it_should(estate: Estate) -> None:
    at = "08/Aug/2026:10:{minute:02}:00 +0000"
    lines = [
        f'192.0.2.{minute % 3} - - [{at.format(minute=minute)}] "GET /{minute}.html HTTP/1.1" 200 1004 '
        f"{AGENT} 500 1200 www.example.org\n"
        for minute in range(10)
    ]
    estate.write("access.log.20260808", *lines)
    settings: dict[str, Any] = {"formats": {"www.example.org": "combined_io_host"}, "anonymise": False, "reports": BOTH}
    said = estate.count(**settings)
    assert estate.days() == {"2026-08-08": (10, 10, 10040, 3)}
    assert said.counts["requests"] == 10
    estate.count(**settings)
    assert estate.days() == {"2026-08-08": (10, 10, 10040, 3)}
    reports = estate.folder / "reports/www.example.org"
    assert "2026" in (reports / "2026-08/awstats.www.example.org.html").read_text()
    assert "www.example.org" in (reports / "goaccess.html").read_text()


def test_only_days_that_are_over_are_counted_each_once(estate: Estate) -> None:
    estate.write("access.log", request(2, 1), request(1, 1), request(1, 2), request(0, 0))
    said = estate.count()
    assert list(said.outcomes) == [f"www.example.org {date(2)}", f"www.example.org {date(1)}"]
    assert {day: found[1] for day, found in estate.days().items()} == {date(2): 1, date(1): 2}
    assert estate.count().outcomes == {}


def test_today_is_counted_when_asked_and_never_twice(estate: Estate) -> None:
    now = datetime.now(UTC)
    line = request(0, 0).replace(
        re.findall(r"\[(.*?)\]", request(0, 0))[0], f"{now - timedelta(seconds=2):%d/%b/%Y:%H:%M:%S} +0000"
    )
    estate.write("access.log", request(1, 1), line)
    assert estate.count(today=True).counts["requests"] == 2
    assert estate.count(today=True).counts["requests"] == 0
    estate.write(
        "access.log", line.replace(f"{now - timedelta(seconds=2):%H:%M:%S}", f"{now - timedelta(seconds=1):%H:%M:%S}")
    )
    assert estate.count(today=True).counts["requests"] == 1


@pytest.mark.parametrize("how", ["renamed", "compressed", "archived"])
def test_days_missed_are_caught_up_wherever_their_lines_have_gone(
    estate: Estate, new_report: Callable[[], Said], how: str
) -> None:
    estate.write("access.log", request(9, 1), request(8, 1))
    estate.count()
    old = estate.write("access.log", request(8, 2), request(7, 1)).rename(estate.logs / "access.log.1")
    if how == "compressed":
        with gzip.open(estate.logs / "access.log.2.gz", "wb") as packed:
            packed.write(old.read_bytes())
        old.unlink()
    if how == "archived":
        age(old, days=7)
        compress_old_logs(new_report(), folders=[estate.logs])
        assert not old.exists()
    estate.write("access.log", request(6, 1), request(1, 1))
    assert estate.count().counts["requests"] == 4
    assert {day: found[1] for day, found in estate.days().items()} == {
        date(9): 1, date(8): 2, date(7): 1, date(6): 1, date(1): 1,
    }  # fmt: skip
    assert estate.count().counts["requests"] == 0


def test_a_site_that_fails_keeps_no_other_from_its_turn_and_is_caught_up(estate: Estate) -> None:
    for name in ("a", "b"):
        estate.write(f"{name}.log", request(2, 1), request(1, 1))
    sites = {name: f"{estate.logs}/{name}.log*" for name in ("a", "b")}
    (estate.logs / "a.log.1.gz").write_bytes(b"no gzip at all")
    with pytest.raises(SomeFailed, match=r"a: This log cannot be read"):
        estate.count(sites=sites)
    assert len(estate.days("b")) == 2
    (estate.logs / "a.log.1.gz").unlink()
    assert estate.count(sites=sites).counts["requests"] == 2
    assert len(estate.days("a")) == 2


def test_without_carry_on_the_first_failure_ends_the_run(estate: Estate) -> None:
    estate.write("b.log", request(1, 1))
    (estate.logs / "a.log.gz").write_bytes(b"no gzip at all")
    with pytest.raises(SomeFailed):
        estate.count(sites={name: f"{estate.logs}/{name}.log*" for name in ("a", "b")}, carry_on=False)
    assert not (estate.folder / "b").exists()


def test_a_program_that_fails_has_the_day_again_and_counts_it_once(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate.write("access.log", request(2, 1), request(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(visits, "goaccess_command", lambda *_: ["/bin/false"])
        with pytest.raises(SomeFailed, match="false ended with 1"):
            estate.count(reports=BOTH)
    assert len(estate.days()) == 1, "AWStats had the first day"
    estate.count(reports=BOTH)
    assert {day: found[1] for day, found in estate.days().items()} == {date(2): 1, date(1): 1}


def test_lines_that_are_written_otherwise_are_told(estate: Estate) -> None:
    estate.write("access.log", *[f"192.0.2.1 [{TODAY - timedelta(days=1):%d/%b/%Y:%H:%M:%S} +0000] odd\n"] * 3)
    with pytest.raises(SomeFailed, match="format 'combined'"):
        estate.count(reports=["awstats"])


def test_addresses_are_cut_unless_the_estate_says_otherwise(estate: Estate) -> None:
    estate.write("access.log", request(1, 1, host="198.51.100.77"), request(1, 2, host="2001:db8:1:2:3:4:5:6"))
    estate.count(reports=BOTH)
    kept = "".join(path.read_text(errors="replace") for path in estate.folder.rglob("*") if path.is_file())
    assert "198.51.100.0" in kept
    assert "2001:db8:1::" in kept
    assert not re.search(r"198\.51\.100\.77|2001:db8:1:2", kept)


@pytest.mark.parametrize(
    ("line", "column", "cut"),
    [
        (b"192.0.2.77 - x", 0, b"192.0.2.0 - x"),
        (b"www.example.org 192.0.2.77 - x", 1, b"www.example.org 192.0.2.0 - x"),
        (b"2001:db8:a:b::1 - x", 0, b"2001:db8:a:: - x"),
        (b"visitor.example.net - x", 0, b"0.0.0.0 - x"),
    ],
)
def test_an_address_is_cut_to_its_network(line: bytes, column: int, cut: bytes) -> None:
    assert visits.anonymise(line, column) == cut


def test_the_day_of_a_request_is_that_of_the_logs_own_clock() -> None:
    at = visits.moment(b"x [09/Aug/2026:00:30:00 +0200] y")
    assert at == datetime(2026, 8, 8, 22, 30, tzinfo=UTC)
    assert at
    assert f"{at:%Y-%m-%d}" == "2026-08-09"
    assert visits.is_too_young(at, datetime(2026, 8, 9, 21, 59, tzinfo=UTC), with_today=False)
    assert not visits.is_too_young(at, datetime(2026, 8, 9, 22, 0, tzinfo=UTC), with_today=False)
    assert visits.moment(b"x [31/Feb/2026:00:30:00 +0200] y") is None


def test_a_time_that_a_visitor_makes_up_is_not_taken_for_that_of_the_request(estate: Estate) -> None:
    made_up = request(1, 1).replace(" - - [", " - [01/Jan/2099:00:00:00 +0000] [")
    estate.write("access.log", made_up, request(1, 2))
    estate.write("access.log", request(1, 3))
    estate.count()
    assert estate.count().counts["requests"] == 0
    assert visits.moment(made_up.encode()) == visits.moment(request(1, 1).encode())
    assert {day: found[1] for day, found in estate.days().items()}[date(1)] >= 2


def test_a_line_of_a_clock_that_was_wrong_keeps_nobody_from_reading_on(estate: Estate) -> None:
    estate.write("access.log", request(2, 1), request(-400, 1), request(1, 1), request(0, 0))
    assert estate.count().counts["requests"] == 2


def test_a_log_that_is_rotated_while_it_is_counted_is_counted_the_next_time(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = estate.write("access.log", request(3, 1), request(2, 1), request(1, 1))
    lines = tailing.lines

    def rotated(log: tailing.Log, offset: int) -> Iterator[tuple[bytes, int, int]]:
        found = lines(log, offset)
        yield next(found)
        if path.exists():
            path.rename(estate.logs / "access.log.1")
        yield from found

    with monkeypatch.context() as patched:
        patched.setattr(tailing, "lines", rotated)
        assert estate.count().outcomes["www.example.org"] == "left for the next run"
    assert estate.count().counts["requests"] == 3
    assert {day: found[1] for day, found in estate.days().items()} == {date(3): 1, date(2): 1, date(1): 1}


def test_logs_of_a_real_nginx_and_a_real_apache_are_counted(estate: Estate) -> None:
    with open_folder("web") as folder, nginx(folder / "nginx") as one, apache(folder / "apache") as other:
        for server in (one, other):
            assert [server.ask("/index.html") for _ in range(3)] == [200] * 3
        sites = {"one": str(one.access_log), "two": str(other.access_log)}
        deadline = datetime.now(UTC) + timedelta(seconds=10)
        counted = 0.0
        while counted < 6 and datetime.now(UTC) < deadline:
            counted += estate.count(sites=sites, today=True).counts["requests"]
        assert counted == 6
    assert [sum(found[1] for found in estate.days(site).values()) for site in sites] == [3, 3]


def test_a_dry_run_says_what_it_would_count(estate: Estate) -> None:
    estate.write("access.log", request(2, 1), request(1, 1))
    said = estate.count(dry_run=True)
    assert said.outcomes == {
        f"www.example.org {date(2)}": "would be counted",
        f"www.example.org {date(1)}": "would be counted",
    }
    assert not estate.state.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sites": {"a/b": "/x"}}, "it must be a host name"),
        ({"sites": {"a": "x"}}, "it must be a whole path"),
        ({"formats": {"www.example.org": "odd"}}, "it must be one of combined"),
        ({"formats": {"other": "combined"}}, "not among sites"),
        ({"reports": ["webalizer"]}, "some of awstats, goaccess"),
        ({"aliases": {"www.example.org": ['x" LogFile="/bin/sh |']}}, "it must be a host name"),
    ],
)
def test_settings_that_cannot_be_used_are_told(estate: Estate, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((SomeFailed, BadSetting), match=message):
        estate.count(**settings)


def test_a_log_that_is_only_read_in_part_is_known_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "access.log.1"
    path.write_text("x" * 3000 + "\n")
    (log,) = tailing.logs(f"{tmp_path}/access.log*")
    mark = tailing.advanced(tailing.Mark(log.identity, 0, tailing.checksum(b""), 0, 0), log, 2000)
    (tmp_path / "archive").mkdir()
    with zipfile.ZipFile(tmp_path / "archive/a.zip", "w") as packed:
        packed.write(path, "access.log.1")
    path.unlink()
    (packed_log,) = tailing.logs(f"{tmp_path}/access.log*", archive_folder="archive")
    ((found, _),) = tailing.place([packed_log], {mark.identity: mark}, now=0)
    assert (found.offset, found.identity) == (2000, packed_log.identity)

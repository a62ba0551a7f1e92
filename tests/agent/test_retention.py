"""Laws of retention: what is worth more stays longer, and what the diary has not seen stays."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.adapters import retaining
from rota.adapters.reconciling import Boot, Reconciliation, reconcile
from rota.adapters.retaining import Retainer, Retention, load_usage
from rota.adapters.spool import spool_of
from rota.core import places
from rota.core.identifier import began_at, first_identifier
from rota.core.retention import GIB, Keep, Worth, parse_keep, too_many, too_old
from tests.agent.records import make_outbound
from tests.agent.test_history import run_at

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
KEEP = Keep(age=90 * DAY, failures=400 * DAY)


# -- what to keep, as values


def identifier(days: float) -> str:
    return f"{first_identifier(NOW - timedelta(days=days))}-7000-8000-000000000000"


records = st.dictionaries(
    st.integers(0, 600).map(lambda days: identifier(days + 0.5)),
    st.tuples(st.sampled_from(Worth), st.integers(0, 1000)),
    max_size=40,
)


def days_of(name: str) -> float:
    began = began_at(name)
    assert began
    return (NOW - began) / DAY


@given(records)
def test_by_age_the_more_a_record_is_worth_the_longer_it_stays(found: Mapping[str, tuple[Worth, int]]) -> None:
    limits = {Worth.ROUTINE: 90, Worth.NOTABLE: 400, Worth.BASELINE: 10_000}
    asked: list[str] = []

    def worth(name: str) -> Worth:
        asked.append(name)
        return found[name][0]

    gone = list(too_old(found.keys(), KEEP, worth, NOW))
    assert gone == sorted(gone)
    assert set(gone) == {name for name, (of, _) in found.items() if days_of(name) > limits[of]}
    assert all(days_of(name) > 90 for name in asked), "what is young is never read"


@given(records, st.integers(0, 20_000))
def test_by_size_nothing_goes_before_what_is_worth_less_or_is_older(
    found: Mapping[str, tuple[Worth, int]], most: int
) -> None:
    sizes = {name: size for name, (_, size) in found.items()}
    gone = list(too_many(sizes, most, lambda name: found[name][0]))
    kept = sizes.keys() - set(gone)
    assert len(set(gone)) == len(gone)
    assert sum(sizes[name] for name in kept) <= most
    if gone:
        assert sum(sizes[name] for name in kept) + sizes[gone[-1]] > most, "no more than needed"
    first_kept = min(((found[name][0], name) for name in kept), default=None)
    assert not first_kept or all((found[name][0], name) < first_kept for name in gone)


@given(st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)), st.integers(0, 999_999))
def test_an_id_says_when_its_run_began(moment: datetime, microseconds: int) -> None:
    moment += timedelta(microseconds=microseconds)
    began = began_at(first_identifier(moment) + "-7000-8000-000000000000")
    assert began
    assert abs(moment - began) < timedelta(milliseconds=2)


@pytest.mark.parametrize("name", ["", "x", "quarantined", "........-....-7000"])
def test_what_is_no_id_began_at_no_time(name: str) -> None:
    assert began_at(name) is None


def test_settings_are_read_as_people_write_them() -> None:
    assert parse_keep({}) == Keep()
    found = parse_keep({"age": "30d", "failures": "1w 30d", "size": "500M", "unsent": None})
    assert found == Keep(age=30 * DAY, failures=37 * DAY, size=500 * 1024**2, unsent=4 * GIB)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"age": "soon"}, "age is 'soon'; it must be a duration like"),
        ({"age": "1h"}, "a day at least"),
        ({"size": "much"}, "size is 'much'; it must be a size in bytes like 512M or 2G"),
        ({"unsent": "12"}, "a size of 1M at least"),
        ({"age": "401d"}, "failures is shorter than age"),
    ],
)
def test_a_wrong_setting_is_answered_with_what_would_be_right(settings: Mapping[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_keep(settings)


# -- what goes from the spool


class Host:
    """A spool with runs that ended so many days ago."""

    def __init__(self, folder: Path) -> None:
        self.places = places.under(folder)
        self.spool = spool_of(self.places)
        self.spool.make()
        self.keep = KEEP
        self.has_diary = True

    def end(
        self, days: float, status: str = "succeeded", *, is_sent: bool = True, size: int = 0, **changes: Any
    ) -> str:
        run = run_at(NOW - timedelta(days=days), status, **changes)
        self.spool.store(run)
        (self.spool.folder / "output" / str(run.id)).write_text("x" * size)
        if is_sent:
            self.spool.acknowledge(str(run.id))
        return str(run.id)

    def reconcile(self, now: datetime = NOW) -> Reconciliation:
        boot = Boot("boot", NOW - 1000 * DAY)
        return reconcile(self.places, boot=boot, now=now, has_diary=self.has_diary, keep=self.keep)

    def retain(self, *baselines: str, now: datetime = NOW) -> Retention:
        """Only this part of reconciling."""
        return Retainer(
            spool=self.spool, keep=self.keep, baselines=baselines, has_diary=self.has_diary, now=now
        ).retain()  # fmt: skip

    def kept(self) -> set[str]:
        names = {*self.spool.names("sent"), *self.spool.names("done")}
        assert {path.name for path in (self.spool.folder / "output").iterdir()} == names
        return names


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_failures_and_the_latest_good_run_outlive_routine_successes(host: Host) -> None:
    kept = {
        host.end(300),
        host.end(299, unexpected=["rows is 0; expected >0"]),
        host.end(200, "failed"),
        host.end(200, "lost"),
        host.end(89, task="other"),
        host.end(80, "skipped", reason="locked"),
    }
    for gone in ("succeeded", "skipped"):
        host.end(301, gone)
    host.end(500, "failed")
    host.end(120, dry_run=True)
    done = host.reconcile()
    assert (host.kept(), done.removed, done.discarded, done.left) == (kept, 4, 0, 0)


def test_what_was_caught_goes_like_a_routine_success(host: Host) -> None:
    for days in (300, 89):
        record = make_outbound(id=identifier(days))
        host.spool.store(record)
        host.spool.acknowledge(str(record.id))
    unsent = make_outbound(id=identifier(299))
    host.spool.store(unsent)
    host.reconcile()
    assert host.spool.names("sent") == [identifier(89)]
    assert host.spool.names("done") == [str(unsent.id)]


@pytest.mark.parametrize("has_diary", [True, False])
def test_what_the_diary_has_not_acknowledged_stays_however_old(host: Host, has_diary: bool) -> None:
    host.has_diary = has_diary
    old, good = host.end(300, is_sent=False), host.end(100, is_sent=False)
    host.reconcile()
    assert host.kept() == ({old, good} if has_diary else {good})


def test_what_failed_is_read_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    judge = retaining.read_worth
    monkeypatch.setattr(retaining, "read_worth", lambda path: read.append(path) or judge(path))
    for days in range(1, 20):
        host.end(100 + days, "failed")
        host.end(100 + days)
        host.end(days)
    for _ in range(3):
        host.retain()
    assert len(read) == 2 * 19
    host.end(91, "failed")
    host.retain(now=NOW + 2 * DAY)
    assert len(host.kept()) == 19 + 18 + 2


def test_beyond_its_size_the_oldest_routine_goes_first(host: Host) -> None:
    baseline, failed = host.end(50, size=400_000), host.end(49, "failed", size=400_000)
    host.end(30, size=400_000)
    young = host.end(20, size=200_000)
    host.keep = Keep(size=1_010_000)
    assert host.retain(baseline).removed == 1
    assert host.kept() == {baseline, failed, young}
    host.keep = Keep(size=450_000)
    host.retain(baseline, now=NOW + DAY / 12)
    assert host.kept() == {baseline}


def test_what_is_not_sent_has_a_limit_of_its_own_and_what_goes_is_counted(host: Host) -> None:
    names = [host.end(30 - number, is_sent=False, size=400_000) for number in range(5)]
    sent = host.end(40, size=900_000)
    host.keep = Keep(size=1_000_000, unsent=1_300_000)
    done = host.retain()
    assert (done.removed, done.discarded) == (2, 2)
    assert host.kept() == {sent, *names[2:]}
    host.end(1, is_sent=False, size=400_000)
    host.retain(now=NOW + DAY)
    assert load_usage(host.spool).discarded == 3


def test_what_all_of_it_takes_is_counted_once_an_hour(host: Host) -> None:
    host.end(1, size=1000)
    host.retain()
    usage = load_usage(host.spool)
    (record,) = (host.spool.folder / "sent").glob("*.json")
    assert usage.size == record.stat().st_size + 1000
    host.end(1, size=1000)
    host.retain(now=NOW + timedelta(minutes=50))
    assert load_usage(host.spool).size == usage.size
    host.retain(now=NOW + timedelta(minutes=70))
    assert load_usage(host.spool).size != usage.size
    host.retain(now=NOW - timedelta(days=30))
    assert load_usage(host.spool).counted == NOW - timedelta(days=30), "the clock was set back"


def test_much_goes_in_batches(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "BATCH", 10)
    for number in range(25):
        host.end(100 + number)
    for number in range(25):
        host.end(number, size=100_000)
    host.keep = Keep(size=1_100_000)
    removed = [host.retain().removed for _ in range(6)]
    assert removed == [10, 10, 10, 10, 0, 0]
    assert len(host.kept()) == 10


def test_what_was_put_aside_goes_with_its_reason_when_it_is_old(host: Host) -> None:
    name = host.end(1, is_sent=False)
    host.spool.quarantine(name, "too large")
    odd = host.spool.folder / "quarantine" / "zzz.json"
    odd.write_text("{")
    host.retain()
    assert len(list((host.spool.folder / "quarantine").iterdir())) == 3
    host.retain(now=NOW + 91 * DAY)
    assert list((host.spool.folder / "quarantine").iterdir()) == []
    assert host.kept() == set()


@pytest.mark.parametrize("has_holes", [True, False])
def test_no_output_that_a_task_makes_huge_takes_the_room_of_other_runs(host: Host, has_holes: bool) -> None:
    names = {host.end(number, size=1000) for number in range(1, 4)}
    huge = host.spool.folder / "output" / host.end(0)
    huge.write_bytes(b"" if has_holes else b"x" * 5_000_000)
    os.truncate(huge, 5_000_000)
    host.keep = Keep(size=1_000_000)
    host.retain()
    assert names < set(host.spool.names("sent"))
    assert huge.exists() == has_holes


def test_an_old_output_without_a_record_goes_and_one_that_may_get_one_stays(host: Host) -> None:
    output = host.spool.folder / "output"
    for days in (1, 8, 9):
        (output / identifier(days)).write_text("x")
    (host.spool.folder / "running" / f"{identifier(9)}.json").touch()
    host.retain()
    assert {path.name for path in output.iterdir()} == {identifier(1), identifier(9)}


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"status": 3}), "[" * 100_000])
def test_what_cannot_be_read_is_routine(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    assert retaining.read_worth(path) is Worth.ROUTINE
    path.write_text(text)
    assert retaining.read_worth(path) is Worth.ROUTINE


@pytest.mark.parametrize("text", ["", "{", "[]", '{"judged": "~"}'])
def test_what_was_counted_may_be_broken(host: Host, text: str) -> None:
    retaining.usage_file(host.spool).write_text(text)
    old = host.end(100)
    host.retain()
    assert old not in host.kept()


def test_without_what_is_remembered_the_latest_good_run_is_found_in_the_spool(host: Host) -> None:
    good = host.end(100)
    host.reconcile()
    assert host.kept() == {good}

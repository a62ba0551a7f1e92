"""Deploys on real hosts: nobody outside notices one, and an ill release leaves the old one serving."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.agent_host import AgentHost
from tests.lab.deploys import (
    HOST,
    ILL,
    ILL_IN_USE,
    LONG,
    Estate,
    commit,
    confirmed,
    estate,
    load,
    wait_until,
    with_bad_migration,
    with_wsgi,
)

pytestmark = pytest.mark.lab
__all__ = ["commit", "confirmed", "estate"]


def test_a_deploy_is_in_use_confirmed_and_written_down(estate: Estate, commit: Callable[..., str]) -> None:
    before = estate.current()
    made = commit("new")

    estate.deploy(made)

    found = estate.status()
    assert found["current"]["commit"] == made
    assert found["previous"]["commit"] == before
    assert found["serving"] == found["current"]["id"]
    assert found["armed"] is None
    assert found["lock"] is None
    [record] = estate.records(made)
    assert (record["action"], record["status"], record["ref"]) == ("deploy", "succeeded", made)
    assert "@" in record["who"]
    dumps = estate.run("ls", "/var/lib/rota/predeploy").split()
    assert f"{found['current']['id']}.dump" in dumps
    assert len(dumps) <= 5


def test_a_run_that_began_before_a_deploy_and_a_rollback_ends_under_its_release(
    estate: Estate, fab: Callable[..., Any], confirmed: str, commit: Callable[..., str]
) -> None:
    """a deploy and a rollback during a run | `succeeded`, under the release and from the code it began with"""
    host = AgentHost(estate.lab, HOST)
    python = "/opt/rota/current/venv/bin/python"
    try:
        host.declare(long={"description": "Take long", "command": [python, "-I", "-c", LONG]})
        host.start("long")
        began = estate.status()["current"]["id"]
        newer = commit("newer than the run")
        estate.deploy(newer)
        assert estate.current() == newer
        fab(HOST, "rollback")
        estate.deploy(commit("newest of all"))
        process = host.do("systemctl", "show", "--property=MainPID", "--value", "rota-task-long.service").stdout.strip()
        host.do("nsenter", f"--target={process}", "--mount", "touch", "/tmp/go")  # noqa: S108 - the run's own
        host.wait(lambda: host.runs("long")[0]["status"] != "running")
        run = host.runs("long")[0]
        assert (run["status"], run["release"]) == ("succeeded", began)
        assert host.do("rota", "show", run["id"], "--log").stdout == "begun\nhealthy\n"
    finally:
        host.clear()


def test_a_second_deploy_of_a_commit_changes_nothing_and_says_so(estate: Estate, confirmed: str) -> None:
    began = time.monotonic()

    output = estate.deploy(confirmed)

    assert "staging already runs" in output
    assert "PLAY" not in output
    assert time.monotonic() - began < 10


def test_a_check_tells_what_would_come_and_go_and_changes_nothing(
    estate: Estate, commit: Callable[..., str], confirmed: str, fab: Callable[..., Any]
) -> None:
    before = estate.status()
    made = commit("a title to be told")

    shown = fab(HOST, "deploy", "--ref", made, "--check", "--diff").stdout
    back = fab(HOST, "rollback", "--check").stdout

    assert f"{HOST}: {before['current']['id']} → " in shown
    assert f"{made[:7]} a title to be told" in shown
    assert f"{HOST}: {before['current']['id']} → {before['previous']['id']}" in back
    assert estate.status() == before


def test_a_full_disk_leaves_the_old_release_serving(estate: Estate, commit: Callable[..., str]) -> None:
    """A file system of its own takes the place of the releases: too small for the bundle, then for what it holds."""
    before, made = estate.current(), commit("too much")
    estate.run("mkdir", "-p", "/mnt/small")
    estate.run("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "tmpfs", "/mnt/small")
    try:
        estate.run("cp", "-a", "/opt/rota/.", "/mnt/small/")
        used = int(estate.run("df", "--output=used", "/mnt/small").split()[-1]) // 1024 + 1
        estate.run("mount", "--bind", "/mnt/small", "/opt/rota")
        listed = estate.run("find", "/opt/rota", "-maxdepth", "2")
        for room in (1, 30):
            estate.run("mount", "-o", f"remount,size={used + room}m", "/mnt/small")

            failed = estate.deploy(made, expect=2)

            assert "isk is full" in failed or "No space left on device" in failed
            assert estate.current() == before
            assert estate.status()["serving"] == estate.status()["current"]["id"]
            assert estate.run("find", "/opt/rota", "-maxdepth", "2") == listed
    finally:
        estate.run("umount", "--lazy", "/opt/rota")
        estate.run("umount", "--lazy", "/mnt/small")
    estate.deploy(made)


def test_nobody_notices_a_deploy_a_rollback_or_a_release_that_is_ill(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path, fab: Callable[..., Any]
) -> None:
    """A client keeps requesting through the web server meanwhile: not one request fails."""
    new, ill = commit("new"), commit("ill in use", with_wsgi(ILL_IN_USE))
    with load(estate, tmp_path, pause=0.02) as found:
        estate.deploy(new)
        fab(HOST, "rollback")
        assert estate.current() == confirmed
        failed = estate.deploy(ill, expect=2)
        assert "ill in use" in failed
        assert estate.current() == confirmed
        estate.deploy(new)

    print(found)
    # The ill release says so itself on /readyz, which is not a request that failed.
    unexpected = [
        failure for failure in found["failures"] if not ("/readyz 503" in failure and "ill in use" in failure)
    ]
    assert unexpected == []
    assert found["served"] > 10_000
    assert {one[-12:] for one in found["releases"]} == {new[:12], confirmed[:12]}
    assert [record["status"] for record in estate.records(ill)] == ["returned"]


def test_a_release_that_is_ill_from_the_start_never_sees_traffic(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    ill = commit("ill", with_wsgi(ILL))
    with load(estate, tmp_path) as found:
        output = estate.deploy(ill, expect=2)

    assert "ill from the start" in output
    assert found["failures"] == []
    assert {one[-12:] for one in found["releases"]} == {confirmed[:12]}
    assert estate.current() == confirmed
    [record] = estate.records(ill)
    assert record["status"] == "failed"
    assert "ill from the start" in record["reason"]


def test_a_failing_migration_leaves_the_old_release_serving(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    bad = commit("bad migration", with_bad_migration())
    with load(estate, tmp_path) as found:
        output = estate.deploy(bad, expect=2)

    assert "no_such_column" in output
    assert found["failures"] == []
    assert estate.current() == confirmed
    tables = estate.run("runuser", "-u", "rota-diary", "--", "psql", "-At", "diary", "-c", r"\dt half_done")
    assert "half_done" not in tables


def test_of_two_deploys_at_once_one_is_told_who_is_first(
    estate: Estate, commit: Callable[..., str], confirmed: str
) -> None:
    one, other = commit("one"), commit("other")
    first = estate.start(one)
    wait_until(lambda: estate.status()["lock"], 60)

    refused = estate.deploy(other, expect=1)
    waited = estate.deploy(other, wait=120)

    assert first.communicate(timeout=120)[0] is not None
    assert first.returncode == 0
    assert "Another deploy is under way" in refused
    assert "Waiting" in waited
    found = estate.status()
    assert (found["current"]["commit"], found["previous"]["commit"]) == (other, one)

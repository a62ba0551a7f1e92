"""Deploys that are killed, or whose host dies: wherever one stops, the host serves a whole release."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.deploys import CONFIRM_SECONDS, HOST, ILL, Estate, commit, confirmed, estate, load, wait_until, with_wsgi

pytestmark = pytest.mark.lab
__all__ = ["commit", "confirmed", "estate"]


STEPS = (
    "Ship the bundle",
    "Install the release beside",
    "Check the configuration",
    "Copy the database",
    "Migrate the database",
    "Let the release prove",
    "Arm the way back",
    "Switch to the release",
    "See the release healthy",
    "Confirm the release",
)
AFTERWARDS = ("Write the deploy down", "Remove releases")


def kill_at(estate: Estate, ref: str, step: str) -> None:
    """Kill a deploy, and everything it started here, as soon as it begins a step."""
    earlier = estate.steps()
    process = estate.start(ref)
    wait_until(
        lambda: estate.steps() != earlier and f"STEP {step}" in estate.steps() or process.poll() is not None, 120
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def test_a_deploy_killed_at_any_step_harms_nobody_and_can_be_begun_again(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    """The same deploy dies at one step after the other, then goes to its end; it may also die once it is confirmed."""
    new = commit("killed again and again")
    with load(estate, tmp_path) as found:
        for step in STEPS:
            kill_at(estate, new, step)
            assert estate.current() in (confirmed, new), step
        estate.deploy(new, wait=60)
        after = estate.status()
        assert (after["current"]["commit"], after["previous"]["commit"]) == (new, confirmed)
        assert (after["armed"], after["lock"]) == (None, None)
        for step in AFTERWARDS:
            latest = commit(f"killed at {step}")
            kill_at(estate, latest, step)
            assert estate.status()["armed"] is None
            assert "nothing to do" in estate.deploy(latest)

    assert found["failures"] == []
    assert estate.current() == latest


def test_a_host_whose_deploy_died_after_the_switch_goes_back_by_itself(
    estate: Estate, commit: Callable[..., str], confirmed: str, tmp_path: Path
) -> None:
    new = commit("left alone")
    with load(estate, tmp_path) as found:
        kill_at(estate, new, "See the release healthy")
        assert estate.current() == new
        wait_until(lambda: estate.current() == confirmed and not estate.status()["armed"], CONFIRM_SECONDS + 60)

    assert found["failures"] == []
    assert estate.status()["serving"].endswith(confirmed[:12])
    record = estate.records(confirmed)[-1]
    assert (record["action"], record["status"], record["previous"][-12:]) == ("return", "returned", new[:12])


def test_a_host_that_restarts_unconfirmed_goes_back_too(
    estate: Estate, commit: Callable[..., str], confirmed: str
) -> None:
    new = commit("host restarted")
    kill_at(estate, new, "See the release healthy")
    estate.lab.kill(HOST)
    estate.lab.boot(HOST)

    wait_until(lambda: estate.current() == confirmed and not estate.status()["armed"], CONFIRM_SECONDS + 90)


def test_the_second_host_is_left_alone_when_the_first_is_ill(
    estate: Estate, commit: Callable[..., str], confirmed: str
) -> None:
    before = estate.current("backup")
    ill = commit("ill first", with_wsgi(ILL))

    output = estate.deploy(ill, expect=2, hosts="staging,backup")

    assert "ill from the start" in output
    assert estate.current("backup") == before
    assert ill not in str(estate.status("backup")["releases"])


def test_several_hosts_all_get_the_release(estate: Estate, commit: Callable[..., str]) -> None:
    new = commit("for all")

    estate.deploy(new, hosts="staging,backup")

    assert (estate.current(), estate.current("backup")) == (new, new)
    assert "nothing to do" in estate.deploy(new, hosts="staging,backup")


def test_production_refuses_what_is_not_committed(fab: Callable[..., Any]) -> None:
    done = fab("production", "deploy", "--dirty", check=False)

    assert done.returncode == 2
    assert "Production runs commits only" in done.stdout


def test_a_development_host_refuses_a_deploy_with_the_reason(fab: Callable[..., Any]) -> None:
    done = fab("development", "deploy", check=False)

    assert done.returncode == 2
    assert "runs the working tree" in done.stdout

"""Laws of the lab, on labs of this file's own: they are cut, killed and crashed."""

import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision import lab as labs
from provision.lab import groups, hosts, network
from provision.lab.plan import HOSTS, Plan
from provision.lab.programs import wait_until
from tests.lab.conftest import ROOT, inventory_name

pytestmark = pytest.mark.lab

SPARE = inventory_name("spare")
OTHER = inventory_name("other")


@pytest.fixture(scope="module")
def spare() -> Iterator[labs.Lab]:
    labs.down(ROOT, SPARE)
    try:
        yield labs.up(ROOT, SPARE)
    finally:
        labs.down(ROOT, SPARE)


@pytest.fixture
def other() -> Iterator[Plan]:
    """The plan of a second lab of this checkout, that is down before the test and afterwards."""
    labs.down(ROOT, OTHER)
    try:
        yield Plan(ROOT, OTHER)
    finally:
        labs.down(ROOT, OTHER)


@pytest.fixture
def whole(spare: labs.Lab) -> Iterator[labs.Lab]:
    """The spare lab with every host running and every cut healed, also after the test."""
    labs.up(ROOT, SPARE)
    spare.heal()
    yield spare
    spare.heal()


def reaches(lab: labs.Lab, source: str, target: str) -> bool:
    return lab.run(source, ["ping", "-c", "1", "-W", "1", target], check=False).returncode == 0


def over_ssh(lab: labs.Lab, name: str, *argv: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lab.ssh_command(name, argv, *options), capture_output=True, text=True, timeout=30, check=False
    )


def traces(plan: Plan) -> dict[str, list[str]]:
    """All on this machine that bears the lab's id: interfaces, tables, mounts, processes, control groups."""
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().replace("\0", " ") + (folder / "cgroup").read_text()
            ended = "\nState:\tZ" in (folder / "status").read_text()
        except OSError:
            continue
        if not ended and f"{plan.id}" in words:
            processes.append(words)
    found = {
        "interfaces": [path.name for path in Path("/sys/class/net").iterdir()],
        "tables": subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        ).stdout.splitlines(),
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "control groups": [path.name for hierarchy in groups.hierarchies() for path in hierarchy.iterdir()],
    }
    return {
        "processes": processes,
        **{kind: [line for line in lines if plan.id in line] for kind, lines in found.items()},
        "files": [str(plan.folder)] if plan.folder.exists() else [],
    }


def kinds_left(plan: Plan) -> list[str]:
    return [kind for kind, lines in traces(plan).items() if lines]


# -- hosts


def test_every_host_runs_systemd_without_a_failed_unit(whole: labs.Lab) -> None:
    for name in HOSTS:
        failed = whole.run(name, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
        assert (name, failed, whole.status().states[name]) == (name, "", "running")


def test_ssh_works_with_the_pinned_key_and_the_operator_may_become_root(whole: labs.Lab) -> None:
    for name in HOSTS:
        done = over_ssh(whole, name, "hostname", "&&", "sudo", "-n", "id", "-un")
        assert (done.returncode, done.stdout) == (0, f"{name}\nroot\n")


def test_a_host_with_another_key_than_the_pinned_one_is_refused(whole: labs.Lab, tmp_path: Path) -> None:
    lines = (whole.inventory_folder / "known_hosts").read_text().splitlines()
    keys = [line.split(" ", 1) for line in lines]
    swapped = tmp_path / "known_hosts"
    swapped.write_text("".join(f"{keys[n - 1][0]} {keys[n][1]}\n" for n in range(len(keys))))
    done = over_ssh(whole, "staging", "true", options=("-o", f"UserKnownHostsFile={swapped}"))
    assert done.returncode == 255
    assert "verification failed" in done.stderr


def test_no_two_hosts_share_a_machine_id_or_a_host_key(whole: labs.Lab) -> None:
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/proc/sys/kernel/random/boot_id"):
        assert len({whole.run(name, ["cat", path]).stdout for name in HOSTS}) == len(HOSTS)


def test_hosts_reach_each_other_by_name(whole: labs.Lab) -> None:
    pairs = [(a, b) for a in HOSTS for b in HOSTS]
    assert [pair for pair in pairs if not reaches(whole, *pair)] == []


def test_a_host_installs_what_roles_need_without_any_network(whole: labs.Lab) -> None:
    whole.cut("development", "machine")
    whole.run("development", ["apt-get", "install", "-q", "-y", "--no-install-recommends", "sqlite3", "rsync"])
    assert whole.run("development", ["sqlite3", ":memory:", "select 6*7"]).stdout == "42\n"


def test_a_host_reaches_the_package_sources_through_this_machine(whole: labs.Lab) -> None:
    update = ["apt-get", "update", "-q", "--error-on=any"]
    assert whole.run("production", update).stdout.startswith(("Hit:", "Get:"))


def test_the_sink_keeps_every_mail_with_its_envelope(whole: labs.Lab) -> None:
    before = len(whole.mails())
    script = (
        "import smtplib; s = smtplib.SMTP('{}', 25); "
        "s.sendmail('rota@staging', ['anna@example.org'], 'Subject: Fällig\\n\\nheute\\n'.encode())"
    )
    whole.run("staging", ["python3", "-c", script.format(whole.gateway)])
    (mail,) = [mail for mail in whole.mails()[before:] if mail["X-MailFrom"] == "rota@staging"]
    assert (mail["X-MailFrom"], mail["X-RcptTo"]) == ("rota@staging", "anna@example.org")
    assert mail.get_content().strip() == "heute"


def test_the_sink_listens_in_the_lab_only(whole: labs.Lab) -> None:
    with pytest.raises(OSError, match="refused"):
        smtplib.SMTP("127.0.0.1", 25, timeout=2)


# -- faults


def test_a_cut_separates_two_hosts_and_no_others_until_healed(whole: labs.Lab) -> None:
    whole.cut("staging", "production")
    assert whole.status().cuts == (("production", "staging"),)
    assert not reaches(whole, "staging", "production")
    assert not reaches(whole, "production", "staging")
    assert reaches(whole, "staging", "backup")
    assert over_ssh(whole, "staging", "true").returncode == 0
    whole.heal()
    assert reaches(whole, "staging", "production")
    assert whole.status().cuts == ()


def test_a_host_cut_off_from_the_machine_still_reaches_the_others(whole: labs.Lab) -> None:
    whole.cut("machine", "staging")
    assert over_ssh(whole, "staging", "true", options=("-o", "ConnectTimeout=1")).returncode == 255
    assert not reaches(whole, "staging", whole.gateway)
    assert reaches(whole, "staging", "production")


def test_a_hosts_clock_is_its_own_until_it_boots_again(whole: labs.Lab) -> None:
    # systemd's own programs do not bear the library, and only what they start is asked for the time.
    dated = ["env", "-u", "LD_PRELOAD", "systemd-run", "--quiet", "--wait", "--pipe", "date", "+%Y-%m-%d"]
    whole.set_clock("staging", datetime(2030, 3, 31, tzinfo=UTC))
    assert whole.run("staging", ["date", "+%Y-%m-%d"]).stdout == "2030-03-31\n"
    assert whole.run("staging", dated).stdout == "2030-03-31\n"
    assert whole.run("backup", dated).stdout != "2030-03-31\n"
    assert "clock: staging is" in str(whole.status())
    whole.set_clock("staging", None)
    assert whole.run("staging", dated).stdout != "2030-03-31\n"
    assert "clock" not in str(whole.status())
    whole.set_clock("staging", datetime(2020, 1, 1, tzinfo=UTC))
    assert whole.run("staging", dated).stdout == "2020-01-01\n"
    whole.kill("staging")
    whole.boot("staging")
    assert whole.run("staging", dated).stdout != "2020-01-01\n"
    assert "clock" not in str(whole.status())


def test_a_cut_with_an_unknown_host_names_the_known(whole: labs.Lab) -> None:
    with pytest.raises(labs.UnknownHost, match="'proction'; there are: development, staging, production, backup"):
        whole.cut("staging", "proction")


def test_a_power_cut_ends_everything_at_once_and_keeps_the_files(whole: labs.Lab) -> None:
    boot = whole.run("backup", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    whole.run("backup", ["tee", "/root/kept"], input="written just before\n")
    whole.kill("backup")
    assert groups.members(whole.plan.host("backup").group) == set()
    assert whole.status().states["backup"] == "off"
    with pytest.raises(labs.LabDown, match="backup is off"):
        whole.run("backup", ["true"])
    whole.boot("backup")
    assert whole.run("backup", ["cat", "/root/kept"]).stdout == "written just before\n"
    assert whole.run("backup", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout != boot
    assert over_ssh(whole, "backup", "true").returncode == 0


def test_a_host_that_restarts_itself_comes_back_with_its_address(whole: labs.Lab) -> None:
    before = whole.run("staging", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    whole.run("staging", ["systemctl", "--no-block", "reboot"])

    def is_back() -> bool:
        answer = over_ssh(whole, "staging", "cat", "/proc/sys/kernel/random/boot_id")
        return answer.returncode == 0 and answer.stdout != before

    wait_until(is_back, 60, "staging does not come back", AssertionError)


def test_a_reset_host_is_as_fresh_as_at_first_and_the_others_are_not(whole: labs.Lab) -> None:
    for name in ("staging", "production"):
        whole.run(name, ["touch", "/root/kept"])
    whole.reset("staging")
    assert not (whole.hosts["staging"].root / "root/kept").exists()
    assert (whole.hosts["production"].root / "root/kept").exists()
    assert over_ssh(whole, "staging", "true").returncode == 0


# -- up and down


def test_up_on_a_lab_that_is_up_changes_nothing(whole: labs.Lab, capfd: pytest.CaptureFixture[str]) -> None:
    first = {name: groups.first_process(whole.plan.host(name).group) for name in HOSTS}
    labs.up(ROOT, SPARE)
    assert {name: groups.first_process(whole.plan.host(name).group) for name in HOSTS} == first
    assert "already up: development, staging, production, backup" in capfd.readouterr().err


def test_up_boots_what_is_missing(whole: labs.Lab) -> None:
    whole.kill("backup")
    labs.up(ROOT, SPARE)
    assert whole.status().is_up


def test_up_mends_a_network_that_was_taken_away(other: Plan) -> None:
    lab = labs.up(ROOT, OTHER)
    delete_bridge(other)
    subprocess.run(["nft", "delete", "table", "bridge", other.table], check=True)
    labs.up(ROOT, OTHER)
    assert over_ssh(lab, "staging", "true").returncode == 0
    assert reaches(lab, "staging", "production")
    lab.cut("staging", "production")
    assert not reaches(lab, "staging", "production")


def test_down_leaves_nothing_and_may_be_said_twice(other: Plan) -> None:
    assert kinds_left(other) == []
    labs.up(ROOT, OTHER)
    assert kinds_left(other) == ["processes", "interfaces", "tables", "mounts", "control groups", "files"]
    labs.down(ROOT, OTHER)
    assert kinds_left(other) == []
    labs.down(ROOT, OTHER)


def test_two_labs_live_side_by_side(whole: labs.Lab, other: Plan) -> None:
    second = labs.up(ROOT, OTHER)
    assert network.resolvers()
    assert {host.address for host in whole.hosts.values()}.isdisjoint(host.address for host in second.hosts.values())
    whole.cut("staging", "production")
    assert reaches(second, "staging", "production")
    labs.down(ROOT, OTHER)
    assert whole.status().is_up
    assert whole.status().cuts == (("production", "staging"),)
    assert over_ssh(whole, "production", "true").returncode == 0


def test_a_hosts_services_end_though_another_lab_runs_the_same(whole: labs.Lab) -> None:
    """Hosts that shared a control group would wait for each other's processes."""
    whole.run("staging", ["systemctl", "restart", "ssh.service"], timeout=10)
    assert over_ssh(whole, "production", "true").returncode == 0


# -- crashes


def kill_nspawn(plan: Plan) -> None:
    """The containers' first processes go on without it."""
    for host in plan.hosts():
        for pid in groups.members(host.group):
            with suppress(OSError):  # it may be the supervisor's or ended with the one before
                if Path(f"/proc/{pid}/comm").read_text() == "systemd-nspawn\n":
                    os.kill(pid, signal.SIGKILL)
    assert all(hosts.is_running(host) for host in plan.hosts())


def kill_mail_sink(plan: Plan) -> None:
    for pid in groups.members(plan.mail_group):
        os.kill(pid, signal.SIGKILL)


def lose_state(plan: Plan) -> None:
    plan.state.unlink()


def delete_bridge(plan: Plan) -> None:
    subprocess.run(["ip", "link", "delete", plan.bridge], check=True)


CRASHES = (kill_nspawn, kill_mail_sink, lose_state, delete_bridge)


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: str(crash.__name__))
def test_down_leaves_nothing_after_a_crash(other: Plan, crash: Callable[[Plan], None]) -> None:
    labs.up(ROOT, OTHER)
    crash(other)
    labs.down(ROOT, OTHER)
    assert kinds_left(other) == []


MOMENTS: dict[str, Callable[[Plan], bool]] = {
    "the state is written": lambda plan: plan.state.exists(),
    "the bridge is there": network.has_bridge,
    "a root is mounted": lambda plan: hosts.is_mounted(plan.hosts()[1]),
    "a host runs": lambda plan: hosts.is_running(plan.hosts()[0]),
    "the last host boots": lambda plan: hosts.is_running(plan.hosts()[3]),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_up_that_is_killed_can_be_finished_and_taken_down(other: Plan, moment: str) -> None:
    command = [sys.executable, "-m", "provision.lab", "--inventory", OTHER, "up"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: MOMENTS[moment](other), 30, moment, AssertionError)
    process.kill()
    process.wait()
    assert labs.up(ROOT, OTHER).status().is_up
    labs.down(ROOT, OTHER)
    assert kinds_left(other) == []

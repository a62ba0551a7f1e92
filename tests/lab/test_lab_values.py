"""The lab's names, networks and texts, and how its base tree is built: without a lab."""

import threading
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.lab import base, clock, errors, groups, kernel, lab, network, programs
from provision.lab.plan import ADDRESSES, HOSTS, Plan, address, choose_network, gateway

roots = st.text(min_size=1, max_size=300).map(lambda text: Path("/", text.replace("\0", "")))


@given(roots)
def test_every_interface_name_fits_the_kernel(root: Path) -> None:
    plan = Plan(root)
    names = [plan.bridge, *(host.port for host in plan.hosts())]
    assert len(set(names)) == len(names)
    assert max(len(name) for name in names) <= 15


def test_two_labs_share_no_name() -> None:
    plans = [Plan(Path("/a"), "lab"), Plan(Path("/a"), "lab-tests"), Plan(Path("/b"), "lab")]
    for names in ([p.bridge for p in plans], [p.table for p in plans], [p.hosts()[0].group for p in plans]):
        assert len(set(names)) == 3


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(list(ADDRESSES.subnets(new_prefix=16))), max_size=15))
def test_a_lab_takes_no_network_that_is_in_use(number: int, taken: list[IPv4Network]) -> None:
    chosen = choose_network(f"{number:08x}", taken)
    assert not any(chosen.overlaps(other) for other in taken)


def test_a_machine_without_a_free_network_is_told_so() -> None:
    with pytest.raises(errors.LabUnavailable, match=r"no free network in 10\.208\.0\.0/12"):
        choose_network("00000000", [IPv4Network("10.0.0.0/8")])


def test_every_host_has_an_address_of_its_own_within_the_network() -> None:
    net = IPv4Network("10.208.7.0/24")
    found = {address(net, name) for name in HOSTS} | {gateway(net)}
    assert len(found) == len(HOSTS) + 1
    assert all(one in ip_network(net) for one in found)


def test_only_resolvers_that_another_machine_can_reach_are_handed_on() -> None:
    text = "# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch x\n"
    assert network.parse_resolvers(text) == ["192.0.2.53"]


def test_only_names_that_mean_the_same_elsewhere_are_handed_on() -> None:
    lines = ["127.0.0.1 localhost", "127.0.1.1 here", "::1 ip6-localhost", "ff02::1 ip6-allnodes", "", "# 192.0.2.1 no"]
    assert network.parse_static_names([*lines, "192.0.2.7\tmirror.example  mirror # apt"]) == [
        "192.0.2.7 mirror.example mirror"
    ]


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", None),
        ("+3d", NOON + timedelta(days=3)),
        ("-90m", NOON - timedelta(minutes=90)),
        ("2030-03-31T00:59:30", datetime(2030, 3, 31, 0, 59, 30, tzinfo=UTC)),
        ("2030-03-31T02:59:30+02:00", datetime(2030, 3, 31, 0, 59, 30, tzinfo=UTC)),
    ],
)
def test_a_clock_is_set_by_step_or_by_time(text: str, moment: datetime | None) -> None:
    assert clock.parse(text, NOON) == moment


@pytest.mark.parametrize("text", ["", "3d", "+3w", "tomorrow", "+٣d"])
def test_what_is_no_time_is_told_with_what_would_be(text: str) -> None:
    with pytest.raises(clock.BadTime, match=r"\+3d, -90m, or now"):
        clock.parse(text, NOON)


def test_each_cut_is_listed_once_whatever_its_direction() -> None:
    plan = Plan(Path("/a"))
    text = network.cut_rules(plan, plan.host("staging"), plan.host("backup"))
    assert network.parse_cuts(text + network.cut_off_rules(plan, plan.host("staging"))) == (
        ("backup", "staging"),
        ("machine", "staging"),
    )


TARGETS = """\
Created-By: Packages
Origin: Debian
Release: bookworm
Component: main
Repo-URI: http://mirror.example/debian/
Signed-By: /usr/share/keyrings/debian.gpg

Created-By: Packages
Origin: Another Maker
Release: stable
Component: main
Repo-URI: http://other.example/apt/

Created-By: Translations
Origin: Debian
Release: bookworm
Component: main
Repo-URI: http://mirror.example/debian/
"""


def test_hosts_use_the_machines_own_sources_of_its_own_system() -> None:
    sources = base.parse_sources(TARGETS, "debian")
    assert base.sources_list(sources) == (
        "deb [signed-by=/usr/share/keyrings/debian.gpg] http://mirror.example/debian/ bookworm main\n"
    )


def test_proxies_of_the_machine_are_handed_on_and_nothing_else() -> None:
    dump = 'Acquire::http "";\nAcquire::http::Proxy "http://proxy.example:3128";\nAPT::Architecture "amd64";\n'
    assert base.parse_apt_options(dump) == ('Acquire::http::Proxy "http://proxy.example:3128";',)


# -- building the base tree


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> base.Recipe:
    made = base.Recipe("bookworm", "amd64", base.parse_sources(TARGETS, "debian"), ())
    monkeypatch.setattr(base, "STORE", tmp_path)
    monkeypatch.setattr(base, "read_recipe", lambda: made)
    return made


def test_another_source_makes_another_base_tree(recipe: base.Recipe) -> None:
    other = base.Recipe("bookworm", "amd64", recipe.sources[:0], ())
    assert other.tree != recipe.tree


def test_builders_at_the_same_time_build_once(recipe: base.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    built: list[str] = []

    def build(wanted: base.Recipe) -> None:
        assert waiting.wait(10)
        built.append(wanted.key)
        wanted.tree.mkdir()

    monkeypatch.setattr(base, "build", build)
    monkeypatch.setattr(base, "say", lambda _: waiting.set())
    threads = [threading.Thread(target=base.ensure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [recipe.key]


def test_an_interrupted_build_is_not_taken_for_a_whole_one(
    recipe: base.Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(groups, "end", lambda _: None)
    monkeypatch.setattr(base, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        base.ensure()
    assert not recipe.tree.exists()


# -- this machine


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"net/ipv4/ip_forward": "0", "fs/inotify/max_user_instances": "9999"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"{value}\n")
    (tmp_path / "kernel/random").mkdir(parents=True)
    (tmp_path / "kernel/random/boot_id").write_text("this\n")
    monkeypatch.setattr(kernel, "SETTINGS", tmp_path)
    monkeypatch.setattr(kernel, "BEFORE", tmp_path / "before")
    return tmp_path


def read(settings: Path) -> list[int]:
    return [int((settings / name).read_text()) for name in kernel.WANTED]


def test_what_is_lifted_in_the_kernel_is_put_back_and_what_was_high_enough_stays(settings: Path) -> None:
    kernel.lift()
    kernel.lift()
    assert read(settings) == [1, 9999]
    kernel.restore()
    assert read(settings) == [0, 9999]
    kernel.restore()
    assert read(settings) == [0, 9999]


def test_what_was_lifted_before_a_restart_of_the_machine_is_not_put_back(settings: Path) -> None:
    kernel.lift()
    (settings / "kernel/random/boot_id").write_text("another\n")
    kernel.restore()
    assert read(settings) == [1, 9999]


def test_a_machine_that_lacks_something_is_told_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: None if program in ("nft", "debootstrap") else program)
    with pytest.raises(errors.LabUnavailable, match="The lab cannot run here: .* apt-get install debootstrap nftables"):
        lab.require_machine()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(errors.LabUnavailable, match="needs root"):
        lab.require_machine()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(errors.LabUnavailable, match="needs Linux, and this is darwin"):
        lab.require_machine()


def test_a_failed_program_is_named_with_its_last_words() -> None:
    with pytest.raises(errors.ProgramFailed, match=r"sh -c 'echo no >&2; exit 3' \(exit 3\): no"):
        programs.call(["sh", "-c", "echo no >&2; exit 3"])

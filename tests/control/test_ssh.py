"""SSH trust against a real sshd on the loopback: a key is confirmed once and never accepted anew."""

import getpass
import io
import subprocess
from pathlib import Path

import pytest

from provision import ssh
from provision.inventory import Inventory, load
from provision.secrets import make_lab
from tests.control.daemon import Daemon, free_port
from tests.control.estates import make_estate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def estate(tmp_path: Path, daemon: Daemon) -> Inventory:
    """An estate whose staging host is the daemon; the checkout has a key of its own, which that host lets in."""
    here = {"address": "127.0.0.1", "port": daemon.port, "user": getpass.getuser()}
    inventory = make_estate(tmp_path / "checkout", {"staging": here})
    key = root_of(inventory) / ".rota" / "acme" / "id_ed25519"
    key.write_bytes(daemon.user_key.read_bytes())
    key.chmod(0o600)
    return inventory


def root_of(inventory: Inventory) -> Path:
    return inventory.folder.parents[2]


def found(inventory: Inventory) -> dict[str, ssh.Connection]:
    return ssh.connections(inventory, root_of(inventory))


def log_in(inventory: Inventory, *words: str) -> "subprocess.CompletedProcess[str]":
    config = ssh.ensure_ssh_config(inventory, root_of(inventory))
    command = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ControlMaster=no", *words, "echo", "inside"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def accept(_host: str, _key: ssh.HostKey) -> bool:
    return True


def never(host: str, _key: ssh.HostKey) -> bool:
    raise AssertionError(f"{host}: nothing should be asked")


def test_a_key_is_pinned_after_it_was_shown_and_confirmed(estate: Inventory, daemon: Daemon) -> None:
    shown = []

    def confirm(host: str, key: ssh.HostKey) -> bool:
        shown.append(f"{host} {key.fingerprint}")
        return True

    assert log_in(estate, "staging").returncode == 255
    assert ssh.trust(estate, found(estate), ["staging"], confirm) == {"staging": True}

    told = subprocess.run(["ssh-keygen", "-lf", daemon.host_key], capture_output=True, text=True, check=True).stdout
    assert shown == [f"staging {told.split()[1]}"]
    assert log_in(estate, "staging").stdout == "inside\n"


def test_ansible_which_connects_to_addresses_finds_the_same_pin(estate: Inventory, daemon: Daemon) -> None:
    ssh.trust(estate, found(estate), ["staging"], accept)

    by_address = log_in(estate, "-p", str(daemon.port), "127.0.0.1")

    assert by_address.stdout == "inside\n", by_address.stderr


def test_a_key_that_nobody_confirms_is_not_pinned(estate: Inventory) -> None:
    with pytest.raises(ssh.NotTrusted, match="staging"):
        ssh.trust(estate, found(estate), ["staging"], lambda host, key: False)

    assert ssh.pinned_keys(estate) == {}
    assert log_in(estate, "staging").returncode == 255


def test_a_pinned_key_is_compared_and_nothing_is_asked(estate: Inventory) -> None:
    ssh.trust(estate, found(estate), ["staging"], accept)

    assert ssh.trust(estate, found(estate), ["staging"], never) == {"staging": False}


def test_a_changed_key_is_refused_by_trust_and_by_ssh(estate: Inventory, daemon: Daemon) -> None:
    ssh.trust(estate, found(estate), ["staging"], accept)
    before = estate.known_hosts.read_bytes()
    daemon.install_anew()

    with pytest.raises(ssh.HostKeyChanged, match="fab secrets.forget staging"):
        ssh.trust(estate, found(estate), ["staging"], never)

    assert estate.known_hosts.read_bytes() == before
    refused = log_in(estate, "staging")
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


@pytest.mark.parametrize(("terminal", "reason"), [(False, "there is no terminal"), (True, "'staging' was not typed")])
def test_without_a_terminal_or_at_the_end_of_what_is_typed_the_key_is_kept(
    estate: Inventory, monkeypatch: pytest.MonkeyPatch, terminal: bool, reason: str
) -> None:
    ssh.trust(estate, found(estate), ["staging"], accept)
    ended = io.StringIO("")
    monkeypatch.setattr(ended, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stdin", ended)

    with pytest.raises(ssh.NotForgotten, match=reason):
        ssh.forget_command(estate, root_of(estate), "staging")

    assert list(ssh.pinned_keys(estate)) == ["staging"]


def test_only_the_typed_name_makes_a_key_forgotten(estate: Inventory, daemon: Daemon) -> None:
    ssh.trust(estate, found(estate), ["staging"], accept)
    daemon.install_anew()

    with pytest.raises(ssh.NotForgotten):
        ssh.forget(estate, found(estate), "staging", "yes")
    ssh.forget(estate, found(estate), "staging", "staging")

    assert ssh.trust(estate, found(estate), ["staging"], accept) == {"staging": True}
    assert log_in(estate, "staging").stdout == "inside\n"


def test_a_silent_host_is_named_after_the_others_were_trusted(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here, silent = {"address": "127.0.0.1", "port": daemon.port, "user": "u"}, free_port()
    inventory = make_estate(tmp_path / "checkout", {"staging": {**here, "port": silent}, "backup": here})
    ssh.trust(inventory, found(inventory), ["backup"], accept)

    with pytest.raises(ssh.HostSilent, match=rf"staging \(port {silent}\)"):
        ssh.trust_command(inventory, root_of(inventory), None)

    assert "backup: shows the pinned key" in capsys.readouterr().out


def test_the_shared_connection_has_its_socket_where_it_fits(estate: Inventory) -> None:
    ssh.trust(estate, found(estate), ["staging"], accept)
    config = ssh.ensure_ssh_config(estate, root_of(estate))
    subprocess.run(["ssh", "-F", config, "-o", "BatchMode=yes", "staging", "true"], check=True)

    asked = ["ssh", "-F", str(config), "-O"]
    assert subprocess.run([*asked, "check", "staging"], capture_output=True, check=False).returncode == 0
    subprocess.run([*asked, "exit", "staging"], capture_output=True, check=True)


def test_a_socket_path_that_would_be_too_long_moves_to_the_home(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)

    assert ssh.control_folder(deep, home=tmp_path) == tmp_path / ".ssh"
    assert ssh.control_folder(Path("/srv/rota/.rota/lab")) == Path("/srv/rota/.rota/lab")


def settings_of(config: Path, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-T", "-G", "-F", config, host], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_ssh_reads_what_was_rendered(tmp_path: Path) -> None:
    inventory = make_estate(tmp_path)
    config = ssh.ensure_ssh_config(inventory, tmp_path)

    for host, connection in found(inventory).items():
        settings = settings_of(config, host)
        assert (settings["hostname"], settings["port"]) == (connection.address, str(connection.port))
        assert (settings["user"], settings["hostkeyalias"]) == (connection.user, host)
        assert settings["stricthostkeychecking"] == "true"
        assert settings["userknownhostsfile"] == str(inventory.known_hosts)
        assert settings["globalknownhostsfile"] == "/dev/null"
        assert settings["updatehostkeys"] == "false"
    assert "userknownhostsfile" in settings_of(config, "elsewhere.example.org")
    assert settings_of(config, "elsewhere.example.org")["userknownhostsfile"] != str(inventory.known_hosts)
    assert config.stat().st_mode & 0o777 == 0o600


def test_the_configuration_is_rendered_anew_only_when_its_sources_change(tmp_path: Path) -> None:
    inventory = make_lab(tmp_path, {"staging": {"address": "192.0.2.1", "port": 22, "user": "root"}})
    first = ssh.ensure_ssh_config(inventory, tmp_path).read_text()
    password = tmp_path / ".rota" / "lab" / "vault_password"
    password.rename(tmp_path / "away")

    assert ssh.ensure_ssh_config(inventory, tmp_path).read_text() == first  # no password was needed
    (tmp_path / "away").rename(password)
    make_lab(tmp_path, {"staging": {"address": "192.0.2.2", "port": 22, "user": "root"}})

    assert "192.0.2.2" in ssh.ensure_ssh_config(inventory, tmp_path).read_text()


def test_pins_of_hosts_that_are_gone_are_dropped_and_names_follow_the_connections(tmp_path: Path) -> None:
    inventory = make_estate(tmp_path)
    key = ssh.HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIJ7uJ0wLw0Zb0Q3z5n0u1qj4S3mC6tR1o7c5y8d9e0fA")
    everywhere = found(inventory)
    ssh.pin(inventory, everywhere, {"staging": key, "backup": key})

    ssh.pin(inventory, {"backup": everywhere["backup"]}, {})

    names = "backup,192.0.2.40,[backup]:2222,[192.0.2.40]:2222"
    assert inventory.known_hosts.read_text() == f"{names} {key.kind} {key.blob}\n"


def test_pinning_never_replaces_a_key(tmp_path: Path) -> None:
    inventory = make_estate(tmp_path)
    ssh.pin(inventory, found(inventory), {"backup": ssh.HostKey("ssh-ed25519", "AAAA")})

    with pytest.raises(ssh.HostKeyChanged):
        ssh.pin(inventory, found(inventory), {"backup": ssh.HostKey("ssh-ed25519", "BBBB")})

    assert ssh.pinned_keys(inventory)["backup"].blob == "AAAA"


@pytest.mark.parametrize(
    "entry",
    [
        {"address": "a\nProxyCommand=evil", "port": 22, "user": "u"},
        {"address": "-oProxyCommand=evil", "port": 22, "user": "u"},
        {"address": "host name", "port": 22, "user": "u"},
        {"address": "h", "port": 0, "user": "u"},
        {"address": "h", "port": "22; x", "user": "u"},
        {"address": "h", "port": 22, "user": "u u"},
        {"address": "h", "port": 22, "user": "u", "proxy": "x"},
        "h",
    ],
)
def test_a_connection_that_would_mean_something_else_to_ssh_is_refused(entry: object) -> None:
    with pytest.raises(ssh.BrokenConnection, match=r"ssh_connections\.staging") as caught:
        ssh.parse_connections({"staging": entry})

    assert "evil" not in str(caught.value)


def test_a_host_without_a_connection_is_named(tmp_path: Path) -> None:
    inventory = make_estate(tmp_path)
    (inventory.hosts_file).write_text("staging: {hosts: {forgotten: }}\n")

    with pytest.raises(ssh.NoConnection, match="forgotten: add it to ssh_connections"):
        found(load("acme", tmp_path))


def test_plain_ssh_works_for_the_operator_and_her_own_settings_stay(tmp_path: Path) -> None:
    inventory, home = make_estate(tmp_path), tmp_path / "home"
    config = home / ".ssh" / "config"
    config.parent.mkdir(parents=True)
    config.write_text("Host mine\n    User me\n")

    ssh.install(inventory, tmp_path, home)
    ssh.install(inventory, tmp_path, home)

    assert config.read_text() == f"{ssh.include_line(home)}\nHost mine\n    User me\n"
    assert settings_of(config, "production")["hostname"] == "www.example.org"
    assert settings_of(config, "mine")["user"] == "me"
    inventory.hosts_file.write_text(inventory.hosts_file.read_text().replace("www.example.org", "192.0.2.99"))
    ssh.ensure_ssh_config(inventory, tmp_path)
    assert settings_of(config, "production")["hostname"] == "192.0.2.99"
    assert ssh.uninstall(inventory, home)
    assert not ssh.uninstall(inventory, home)
    assert config.read_text() == "Host mine\n    User me\n"


def test_a_linked_ssh_configuration_stays_a_link(tmp_path: Path) -> None:
    inventory, home = make_estate(tmp_path), tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (tmp_path / "settings").write_text("")
    (home / ".ssh" / "config").symlink_to(tmp_path / "settings")

    ssh.install(inventory, tmp_path, home)

    assert (home / ".ssh" / "config").is_symlink()
    assert settings_of(tmp_path / "settings", "production")["hostname"] == "www.example.org"


def test_two_estates_cannot_give_one_name_to_ssh(tmp_path: Path) -> None:
    inventory, home = make_estate(tmp_path), tmp_path / "home"
    other = make_lab(tmp_path, {"production": {"address": "192.0.2.9", "port": 22, "user": "root"}})
    ssh.install(inventory, tmp_path, home)

    with pytest.raises(ssh.NameTaken, match="'production'"):
        ssh.install(other, tmp_path, home)
    (tmp_path / ".rota" / "acme" / "ssh_config").unlink()  # an estate whose checkout is gone claims nothing
    assert ssh.install(other, tmp_path, home).exists()


def test_the_example_is_reached_without_a_vault(tmp_path: Path) -> None:
    example = load("example", ROOT)

    everywhere = ssh.parse_connections(ssh.plain_connections(example))

    assert set(everywhere) == set(example.all_hosts)


def test_a_hosts_file_names_the_estate_and_forgets_who_left(estate: Inventory, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost")
    host = ssh.Connection("web", "192.0.2.7", 22, "u")
    named = ssh.Connection("mail", "mail.example.org", 22, "u")

    assert ssh.name_hosts(file, estate, {"web": host, "mail": named})
    assert file.read_text().splitlines()[2:-1] == ["192.0.2.7 web"]
    assert not ssh.name_hosts(file, estate, {"web": host, "mail": named})
    assert ssh.name_hosts(file, estate, {"new": ssh.Connection("new", "192.0.2.8", 22, "u")})
    assert file.read_text().splitlines()[2:-1] == ["192.0.2.8 new"]
    assert ssh.name_hosts(file, estate, {})
    assert file.read_text() == "127.0.0.1 localhost\n"
    assert not ssh.name_hosts(file, estate, {})


def test_trust_lets_plain_ssh_work_and_leaves_the_lab_out(
    estate: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ssh.trust(estate, found(estate), ["staging"], accept)
    here = {"address": "127.0.0.1", "port": found(estate)["staging"].port, "user": getpass.getuser()}
    lab = make_lab(tmp_path, {"staging": here})
    ssh.pin(lab, ssh.connections(lab, tmp_path), ssh.pinned_keys(estate))

    ssh.trust_command(lab, tmp_path, None)
    assert not (tmp_path / "home" / ".ssh" / "config").exists()
    ssh.trust_command(estate, root_of(estate), "staging")
    assert settings_of(tmp_path / "home" / ".ssh" / "config", "staging")["hostname"] == "127.0.0.1"
    monkeypatch.setattr(ssh, "HOSTS_FILE", tmp_path / "hosts")
    ssh.trust_command(estate, root_of(estate), "staging", hosts_file=True)
    assert "127.0.0.1 staging" in (tmp_path / "hosts").read_text()
    ssh.remove_command(estate)

    assert (tmp_path / "hosts").read_text() == ""
    assert (tmp_path / "home" / ".ssh" / "config").read_text() == ""
    assert "staging: shows the pinned key" in capsys.readouterr().out

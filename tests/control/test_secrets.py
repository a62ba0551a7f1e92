"""Secrets are made once, survive whatever happens in between, and are never shown."""

import multiprocessing
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision import ansible, secrets, ssh, vault
from provision.certificate import inspect, make_certificate
from provision.inventory import ENVIRONMENTS, Inventory, UnknownEnvironment, load
from provision.secret_check import Problem, check
from provision.secret_table import SUPPLIED, TABLE, groups
from provision.ssh import ensure_ssh_config
from tests.authority import issue
from tests.control.estates import CONNECTIONS, PASSWORD, make_estate

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
LOOKS_SECRET = re.compile(r"[0-9a-f]{32}|PRIVATE KEY|BEGIN CERT|[a-z2-9]{6}(-[a-z2-9]{6}){3}")


@pytest.fixture(autouse=True)
def no_password_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vault.PASSWORD_VARIABLE, raising=False)


@pytest.fixture
def made(tmp_path: Path) -> Inventory:
    return secrets.make(make_estate(tmp_path), tmp_path, NOW)[0]


def held(inventory: Inventory, group: str) -> dict[str, Any]:
    return vault.read(vault.vault_path(inventory, group), PASSWORD)


def everything(inventory: Inventory) -> dict[str, dict[str, Any]]:
    return {group: held(inventory, group) for group in groups(inventory)}


def write(inventory: Inventory, group: str, text: str) -> None:
    vault.replace(vault.vault_path(inventory, group), text, PASSWORD)


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """An $EDITOR that runs `change`, Python that turns `text` into another `text`."""
    program = tmp_path / "editor"
    program.write_text(
        f"#!{sys.executable}\nimport sys, pathlib\np = pathlib.Path(sys.argv[1])\ntext = p.read_text()\n{change}\n"
        "p.write_text(text)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(program))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


# -- making


def test_the_first_make_leaves_nothing_to_complain_of(tmp_path: Path) -> None:
    inventory, changes = secrets.make(make_estate(tmp_path), tmp_path, NOW)

    assert {(change.group, change.variable) for change in changes} == {
        (group, secret.variable) for secret in TABLE for group in secret.groups
    }
    assert check(inventory, tmp_path, NOW) == []


def test_a_second_make_changes_no_byte(made: Inventory, tmp_path: Path) -> None:
    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = state()

    assert secrets.make(made, tmp_path, NOW + timedelta(days=300)) == (made, [])
    assert state() == before


def test_what_is_there_stays_and_so_do_the_words_around_it(tmp_path: Path) -> None:
    inventory = make_estate(tmp_path)
    write(inventory, "production", "---\n# from the old machine\ndiary_secret_key: mine\n")

    secrets.make(inventory, tmp_path, NOW)

    text = vault.decrypt(vault.vault_path(inventory, "production"), PASSWORD)
    assert text.startswith("---\n# from the old machine\ndiary_secret_key: mine\ndiary_admin_password: ")


def test_every_change_keeps_the_state_before_under_the_next_number(made: Inventory, tmp_path: Path) -> None:
    path = vault.vault_path(made, "staging")
    states = [path.read_bytes()]
    for _ in range(2):
        older = secrets.rotate(made, tmp_path, "diary_secret_key", "staging", NOW)
        assert older is not None
        assert older.read_bytes() == states[-1]
        states.append(path.read_bytes())

    assert sorted(one.name for one in path.parent.glob("*~")) == ["vault.yml.~1~", "vault.yml.~2~"]


def test_vaults_and_their_older_states_are_their_owners_alone(made: Inventory, tmp_path: Path) -> None:
    secrets.rotate(made, tmp_path, "diary_secret_key", "staging", NOW)

    files = vault.secret_files(made, tmp_path)

    assert len(files) == len(groups(made)) + 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert all(path.read_text().startswith("$ANSIBLE_VAULT;") for path in files if "vault.yml" in path.name)


def test_a_secret_of_two_environments_has_one_value(made: Inventory) -> None:
    assert held(made, "production")["backup_passphrase"] == held(made, "backup")["backup_passphrase"]


def test_no_two_environments_share_what_is_not_meant_to_be_shared(made: Inventory) -> None:
    for secret in TABLE:
        values = [repr(held(made, group)[secret.variable]) for group in secret.groups]
        assert secret.shared or len(set(values)) == len(values), secret.variable


def test_connections_in_the_open_move_into_the_vault(made: Inventory) -> None:
    assert held(made, "all")["ssh_connections"] == CONNECTIONS
    assert "192.0.2" not in made.hosts_file.read_text()
    assert load("acme", made.folder.parents[2]) == made


def test_hosts_with_only_a_name_get_a_form_to_fill_in(tmp_path: Path) -> None:
    inventory = make_estate(tmp_path)
    inventory.hosts_file.write_text("production: {hosts: {web: }}\n")

    inventory, _ = secrets.make(load("acme", tmp_path), tmp_path, NOW)

    entry = held(inventory, "all")["ssh_connections"]["web"]
    assert entry["environment"] == "production"
    assert entry["address"].startswith(SUPPLIED)
    assert [(one.problem, one.place) for one in check(inventory, tmp_path, NOW)] == [
        (Problem.PLACEHOLDER, "all: ssh_connections")
    ]


def test_the_example_is_not_made_secret(tmp_path: Path) -> None:
    with pytest.raises(secrets.ExampleOnly, match="cp -a"):
        secrets.make(load("example", ROOT), tmp_path, NOW)


def test_a_host_is_added_in_one_place(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The promise of docs/secrets.md: one entry in ssh_connections, and everything else follows."""
    before = everything(made)
    line = "  web2: {address: 192.0.2.31, port: 22, user: admin, environment: production}"
    editor(tmp_path, monkeypatch, f"text = text.replace('ssh_connections:\\n', 'ssh_connections:\\n{line}\\n')")

    secrets.edit_command(made, tmp_path, "all")

    after = load("acme", tmp_path)
    assert "web2: new in production; go on with `fab secrets.trust --host=web2`" in capsys.readouterr().out
    assert sorted(after.hosts("production")) == ["production", "web2"]
    assert check(after, tmp_path, NOW) == []
    assert "Host web2\n    HostName 192.0.2.31" in ssh.ensure_ssh_config(after, tmp_path).read_text()
    tokens = held(after, "all")["agent_diary_tokens"]
    assert set(tokens) == set(after.all_hosts)
    assert tokens.items() > before["all"]["agent_diary_tokens"].items()
    assert held(after, "production")["web_key"] == before["production"]["web_key"]
    assert held(after, "staging") == before["staging"]
    assert ansible_hosts(after, tmp_path)["production"]["hosts"] == after_order(after)


def after_order(inventory: Inventory) -> list[str]:
    return list(inventory.hosts("production"))


def ansible_hosts(inventory: Inventory, root: Path) -> dict[str, Any]:
    inventory.known_hosts.write_text(
        "web2,192.0.2.31 ssh-ed25519 AAAA\n"
    )  # lies beside hosts.yml, and is no list of hosts
    command = [program("ansible-inventory"), "--inventory", str(inventory.folder), "--list"]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_VAULT_PASSWORD_FILE": str(key_of(root))}
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def key_of(root: Path) -> Path:
    return root / ".rota" / "acme" / "vault_password"


def test_a_host_that_goes_loses_its_token_and_its_name(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ssh.HostKey("ssh-ed25519", "AAAA")
    ssh.pin(made, ssh.connections(made, tmp_path), {"staging": key, "backup": key})
    editor(tmp_path, monkeypatch, "import re; text = re.sub(r'  staging:\\n(    .*\\n)+', '', text, count=1)")

    secrets.edit(made, tmp_path, "all")

    after = load("acme", tmp_path)
    assert after.environments == ("development", "production", "backup")
    assert "staging" not in held(after, "all")["agent_diary_tokens"]
    assert set(ssh.pinned_keys(after)) == {"backup"}
    assert check(after, tmp_path, NOW) == []


# -- out of the vaults, into plays


def test_ansible_reads_what_was_made(made: Inventory, tmp_path: Path) -> None:
    command = [program("ansible-vault"), "view", "--vault-password-file", str(key_of(tmp_path))]
    paths = [str(vault.vault_path(made, group)) for group in groups(made)]

    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=True)

    assert list(yaml.safe_load_all(done.stdout)) == list(everything(made).values())


def play(inventory: Inventory, root: Path, hosts: str, expression: str) -> Any:
    """What an expression is in a real play, on a host of the estate, with the repository's own configuration."""
    copy = {"content": f"{{{{ {expression} | to_json }}}}", "dest": str(root / "arrived"), "mode": "0600"}
    step = {"name": "Write down what arrived", "ansible.builtin.copy": copy, "no_log": True}
    book = [{"name": "Read", "hosts": hosts, "gather_facts": False, "connection": "local", "tasks": [step]}]
    (root / "play.yml").write_text(yaml.safe_dump(book))
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(key_of(root)),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [program("ansible-playbook"), "-i", str(inventory.folder), str(root / "play.yml")]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not LOOKS_SECRET.search(done.stdout)
    return yaml.safe_load((root / "arrived").read_text())


def test_secrets_reach_a_play(made: Inventory, tmp_path: Path) -> None:
    words = "diary_secret_key, web_certificate, agent_diary_tokens, ssh_connections"

    arrived = play(made, tmp_path, "production", f"[{words}, hostvars['backup'].backup_passphrase]")

    production, all_hosts = held(made, "production"), held(made, "all")
    assert arrived == [
        production["diary_secret_key"],
        production["web_certificate"],
        all_hosts["agent_diary_tokens"],
        all_hosts["ssh_connections"],
        production["backup_passphrase"],
    ]


def test_a_new_host_is_reached_and_known_through_the_settings_of_the_repository(tmp_path: Path) -> None:
    grown = {**CONNECTIONS, "web2": {"address": "192.0.2.31", "port": 2200, "user": "me", "environment": "production"}}
    inventory = make_estate(tmp_path, grown)
    for path in ROOT.glob("group_vars/*/main.yml"):
        shutil.copy(path, tmp_path / "group_vars" / path.parent.name)
    inventory, _ = secrets.make(inventory, tmp_path, NOW)

    words = (
        "ssh_connections.web2.address, ssh_port, ssh_user, base_environment, agent_diary_token, agent_diary_certificate"
    )
    arrived = play(inventory, tmp_path, "web2", f"[{words}]")

    token = held(inventory, "all")["agent_diary_tokens"]["web2"]
    certificate = held(inventory, "production")["web_certificate"]
    assert arrived == ["192.0.2.31", 2200, "me", "production", token, certificate]


# -- never shown


def test_no_command_shows_a_secret(made: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = everything(made)
    write(made, "staging", "diary_secret_key: short\nsurprise: hunter2hunter2\n")
    values["staging"] = {"diary_secret_key": "short", "surprise": "hunter2hunter2"}

    assert secrets.check_command(made, tmp_path) == 1
    secrets.make_command(made, tmp_path)
    findings = repr(check(made, tmp_path, NOW))
    shown = "".join(capsys.readouterr()) + findings

    secret = [value for group in values.values() for value in leaves(group) if len(value) > 11]
    assert len(secret) > 15
    assert [value for value in secret if value in shown] == []
    assert not LOOKS_SECRET.search(shown)
    assert PASSWORD.decode() not in shown


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    else:
        yield str(value)


def test_text_that_is_no_yaml_is_named_by_its_line_only(made: Inventory) -> None:
    write(made, "staging", "a: 1\nhunter2: [\n")

    with pytest.raises(vault.BrokenVault, match="line 3") as caught:
        held(made, "staging")

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# -- the password


def test_the_password_may_come_from_a_file_or_from_a_script(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "from the keyring"
    script.write_text(f"#!/bin/sh\necho '{PASSWORD.decode()}'\n")
    script.chmod(0o700)
    key_of(tmp_path).unlink()
    monkeypatch.setenv(vault.PASSWORD_VARIABLE, str(script))

    assert check(made, tmp_path, NOW) == []


def test_the_lab_uses_its_own_password_whatever_the_operator_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(vault.PASSWORD_VARIABLE, "/nonexistent")

    inventory = secrets.make_lab(tmp_path, CONNECTIONS, NOW)

    assert vault.vault_password_file(inventory, tmp_path) == tmp_path / ".rota" / "lab" / "vault_password"


def test_no_password_says_where_it_could_be(made: Inventory, tmp_path: Path) -> None:
    key_of(tmp_path).unlink()

    with pytest.raises(vault.NoVaultPassword, match=f"set {vault.PASSWORD_VARIABLE} to a file .* or make .*vault_pass"):
        secrets.make(made, tmp_path, NOW)
    assert [one.problem for one in check(made, tmp_path, NOW)] == [Problem.NO_PASSWORD]


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [("", 0o600, "empty"), ("#!/bin/sh\nexit 3\n", 0o700, "exit code 3"), (None, 0, "no file")],
)
def test_a_password_source_that_gives_none_says_so(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, mode: int, reason: str
) -> None:
    source = tmp_path / "source"
    if text is not None:
        source.write_text(text)
        source.chmod(mode)
    monkeypatch.setenv(vault.PASSWORD_VARIABLE, str(source))

    with pytest.raises(vault.NoVaultPassword, match=reason):
        secrets.make(made, tmp_path, NOW)


def test_a_wrong_password_is_told_apart_from_a_damaged_file(made: Inventory, tmp_path: Path) -> None:
    key_of(tmp_path).write_text("something else\n")

    findings = check(made, tmp_path, NOW)

    assert {one.problem for one in findings} == {Problem.WRONG_PASSWORD}
    assert len(findings) == len(groups(made))
    with pytest.raises(vault.WrongVaultPassword, match="it does not open"):
        secrets.make(made, tmp_path, NOW)


def cut(text: str) -> str:
    return text[: len(text) // 2]


def cut_at_a_line(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-1])


def flip(text: str) -> str:
    place = len(text) - 20
    return text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]


def conflict(text: str) -> str:
    return text.replace("\n", "\n<<<<<<< HEAD\n", 1)


@pytest.mark.parametrize("damage", [cut, cut_at_a_line, flip, conflict])
def test_a_damaged_file_is_told_apart_from_a_wrong_password(
    made: Inventory, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    path = vault.vault_path(made, "production")
    path.write_text(damage(path.read_text()))

    findings = check(made, tmp_path, NOW)

    assert [(one.problem, one.place) for one in findings] == [
        (Problem.DAMAGED, "provision/inventories/acme/group_vars/production/vault.yml")
    ]


# -- checking


def test_every_shortcoming_is_found(made: Inventory, tmp_path: Path) -> None:
    values = held(made, "production")
    del values["diary_secret_key"]
    values |= {"diary_admin_password": f"{SUPPLIED}yours", "web_colour": "red", "backup_passphrase": "other"}
    values["web_key"] = held(made, "staging")["web_key"]
    write(made, "production", yaml.safe_dump(values))
    vault.vault_path(made, "backup").chmod(0o644)
    vault.vault_path(made, "staging").write_text("diary_secret_key: in the open\n")

    found = {(one.problem, one.place.removeprefix("provision/inventories/acme/")) for one in check(made, tmp_path, NOW)}

    assert found == {
        (Problem.READABLE, "group_vars/backup/vault.yml"),
        (Problem.PLAIN, "group_vars/staging/vault.yml"),
        (Problem.MISSING, "production: diary_secret_key"),
        (Problem.PLACEHOLDER, "production: diary_admin_password"),
        (Problem.UNDECLARED, "production: web_colour"),
        (Problem.UNFIT, "production: web_certificate"),
        (Problem.UNFIT, "production and backup: backup_passphrase"),
    }


def test_a_certificate_near_its_end_is_found(made: Inventory, tmp_path: Path) -> None:
    findings = check(made, tmp_path, NOW + timedelta(days=3600))

    assert {one.place for one in findings} == {f"{one}: web_certificate" for one in ENVIRONMENTS if one != "backup"}
    assert all("ends on 2036" in one.advice for one in findings)


def test_a_password_file_in_the_repository_is_found(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "vault_password"
    key_of(tmp_path).rename(key)
    monkeypatch.setenv(vault.PASSWORD_VARIABLE, str(key))

    assert [one.problem for one in check(made, tmp_path, NOW)] == [Problem.IN_REPOSITORY]


def test_vaults_of_a_fresh_clone_are_closed_by_make(made: Inventory, tmp_path: Path) -> None:
    vault.vault_path(made, "backup").chmod(0o644)

    secrets.make(made, tmp_path, NOW)

    assert check(made, tmp_path, NOW) == []


# -- the certificate


def handshake(certificate: str, key: str, name: str, folder: Path) -> str:
    """What a strict client that pins `certificate` says of a server that shows it under `name`."""
    (folder / "certificate.pem").write_text(certificate)
    (folder / "key.pem").write_text(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    client = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve, args=(server, theirs))
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            return connection.version() or ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()


def serve(context: ssl.SSLContext, connection: socket.socket) -> None:
    try:
        context.wrap_socket(connection, server_side=True).close()
    except OSError:  # the client refused, which is what some tests are about
        connection.close()


def test_the_certificate_serves_the_hosts_of_its_environment_and_no_others(made: Inventory, tmp_path: Path) -> None:
    key = held(made, "production")["web_key"]
    names = ["production", "www.example.org", "192.0.2.7"]
    today = make_certificate(key, names, datetime.now(UTC))

    assert {handshake(today, key, name, tmp_path) for name in names} == {"TLSv1.3"}
    assert "mismatch" in handshake(today, key, "staging", tmp_path)
    assert inspect(held(made, "production")["web_certificate"]).names == {"production", "www.example.org"}


def test_a_name_that_visitors_know_comes_into_the_certificate(made: Inventory, tmp_path: Path) -> None:
    settings = tmp_path / "group_vars" / "production" / "main.yml"
    settings.write_text("web_public_names: [diary.example.org]\n")

    secrets.make(made, tmp_path, NOW)

    names = inspect(held(made, "production")["web_certificate"]).names
    assert names == {"production", "www.example.org", "diary.example.org"}


def test_a_certificate_of_your_own_is_left_alone(made: Inventory, tmp_path: Path) -> None:
    own = issue("diary.example.org")
    values = {**held(made, "production"), "web_key": own.key, "web_certificate": own.chain}
    write(made, "production", yaml.safe_dump(values))
    (tmp_path / "group_vars" / "production" / "main.yml").write_text("web_public_names: [diary.example.org]\n")

    assert secrets.make(made, tmp_path, datetime.now(UTC))[1] == []
    assert check(made, tmp_path, datetime.now(UTC)) == []


@pytest.mark.parametrize(
    ("public", "names", "missing"),
    [
        ("[]", ["diary.example.org"], "production"),
        ("[diary.example.org, example.org]", ["example.org"], "diary.example.org"),
        ("[diary.example.org, example.org]", ["*.example.org"], ""),
        ("[a.diary.example.org]", ["*.example.org"], "a.diary.example.org"),
    ],
)
def test_a_certificate_of_your_own_names_what_hosts_are_asked_by(
    made: Inventory, tmp_path: Path, public: str, names: list[str], missing: str
) -> None:
    own = issue(*names)
    values = {**held(made, "production"), "web_key": own.key, "web_certificate": own.chain}
    write(made, "production", yaml.safe_dump(values))
    (tmp_path / "group_vars" / "production" / "main.yml").write_text(f"web_public_names: {public}\n")

    found = [str(finding) for finding in check(made, tmp_path, datetime.now(UTC))]

    assert [one for one in found if f"it does not name {missing}; " in one] == (found if missing else [])
    assert bool(found) == bool(missing)


# -- editing


def test_a_host_that_moves_keeps_its_pinned_key(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh.pin(made, ssh.connections(made, tmp_path), {"staging": ssh.HostKey("ssh-ed25519", "AAAA")})
    editor(tmp_path, monkeypatch, "text = text.replace('192.0.2.20', '192.0.2.21')")

    secrets.edit(made, tmp_path, "all")

    assert made.known_hosts.read_text() == "staging,192.0.2.21 ssh-ed25519 AAAA\n"
    assert "192.0.2.21" in inspect(held(made, "staging")["web_certificate"]).names


def test_an_edit_that_cannot_be_used_leaves_the_vault_and_keeps_the_work(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vault.vault_path(made, "staging").read_bytes()
    editor(tmp_path, monkeypatch, "text += 'new_line: [hunter2\\n'")

    with pytest.raises(secrets.BadEdit, match="fab secrets.edit staging") as caught:
        secrets.edit(made, tmp_path, "staging")

    assert "hunter2" not in str(caught.value)
    assert vault.vault_path(made, "staging").read_bytes() == before
    kept = [path for path in (tmp_path / ".rota").rglob("*") if path.is_file() and path.parent.parent.name == "edit"]
    assert [path.read_text().startswith(vault.HEADER) for path in kept] == [True]
    editor(tmp_path, monkeypatch, "text = text.replace('[hunter2', 'fine')")
    secrets.edit(made, tmp_path, "staging")
    assert held(made, "staging")["new_line"] == "fine"
    assert not kept[0].exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("text += 'ssh_connections: {}\\n'", "a name stands twice"),
        ("text = text.replace('  staging:', '  backup:', 1)", "a name stands twice"),
        ("text = text.replace('  staging:', '  Staging Two:', 1)", "needs an `environment`"),
        ("text = text.replace('user: admin', 'user: admin\\n    environment: moon', 1)", "needs an `environment`"),
        ("text = text.replace('port: 22', 'port: many', 1)", "development.port should be a number"),
    ],
)
def test_an_edit_of_the_hosts_that_would_break_the_estate_is_refused(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, reason: str
) -> None:
    before = {path: path.read_bytes() for path in (vault.vault_path(made, "all"), made.hosts_file)}
    editor(tmp_path, monkeypatch, change)

    with pytest.raises(secrets.BadEdit, match=reason):
        secrets.edit(made, tmp_path, "all")

    assert {path: path.read_bytes() for path in before} == before


def test_an_edit_without_a_change_changes_nothing(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vault.vault_path(made, "all").read_bytes()
    editor(tmp_path, monkeypatch, "pass")

    assert secrets.edit(made, tmp_path, "all") == []
    assert vault.vault_path(made, "all").read_bytes() == before


def test_an_edit_cut_short_does_not_undo_what_came_after_it(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, "text += 'new_line: ['")
    with pytest.raises(secrets.BadEdit):
        secrets.edit(made, tmp_path, "staging")
    secrets.rotate(made, tmp_path, "diary_secret_key", "staging", NOW)
    rotated = held(made, "staging")
    editor(tmp_path, monkeypatch, "text += 'note: fine\\n'")

    secrets.edit(made, tmp_path, "staging")

    assert held(made, "staging") == {**rotated, "note": "fine"}


def test_an_editor_that_fails_leaves_the_vault(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vault.vault_path(made, "staging").read_bytes()
    editor(tmp_path, monkeypatch, "sys.exit(1)")

    secrets.edit(made, tmp_path, "staging")

    assert vault.vault_path(made, "staging").read_bytes() == before


def test_an_unknown_vault_names_the_known_ones(made: Inventory, tmp_path: Path) -> None:
    with pytest.raises(UnknownEnvironment, match="'moon'; acme has vaults for: all, development, staging"):
        secrets.edit(made, tmp_path, "moon")


def test_two_changes_at_once_are_one_too_many(made: Inventory, tmp_path: Path) -> None:
    with secrets.locked(made, tmp_path), pytest.raises(secrets.VaultBusy):
        secrets.make(made, tmp_path, NOW)


# -- replacing


def test_a_rotated_secret_is_another_and_all_else_is_the_same(made: Inventory, tmp_path: Path) -> None:
    before = held(made, "staging")

    secrets.rotate(made, tmp_path, "diary_secret_key", "staging", NOW)

    after = held(made, "staging")
    assert {name for name in after if after[name] != before[name]} == {"diary_secret_key"}
    assert list(after) == list(before)


def test_a_new_key_comes_with_its_certificate(made: Inventory, tmp_path: Path) -> None:
    secrets.rotate(made, tmp_path, "web_key", "staging", NOW)

    assert check(made, tmp_path, NOW) == []


def test_one_host_gets_another_token_and_the_others_keep_theirs(made: Inventory, tmp_path: Path) -> None:
    before = held(made, "all")["agent_diary_tokens"]

    secrets.rotate(made, tmp_path, "agent_diary_tokens", "all", NOW, host="staging")

    after = held(made, "all")["agent_diary_tokens"]
    assert {host for host in after if after[host] != before[host]} == {"staging"}


@pytest.mark.parametrize(
    ("variable", "group", "reason"),
    [
        ("backup_passphrase", "production", "the store is encrypted with it"),
        ("ssh_connections", "all", "fab secrets.edit all"),
        (
            "diary_secret_key",
            "backup",
            "backup has no 'diary_secret_key'; it has: agent_alert_password, agent_alert_urls, backup_passphrase",
        ),
    ],
)
def test_what_is_bound_to_something_else_is_not_rotated(
    made: Inventory, tmp_path: Path, variable: str, group: str, reason: str
) -> None:
    with pytest.raises(secrets.NotRotated, match=reason):
        secrets.rotate(made, tmp_path, variable, group, NOW)


def test_a_new_vault_password_opens_everything_and_the_old_one_nothing(made: Inventory, tmp_path: Path) -> None:
    before = everything(made)

    assert len(secrets.rekey(made, tmp_path, b"another")) == len(groups(made))

    assert {group: vault.read(vault.vault_path(made, group), b"another") for group in groups(made)} == before
    with pytest.raises(vault.WrongVaultPassword):
        held(made, "all")
    assert check(made, tmp_path, NOW) == []


def test_a_rekey_that_was_cut_short_is_finished_by_the_next(made: Inventory, tmp_path: Path) -> None:
    path = vault.vault_path(made, "all")
    vault.replace(path, vault.decrypt(path, PASSWORD), b"another")

    assert path not in secrets.rekey(made, tmp_path, b"another")
    assert check(made, tmp_path, NOW) == []


def test_a_script_that_prints_the_password_is_not_overwritten(
    made: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, new = key_of(tmp_path), tmp_path / "new"
    script.write_text(f"#!/bin/sh\necho '{PASSWORD.decode()}'\n")
    script.chmod(0o700)
    new.write_text("another\n")

    secrets.rekey_command(made, tmp_path, new)

    assert script.read_text().startswith("#!/bin/sh\n")
    assert f"Now let {script} give the password of {new}" in capsys.readouterr().out


def test_a_playbook_that_the_wrong_password_stops_says_so_in_a_sentence(
    made: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ssh configuration is from before, so Ansible is the first to need the password."""
    for name in ("ansible.cfg", "roles", "provision/plugins", "provision/verify.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setattr(ansible, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    ensure_ssh_config(made, tmp_path)
    key_of(tmp_path).write_text("wrong\n")

    with pytest.raises(vault.WrongVaultPassword) as caught:
        ansible.run_playbook(made, "verify", ["staging"])

    assert str(caught.value) == f"The vault password is wrong: it does not open {vault.vault_path(made, 'all')}"
    assert caught.value.exit_code == 2


# -- killed in the middle


def killed_at(call: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed at its nth touch of the disk; False when it ended before that."""

    def child() -> None:
        touches = 0

        def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
            def touch(*args: Any, **kwargs: Any) -> Any:
                nonlocal touches
                touches += 1
                if touches == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return touch

        for name in ("fsync", "link"):
            setattr(os, name, deadly(getattr(os, name)))
        Path.replace = deadly(Path.replace)  # type: ignore[method-assign] # in the child only
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_killed_anywhere_make_loses_nothing_and_is_simply_run_again(tmp_path: Path) -> None:
    for call in range(1, 100):
        root = tmp_path / str(call)
        inventory, _ = secrets.make(make_estate(root), root, NOW)
        before = everything(inventory)
        grown = {**CONNECTIONS, "web2": {"address": "192.0.2.31", "port": 22, "user": "a", "environment": "production"}}
        write(inventory, "all", vault.value_as_yaml("ssh_connections", grown))

        was_killed = killed_at(call, lambda: secrets.make(inventory, root, NOW))  # noqa: B023 - called at once

        for group in ("development", "staging", "backup"):
            assert held(inventory, group) == before[group]
        assert held(inventory, "production")["backup_passphrase"] == before["production"]["backup_passphrase"]
        again, _ = secrets.make(load("acme", root), root, NOW)
        assert again.hosts("production") == ("production", "web2")
        assert check(again, root, NOW) == []
        if not was_killed:
            assert call > 5
            return
    raise AssertionError("make never came to its end")


# -- the lab


def test_the_lab_has_vaults_of_its_own_beside_links_to_the_settings(tmp_path: Path) -> None:
    (tmp_path / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "group_vars" / "all" / "main.yml").write_text("colour: red\n")
    (tmp_path / "group_vars" / "all" / "vault.yml").write_text("belongs to a real estate\n")

    inventory = secrets.make_lab(tmp_path, CONNECTIONS, NOW)
    first = {path: path.read_bytes() for path in vault.secret_files(inventory, tmp_path)}
    again = secrets.make_lab(tmp_path, CONNECTIONS, NOW)

    assert load("lab", tmp_path) == inventory == again
    assert (inventory.folder / "group_vars" / "all" / "main.yml").read_text() == "colour: red\n"
    assert {path: path.read_bytes() for path in vault.secret_files(inventory, tmp_path)} == first
    assert check(inventory, tmp_path, NOW) == []
    assert (tmp_path / "group_vars" / "all" / "vault.yml").read_text() == "belongs to a real estate\n"


def test_a_lab_that_lost_its_password_starts_anew(tmp_path: Path) -> None:
    inventory = secrets.make_lab(tmp_path, CONNECTIONS, NOW)
    (tmp_path / ".rota" / "lab" / "vault_password").unlink()

    secrets.make_lab(tmp_path, CONNECTIONS, NOW)

    assert check(inventory, tmp_path, NOW) == []


# -- laws over the repository


def test_listing_the_commands_pays_for_no_library() -> None:
    modules = "provision.inventory, provision.ssh, provision.secrets, provision.secret_check"
    ask = f"import sys, {modules}; print(sorted({{'ansible', 'cryptography', 'yaml'}} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_no_secret_is_committed_with_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [path for path in listed.splitlines() if re.search(r"vault_password|vault\.yml|\.rota/|~$", path)] == []


def test_git_ignores_the_inventories_of_labs_and_no_other() -> None:
    names = ("lab", "lab-tests", "laboratory", "acme")
    paths = [f"provision/inventories/{name}/hosts.yml" for name in names]
    done = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    ignored = [name for name in names if f"provision/inventories/{name}/hosts.yml" in done.stdout.splitlines()]
    assert ignored == [name for name in names if Inventory(name, ROOT, {}).is_lab] == ["lab", "lab-tests"]


def test_an_estate_under_a_name_of_labs_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(vault.NoVaultPassword, match="`lab` and `lab-…` are labs: name an estate otherwise"):
        vault.vault_password_file(Inventory("lab-north", tmp_path, {}), tmp_path)


def roles_options() -> dict[str, dict[str, Any]]:
    """Every variable of every role, as its argument specs describe it."""
    found: dict[str, dict[str, Any]] = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= entry.get("options") or {}
    return found


def settings_text() -> dict[str, str]:
    """Every top-level setting of the shared group_vars, with its text."""
    found: dict[str, str] = {}
    for path in ROOT.glob("group_vars/*/*.yml"):
        if not path.read_text().startswith(vault.HEADER):
            found |= {name: str(value) for name, value in (yaml.safe_load(path.read_text()) or {}).items()}
    return found


def test_every_secret_of_a_role_comes_from_a_vault() -> None:
    declared = {secret.variable for secret in TABLE}
    derived = set(settings_text())
    hidden = {name for name, option in roles_options().items() if option.get("no_log")}

    assert hidden - declared - derived == set()
    assert declared & derived == set(), "the vault is the only home of a secret"


def test_every_declared_secret_is_used_by_a_role_or_a_setting() -> None:
    options, settings = roles_options(), " ".join(settings_text().values())
    roles = {path.name for path in (ROOT / "roles").glob("*")}
    for secret in TABLE:
        if secret.variable.split("_")[0] in roles:
            assert secret.variable in options or secret.variable in settings, secret.variable


def test_the_guide_names_every_secret_and_command() -> None:
    guide = (ROOT / "docs" / "secrets.md").read_text()
    for secret in TABLE:
        assert f"`{secret.variable}`" in guide
        assert secret.meaning in guide
    for command in ("make", "edit", "check", "trust", "forget", "rotate", "rekey"):
        assert f"secrets.{command}" in guide

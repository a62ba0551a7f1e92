"""The diary's configuration is read strictly, and each refusal says what would be right."""

from pathlib import Path

import pytest

from rota.diary.configuration import ConfigurationError, Engine, Form, load, read_credential

HOST = """
agent: {host: production}
diary:
  hosts: [diary.example.org]
  environment: production
  time_zone: Europe/Berlin
  media: /var/lib/rota/diary/media
  database: {engine: postgresql, name: diary, host: /run/postgresql, user: rota-diary}
"""


def test_without_any_file_nothing_is_configured(tmp_path: Path) -> None:
    assert load({"ROTA_CONFIGURATION": str(tmp_path)}).form is Form.NONE


def test_all_files_of_the_folder_are_merged(tmp_path: Path) -> None:
    (tmp_path / "diary.yml").write_text(HOST)
    (tmp_path / "tokens.yml").write_text(f"diary: {{host_tokens: {{production: {'A' * 64}}}}}")
    configuration = load({"ROTA_CONFIGURATION": str(tmp_path)})
    assert configuration.form is Form.HOST
    assert configuration.hosts == ("diary.example.org",)
    assert configuration.database.engine is Engine.POSTGRESQL
    assert configuration.host_tokens == {"production": "a" * 64}


def test_the_embedded_form_needs_nothing_but_its_home(tmp_path: Path) -> None:
    configuration = load({"ROTA_HOME": str(tmp_path)})
    assert configuration.form is Form.EMBEDDED
    assert configuration.database.name == str(tmp_path / "diary.sqlite3")
    assert configuration.home == tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("diary: {host: x}", "no setting host; there are: administrators, database"),
        ("diary: [x]", "is a mapping of settings"),
        ("diary: {hosts: diary.example.org}", "is a list of names"),
        ("diary: {environment: prod}", "development, staging, production, backup"),
        ("diary: {time_zone: Mars/Olympus}", "Mars/Olympus"),
        ("diary: {time_zone: ../../etc/passwd}", "time_zone"),
        ("diary: {database: {engine: mysql, name: x}}", "postgresql, sqlite"),
        ("diary: {database: {engine: sqlite}}", "diary.database.name is missing"),
        ("diary: {host_tokens: {production: secret}}", "64 hexadecimal digits"),
        ("diary: {host_environments: {web: prod}}", "diary.host_environments.web is 'prod'; it is one of development"),
        ("diary: {administrators: [{name: Somebody}]}", "no email address"),
        ("diary: {session_hours: 0}", "diary.session_hours is 0; it is a whole number of hours"),
        ("diary: {session_idle_hours: soon}", "diary.session_idle_hours is 'soon'"),
        ("diary: {trusted_proxies: [proxy.example.org]}", "'unix' or an address or network"),
        ("diary: {oidc: {client: rota}}", "diary.oidc.issuer is missing"),
        ("diary: {oidc: {issuer: 'https://x'}}", "diary.oidc.client is missing"),
        ("diary: {oidc: {issuer: 'http://login.example.org', client: rota}}", "it begins with https://"),
        ("diary: {oidc: {issuer: 'https://x', client: rota, secret: x}}", "diary.oidc has no setting secret"),
        ("diary: {oidc: {issuer: 'https://x', client: rota, scopes: [email]}}", "has no 'openid'"),
        ("diary: {oidc: {issuer: 'https://x', client: rota, roles: {staff: boss}}}", "names the role 'boss'"),
        ("diary: {packs: [reports]}", "diary.packs is ['reports']; it is a mapping".replace("[", r"\[")),
        ("diary: {packs: {reports: 3}}", "diary.packs.reports is 3; it is a mapping of settings"),
        ("diary: {hosts: [", "is not YAML: line 1, column 17: while parsing"),
        ("diary: &a {hosts: *a}", "is not YAML: line 1"),
    ],
)
def test_a_mistake_is_refused_with_what_would_be_right(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "diary.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=said.replace("(", r"\(")):
        load({"ROTA_CONFIGURATION": str(tmp_path)})


def test_what_another_file_says_of_tasks_is_no_concern_of_the_diary(tmp_path: Path) -> None:
    (tmp_path / "diary.yml").write_text("diary: {time_zone: Europe/Zurich}")
    (tmp_path / "tasks.yml").write_text("tasks: {t: {except: [2026-02-30]}}")
    assert load({"ROTA_CONFIGURATION": str(tmp_path)}).time_zone == "Europe/Zurich"
    (tmp_path / "tasks.yml").write_bytes("# Zürich".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"tasks\.yml is not YAML: line 1: the byte 0xfc is not UTF-8"):
        load({"ROTA_CONFIGURATION": str(tmp_path)})


def test_secrets_come_from_the_units_credentials_alone(tmp_path: Path) -> None:
    (tmp_path / "diary_secret_key").write_text("s3cret\n")
    assert read_credential({"CREDENTIALS_DIRECTORY": str(tmp_path)}, "diary_secret_key") == "s3cret"
    assert read_credential({"CREDENTIALS_DIRECTORY": str(tmp_path)}, "another") is None
    assert read_credential({}, "diary_secret_key") is None

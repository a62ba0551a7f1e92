"""The `rota-diary` command: what it brings about, and what it refuses."""

import io
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from rota.diary.configuration import Administrator, Configuration, Database
from rota.diary.estate.month import at_slot
from rota.diary.estate.populating import populate
from rota.diary.estate.tasks import TASKS
from rota.diary.models import AuditEntry, Deploy, Host, Item, Outbound, Output, Person, Review, Run, Token
from tests.agent.diary.conftest import rota_diary

TABLES = (Run, Output, Item, Deploy, Outbound, Review)
HOST = """
diary:
  hosts: [diary.example.org]
  environment: production
  media: {media}
  database: {{engine: postgresql, name: diary, host: /run/postgresql, user: rota-diary}}
"""


@pytest.fixture
def configured_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configuration:
    """An installation with two hosts, one administrator and an initial password."""
    configuration = replace(
        settings.CONFIGURATION,
        host_tokens={name: sha256(name.encode()).hexdigest() for name in ("production", "backup")},
        host_environments={"production": "production", "backup": "backup", "nowhere": "staging"},
        administrators=(Administrator(name="Operator", email="operator@example.org"),),
    )
    (tmp_path / "diary_admin_password").write_text("the very first password\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(settings, "CONFIGURATION", configuration)
    return configuration


def said(command: str, *arguments: str) -> str:
    stdout = io.StringIO()
    call_command(command, *arguments, stdout=stdout)
    return stdout.getvalue()


@pytest.mark.each_engine
def test_sync_brings_about_what_is_configured_and_the_second_time_nothing(
    database: Database, configured_as: Configuration
) -> None:
    assert "production: token accepted" in said("sync")
    assert said("sync") == "nothing to change\n"
    assert set(Host.objects.values_list("name", "environment")) == {("production", "production"), ("backup", "backup")}
    person = Person.objects.get(email="operator@example.org")
    assert (person.role, person.check_password("the very first password")) == ("administrator", True)


def test_sync_revokes_tokens_that_are_no_longer_configured(
    database: Database, configured_as: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("sync")
    only = replace(configured_as, host_tokens={"production": sha256(b"renewed").hexdigest()})
    monkeypatch.setattr(settings, "CONFIGURATION", only)
    assert said("sync").count("revoked") == 2
    assert list(Token.objects.filter(revoked=None).values_list("digest", flat=True)) == [sha256(b"renewed").hexdigest()]
    monkeypatch.setattr(settings, "CONFIGURATION", configured_as)
    said("sync")
    assert Token.objects.filter(revoked=None).count() == 2


def test_sync_leaves_a_token_revoked_that_somebody_has_revoked(
    database: Database, configured_as: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("sync")
    token = Token.objects.get(host__name="backup")
    token.revoked, token.revoked_by = timezone.now(), Person.objects.get()
    token.save()
    assert "backup: its token was revoked in the diary and stays so; give it another: fab secrets.rotate" in said(
        "sync"
    )
    assert Token.objects.get(pk=token.pk).revoked is not None
    renewed = dict(configured_as.host_tokens) | {"backup": sha256(b"renewed").hexdigest()}
    monkeypatch.setattr(settings, "CONFIGURATION", replace(configured_as, host_tokens=renewed))
    assert "backup: token accepted" in said("sync")


def test_what_commands_change_is_in_the_audit_log(database: Database, configured_as: Configuration) -> None:
    said("sync")
    said("sync")
    assert list(AuditEntry.objects.order_by("id").values_list("who", "action", "subject_name")) == [
        ("rota-diary", "token accepted", "backup"),
        ("rota-diary", "token accepted", "production"),
        ("rota-diary", "person made", "Operator"),
    ]
    assert "first password" not in str(list(AuditEntry.objects.values()))


def test_sync_leaves_a_chosen_password_alone(database: Database, configured_as: Configuration) -> None:
    said("sync")
    person = Person.objects.get()
    person.set_password("chosen by herself")
    person.save()
    said("sync")
    assert Person.objects.get().check_password("chosen by herself")


def test_an_administrator_made_before_the_password_was_known_gets_it_later(
    database: Database, configured_as: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = os.environ["CREDENTIALS_DIRECTORY"]
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "no password yet" in said("sync")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", first)
    assert "initial password set" in said("sync")


@pytest.mark.each_engine
def test_seeding_goes_on_where_it_was_ended_and_adds_nothing_twice(database: Database) -> None:
    said("seed", "--runs=30")
    assert "50 runs made" in said("seed", "--runs=80")
    before = list(Run.objects.order_by("pk").values())
    assert "0 runs made" in said("seed", "--runs=80")
    assert list(Run.objects.order_by("pk").values()) == before
    assert (len(before), Deploy.objects.count()) == (80, 24)


def test_what_is_seeded_is_what_a_host_would_have_told(database: Database) -> None:
    said("seed", "--runs=300")
    assert {status for status, _ in Run.objects.values_list("status", "pk")} >= {"succeeded", "failed", "skipped"}
    output = Output.objects.filter(run__status="failed").values_list("text", flat=True)[0]
    assert "Traceback (most recent call last):\n" in output
    assert Item.objects.exists()
    assert Run.objects.exclude(counts={}).exists()
    failures = Run.objects.filter(status__in=["failed", "lost"], host__name__in=["staging", "development"])
    assert Outbound.objects.count() == failures.count() > 0


@pytest.mark.each_engine
def test_populating_tells_a_month_with_troubles_and_reviews_and_the_second_time_nothing(
    database: Database,
) -> None:
    length = timedelta(days=3)
    now = datetime(2026, 3, 4, 7, 50, tzinfo=UTC)
    assert populate(now=now, tell=lambda done, total: None, length=length) > 800
    before = [list(table.objects.order_by("pk").values()) for table in TABLES]
    assert populate(now=now, tell=lambda done, total: None, length=length) == 0
    assert [list(table.objects.order_by("pk").values()) for table in TABLES] == before
    assert all(before)
    assert set(Run.objects.values_list("status", flat=True)) >= {"running", "succeeded", "failed", "skipped"}
    assert set(Run.objects.values_list("review", flat=True)) == {"", "needs_analysis", "done"}


def test_a_run_that_was_made_up_while_it_was_running_has_ended_the_next_time(database: Database) -> None:
    task = next(task for task in TASKS if task.name == "harvest_sites")
    slot = datetime(2026, 3, 4, 7, 35, tzinfo=UTC)
    during, after = (
        list(at_slot(task, "staging", slot, today=slot, now=slot + timedelta(hours=hours))) for hours in (0.02, 24)
    )
    assert [each.status for each in during] == ["running"]
    assert after[0].status.is_final
    assert after[0].id == during[0].id


@pytest.mark.parametrize("command", ["seed", "populate"])
def test_nothing_is_made_up_in_productions_diary(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(settings, "CONFIGURATION", replace(settings.CONFIGURATION, environment="production"))
    with pytest.raises(CommandError, match="production"):
        said(command)


MORE = """
  session_hours: 12
  session_idle_hours: 1
  trusted_proxies: [unix, 192.0.2.0/24]
  oidc: {issuer: "https://login.example.org/", client: rota, domains: [example.org]}
"""


@pytest.mark.parametrize("more", ["", MORE], ids=["plain", "with everything"])
@pytest.mark.parametrize("place", ["ROTA_CONFIGURATION", "ROTA_HOME"])
def test_the_deployment_check_is_silent_with_every_configuration(tmp_path: Path, place: str, more: str) -> None:
    (tmp_path / "diary.yml").write_text(HOST.format(media=tmp_path) + more)
    done = rota_diary("check", "--deploy", "--fail-level=INFO", **{place: str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_in_the_configuration_is_one_line_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "diary.yml").write_text("diary: {colour: green}")
    done = rota_diary("check", ROTA_CONFIGURATION=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("rota-diary: The diary's configuration cannot be used: diary has no setting colour")
    assert done.stderr.count("\n") == 1


def test_the_embedded_forms_secret_lies_in_its_folder_wherever_the_database_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    (home / "diary.yml").write_text("diary: {database: {engine: postgresql, name: diary}}")
    monkeypatch.chdir(here)
    done = rota_diary("check", ROTA_HOME=str(home))
    assert (done.returncode, done.stderr) == (0, "")
    assert [*here.iterdir()] == []
    assert (home / "diary_secret_key").stat().st_mode & 0o777 == 0o600


def test_a_host_is_not_served_by_the_embedded_server(tmp_path: Path) -> None:
    done = rota_diary("serve", ROTA_CONFIGURATION=str(tmp_path))
    assert done.returncode == 1
    assert "set ROTA_HOME" in done.stderr


def test_a_weak_password_is_refused_and_a_good_one_makes_a_person(tmp_path: Path, empty_diary: Path) -> None:
    home = {"ROTA_HOME": str(tmp_path)}
    shutil.copyfile(empty_diary, tmp_path / "diary.sqlite3")
    weak = rota_diary("createuser", "new@example.org", stdin="password\n", **home)
    assert weak.returncode == 1
    assert "too short" in weak.stderr
    good = rota_diary("createuser", "New@example.org", "--role=operator", stdin="ledger of nights 7\n", **home)
    assert good.stdout == "new@example.org may log in as operator\n"


def test_the_embedded_secret_key_is_private_and_stays(tmp_path: Path) -> None:
    home = {"ROTA_HOME": str(tmp_path / "home")}
    rota_diary("check", **home)
    secret = tmp_path / "home" / "diary_secret_key"
    before = secret.read_text()
    rota_diary("check", **home)
    assert secret.read_text() == before
    assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("packs", "said"),
    [("nothing: {}", "diary.packs has no setting nothing"), ("reports: {busy_hours: x}", "busy_hours is 'x'")],
)
def test_settings_of_packs_are_read_at_the_start(tmp_path: Path, packs: str, said: str) -> None:
    (tmp_path / "diary.yml").write_text(f"diary: {{packs: {{{packs}}}}}")
    done = rota_diary("check", ROTA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1

"""Laws of alerting: one incident per task, told once, recovered once, and nothing leaves a host that must be silent."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from rota import alerting
from rota.adapters import outbound
from rota.adapters.plans import Plans
from rota.core import letter
from rota.core.catalogue import Catalogue
from rota.core.incident import BEFORE_THE_PROGRAM, why_without_record
from rota.core.mail import Alerting, Tls
from rota.core.plan import Plan, Planned
from rota.core.record import RunRecord
from rota.core.rule import NEVER, Rule
from rota.core.status import Environment, Status
from rota.judging import Failure
from tests.agent.alerted import NOW, TASK, TO, Host, Received, subjects
from tests.agent.neighbours import free_port

UNIT_FAILED = Failure(result="exit-code", exit_code="exited", exit_status="3", invocation="f" * 32)


@pytest.fixture
def sink() -> Iterator[tuple[Received, int]]:
    received = Received()
    controller = Controller(received, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield received, controller.port
    controller.stop()


@pytest.fixture
def mails(sink: tuple[Received, int]) -> list[EmailMessage]:
    return sink[0].mails


@pytest.fixture
def host(tmp_path: Path, sink: tuple[Received, int]) -> Host:
    return Host(tmp_path, Environment.PRODUCTION, sink[1])


@pytest.fixture
def quiet(tmp_path: Path, sink: tuple[Received, int]) -> Host:
    return Host(tmp_path, Environment.STAGING, sink[1])


FAILED = "[production] export failed on books: exit 3"
RECOVERED = "[production] export recovered on books"


# -- incidents


def test_the_first_failure_is_told_further_ones_are_counted_and_recovery_is_told_once(
    host: Host, mails: list[EmailMessage]
) -> None:
    for status in ("succeeded", "failed", "failed", "failed", "succeeded", "succeeded"):
        host.end(status)
        host.look()
    assert subjects(mails) == [FAILED, RECOVERED]
    assert "failed   3 times since 2025-07-14 12:02:01 UTC" in mails[1].get_content()
    assert mails[1]["In-Reply-To"] == mails[0]["Message-ID"]


def test_the_mail_says_what_failed_where_why_what_it_said_and_how_to_see_more(
    host: Host, mails: list[EmailMessage]
) -> None:
    run = host.end("failed")
    (host.spool.folder / "output" / str(run.id)).write_text("first\n" * 30 + "\nno space left: \x1b[31m/srv\n")
    host.look()
    text = mails[0].get_content()
    assert mails[0]["To"] == ", ".join(TO)
    assert mails[0]["From"] == "rota@books"
    for said in ("export: Write the catalogue", "books (production)", "reason   exit 3", str(run.id), "/srv",
                 f"https://diary.example/runs/{run.id}/", "./run production logs export"):  # fmt: skip
        assert said in text
    assert text.count("first") == letter.LAST_LINES - 1
    assert "\x1b" not in text


def test_a_run_that_failed_and_succeeded_between_two_looks_is_told_in_one_mail(
    host: Host, mails: list[EmailMessage]
) -> None:
    host.end()
    host.look()
    host.end("failed")
    host.end()
    host.look()
    assert subjects(mails) == [RECOVERED]


def test_a_lost_run_opens_an_incident_and_a_skipped_one_changes_nothing(host: Host, mails: list[EmailMessage]) -> None:
    host.end("skipped", reason="locked")
    host.look()
    assert mails == []
    host.end("lost", reason="host went down")
    host.look()
    host.end("skipped", reason="locked")
    host.look()
    assert subjects(mails) == ["[production] export failed on books: host went down"]


def test_what_failed_before_a_task_was_first_looked_at_is_told_only_if_it_still_fails(
    host: Host, mails: list[EmailMessage]
) -> None:
    for status in ("failed", "succeeded"):
        host.end(status)
    host.look()
    assert mails == []
    (host.places.alerts / "standings.json").unlink()
    host.end("failed")
    host.look()
    assert subjects(mails) == [FAILED]


def test_a_failure_is_told_though_the_clock_was_set_back(host: Host, mails: list[EmailMessage]) -> None:
    host.end()
    host.look()
    host.now -= timedelta(hours=1)
    host.end("failed")
    host.look()
    assert subjects(mails) == [FAILED]


def test_a_run_found_lost_days_after_it_began_is_told(host: Host, mails: list[EmailMessage]) -> None:
    host.end()
    host.look()
    lost = host.running()
    host.now += timedelta(days=5)
    host.spool.store(replace(lost, status=Status.LOST, reason="host went down", ended=host.now))
    host.look()
    assert subjects(mails) == ["[production] export failed on books: host went down"]


def test_a_failure_that_is_heard_of_after_a_later_success_is_not_told(host: Host, mails: list[EmailMessage]) -> None:
    host.end()
    host.look()
    failed = replace(host.running(), status=Status.FAILED, reason="exit 3", ended=host.now)
    host.end()
    host.look()
    host.spool.store(failed)
    host.look()
    assert mails == []


def test_what_is_remembered_may_be_broken(host: Host, mails: list[EmailMessage]) -> None:
    host.end("failed")
    host.look()
    (host.places.alerts / "standings.json").write_text("{")
    (host.places.alerts / "export.incident").write_text('{"task": 1}')
    host.look()
    assert subjects(mails) == [FAILED, FAILED]


def test_the_incident_of_a_task_that_is_gone_is_forgotten(host: Host) -> None:
    host.end("failed")
    host.look()
    host.tasks = {}
    alerting.alert(host.places, Catalogue(host.agent, {}), task=None, failure=None, now=host.now)
    assert host.status() == []


# -- whom, and how


def test_a_task_may_have_people_of_its_own_or_nobody(host: Host, mails: list[EmailMessage]) -> None:
    host.tasks = {"export": replace(TASK, alert=Rule(to=("carla@example.org",)))}
    host.end("failed")
    host.look()
    assert mails[0]["To"] == "carla@example.org"
    host.tasks = {"export": replace(TASK, alert=Rule(to=()))}
    host.end()
    host.look()
    host.end("failed")
    host.look()
    assert len(mails) == 1
    assert "nobody has been told yet" in host.status()[0]


def test_a_host_whose_alerts_go_to_nobody_says_so(host: Host) -> None:
    host.places = replace(host.places, is_embedded=False)
    assert host.status() == []
    host.agent = replace(host.agent, alerting=Alerting())
    assert "Nobody hears of failures" in host.status()[0]


def test_an_incident_stays_untold_while_the_mail_server_is_away_and_is_told_later(
    host: Host, mails: list[EmailMessage], capsys: pytest.CaptureFixture[str]
) -> None:
    here = host.agent
    host.agent = replace(here, alerting=replace(here.alerting, port=free_port()))
    host.end("failed")
    host.look()
    assert "Connection refused" in capsys.readouterr().err
    assert "nobody has been told yet" in host.status()[0]
    host.agent = here
    host.look()
    assert subjects(mails) == [FAILED]
    assert "its people know" in host.status()[0]


def test_a_mail_server_that_hangs_is_waited_for_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = replace(host.agent.alerting, port=silent.getsockname()[1])
        desk = alerting.desk_of(host.agent)
        addressed = outbound.Addressed(to=TO, letter=letter.trial(desk=desk, now=NOW))
        failures, _ = outbound.World(settings=settings, desk=desk).send([addressed, addressed], [])
        assert [set(failed) for failed in failures] == [set(TO), set(TO)]
        assert "timed out" in failures[1][TO[0]]
        silent.settimeout(0)
        silent.accept()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_what_a_run_printed_reads_as_plain_text(host: Host, mails: list[EmailMessage]) -> None:
    run = host.end("failed")
    printed = (
        "\x1b[1;31mERROR\x1b[0m no \x1b]8;;https://evil.example\x07room\x1b]8;;\x07 on \u202eksid\u202c\n"
        "copying 10%\rcopying 99%\rcopied\r\n"
        "10\u00a0000\u202f€ \x00\x9b2J\n"
    )
    (host.spool.folder / "output" / str(run.id)).write_text(printed)
    host.look()
    text = mails[0].get_content()
    assert "\n  ERROR no room on \ufffdksid\ufffd\n  copied\n  10 000 € \u2400\ufffd2J\n" in text


def test_a_reason_cannot_add_a_header(host: Host, mails: list[EmailMessage]) -> None:
    host.end("failed", reason="oh\r\nBcc: eve@example.org\n\nno")
    host.look()
    assert mails[0]["Bcc"] is None
    assert mails[0]["Subject"] == "[production] export failed on books: oh Bcc: eve@example.org no"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    path = tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=mail", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_a_password_goes_only_to_a_server_that_proves_its_name(
    host: Host, certificate: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bytes] = []

    def authenticate(*words: Any) -> AuthResult:
        asked.append(words[-1].password)
        return AuthResult(success=words[-1].password == b"open sesame")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    received, port = Received(), free_port()
    controller = Controller(
        received, hostname="127.0.0.1", port=port,
        tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    controller.start()
    try:
        own = replace(host.agent.alerting, port=port, tls=Tls.STARTTLS, user="rota")
        host.agent = replace(host.agent, alerting=own)
        host.places.credentials.mkdir()
        (host.places.credentials / "alert_password").write_text("open sesame\n")
        host.end("failed")
        host.look()
        assert "certificate verify failed" in capsys.readouterr().err
        assert asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        host.look()
        assert (subjects(received.mails), asked) == ([FAILED], [b"open sesame"])
    finally:
        controller.stop()


# -- only where mail may leave


def test_on_staging_mail_is_caught_in_the_outbox(quiet: Host, mails: list[EmailMessage]) -> None:
    quiet.end("failed")
    quiet.look()
    quiet.look()
    assert mails == []
    assert subjects(quiet.outbox()) == ["[staging] export failed on books: exit 3"]
    assert (
        quiet.status()[-1] == f"1 letter did not leave this host: see rota alert --caught, and {quiet.places.outbox}."
    )


def test_what_is_caught_can_be_read_as_it_lies_there(quiet: Host) -> None:
    run = quiet.end("failed")
    (quiet.spool.folder / "output" / str(run.id)).write_text(f"no room for 3 €\n{'x' * 900}\n")
    quiet.look()
    (caught,) = quiet.places.outbox.glob("*.eml")
    text = caught.read_text("ascii")
    assert "The task export failed on books." in text
    assert "no room for 3 =E2=82=AC" in text
    assert f"no room for 3 €\n  {'x' * 500} …" in quiet.outbox()[0].get_content()


def test_what_is_caught_is_a_record_for_the_diary(quiet: Host) -> None:
    run = quiet.end("failed")
    quiet.look()
    (letter,), (record,) = quiet.outbox(), quiet.caught()
    assert (record.host, record.environment, record.at) == ("books", Environment.STAGING, quiet.now)
    assert (record.task, record.run, record.means, record.to) == ("export", run.id, "mail", TO)
    assert record.subject == letter["Subject"]
    assert record.text == letter.get_content()
    quiet.look()
    assert len(quiet.caught()) == 1


def test_production_catches_nothing(host: Host, mails: list[EmailMessage]) -> None:
    host.end("failed")
    host.look()
    assert (len(mails), host.caught(), host.places.outbox.exists()) == (1, [], False)


def test_what_is_remembered_of_an_incident_may_name_no_run(quiet: Host) -> None:
    quiet.tasks = {"export": replace(TASK, alert=Rule(after=2))}
    quiet.end("failed")
    quiet.look()
    path = quiet.places.alerts / "export.incident"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"run": "nonsense", "failures": 2}))
    quiet.look()
    assert [(record.task, record.run) for record in quiet.caught()] == [("export", None)]


def test_a_disk_that_is_full_costs_the_outbox_and_not_what_alerts_remember(
    quiet: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet.end("failed")
    tmp = quiet.spool.folder / "tmp"
    tmp.rmdir()
    tmp.touch()  # nothing can be written there
    quiet.look()
    assert (quiet.outbox(), list(quiet.places.outbox.iterdir()), quiet.caught()) == ([], [], [])
    assert str(tmp) in capsys.readouterr().err
    assert any("nobody has been told yet" in line for line in quiet.status())
    tmp.unlink()
    tmp.mkdir()
    quiet.look()
    quiet.look()
    assert (len(quiet.outbox()), len(quiet.caught())) == (1, 1)
    assert "its people know" in quiet.status()[0]


def test_a_host_that_only_its_configuration_calls_production_is_silent(quiet: Host, mails: list[EmailMessage]) -> None:
    quiet.agent = replace(quiet.agent, environment=Environment.PRODUCTION)
    quiet.end("failed")
    quiet.look()
    assert (mails, len(quiet.outbox())) == ([], 1)


def test_production_and_the_backup_host_speak_and_nobody_else() -> None:
    assert [each for each in Environment if each.speaks] == [Environment.PRODUCTION, Environment.BACKUP]


def test_what_was_caught_is_kept_for_a_month(quiet: Host) -> None:
    quiet.tasks = {"export": replace(TASK, alert=Rule(remind=NEVER))}
    quiet.end("failed")
    quiet.look()
    quiet.now = datetime.now(UTC) + timedelta(days=29)
    quiet.look()
    assert len(quiet.outbox()) == 1
    quiet.now += timedelta(days=2)
    quiet.look()
    assert quiet.outbox() == []


def test_a_trial_goes_the_way_of_alerts(quiet: Host, tmp_path: Path, mails: list[EmailMessage]) -> None:
    said = alerting.try_out(quiet.places, Catalogue(quiet.agent, quiet.tasks), NOW)
    assert "does not leave" in said
    assert subjects(quiet.outbox()) == ["[staging] a trial from books"]
    nobody = replace(quiet.agent, alerting=Alerting())
    with pytest.raises(alerting.NobodyToTell):
        alerting.try_out(quiet.places, Catalogue(nobody, quiet.tasks), NOW)


# -- never started


def test_each_exit_code_of_systemd_itself_is_known_by_what_it_means() -> None:
    listed = subprocess.run(["systemd-analyze", "exit-status"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    own = {int(row[1]) for row in rows if row[-1] == "systemd"}
    assert own - {255} <= BEFORE_THE_PROGRAM.keys()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (("exit-code", "exited", "243"), "never started: a credential is missing (exit 243)"),
        (("exit-code", "exited", "203"), "never started: its program cannot be executed (exit 203)"),
        (("exit-code", "exited", "226"), "never started: a path that it needs is missing (exit 226)"),
        (("exit-code", "exited", "219"), "never started: its control group cannot be entered (exit 219)"),
        (("exit-code", "exited", "253"), "never started: exit 253 of systemd.exec(5)"),
        (("resources", "", ""), "never started: resources"),
        (("", "", ""), "never started: systemd gives no reason"),
        (("signal", "killed", "KILL"), "signal KILL, and left no record"),
        (("exit-code", "exited", "3"), "exit-code 3, and left no record"),
    ],
)
def test_what_systemd_tells_becomes_a_reason(told: tuple[str, str, str], reason: str) -> None:
    assert why_without_record(*told) == reason


def test_a_start_that_left_no_record_gets_one_and_is_told(host: Host, mails: list[EmailMessage]) -> None:
    failure = replace(UNIT_FAILED, exit_status="243")
    host.places.plans.mkdir()
    Plans(host.places.plans).store("export", Plan(slots=(Planned(NOW - timedelta(days=1)), Planned(NOW))))
    host.look(failure=failure)
    host.look(failure=failure)
    (record,) = host.spool.records("done")
    assert isinstance(record, RunRecord)
    assert (record.status, record.invocation_id, record.slot) == (Status.FAILED, "f" * 32, NOW)
    assert subjects(mails) == [f"[production] export failed on books: {record.reason}"]
    assert "It printed nothing." in mails[0].get_content()


@pytest.mark.parametrize("is_spared", [False, True])
def test_a_run_that_left_its_record_gets_no_second_one(host: Host, is_spared: bool) -> None:
    run = host.end("failed", invocation_id="f" * 32)
    path = host.spool.folder / "done" / f"{run.id}.json"
    if is_spared:
        host.places.spare.mkdir()
        path = path.rename(host.places.spare / path.name)
    host.look(failure=UNIT_FAILED)
    assert len(list(host.spool.records("done"))) == (0 if is_spared else 1)


def test_the_failure_is_what_systemd_puts_into_the_environment() -> None:
    told = {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "3", "INVOCATION_ID": "f" * 32}
    assert alerting.failure_of({f"MONITOR_{key}": value for key, value in told.items()}) == UNIT_FAILED
    assert alerting.failure_of({}) is None

"""What hosts ship is stored exactly once, each record on its own merits."""

import gzip
import itertools
import json
from hashlib import sha256
from typing import Any

import pytest
from django.utils import timezone

from rota.core.record import BadRecord
from rota.diary import ingest, storing
from rota.diary.models import Deploy, Host, Item, Outbound, Output, Quarantine, Run, Token
from tests.agent.diary.conftest import Shipper
from tests.agent.diary.records import caught, deploy, failed, identifier, run, running

pytestmark = pytest.mark.each_engine


def fates(results: list[dict[str, Any]]) -> list[str]:
    return [result["result"] for result in results]


def everything() -> list[Any]:
    tables = (Run, Output, Item, Deploy, Outbound, Quarantine)
    return [list(table.objects.order_by("pk").values()) for table in tables]


def test_a_run_is_kept_with_its_output_items_and_counts(production: Shipper) -> None:
    record = run()
    assert production.ship(record) == [{"id": record["id"], "result": "accepted", "reason": ""}]
    kept = Run.objects.get(pk=record["id"])
    assert (kept.task, kept.status, kept.counts, kept.duration) == ("send_reports", "succeeded", {"reports": 3}, 12.0)
    assert kept.output.text == "hello\n"
    assert list(kept.items.values_list("name", "outcome", "message")) == [("march.pdf", "sent", "to the board")]


def test_a_deploy_is_kept(production: Shipper) -> None:
    record = deploy()
    assert fates(production.ship(record)) == ["accepted"]
    assert Deploy.objects.get(pk=record["id"]).who == "operator@example.org"


def test_the_same_batch_twice_changes_nothing(production: Shipper) -> None:
    batch = [run(), failed(), running(), deploy(), caught(), {"id": "broken"}]
    production.ship(*batch)
    before = everything()
    assert fates(production.ship(*batch)) == ["unchanged"] * 5 + ["quarantined"]
    assert everything() == before


def test_what_was_caught_is_kept(production: Shipper) -> None:
    ran = failed()
    record = caught(run=ran["id"])
    assert fates(production.ship(record, ran)) == ["accepted", "accepted"]
    kept = Outbound.objects.get(pk=record["id"])
    assert (kept.means, kept.task, str(kept.run), kept.receivers) == ("mail", "send_reports", ran["id"], record["to"])
    assert (kept.subject, kept.text) == (record["subject"], record["text"])


def test_records_of_several_kinds_may_have_the_same_id(production: Shipper) -> None:
    same = identifier()
    assert fates(production.ship(run(id=same), deploy(id=same), caught(id=same))) == ["accepted"] * 3
    assert [table.objects.count() for table in (Run, Deploy, Outbound)] == [1, 1, 1]


def test_a_record_is_no_longer_called_not_understood_once_it_is(
    production: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BadRecord("'kind' is 'outbound'; it must be 'run' or 'deploy'")

    record = caught()
    with monkeypatch.context() as release_before:
        release_before.setattr(storing, "parse_record", refuse)
        assert fates(production.ship(record, {"id": "broken"})) == ["quarantined", "quarantined"]
    assert fates(production.ship(record)) == ["accepted"]
    assert list(Quarantine.objects.values_list("record_id", flat=True)) == ["broken"]


def test_whatever_the_order_a_run_ends_up_as_its_final_record_says(production: Shipper) -> None:
    for order in itertools.permutations(range(3)):
        start = running()
        end = failed(id=start["id"])
        messages = [start, end, start]
        for number in order:
            production.ship(messages[number])
        kept = Run.objects.get(pk=start["id"])
        assert (kept.status, kept.reason, kept.output.text, kept.items.count()) == ("failed", "exit 3", "hello\n", 1)


def test_start_and_end_may_come_in_one_batch(production: Shipper) -> None:
    start = running()
    assert fates(production.ship(start, run(id=start["id"]), start)) == ["accepted", "accepted", "unchanged"]
    assert Run.objects.get().status == "succeeded"


def test_nothing_replaces_a_final_record(production: Shipper) -> None:
    lost = run(status="lost", reason="host went down")
    production.ship(lost)
    assert fates(production.ship(run(id=lost["id"]), running(id=lost["id"]))) == ["unchanged", "unchanged"]
    assert Run.objects.get().status == "lost"


def test_a_failed_and_a_lost_run_need_analysis_and_others_do_not(production: Shipper) -> None:
    production.ship(failed(), run(status="lost"), run(), running(), run(status="skipped"))
    assert sorted(Run.objects.filter(review="needs_analysis").values_list("status", flat=True)) == ["failed", "lost"]
    assert Run.objects.filter(review="").count() == 3


def test_a_suspicious_success_needs_analysis_and_an_attempt_that_another_follows_does_not(
    production: Shipper,
) -> None:
    production.ship(run(unexpected=["rows is 0; expected >0"]), failed(retry_at="2025-07-14T01:12:00Z"))
    assert [each.status for each in Run.objects.filter(review="needs_analysis")] == ["succeeded"]


@pytest.mark.parametrize("status", ["failed", "lost"])
def test_what_somebody_watched_fail_and_a_dry_run_need_no_analysis(production: Shipper, status: str) -> None:
    production.ship(
        failed(status=status, attended=True),
        failed(status=status, dry_run=True),
        run(dry_run=True, unexpected=["rows is 0; expected >0"]),
    )
    assert not Run.objects.exclude(review="").exists()
    production.ship(run(attended=True, unexpected=["rows is 0; expected >0"]))
    assert Run.objects.get(review="needs_analysis").attended, "that it is suspicious, nobody saw on the terminal"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("text", "must be an object"),
        ({}, "'version' is missing"),
        (run(version=2), "understands 1"),
        (run(status="perhaps"), "'status' is 'perhaps'"),
        (run(started="yesterday"), "'started' is 'yesterday'"),
        (run(started="0001-01-01T00:00:00+14:00"), ""),
        (run(host="staging"), "token"),
        (run(reason="x" * 3000), "'reason'"),
        (run(pack="p" * 150), "'pack' has 150 characters"),
        (run(output="nul \0 inside"), "NUL"),
        (run(output="lone \ud800 surrogate"), "surrogate"),
        (run(counts={"n": "many"}), "'n' is 'many'"),
        (deploy(action="explode"), "'action' is 'explode'"),
        (caught(host="staging"), "token"),
        (caught(environment="staging"), "'environment' is 'staging'"),
        (caught(to=[]), "'to' must be a list"),
    ],
    ids=repr,
)
def test_a_bad_record_is_quarantined_with_its_reason_and_holds_up_no_other(
    production: Shipper, bad: Any, reason: str
) -> None:
    assert fates(production.ship(run(), bad, run())) == ["accepted", "quarantined", "accepted"]
    assert reason in Quarantine.objects.get().reason
    assert Run.objects.count() == 2


def test_a_bad_record_sent_again_is_kept_once(production: Shipper) -> None:
    bad = run(status="perhaps")
    production.ship(bad)
    production.ship(bad)
    assert Quarantine.objects.count() == 1


def test_no_host_can_touch_another_hosts_runs(production: Shipper) -> None:
    other = Host.objects.create(name="staging")
    Token.objects.create(host=other, digest=sha256(b"staging's").hexdigest())
    start = running()
    production.ship(start)
    response = production.post(
        {"version": 1, "records": [run(id=start["id"], host="staging"), run()]}, token="staging's"
    )
    assert fates(response.json()["results"]) == ["quarantined", "quarantined"]
    assert Run.objects.get().status == "running"


def test_a_request_is_a_sign_of_life_and_tells_an_environment_that_is_not_configured(production: Shipper) -> None:
    Host.objects.update(environment="")
    production.ship(run(environment="backup"))
    host = Host.objects.get(name="production")
    assert host.environment == "backup"
    assert host.last_contact is not None
    assert (timezone.now() - host.last_contact).total_seconds() < 60


def test_a_host_speaks_for_its_own_environment_alone(production: Shipper) -> None:
    Host.objects.update(environment="staging")
    results = production.ship(run(environment="staging"), run(), deploy())
    assert fates(results) == ["accepted", "quarantined", "quarantined"]
    assert "'environment' is 'production'" in results[1]["reason"]
    assert Host.objects.get().environment == "staging"


@pytest.mark.parametrize("token", ["", "wrong", "\udcff"])
def test_without_a_valid_token_nothing_is_read(production: Shipper, token: str) -> None:
    response = production.post(b"not even JSON", token=token)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_token_is_no_token(production: Shipper) -> None:
    Token.objects.update(revoked=timezone.now())
    assert production.post({"version": 1, "records": []}).status_code == 401


def test_a_zipped_batch_is_read(production: Shipper) -> None:
    body = gzip.compress(json.dumps({"version": 1, "records": [run()]}).encode())
    assert production.post(body, HTTP_CONTENT_ENCODING="gzip").status_code == 200
    assert Run.objects.count() == 1


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(production: Shipper) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024), compresslevel=6)
    assert len(bomb) < 256 * 1024
    assert production.post(bomb, HTTP_CONTENT_ENCODING="gzip").status_code == 413


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b" " * (ingest.MAX_BYTES + 1), {}, 413),
        ({"version": 1, "records": [{}] * 501}, {}, 413),
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"\xff\xfe\x00", {}, 400),
        (b"1" * 5000, {}, 400),
        ([], {}, 400),
        ({"version": 2, "records": []}, {}, 400),
        ({"version": 1}, {}, 400),
        (b"not gzip", {"HTTP_CONTENT_ENCODING": "gzip"}, 400),
        (gzip.compress(b'{"version": 1, "records": []}')[:-9], {"HTTP_CONTENT_ENCODING": "gzip"}, 400),
        (b"{}", {"HTTP_CONTENT_ENCODING": "br"}, 415),
    ],
    ids=range(12),
)
def test_an_unreadable_batch_is_refused_with_a_reason(
    production: Shipper, body: Any, headers: dict[str, str], status: int
) -> None:
    response = production.post(body, **headers)
    assert response.status_code == status
    assert response.json()["error"]


def test_a_host_is_asked_to_come_back_when_too_many_ship_at_once(
    production: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PATIENCE", 0.01)
    with ingest.a_turn(), ingest.a_turn():
        response = production.post({"version": 1, "records": []})
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert production.post({"version": 1, "records": []}).status_code == 200


def test_only_post_is_understood(production: Shipper) -> None:
    assert production.client.get("/api/v1/records").status_code == 405


def test_a_batch_costs_a_handful_of_queries_however_large(
    production: Shipper, django_assert_max_num_queries: Any
) -> None:
    batch = [{**run(), "items": [], "output": ""} for _ in range(200)]
    with django_assert_max_num_queries(32):
        production.ship(*batch)

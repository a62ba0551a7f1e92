"""Whatever is sent where hosts ship their records, it gets an answer, and what is good in it gets in."""

import gzip
import json
import os
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rota.core.record import MAX_BYTES
from rota.diary.models import Quarantine, Run
from tests.agent.diary.conftest import Shipper
from tests.agent.diary.records import catalogue, caught, deploy, failed, identifier, run, running
from tests.agent.diary.test_asking import answer_to

pytestmark = pytest.mark.each_engine

EXAMPLES = int(os.environ.get("ROTA_FUZZ", "20"))
"""For each law and database; by hand one may want thousands."""
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 20,
    suppress_health_check=list(HealthCheck),
)
KINDS = (run, failed, running, deploy, caught, catalogue, lambda: answer_to(identifier()))
ODD: tuple[Any, ...] = (
    "\0", "\ud800", "\udfff x", "\u202e", "x" * 5000, "\u20ac" * 900, "2025-02-30T00:00:00Z", "2025-03-01",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "run", "catalogue", "backup", "lost",
    "production", "1e999", "-0", "", 2**31, 2**63, -(2**64), 10**400, -1, 1.5e308, float("nan"), float("inf"),
    [[[[[]]]]], {"": {"": {}}},
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def change(draw: Callable[..., Any], value: Any) -> Any:
    """The value with one thing inside it, however deep, replaced, taken away, doubled or added."""
    inside: list[Any] = list(value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else [])
    if not inside or draw(st.integers(0, 9)) == 0:
        return draw(values)
    place, what = draw(st.sampled_from(inside)), draw(st.sampled_from(["deeper", "replace", "take", "add"]))
    changed = value.copy()
    if what == "take":
        del changed[place]
    elif what == "add" and isinstance(changed, dict):
        changed[draw(st.text(max_size=8))] = draw(values)
    elif what == "add":
        changed += [changed[place]] * draw(st.integers(1, 3))
    else:
        changed[place] = change(draw, changed[place]) if what == "deeper" else draw(values)
    return changed


@st.composite
def records(draw: Callable[..., Any]) -> Any:
    """A record of some kind, with a few things changed; or something else altogether."""
    record: Any = draw(st.sampled_from(KINDS))()
    for _ in range(draw(st.integers(0, 3))):
        record = change(draw, record)
    return record


@fuzzed
@given(batch=st.lists(records(), max_size=8), same=st.booleans())
def test_whatever_records_say_each_is_answered_and_the_good_ones_get_in(
    production: Shipper, batch: list[Any], same: bool
) -> None:
    first, last = run(), failed()
    sent = [first, *batch, *(batch if same else []), last]
    body = json.dumps({"version": 1, "records": sent}).encode()
    for _ in range(2):
        response = production.post(body)
        assert response.status_code == 200
        results = response.json()["results"]
        assert len(results) == len(sent)
        assert {each["result"] for each in results} <= {"accepted", "unchanged", "quarantined"}
        refused = [each for each in results if each["result"] == "quarantined"]
        assert all(each["reason"] for each in refused)
        assert {each["reason"] for each in refused} <= set(Quarantine.objects.values_list("reason", flat=True))
    assert Run.objects.filter(pk__in=[first["id"], last["id"]]).count() == 2


BOMBS = (gzip.compress(b" " * (MAX_BYTES + 1), 1), gzip.compress(bytes(MAX_BYTES + 1), 1) + gzip.compress(b"{}"))
ANY = None
Wire = tuple[bytes, str, int | None]


def flip(body: bytes, place: int, bits: int) -> bytes:
    place %= len(body)
    return body[:place] + bytes([body[place] ^ bits]) + body[place + 1 :]


def on_the_wire(text: str, place: int, bits: int, rest: bytes, value: Any) -> list[Wire]:
    """What may come instead of this text: with the encoding it claims, and its status, where that is certain."""
    plain, packed = text.encode(), gzip.compress(text.encode())
    return [
        (packed, "gzip", 200),
        (packed, "GZip", 200),
        (packed[: place % len(packed)], "gzip", 400),
        (flip(packed, place, bits), "gzip", ANY),
        (flip(plain, place, bits), "identity", ANY),
        (flip(packed, place, bits), "identity", ANY),
        (packed + rest, "gzip", ANY),
        (rest, "gzip", 400),
        (rest, "identity", ANY),
        (gzip.compress(packed), "gzip", 400),
        (gzip.compress(b"[" * 10_000), "gzip", 400),
        *((bomb, "gzip", 413) for bomb in BOMBS),
        (zlib.compress(plain), "gzip", 400),
        *((plain, encoding, 415) for encoding in ("deflate", "br", "gzip, gzip", "x" * 300)),
        *((text.encode(encoding), "identity", ANY) for encoding in ("utf-16", "utf-32", "utf-8-sig")),
        (plain.replace(b"hello", b"h\xe9llo"), "identity", 400),
        (plain[: place % len(plain)], "identity", 400),
        (plain + b"x", "identity", 400),
        (json.dumps(value).encode(), "identity", 400),
        (json.dumps({"version": value, "records": []}).encode(), "identity", ANY),
        (json.dumps({"version": 1, "records": value}).encode(), "identity", ANY),
    ]


KINDS_OF_WIRE = len(on_the_wire("x", 0, 1, b"", None))


@fuzzed
@given(
    which=st.integers(0, KINDS_OF_WIRE - 1),
    place=st.integers(0, 2**16),
    bits=st.integers(1, 255),
    rest=st.binary(max_size=100),
    value=values,
)
def test_whatever_comes_over_the_wire_gets_an_answer_and_nothing_of_what_is_refused_is_kept(
    production: Shipper, which: int, place: int, bits: int, rest: bytes, value: Any
) -> None:
    text = json.dumps({"version": 1, "records": [run(), failed()]})
    body, encoding, status = on_the_wire(text, place, bits, rest, value)[which]
    before = Run.objects.count()
    response = production.post(body, HTTP_CONTENT_ENCODING=encoding)
    assert response.status_code in ((200, 400, 413, 415) if status is ANY else (status,))
    if response.status_code != 200:
        assert response.json()["error"]
        assert Run.objects.count() == before

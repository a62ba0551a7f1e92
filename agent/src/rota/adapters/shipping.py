"""Shipping: the spool's records to the diary, in order, each kept until it is acknowledged."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.adapters.diary import LONGEST_WAIT, Diary, DiaryBusy, TooLarge, Verdict, encode
from rota.adapters.spool import Spool, UnsafeFile, is_over, replace_through, shippable
from rota.core.record import MAX_BYTES, MAX_RECORDS, UNKNOWN_KIND, BadRecord, Record, RunRecord

BATCH_BYTES = MAX_BYTES - 64 * 1024
ASK_AGAIN = timedelta(hours=1)
"""How long after a diary did not know a kind of record it is asked again."""


@dataclass
class Shipment:
    """What one shipping did."""

    acknowledged: int = 0
    quarantined: int = 0
    running: int = 0
    left: int = 0
    """What could be neither read nor put aside."""


def nobody(done: int, total: int) -> None:
    """Tell nobody how far it is."""


def ship(
    spool: Spool, diary: Diary, *, pause: Path, now: datetime, tell: Callable[[int, int], None] = nobody
) -> Shipment:
    """Send everything there is; look again until nothing new has come.

    `tell` hears how many records are settled, of how many that are known. `pause` remembers until when the diary wants
    to be left alone. Raises what `Diary.send` raises; whatever was not acknowledged is still in the spool then.
    """
    wait_over(pause, now)
    shipment = Shipment()
    try:
        spool.take_spare()
        put_back_unknown(spool, now)
        send_running(spool, diary, shipment)
        while names := spool.names("done"):
            before = shipment.acknowledged + shipment.quarantined
            shipment.left = 0
            for record, verdict in deliver(diary, load_done(spool, names, shipment)):
                settle(spool, str(record.id), verdict, shipment)
                tell(shipment.acknowledged + shipment.quarantined, before + len(names))
            if shipment.acknowledged + shipment.quarantined == before:
                break
    except DiaryBusy as error:
        replace_through(pause, (now + timedelta(seconds=error.wait)).isoformat())
        raise
    return shipment


def wait_over(pause: Path, now: datetime) -> None:
    """Raise DiaryBusy while the diary's own pause lasts; longer than any can, and the clock has been set back since."""
    try:
        until = datetime.fromisoformat(pause.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    wait = (until.astimezone(UTC) - now).total_seconds()
    if 0 < wait <= LONGEST_WAIT:
        raise DiaryBusy(f"not before {until:%H:%M:%S} UTC", wait)
    pause.unlink(missing_ok=True)


def put_back_unknown(spool: Spool, now: datetime) -> None:
    """Put back what was refused only because its kind was not known: by a diary older than this host, or by the release
    that ran here before. Either may have been upgraded since."""
    for name in spool.names("quarantine"):
        try:
            reason, refused = spool.reason(name)
            if UNKNOWN_KIND in reason and not timedelta() <= now - refused < ASK_AGAIN:
                spool.load("quarantine", name)
                spool.put_back(name)
        except (OSError, UnsafeFile, BadRecord):
            continue


def send_running(spool: Spool, diary: Diary, shipment: Shipment) -> None:
    """Tell of the runs under way; what becomes of these records does not matter, for a final one follows each."""
    running = (
        replace(record, items=(), counts={}, output="")
        for record in spool.records("running")
        if isinstance(record, RunRecord) and not is_over(record)
    )
    shipment.running = sum(1 for _ in deliver(diary, running))


def load_done(spool: Spool, names: Sequence[str], shipment: Shipment) -> Iterator[Record]:
    """The finished records with their output; a broken one is put aside with the reason."""
    for name in names:
        try:
            record = spool.load("done", name)
        except FileNotFoundError:
            continue
        except (BadRecord, UnsafeFile) as error:
            put_aside(spool, name, str(error), shipment)
            continue
        yield shippable(record, spool.output(record)) if isinstance(record, RunRecord) else record


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """The records in their order, as many at a time as one request may hold."""
    batch: list[Record] = []
    size = 0
    for record in records:
        length = len(encode([record]))
        if batch and (len(batch) == MAX_RECORDS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


def deliver(diary: Diary, records: Iterator[Record]) -> Iterator[tuple[Record, Verdict]]:
    """Hand over the records in their order; each with the diary's verdict, where it gave one."""
    for batch in batches(records):
        yield from deliver_batch(diary, batch)


def deliver_batch(diary: Diary, batch: Sequence[Record]) -> Iterator[tuple[Record, Verdict]]:
    try:
        answers = diary.send(batch)
    except TooLarge:
        if len(batch) == 1:
            yield batch[0], Verdict("quarantined", "it is larger than the diary takes")
            return
        middle = len(batch) // 2
        yield from deliver_batch(diary, batch[:middle])
        yield from deliver_batch(diary, batch[middle:])
        return
    yield from ((record, answers[str(record.id)]) for record in batch if str(record.id) in answers)


def settle(spool: Spool, name: str, verdict: Verdict, shipment: Shipment) -> None:
    """Move the record to where the diary's verdict puts it; without a clear one it stays."""
    if verdict.result in ("accepted", "unchanged"):
        spool.acknowledge(name)
        shipment.acknowledged += 1
    elif verdict.result == "quarantined":
        put_aside(spool, name, verdict.reason, shipment)


def put_aside(spool: Spool, name: str, reason: str, shipment: Shipment) -> None:
    """Keep what nothing can be done with from standing in the way of the rest."""
    try:
        spool.quarantine(name, reason)
        shipment.quarantined += 1
    except OSError:
        shipment.left += 1

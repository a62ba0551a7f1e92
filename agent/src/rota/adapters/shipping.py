"""Shipping: the spool's records to the diary, in order, each kept until it is acknowledged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.adapters.diary import MAX_BYTES, MAX_RECORDS, Diary, DiaryBusy, TooLarge, Verdict, encode
from rota.adapters.spool import Record, Spool, UnsafeFile, is_over, shippable
from rota.core.record import BadRecord, RunRecord

BATCH_BYTES = MAX_BYTES - 64 * 1024


@dataclass
class Shipment:
    """What one shipping did."""

    acknowledged: int = 0
    quarantined: int = 0
    running: int = 0


def ship(spool: Spool, diary: Diary, *, pause: Path, now: datetime) -> Shipment:
    """Send everything there is; look again until nothing new has come.

    `pause` remembers until when the diary wants to be left alone. Raises what `Diary.send` raises; whatever was not
    acknowledged is still in the spool then.
    """
    wait_over(pause, now)
    shipment = Shipment()
    try:
        spool.take_spare()
        send_running(spool, diary, shipment)
        while names := spool.names("done"):
            before = shipment.acknowledged + shipment.quarantined
            for batch in batches(load_done(spool, names, shipment)):
                send_batch(spool, diary, batch, shipment)
            if shipment.acknowledged + shipment.quarantined == before:
                break
    except DiaryBusy as error:
        beside = pause.with_suffix(".new")
        beside.write_text((now + timedelta(seconds=error.wait)).isoformat(), encoding="utf-8")
        beside.replace(pause)
        raise
    return shipment


def wait_over(pause: Path, now: datetime) -> None:
    """Raise DiaryBusy while the diary's own pause lasts."""
    try:
        until = datetime.fromisoformat(pause.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    wait = (until.astimezone(UTC) - now).total_seconds()
    if wait > 0:
        raise DiaryBusy(f"not before {until:%H:%M:%S} UTC", wait)
    pause.unlink(missing_ok=True)


def send_running(spool: Spool, diary: Diary, shipment: Shipment) -> None:
    """Tell of the runs under way; what becomes of these records does not matter, for a final one follows each."""
    running = [record for record in spool.records("running") if not is_over(record)]
    for start in range(0, len(running), MAX_RECORDS):
        diary.send(running[start : start + MAX_RECORDS])
        shipment.running += len(running[start : start + MAX_RECORDS])


def load_done(spool: Spool, names: Sequence[str], shipment: Shipment) -> Iterator[Record]:
    """The finished records with their output; a broken one is put aside with the reason."""
    for name in names:
        try:
            record = spool.load("done", name)
        except FileNotFoundError:
            continue
        except (BadRecord, UnsafeFile) as error:
            spool.quarantine(name, str(error))
            shipment.quarantined += 1
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


def send_batch(spool: Spool, diary: Diary, batch: Sequence[Record], shipment: Shipment) -> None:
    try:
        answers = diary.send(batch)
    except TooLarge:
        if len(batch) == 1:
            settle(spool, str(batch[0].id), Verdict("quarantined", "it is larger than the diary takes"), shipment)
            return
        middle = len(batch) // 2
        send_batch(spool, diary, batch[:middle], shipment)
        send_batch(spool, diary, batch[middle:], shipment)
        return
    for record in batch:
        if verdict := answers.get(str(record.id)):
            settle(spool, str(record.id), verdict, shipment)


def settle(spool: Spool, name: str, verdict: Verdict, shipment: Shipment) -> None:
    """Move the record to where the diary's verdict puts it; without a clear one it stays."""
    if verdict.result in ("accepted", "unchanged"):
        spool.acknowledge(name)
        shipment.acknowledged += 1
    elif verdict.result == "quarantined":
        spool.quarantine(name, verdict.reason)
        shipment.quarantined += 1

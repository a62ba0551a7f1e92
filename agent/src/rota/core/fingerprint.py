"""What a table holds, in two numbers that do not depend on the order of its rows."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fingerprint:
    """What a table holds: its rows and the sum of their hashes, whatever their order."""

    rows: int
    checksum: str

    @classmethod
    def of(cls, rows: Iterable[bytes]) -> "Fingerprint":
        """Of rows in any byte form, as long as both sides of a comparison use the same."""
        number = total = 0
        for row in rows:
            number += 1
            total += hash_of(row)
        return cls(number, str(total))


def hash_of(row: bytes) -> int:
    """64 bits: enough against accidents, which is what it is for; borg's own hashes are against malice."""
    return int.from_bytes(hashlib.md5(row, usedforsecurity=False).digest()[:8])


def differences(expected: Mapping[str, Fingerprint], found: Mapping[str, Fingerprint]) -> list[str]:
    """One sentence for each table that is not as expected; none when all are."""
    return [
        sentence
        for table in sorted(expected.keys() | found.keys())
        if (sentence := _difference(table, expected.get(table), found.get(table)))
    ]


def _difference(table: str, expected: Fingerprint | None, found: Fingerprint | None) -> str | None:
    if expected == found:
        return None
    if found is None:
        return f"{table} is missing"
    if expected is None:
        return f"{table} was not there before"
    if expected.rows != found.rows:
        return f"{table} has {found.rows} rows instead of {expected.rows}"
    return f"{table} has {found.rows} rows, but not the same"

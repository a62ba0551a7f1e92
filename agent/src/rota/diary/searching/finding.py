"""Finding runs and what was caught: the nearest first, in time that does not grow with how many there are."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from uuid import UUID

from rota.diary.paging import PAGE
from rota.diary.searching.index import SHIFTS, SIBLINGS, Asked, Hit, Span, TookTooLong, index

ENOUGH_TIME = 0.1
"""Seconds after which all but the nearest span are given up; what is left can be asked for."""
LONGEST = 2.0
"""Seconds for the nearest span, so that whoever asks on gets on."""
AT_ONCE = 200
MANY = 20
MORE = 500
"""How many rows are read at once where a page does not suffice."""

Row = TypeVar("Row")


@dataclass
class Finding:
    """What was found, as a row of hits to read on; `stopped` is the key beyond which nothing was looked at."""

    asked: Asked
    span: Span
    newest_first: bool = True
    stopped: int | None = None

    def __iter__(self) -> Iterator[Hit]:
        return self.hits()

    def hits(self) -> Iterator[Hit]:
        """The hits in order, until the span is through or the time is over."""
        until = time.monotonic() + ENOUGH_TIME
        left = self.span
        while True:
            near, rest = index().walk(self.asked, left, newest_first=self.newest_first)
            yield from near
            if rest is None:
                return
            left = beyond(left, rest, newest_first=self.newest_first)
            # What many runs have is found so, one after the other; what few have, the index finds faster.
            if len(near) < MANY:
                break
        within = LONGEST
        parts = spans(left, newest_first=self.newest_first) if index().is_bounded else [left]
        for span in parts:
            if within <= 0:
                self.stopped = nearest(span, newest_first=self.newest_first)
                return
            yield from self._in(span, within)
            if self.stopped is not None:
                return
            within = until - time.monotonic()

    def _in(self, span: Span, within: float) -> Iterator[Hit]:
        while True:
            try:
                found = index().find(self.asked, span, AT_ONCE, newest_first=self.newest_first, within=within)
            except TookTooLong:
                self.stopped = nearest(span, newest_first=self.newest_first)
                return
            yield from found
            if len(found) < AT_ONCE:
                return
            span = beyond(span, found[-1][0], newest_first=self.newest_first)


def rows_of(hits: Iterable[Hit], fetch: Callable[[list[UUID]], Mapping[UUID, Row]]) -> Iterator[tuple[int, Row]]:
    """The rows that were hit, with their keys: first those of a page, then many at once."""
    left, size = iter(hits), PAGE + 1
    while batch := list(islice(left, size)):
        rows = fetch([pk for _, pk in batch])
        yield from ((key, rows[pk]) for key, pk in batch if pk in rows)
        size = MORE


def span_from(place: str, span: Span, *, newest_first: bool) -> Span:
    """What is left of the span beyond a place, as an address has it."""
    if not is_key(place):
        return span
    low, high, key = span.low, span.high, int(place)
    low, high = (low, min(high, key)) if newest_first else (max(low, key + 1), high)
    return Span(low, max(low, high))


def is_key(place: str) -> bool:
    return place.isascii() and place.isdecimal() and len(place) < 20


def nearest(span: Span, *, newest_first: bool) -> int:
    """The key at which a search of the span begins."""
    return span.high if newest_first else span.low - 1


def beyond(span: Span, key: int, *, newest_first: bool) -> Span:
    """What is left of the span after this key."""
    return Span(span.low, key, span.shift) if newest_first else Span(key + 1, span.high, span.shift)


def spans(whole: Span, *, newest_first: bool) -> Iterator[Span]:
    """The span in a few pieces, from one end: each some eight times as long as the one before, of whole blocks.

    So what is found near costs little, and what is found nowhere a handful of questions.
    """
    low, high = whole.low, whole.high
    for shift in SHIFTS:
        if low >= high:
            return
        if newest_first:
            edge = max(low, (high - 1) >> shift + SIBLINGS << shift + SIBLINGS)
            yield Span(edge, high, shift)
            high = edge
        else:
            edge = min(high, ((low >> shift + SIBLINGS) + 1) << shift + SIBLINGS)
            yield Span(low, edge, shift)
            low = edge
    if low < high:
        yield Span(low, high)


def identifier_in(text: str) -> UUID | None:
    """The id of a run, where the text is nothing else."""
    try:
        return UUID(text.strip()) if len(text.strip()) == 36 else None
    except ValueError:
        return None

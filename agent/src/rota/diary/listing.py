"""Which runs a list shows, in which order, and where its pages begin: through an index, whatever is asked.

What a single index of the runs answers is read along that index; anything else is asked of the full-text index, which
has the facts of every run beside its words, and finds what several of them have in common.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import QueryDict

from rota.diary.filters import RunFilter
from rota.diary.models import Run
from rota.diary.paging import PAGE, Key, earlier_than, later_than, parse_key
from rota.diary.searching.finding import MORE, Finding, identifier_in, is_key, rows_of, span_from
from rota.diary.searching.index import HIGHEST, LOWEST, Asked, Span, first_key
from rota.diary.searching.keeping import not_before
from rota.diary.searching.query import Query, parse
from rota.diary.searching.words import fact

INDEXED = ({"environment"}, {"host"}, {"task"}, {"status"}, {"review"}, {"host", "task"})
"""By what runs have an index of their own, in order of time."""
SORTS = ("", "oldest", "longest")

LISTED = (
    "id",
    "environment",
    "host__name",
    "task",
    "started",
    "status",
    "reason",
    "duration",
    "trigger",
    "review",
    "attempt",
    "asked_by",
    "attended",
    "parameters",
    "dry_run",
    "unexpected",
    "retry_at",
    "assessment",
)


def listed(rows: "QuerySet[Run]") -> "QuerySet[Run]":
    """The runs with what every list of them shows, and no more."""
    return rows.select_related("host").only(*LISTED)


@dataclass
class Listing:
    """What is asked, and what came to light while it was read.

    `stopped` is the place beyond which the time did not suffice to look, `unread` the moment before which the index
    may lack runs.
    """

    wanted: RunFilter
    query: Query = field(default_factory=Query)
    stopped: int | None = None
    unread: datetime | None = None

    @classmethod
    def of(cls, wanted: RunFilter) -> "Listing":
        """Raises BadQuery and BadFilter, which say what would be right."""
        wanted.check()
        only_run = identifier_in(wanted.text)
        return cls(wanted, Query() if only_run else parse(wanted.text))

    @property
    def sort(self) -> str:
        """The order that is possible: by length only all runs, or those of one task, have an index."""
        wanted = self.wanted.sort if self.wanted.sort in SORTS else ""
        asks_more = bool(self.query.terms or self.wanted.since or self.wanted.until)
        facts = dict(self.wanted.facts())
        return "" if wanted == "longest" and (asks_more or facts.keys() - {"task"}) else wanted

    def runs(self, rows: "QuerySet[Run]", place: str = "", *, backwards: bool = False) -> Iterator[Run]:
        """The runs in order, or against it, from this place on; each knows its `place`."""
        newest_first = (self.sort != "oldest") is not backwards
        if self.sort == "longest":
            yield from by_length(self.wanted.narrow(rows), place, longest_first=not backwards)
        elif only_run := identifier_in(self.wanted.text):
            yield from by_time(self.wanted.narrow(rows.filter(pk=only_run)), place, newest_first=newest_first)
        elif self.is_searched():
            yield from self._found(rows, place, newest_first=newest_first)
        else:
            yield from by_time(self.wanted.narrow(rows), place, newest_first=newest_first)

    def is_place(self, text: str) -> bool:
        """Whether this is a place in this list, when that is in order of time."""
        return is_key(text) if self.is_searched() else parse_key(text) is not None

    def is_searched(self) -> bool:
        facts = {name for name, _ in self.wanted.facts()}
        if not self.query.terms and (not facts or facts in INDEXED):
            return False
        unread = not_before()
        if self.query.terms:
            self.unread = unread
            return True
        # Filters hold for every run: an index that lacks some is not asked for them.
        return unread is None

    def _found(self, rows: "QuerySet[Run]", place: str, *, newest_first: bool) -> Iterator[Run]:
        asked = Asked(self.query, tuple(fact(name, value) for name, value in self.wanted.facts()))
        finding = Finding(asked, self._span(place, newest_first=newest_first), newest_first=newest_first)
        # What the index says is checked: it may be behind what people have said since.
        for key, run in rows_of(finding, lambda found: self.wanted.narrow(rows.filter(pk__in=found)).in_bulk()):
            run.place = str(key)  # type: ignore[attr-defined]  # for this list alone
            yield run
        self.stopped = finding.stopped

    def _span(self, place: str, *, newest_first: bool) -> Span:
        begin, end = self.wanted.begin, self.wanted.end
        low, high = first_key(begin) if begin else LOWEST, first_key(end) if end else HIGHEST
        return span_from(place, Span(low, max(low, high)), newest_first=newest_first)


def by_time(rows: "QuerySet[Run]", place: str, *, newest_first: bool) -> Iterator[Run]:
    key, size = parse_key(place), PAGE + 1
    rows = rows.order_by(*("-started", "-id") if newest_first else ("started", "id"))
    while True:
        batch = list((rows.filter(beyond(key, newest_first=newest_first)) if key else rows)[:size])
        for run in batch:
            key = Key(run.started, run.pk)
            run.place = str(key)  # type: ignore[attr-defined]  # for this list alone
            yield run
        if len(batch) < size:
            return
        size = MORE


def beyond(key: Key, *, newest_first: bool) -> Q:
    return earlier_than(key, "started") if newest_first else later_than(key, "started")


def by_length(rows: "QuerySet[Run]", place: str, *, longest_first: bool) -> Iterator[Run]:
    key, size = parse_length(place), PAGE + 1
    rows = rows.filter(duration__isnull=False)
    rows = rows.order_by(*("-duration", "-id") if longest_first else ("duration", "id"))
    while True:
        batch = list((rows.filter(beyond_length(*key, longest_first=longest_first)) if key else rows)[:size])
        for run in batch:
            key = (run.duration or 0.0, run.pk)
            run.place = f"{run.duration!r}~{run.pk}"  # type: ignore[attr-defined]  # for this list alone
            yield run
        if len(batch) < size:
            return
        size = MORE


def beyond_length(duration: float, pk: UUID, *, longest_first: bool) -> Q:
    if longest_first:
        return Q(duration__lte=duration) & (Q(duration__lt=duration) | Q(id__lt=pk))
    return Q(duration__gte=duration) & (Q(duration__gt=duration) | Q(id__gt=pk))


def parse_length(place: str) -> tuple[float, UUID] | None:
    duration, _, pk = place.partition("~")
    try:
        length = float(duration)
        return (length, UUID(pk)) if length == length and abs(length) < 1e12 else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """A page of runs, and the addresses of those beside it, "" where there is none.

    `newer` and `older` are what an order by time calls the pages beside it; by length the longer ones come first.
    """

    rows: list[Run]
    earlier: str
    later: str
    newest: str
    sort: str = ""

    @property
    def newer(self) -> str:
        return self.later if self.sort == "oldest" else self.earlier

    @property
    def older(self) -> str:
        return self.earlier if self.sort == "oldest" else self.later


def page_of_runs(listing: Listing, rows: "QuerySet[Run]", query: QueryDict) -> ListedPage:
    """The page that an address asks for: `before` or `after` names the place beyond which to look, in time."""
    onwards, back = ("after", "before") if listing.sort == "oldest" else ("before", "after")
    backwards = bool(query.get(back, ""))
    place = query.get(back if backwards else onwards, "")
    shown, has_earlier, has_later = part_of(listing, rows, place, backwards=backwards, most=PAGE)
    return ListedPage(
        rows=shown,
        earlier=address(query, back, place_of(shown[0])) if has_earlier and shown else "",
        later=address(query, onwards, place_of(shown[-1])) if has_later and shown else "",
        newest=address(query, "", "") if place else "",
        sort=listing.sort,
    )


def part_of(
    listing: Listing, rows: "QuerySet[Run]", place: str, *, backwards: bool, most: int
) -> tuple[list[Run], bool, bool]:
    """At most so many runs beyond a place, in the order of the list; whether there are some before, and after them."""
    found = list(islice(listing.runs(rows, place, backwards=backwards), most + 1))
    if backwards:
        return found[:most][::-1], len(found) > most, True
    return found[:most], bool(place), len(found) > most


def address(query: QueryDict, name: str, place: str) -> str:
    changed = query.copy()
    for each in ("before", "after"):
        changed.pop(each, None)
    if place:
        changed[name] = place
    return f"?{changed.urlencode()}"


def place_of(run: Run) -> str:
    """Where a run stands in the list that it was found for."""
    place: str = run.place  # type: ignore[attr-defined]  # the list has set it
    return place

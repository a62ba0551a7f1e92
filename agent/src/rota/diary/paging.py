"""Pages through a list that grows at its top, each found by a key: the thousandth costs as much as the first."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.http import QueryDict

PAGE = 25

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Key:
    """Where a row stands in a list ordered by a moment and id, newest first."""

    moment: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.moment.isoformat()}~{self.id}"


def parse_key(text: str) -> Key | None:
    """Return the key in an address, or None where there is none to be read."""
    stated, _, identifier = text.partition("~")
    try:
        moment = datetime.fromisoformat(stated)
        return Key(moment.astimezone(UTC), UUID(identifier)) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    rows: list[Row]
    newer: str
    """The address of the next newer page, or ""."""
    older: str
    newest: str


def page_of(rows: "QuerySet[Row]", query: QueryDict, *, by: str = "started", most: int = PAGE) -> Page[Row]:
    """Return the page an address asks for: its `before` or `after` names the row beyond which to look.

    `by` is the column of the moment that the list is ordered by.
    """
    after, before = parse_key(query.get("after", "")), parse_key(query.get("before", ""))
    shown, has_newer, has_older = beyond(rows, before=before, after=after, most=most, by=by)
    return Page(
        rows=shown,
        newer=address(query, "after", key_of(shown[0], by)) if has_newer and shown else "",
        older=address(query, "before", key_of(shown[-1], by)) if has_older and shown else "",
        newest=address(query, "", None) if after or before else "",
    )


def beyond(
    rows: "QuerySet[Row]", *, before: Key | None, after: Key | None, most: int, by: str = "started"
) -> tuple[list[Row], bool, bool]:
    """At most so many rows beyond a key, newest first; and whether there are newer ones, and older ones."""
    if after:
        found = list(rows.filter(later_than(after, by)).order_by(by, "id")[: most + 1])
        return found[:most][::-1], len(found) > most, True
    found = list((rows.filter(earlier_than(before, by)) if before else rows).order_by(f"-{by}", "-id")[: most + 1])
    return found[:most], before is not None, len(found) > most


# The first comparison alone lets the database walk its index; the second settles rows of the same moment.
def earlier_than(key: Key, by: str) -> Q:
    return Q((f"{by}__lte", key.moment)) & (Q((f"{by}__lt", key.moment)) | Q(id__lt=key.id))


def later_than(key: Key, by: str) -> Q:
    return Q((f"{by}__gte", key.moment)) & (Q((f"{by}__gt", key.moment)) | Q(id__gt=key.id))


def key_of(row: Model, by: str = "started") -> Key:
    return Key(getattr(row, by), row.pk)


def address(query: QueryDict, name: str, key: Key | None) -> str:
    changed = query.copy()
    for each in ("before", "after"):
        changed.pop(each, None)
    if key is not None:
        changed[name] = str(key)
    return f"?{changed.urlencode()}"

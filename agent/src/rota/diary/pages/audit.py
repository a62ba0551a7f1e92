"""The page of the audit log, for administrators: newest first, narrowed by its address."""

from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rota.diary.filters import values_of
from rota.diary.models import AuditEntry
from rota.diary.paging import PAGE
from rota.diary.rights import administrators_only

LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Each is "" where nothing is asked."""

    who: str = ""
    action: str = ""
    kind: str = ""
    subject: str = ""

    @property
    def is_empty(self) -> bool:
        return self == AuditFilter()

    def apply(self, entries: "QuerySet[AuditEntry]") -> "QuerySet[AuditEntry]":
        exact = {"who": self.who, "action": self.action, "subject_kind": self.kind, "subject_id": self.subject}
        return entries.filter(**{name: value for name, value in exact.items() if value})


@require_safe
@administrators_only
def audit_page(request: HttpRequest) -> HttpResponse:
    """Who changed what, newest first."""
    wanted = AuditFilter(
        **{name: request.GET.get(name, "").replace("\0", "").strip() for name in AuditFilter.__slots__}
    )
    found = wanted.apply(AuditEntry.objects.all())
    shown = entries_of(found, request.GET)
    return render(
        request,
        "diary/audit.html",
        {
            "entries": shown,
            "wanted": wanted,
            "actions": values_of(AuditEntry, "action"),
            "page": pages_around(found, shown, request.GET),
        },
    )


def entries_of(found: "QuerySet[AuditEntry]", query: QueryDict) -> list[AuditEntry]:
    """The entries of the page that the address asks for: its `before` or `after` is the number beyond which to look."""
    if after := number_in(query, "after"):
        return list(found.filter(id__gt=after).order_by("id")[:PAGE])[::-1]
    before = number_in(query, "before")
    return list((found.filter(id__lt=before) if before else found).order_by("-id")[:PAGE])


def pages_around(found: "QuerySet[AuditEntry]", shown: list[AuditEntry], query: QueryDict) -> dict[str, str]:
    newer = Q(id__gt=shown[0].pk) if shown else None
    older = Q(id__lt=shown[-1].pk) if shown else None
    return {
        "newer": address(query, after=shown[0].pk) if newer and found.filter(newer).exists() else "",
        "older": address(query, before=shown[-1].pk) if older and found.filter(older).exists() else "",
        "newest": address(query) if number_in(query, "before") or number_in(query, "after") else "",
    }


def number_in(query: QueryDict, name: str) -> int | None:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST else None


def address(query: QueryDict, **place: int) -> str:
    changed = query.copy()
    for each in ("before", "after"):
        changed.pop(each, None)
    for name, number in place.items():
        changed[name] = str(number)
    return f"?{changed.urlencode()}"

"""The page that shows in what a run differs from the last good one, or from another."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from rota.diary.comparing import changes_of, difference_of, items_of, last_good_before, texts_of
from rota.diary.models import Run, Status

SHOWN_CHOICES = 20


@require_safe
def difference(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """A run beside the last good one before it, or the one that `beside` names; `exact` compares to the letter."""
    runs = Run.objects.select_related("host")
    found = get_object_or_404(runs, pk=identifier)
    named, is_exact = request.GET.get("beside", ""), request.GET.get("exact", "") == "yes"
    other = get_object_or_404(runs, pk=parse_identifier(named)) if named else last_good_before(found)
    texts = texts_of(found, other) if other else (None, None)
    return render(
        request,
        "diary/difference.html",
        {
            "run": found,
            "other": other,
            "is_last_good": not named,
            "is_exact": is_exact,
            "choices": choices(found, other),
            "changes": changes_of(found, other) if other else [],
            "items": items_of(found, other) if other else None,
            "lacking": next((each for each, text in zip((found, other), texts, strict=True) if text is None), None),
            "is_silent": texts == ("", ""),
            "difference": compared(*texts, is_exact=is_exact),
        },
    )


def parse_identifier(text: str) -> UUID:
    """Raises Http404 where it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise Http404(gettext("this is no run's id")) from None


def choices(found: Run, other: Run | None) -> list[Run]:
    """The runs of the task on this host to compare with: those before this one, and the one that is."""
    same = Run.objects.filter(host_id=found.host_id, task=found.task, started__lte=found.started).exclude(pk=found.pk)
    ended = same.exclude(status__in=(Status.RUNNING, Status.SKIPPED)).only("id", "started", "status", "unexpected")
    latest = list(ended.order_by("-started", "-id")[:SHOWN_CHOICES])
    return latest if other is None or other in latest else [*latest, other]


def compared(text: str | None, other: str | None, *, is_exact: bool) -> object:
    return None if text is None or other is None else difference_of(text, other, is_exact=is_exact)

"""What pages hear while they are open: short answers of server-sent events, after which the browser asks again.

An answer that stays open would hold one of the few threads for each person who watches; one that ends at once costs a
few queries a second, however long somebody looks, and a deploy interrupts nothing.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_safe

from rota.diary.asking import attend_to
from rota.diary.following import News, Seen, news_of, parse_seen, watch
from rota.diary.models import HostRequest, Run, Status
from rota.diary.output import look_after, render_lines, split_lines
from rota.diary.pages.asking import standing

RETRY = 2000
"""Milliseconds after which a browser asks again."""
MOST_LINES = 2_000


@require_safe
def follow(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """What is new of a run under way: `output`, `report`, and at its end `end`."""
    run = get_object_or_404(Run.objects.select_related("host").only("id", "status", "host"), pk=identifier)
    if run.status != Status.RUNNING:
        return events([event("end", run.status)])
    watch(run, timezone.now())
    seen = parse_seen(request.headers.get("Last-Event-ID") or request.GET.get("after", ""))
    news = news_of(run.pk, seen)
    return events(told(news) if news else [])


@require_safe
def asked(request: HttpRequest, identifier: UUID) -> HttpResponse:
    """Whether what was asked for stands otherwise than when the page was made."""
    found = get_object_or_404(HostRequest.objects.select_related("host"), pk=identifier)
    now = timezone.now()
    attend_to(request.user, found.host, now)
    has_changed = standing(found, now) != request.GET.get("standing", "")
    return events([event("end", "changed")] if has_changed else [])


def following(run: Run, now: datetime) -> dict[str, object] | None:
    """What a run's page shows while it is under way, so that it can be read without JavaScript too; None of others."""
    if run.status != Status.RUNNING:
        return None
    watch(run, now)
    news = news_of(run.pk, Seen())
    if news is None:
        return {"lines": [], "is_cut": False, "seen": Seen(), "live": None}
    return {**shown(news), "seen": news.seen, "live": news.live}


def told(news: News) -> Iterator[str]:
    if news.text:
        yield event("output", render_to_string("diary/lines.html", shown(news)), news.seen)
    if news.is_report_new:
        yield event("report", render_to_string("diary/reported.html", {"live": news.live}), news.seen)


def shown(news: News) -> dict[str, object]:
    """The new lines as a page shows them, in the colours in which the last ones ended; of very many the last."""
    lines = split_lines(news.text)
    left_out = max(0, len(lines) - MOST_LINES)
    look = look_after(lines[:left_out], news.look)
    rendered, _ = render_lines(lines[left_out:], first=news.first_line + left_out, look=look)
    return {"lines": rendered, "is_cut": news.is_cut or left_out > 0}


def event(name: str, content: str, seen: Seen | None = None) -> str:
    """One event (HTML, section 9.2.6): each line of its content is a field of its own."""
    head = f"event: {name}\n" + (f"id: {seen}\n" if seen else "")
    # A carriage return would end a field as well; what is rendered has none.
    return head + "".join(f"data: {line}\n" for line in content.replace("\r", "").split("\n")) + "\n"


def events(said: "list[str] | Iterator[str]") -> HttpResponse:
    return HttpResponse(
        f"retry: {RETRY}\n\n" + "".join(said),
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )

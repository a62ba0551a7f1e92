"""Following runs under way: which of them somebody looks at, and what their hosts tell of these until they end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from rota.core.identifier import parse_identifier
from rota.core.record import MAX_COUNT_NAME, MAX_COUNTS, MAX_NAME, MAX_TEXT, fitting, storable
from rota.diary.models import Host, Live, LivePart, Run, Status
from rota.diary.output import PLAIN, Look, look_after, parse_look, split_lines, without_unfinished

AGAIN = 1.0
"""Seconds after which a host tells what is new while somebody follows one of its runs."""
WATCHED = timedelta(seconds=60)
RENEWED = timedelta(seconds=30)
"""What is watched for longer is not written down anew: however many follow a run, that is a write every half minute."""
MOST_FOLLOWED = 20
KEPT = 256 * 1024
"""How many characters of a followed run's output are kept until it ends; its record has the head and the tail."""
PART = 16 * 1024
SHOWN_ITEMS = 100
MOST_NEWS = 256 * 1024


def watch(run: Run, now: datetime) -> None:
    """Somebody looks at this run: if it is under way, its host is to tell of it."""
    if run.status != Status.RUNNING or Live.objects.filter(pk=run.pk, watched__gt=now + RENEWED).exists():
        return
    Live.objects.update_or_create(
        run=run.pk, defaults={"watched": now + WATCHED}, create_defaults={"host": run.host, "watched": now + WATCHED}
    )


def is_followed(host: Host, now: datetime) -> bool:
    return Live.objects.filter(host=host, watched__gt=now).exists()


def followed(host: Host, now: datetime) -> list[dict[str, object]]:
    """The runs of this host that somebody follows, with how far it has told of each."""
    rows = Live.objects.filter(host=host, watched__gt=now).order_by("-watched")[:MOST_FOLLOWED]
    return [{"run": str(each.pk), "output": each.output_position, "report": each.report_position} for each in rows]


def note_news(host: Host, said: object) -> None:
    """Keep what a host tells of followed runs; what does not go on from where it was is an old message, and is not."""
    for each in said[:MOST_FOLLOWED] if isinstance(said, list) else ():
        identifier = parse_identifier(str(each.get("run"))) if isinstance(each, Mapping) else None
        if identifier is not None:
            with transaction.atomic():
                live = Live.objects.select_for_update().filter(pk=identifier, host=host).first()
                if live is not None:
                    note_output(live, each.get("output"), each.get("text"))
                    note_report(live, each)
                    live.save()


def note_output(live: Live, span: object, text: object) -> None:
    end = end_of(span, live.output_position)
    if end is None or not isinstance(text, str) or not text:
        return
    new = storable(text[:MOST_NEWS])
    live.output_position = end
    last = LivePart.objects.filter(run=live.pk).order_by("-start").first()
    if last and len(last.text) + len(new) <= PART:
        LivePart.objects.filter(pk=last.pk).update(text=last.text + new)
    else:
        LivePart.objects.create(run=live.pk, start=live.length, line=live.lines + 1, text=new)
        LivePart.objects.filter(run=live.pk, start__lt=live.length - KEPT).delete()
    live.length += len(new)
    live.lines += new.count("\n")


def note_report(live: Live, said: Mapping[str, Any]) -> None:
    end = end_of(said.get("report"), live.report_position)
    if end is None:
        return
    items = [item for each in listed(said.get("items")) if (item := item_of(each))]
    live.report_position = end
    live.items = [*live.items, *items][-SHOWN_ITEMS:]
    live.item_amount += len(items)
    counts = said.get("counts")
    for name, value in counts.items() if isinstance(counts, Mapping) else ():
        if isinstance(name, str) and isinstance(value, int | float) and abs(value) < 1e300:
            key = fitting(name, MAX_COUNT_NAME)
            if key in live.counts or len(live.counts) < MAX_COUNTS:
                live.counts[key] = live.counts.get(key, 0) + value
    live.revision += 1


def listed(said: object) -> Sequence[object]:
    return said if isinstance(said, list) else ()


def end_of(span: object, position: int) -> int | None:
    """Where news that go on from this position end; None for any other."""
    if not isinstance(span, list) or len(span) != 2 or not all(isinstance(each, int) for each in span):
        return None
    return int(span[1]) if span[0] == position and 0 <= span[1] < 2**62 else None


def item_of(said: object) -> list[str] | None:
    if not isinstance(said, Mapping):
        return None
    limits = {"name": MAX_TEXT, "outcome": MAX_NAME, "message": MAX_TEXT}
    return [fitting(str(said.get(key, "")), most) for key, most in limits.items()]


def forget(runs: Iterable[UUID]) -> None:
    """These runs have ended: their records say it all."""
    ended = list(runs)
    if Live.objects.filter(pk__in=ended).exists():
        LivePart.objects.filter(run__in=ended).delete()
        Live.objects.filter(pk__in=ended).delete()


@dataclass(frozen=True, slots=True)
class Seen:
    """How much of a followed run somebody has seen: characters of its output, and the revision of its report.

    `look` is the one in which that output ended, for what comes next goes on in it.
    """

    length: int = 0
    revision: int = 0
    look: Look = PLAIN

    def __str__(self) -> str:
        return ".".join([str(self.length), str(self.revision), *self.look.words])


def parse_seen(text: str) -> Seen:
    """What an event's id says; nothing seen where it is none."""
    length, revision, *words = text.split(".") if "." in text else ("", "")
    is_one = text.isascii() and length.isdecimal() and revision.isdecimal() and len(text) < 80
    look = parse_look(words)
    return Seen(int(length), int(revision), look) if is_one and look else Seen()


@dataclass(frozen=True, slots=True)
class News:
    """What is new since somebody looked: text from this line on, and the state of the report where that has changed.

    What begins a control sequence at its end is left for the next time.
    """

    text: str
    first_line: int
    is_cut: bool
    live: Live
    is_report_new: bool
    look: Look
    seen: Seen


def news_of(run: UUID, seen: Seen) -> News | None:
    """None for a run that nobody follows."""
    live = Live.objects.filter(pk=run).first()
    if live is None:
        return None
    parts = list(LivePart.objects.filter(run=run, start__gt=seen.length - PART - MOST_NEWS).order_by("start"))
    parts = [part for part in parts if part.start + len(part.text) > seen.length]
    text, line = "".join(part.text for part in parts), parts[0].line if parts else live.lines + 1
    begin = parts[0].start if parts else seen.length
    known = max(seen.length - begin, 0)
    new, is_cut = without_unfinished(text[known:]), begin > seen.length
    look = PLAIN if is_cut else seen.look
    return News(
        text=new,
        first_line=line + text[:known].count("\n"),
        is_cut=is_cut,
        live=live,
        is_report_new=live.revision > seen.revision,
        look=look,
        seen=Seen(begin + known + len(new), live.revision, look_after(split_lines(new), look)),
    )

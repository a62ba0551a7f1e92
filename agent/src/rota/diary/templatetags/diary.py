"""How moments, lengths of time, statuses and what hosts say are written on every page."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext

from rota.core.objective import percent
from rota.diary.models import Run
from rota.diary.output import render_text
from rota.diary.phrases import in_words, schedule_in_words

register = template.Library()
register.filter("in_words", in_words)
register.filter("schedule_in_words", schedule_in_words)


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """The moment in the reader's time zone, with UTC on hover."""
    return "" if value is None else timed(value, local(value), exact(value))


@register.filter
def since(value: datetime | None) -> SafeString | str:
    """How long ago, in its largest unit, with the moment on hover."""
    if value is None:
        return gettext("never")
    ago = gettext("%(length)s ago") % {"length": roughly((timezone.now() - value).total_seconds())}
    return timed(value, ago, f"{local(value)} · {exact(value)}")


@register.filter
def until(value: datetime) -> SafeString | str:
    """In how long, in its largest unit, or how long ago, with the moment on hover."""
    seconds = (value - timezone.now()).total_seconds()
    if seconds < 0:
        return since(value)
    return timed(value, gettext("in %(length)s") % {"length": roughly(seconds)}, f"{local(value)} · {exact(value)}")


def timed(value: datetime, text: str, title: str) -> SafeString:
    """Every moment on every page."""
    machine = value.astimezone(UTC).isoformat()
    return format_html('<time datetime="{}" title="{}">{}</time>', machine, title, text)


def exact(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def local(value: datetime) -> str:
    """The moment in the reader's time zone; one at the calendar's edge, which the zone would push over it, in UTC."""
    try:
        return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@register.filter
def clock(value: datetime) -> SafeString:
    """The time of day in the diary's time zone, with the whole moment on hover."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.astimezone(UTC).isoformat(),
        local(value),
        local(value).partition(" ")[2],
    )


@register.filter
def elapsed(value: datetime) -> str:
    return length((timezone.now() - value).total_seconds(), whole=True)


@register.filter
def duration(seconds: float | None) -> str:
    return "" if seconds is None else length(seconds)


@register.filter
def number(value: float) -> str:
    """A count as people write it: no needless decimals, thousands apart."""
    shown = f"{value:.0f}" if value == int(value) else f"{value:.3f}".rstrip("0")
    return number_format(Decimal(shown), force_grouping=True)


@register.filter
def percentage(share: float) -> str:
    """A share, cut and never rounded up: 99.9% is not all."""
    return gettext("%(share)s%%") % {"share": number_format(percent(share).removesuffix("%"))}


@register.filter
def code(text: str) -> SafeString:
    """A sentence in which what stands between backticks is to be typed."""
    pieces = enumerate(text.split("`"))
    return format_html_join("", "{}", ((format_html("<code>{}</code>", one) if at % 2 else one,) for at, one in pieces))


@register.simple_tag
def status(value: str, word: str) -> SafeString:
    """The word first, a shape beside it, colour last."""
    return format_html('<span class="status {}">{}</span>', value, word)


@register.simple_tag
def run_status(run: Run) -> SafeString:
    """A run's status; shape and colour of a suspicious success are its own."""
    words = f"{run.status} suspicious" if run.unexpected else run.status
    return status(words, run.get_status_display())


@register.filter
def marked(text: str) -> SafeString:
    """What a host says, with a mark for each character that could not be seen or would turn the reading direction."""
    return render_text(text)


@register.filter
def setting(value: object) -> SafeString:
    """A parameter's value as people write it."""
    return render_text(written(value))


@register.filter
def settings(parameters: dict[str, object]) -> str:
    """All parameters in a line."""
    return ", ".join(f"{name}={written(value)}" for name, value in sorted(parameters.items()))


def written(value: object) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@register.filter
def detail(value: object) -> str:
    """What the audit log says besides."""
    said = value if isinstance(value, list) else [value]
    return ", ".join(in_words(each) if isinstance(each, str) else written(each) for each in said)


@register.simple_tag
def tag(word: str) -> SafeString:
    """A tag, leading to all runs that bear it."""
    address = f"{reverse('runs')}?{urlencode({'tag': word})}"
    return format_html('<a class="tag" href="{}">{}</a>', address, word)


@register.simple_tag
def usual(default: object) -> SafeString:
    """What a parameter is in a run that does not set it."""
    return (
        render_text(gettext("not set"))
        if default is None
        else format_html("{} {}", gettext("as usual:"), setting(default))
    )


def roughly(seconds: float) -> str:
    """Seconds in their largest unit: 12 s, 3 min, 2 h, 4 d."""
    total = max(0, int(seconds))
    if total < 60:
        return pgettext("seconds", "%s s") % total
    if total < 3600:
        return pgettext("minutes", "%s min") % (total // 60)
    if total < 86400:
        return pgettext("hours", "%s h") % (total // 3600)
    return pgettext("days", "%s d") % (total // 86400)


def length(seconds: float, *, whole: bool = False) -> str:
    """Seconds as one or two units: 0.25 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    if seconds < 10 and not whole:
        return pgettext("seconds", "%s s") % number_format(seconds, decimal_pos=2)
    total = max(0, round(seconds))
    if total < 60:
        return pgettext("seconds", "%s s") % total
    if total < 3600:
        return pgettext("minutes, seconds", "%(m)s min %(s)s s") % {"m": total // 60, "s": total % 60}
    if total < 86400:
        return pgettext("hours, minutes", "%(h)s h %(m)s min") % {"h": total // 3600, "m": total % 3600 // 60}
    return pgettext("days, hours", "%(d)s d %(h)s h") % {"d": total // 86400, "h": total % 86400 // 3600}

"""What hosts and the audit log say in set phrases, in the reader's language; whatever else they say stays as it is."""

import re
from collections.abc import Sequence
from functools import lru_cache

from django.utils.translation import get_language, gettext, pgettext
from django.utils.translation import gettext_noop as _

REASONS = (
    _("exit %(code)s"), _("signal %(signal)s"), _("timeout"), _("out of memory"), _("stopped"), _("host shut down"),
    _("a process that it started was killed"), _("left processes behind"), _("cannot start %(program)s"),
    _("cannot take the lock"), _("host went down"), _("runner was killed"), _("locked"), _("paused"), _("excepted"),
    _("daylight saving"), _("still running"), _("host was down"), _("never started"),
    _("systemd does not say why"), _("systemd gives no reason"), _("it booted %(moment)s"),
    _("it was booting until %(moment)s"), _("its timer was stopped until %(moment)s"), _("since %(moment)s"),
    _("the clock was set forward by %(length)s"), _("%(amount)s slots from %(first)s to %(last)s"),
    _("until %(moment)s by %(who)s"), _("until resumed by %(who)s"),
    _("%(name)s was not reported; expected %(bound)s"), _("%(name)s is %(value)s; expected %(bound)s"),
)  # fmt: skip
NEVER_STARTED = (
    _("its working directory cannot be entered"), _("its priority cannot be set"),
    _("file descriptors cannot be handed on"), _("its program cannot be executed"), _("memory is short"),
    _("a limit cannot be set"), _("its standing with the out-of-memory killer cannot be set"),
    _("its signals cannot be set"), _("its standard input cannot be opened"), _("its standard output cannot be opened"),
    _("its root directory cannot be entered"), _("its input and output priority cannot be set"),
    _("its timer slack cannot be set"), _("its secure bits cannot be set"), _("its processor scheduling cannot be set"),
    _("its processors cannot be set"), _("its group does not exist"), _("its user does not exist"),
    _("its capabilities cannot be set"), _("its control group cannot be entered"), _("a session cannot be made"),
    _("somebody at the console refused it"), _("its standard error cannot be opened"),
    _("its PAM session cannot be opened"), _("its network cannot be set up"), _("a path that it needs is missing"),
    _("new privileges cannot be forbidden"), _("its system calls cannot be filtered"),
    _("its SELinux context cannot be set"), _("its personality cannot be set"), _("its AppArmor profile cannot be set"),
    _("its address families cannot be restricted"), _("its runtime directory cannot be made"),
    _("the owner of a file cannot be changed"), _("its SMACK label cannot be set"), _("its keyring cannot be set up"),
    _("its state directory cannot be made"), _("its cache directory cannot be made"),
    _("its logs directory cannot be made"), _("its configuration directory cannot be made"),
    _("its memory policy cannot be set"), _("a credential is missing"),
    _("a BPF program of its sandbox cannot be attached"), _("its timer is missing"), _("its timer is masked"),
    _("its timer is stopped"), _("its timer was stopped"), _("its timer cannot be loaded"), _("its timer failed"),
    _("its unit is missing"), _("its unit is masked"), _("its unit cannot be loaded"), _("its unit failed"),
    _("%(why)s (exit %(code)s)"), _("exit %(code)s of systemd.exec(5)"), _("%(result)s %(code)s, and left no record"),
    _("exit-code"), _("signal"), _("core-dump"), _("watchdog"), _("resources"), _("protocol"), _("oom-kill"),
    _("start-limit-hit"), _("exec-condition"),
)  # fmt: skip
"""Why a unit did not begin, or left no record (core/incident.py, planning.py), and what systemd calls the outcome."""
ENVIRONMENTS = (_("development"), _("staging"), _("production"), _("backup"))
MEANS = (_("mail"), _("channel"), _("heartbeat"), _("webhook"), _("text message"))
ERRORS = (
    _("This cannot be asked for"), _("This is not to be asked for in the diary"), _("It was to begin earlier"),
    _("It was interrupted, and it is not known how far it got"), _("The task is not paused"),
    _("There is no parameter of this name"), _("The parameter cannot be set to this"),
    _("There is no item of this name"), _("This task has no items to choose from"),
    _("%(name)s is %(value)s; it must be %(right)s"), _("a whole number"), _("a number"), _("true or false"),
    _("a date like 2026-01-31"), _("Nobody would be left who may do everything"),
    _("The provider did not answer as it should"), _("The provider's word opens nothing here"),
    _("%(email)s has been deactivated in the diary"), _("%(email)s belongs to another account at the provider"),
    _("the provider does not vouch for an email address (email, email_verified)"),
    _("the diary does not know %(email)s; an administrator can invite them"),
)  # fmt: skip
AUDIT = (
    _("logged in"), _("logged out"), _("login refused"), _("(not an email address)"), _("person made"),
    _("person changed"), _("role changed"), _("invited"), _("activated"), _("deactivated"), _("account changed"),
    _("password changed"), _("sessions ended"), _("token accepted"), _("token revoked"), _("own token made"),
    _("own token revoked"), _("search kept"), _("search removed"), _("reviewed"), _("many runs"),
    _("run asked for"), _("pause asked for"), _("resume asked for"),
    _("person"), _("host"), _("run"), _("hostrequest"), _("by"), _("role"), _("from"), _("to"), _("token"),
    _("sessions"), _("password"), _("set"), _("changed"), _("state"), _("runs"), _("values"), _("dry run"),
    _("query"), _("is_shared"), _("single sign-on"), _("proxy"), _("invitation"), _("configuration"), _("name"),
    _("language"), _("time_zone"), _("viewer"), _("reviewer"), _("operator"), _("administrator"),
    _("needs_analysis"), _("ongoing"), _("done"),
)  # fmt: skip
SCHEDULE = (
    _("by hand"), _("when the last success is %(length)s old"), _("when something is in %(folders)s"),
    _("only %(windows)s"), _("except %(windows)s"), _("if %(days)s"),
    _("every day at %(times)s"), _("every hour from %(first)s to %(last)s"), _("%(days)s at %(times)s"),
    _("%(days)s if %(names)s"), _("every day of %(months)s"),
    _("on the %(days)s day of each month"), _("on the %(days)s day of %(months)s"),
    _("on the %(days)s of each month"), _("on the %(days)s of %(months)s"),
    _("%(often)s from %(first)s to %(last)s"), _("every day"), _("every hour"), _("every minute"), _("every second"),
    _("every %(number)s days"), _("every %(number)s hours"), _("every %(number)s minutes"),
    _("every %(number)s seconds"), _("every %(day)s"),
    _("%(first)s to %(last)s"), _("%(some)s and %(last)s"), _("last"), _("%(day)s last"),
    _("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday"), _("Sunday"),
    _("January"), _("February"), _("March"), _("April"), _("May"), _("June"), _("July"),
    _("August"), _("September"), _("October"), _("November"), _("December"),
)  # fmt: skip
PIECES = re.compile(r": |; |, ")
ZONE = re.compile(r"(.+) ([A-Z][A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)+|UTC)")
LENGTH = re.compile(r"(\d+) (day|hour|minute|second)s?\b")
ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
PLACEHOLDER = re.compile(r"%\\\((\w+)\\\)s")
DEEPEST = 12
"""How many pieces of a text are looked at: the words are a host's, and may be anything."""
STANDS_FOR = {"number": r"\d+", "amount": r"\d+", "day": r"\w+"}

Patterns = Sequence[tuple[re.Pattern[str], str]]


def compiled(phrases: tuple[str, ...]) -> Patterns:
    """Each phrase with what it looks like in English, where anything may stand for most placeholders."""
    return tuple((re.compile(PLACEHOLDER.sub(group, re.escape(phrase))), phrase) for phrase in phrases)


def group(placeholder: re.Match[str]) -> str:
    return f"(?P<{placeholder[1]}>{STANDS_FOR.get(placeholder[1], '.+')})"


SAID: list[tuple[re.Pattern[str], str]] = [
    *compiled((*NEVER_STARTED, *REASONS, *ENVIRONMENTS, *MEANS, *ERRORS, *AUDIT))
]
LEARNT: list[str] = []
"""What packs say besides."""
PLANNED = compiled(SCHEDULE)


def learn(phrases: tuple[str, ...]) -> None:
    """Know what a pack's tasks and pages say; its catalogues translate it."""
    LEARNT.extend(phrases)
    SAID.extend(compiled(phrases))


def in_words(text: str) -> str:
    """A reason, an error, a word of the audit log."""
    return text if is_english() else translated(text, get_language() or "")


def schedule_in_words(text: str) -> str:
    """When a task runs, as its host says it (core/wording.py)."""
    return text if is_english() else scheduled(text, get_language() or "")


def is_english() -> bool:
    return (get_language() or "en").startswith("en")


@lru_cache(maxsize=2_000)
def translated(text: str, language: str) -> str:
    return said(text, SAID)


@lru_cache(maxsize=2_000)
def scheduled(text: str, language: str) -> str:
    return "; ".join(map(one_schedule, text.split("; ")))


def one_schedule(text: str) -> str:
    match = ZONE.fullmatch(text)
    words, zone = match.groups() if match else (text, "")
    shown = said(words, PLANNED)
    if shown == words:
        return text
    return f"{LENGTH.sub(length, ORDINAL.sub(ordinal, shown))} {zone}".strip()


def said(text: str, patterns: Patterns, depth: int = DEEPEST) -> str:
    """The text where it is a set phrase, or else each piece of it that is one, in the reader's language."""
    for pattern, phrase in patterns:
        if match := pattern.fullmatch(text):
            values = {name: said(value, patterns, depth - 1) for name, value in match.groupdict().items()}
            return gettext(phrase) % values
    end = PIECES.search(text) if depth > 0 else None
    if end is None:
        return text
    return said(text[: end.start()], patterns, 0) + end[0] + said(text[end.end() :], patterns, depth - 1)


def ordinal(match: re.Match[str]) -> str:
    return pgettext("day of a month", "%s.") % match[1]


def length(match: re.Match[str]) -> str:
    number, unit = match.groups()
    match unit:
        case "day":
            return pgettext("days", "%s d") % number
        case "hour":
            return pgettext("hours", "%s h") % number
        case "minute":
            return pgettext("minutes", "%s min") % number
    return pgettext("seconds", "%s s") % number

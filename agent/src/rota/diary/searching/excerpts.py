"""The lines in which the words were found, made safe to show."""

import re
from collections.abc import Iterable, Iterator

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from rota.diary.output import render_text
from rota.diary.searching.query import Query
from rota.diary.searching.words import composed, folded

MOST_LINES = 3
BEFORE, WIDTH = 60, 200
"""How many characters are shown of a long line, and how many of them before the first word found."""


def pattern_of(query: Query) -> re.Pattern[str] | None:
    """What finds any of the query's terms in a folded text; None where it only excludes."""
    terms = [
        between(term.words).join((begun(term.words[0]), *term.words[1:])) + ("" if term.is_beginning else r"(?![^\W_])")
        for term in query.terms
        if not term.is_excluded
    ]
    return re.compile("|".join(sorted(terms, key=len, reverse=True))) if terms else None


def begun(word: str) -> str:
    """This word, where no letter and no digit stands before it; that is looked at last, so that `re` seeks the word."""
    return rf"{word}(?<![^\W_]{word})"


def between(words: tuple[str, ...]) -> str:
    """What may stand between the words of a phrase; between ideographs there may be nothing."""
    return r"[\W_]+" if all(word.isascii() for word in words) else r"[\W_]*"


def excerpts(texts: Iterable[str], pattern: re.Pattern[str]) -> list[SafeString]:
    """The first few lines of these texts in which something is found, with marks around it."""
    found: list[SafeString] = []
    for text in texts:
        for line in matching_lines(composed(text), pattern):
            if line not in found:
                found.append(line)
            if len(found) == MOST_LINES:
                return found
    return found


def matching_lines(text: str, pattern: re.Pattern[str]) -> Iterator[SafeString]:
    compared, position = folded(text), 0
    while match := pattern.search(compared, position):
        first = text.rfind("\n", 0, match.start()) + 1
        last = text.find("\n", match.end())
        last = len(text) if last < 0 else last
        yield marked(text[first:last], [span_in(each, first) for each in pattern.finditer(compared, first, last)])
        position = last + 1


def span_in(match: "re.Match[str]", offset: int) -> tuple[int, int]:
    return match.start() - offset, match.end() - offset


def marked(line: str, spans: list[tuple[int, int]]) -> SafeString:
    """The line around its first find, every find in it marked."""
    begin = max(0, spans[0][0] - BEFORE) if len(line) > WIDTH else 0
    end = max(begin + WIDTH, spans[0][1])
    pieces, position = [], begin
    for first, last in spans:
        if position <= first < end:
            pieces.append((shown(line[position:first]), format_html("<mark>{}</mark>", shown(line[first:last]))))
            position = last
    rest = shown(line[position:end])
    return format_html(
        "{}{}{}{}",
        "… " if begin else "",
        format_html_join("", "{}{}", pieces),
        rest,
        " …" if end < len(line) else "",
    )


def shown(text: str) -> SafeString:
    return render_text(text.replace("\n", " ").replace("\r", " "))

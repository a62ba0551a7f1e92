"""What somebody asks for: words, "phrases", beginnings of words (`time*`), and what must not be there (`-word`)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _

from rota.core.errors import RotaError
from rota.diary.searching.words import LONGEST, words_of

MOST_TERMS = 20
SHORTEST_BEGINNING = 3
LONGEST_QUERY = 500

TERM = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')


class BadQuery(RotaError):
    """This cannot be searched for."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand one after the other; the last one may be the beginning of one."""

    words: tuple[str, ...]
    is_beginning: bool = False
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    terms: tuple[Term, ...] = ()

    def fits(self, document: str) -> bool:
        """Whether a document's text has every term, and none of the excluded ones."""
        spaced = f" {document} "
        return all((needle(term) in spaced) is not term.is_excluded for term in self.terms)


def needle(term: Term) -> str:
    return " " + " ".join(term.words) + ("" if term.is_beginning else " ")


def parse(text: str) -> Query:
    """The query in this text, an empty one where it says nothing. Raises BadQuery with what would be right."""
    if len(text) > LONGEST_QUERY:
        raise BadQuery(_("The text has %(length)d characters; at most %(most)d are searched for.")
                       % {"length": len(text), "most": LONGEST_QUERY})  # fmt: skip
    if text.count('"') % 2:
        raise BadQuery(_("A quotation mark is not closed. A phrase stands between two of them."))
    terms = tuple(read_terms(text))
    if len(terms) > MOST_TERMS:
        raise BadQuery(_("These are %(amount)d words and phrases; at most %(most)d are searched for at once.")
                       % {"amount": len(terms), "most": MOST_TERMS})  # fmt: skip
    return Query(terms)


def read_terms(text: str) -> Iterator[Term]:
    for found in TERM.finditer(text):
        minus, quoted, bare = found.groups()
        inner = bare if quoted is None else quoted
        is_beginning = inner.endswith("*")
        words = words_of(inner)
        if not words:
            raise BadQuery(_("In “%(term)s” there is no letter and no digit to search for.") % {"term": found[0]})
        # Only what ends in a letter or digit before its star is the beginning of a word.
        is_beginning = is_beginning and inner[-2:-1].isalnum()
        if is_beginning and len(words[-1]) < SHORTEST_BEGINNING:
            raise BadQuery(_("Before the star of “%(term)s” at least %(least)d letters are needed.")
                           % {"term": found[0], "least": SHORTEST_BEGINNING})  # fmt: skip
        yield Term(tuple(words), is_beginning or len(words[-1]) == LONGEST, bool(minus))

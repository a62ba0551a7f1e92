"""How texts become words: the same for what is kept and for what is asked, in every language."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1

from rota.core.plain import ESCAPE

LONGEST = 64
"""Characters of a word; what comes after them is not looked at."""
MOST_BYTES = 900_000
"""Of one run's words together; PostgreSQL keeps less than a mebibyte of them."""
BREAK = "="
"""Stands between two texts, so that no phrase reaches from one into the other. No word contains it."""
EVERYTHING = "=all"
"""A fact that is true of every run."""
CAUGHT = "=caught"
"""And one that is true of everything that was caught, and of no run."""

# Letters and digits; what is between them divides words. Ideographs are words by themselves: nothing divides them.
WORD = re.compile(r"[^\W_⺀-鿿豈-﫿]+|(?=\w)[⺀-鿿豈-﫿]")


@dataclass(frozen=True, slots=True)
class Document:
    """What the index has of one run: its words in order, with breaks, and the facts that filters ask for."""

    words: list[str]
    facts: list[str]

    def __str__(self) -> str:
        return " ".join([*self.words, BREAK, *self.facts])


class Folding(dict[int, str]):
    """Each character as it is compared: small, and without its accents; always one for one."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        bare = "".join(each for each in unicodedata.normalize("NFKD", character) if not unicodedata.combining(each))
        candidates = [each for each in (bare.lower(), character.lower()) if len(each) == 1]
        self[code] = candidates[0] if candidates else character
        return self[code]


FOLDING = Folding()


def composed(text: str) -> str:
    """The text without control sequences, each accent one character with its letter: what is folded, and shown."""
    plain = ESCAPE.sub("", text) if "\x1b" in text else text
    return plain if plain.isascii() else unicodedata.normalize("NFC", plain)


def folded(text: str) -> str:
    """A composed text as it is compared; each character stays where it is."""
    return text.lower() if text.isascii() else text.translate(FOLDING)


def words_of(text: str) -> list[str]:
    return [word[:LONGEST] for word in WORD.findall(folded(composed(text)))]


def document(texts: Iterable[str], facts: Iterable[tuple[str, str]]) -> Document:
    """The document of these texts, the weightier ones first: of a very long one the end is left out."""
    return Document(list(limited(texts)), [EVERYTHING, *(fact(name, value) for name, value in facts if value)])


def limited(texts: Iterable[str]) -> Iterator[str]:
    room = MOST_BYTES
    for text in texts:
        for word in words_of(text):
            # A position takes four bytes, the alignment of a word at most three.
            room -= len(word.encode()) + 7
            if room < 0:
                return
            yield word
        yield BREAK


def caught_facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    """The facts of what was caught, none of which is one of a run."""
    return [CAUGHT, *(fact(f"caught {name}", value) for name, value in facts if value)]


def fact(name: str, value: str) -> str:
    """A word that no text contains, for one property of a run."""
    return BREAK + sha1(f"{name}={value}".encode(), usedforsecurity=False).hexdigest()[:12]

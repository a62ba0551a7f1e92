"""The look for what the diary wants of this host: a question over the network, and all else only where it says yes."""

import sys

from rota.adapters.listening import Line, NoAnswer, environ_token, pause_of

NO_ANSWER = 75
"""The exit code where the diary does not answer: `rota ship` tells of that, and this is tried again in a moment."""


def is_wanted(url: str, certificate: str | None = None) -> bool:
    """Whether somebody waits for this host. Exits with NO_ANSWER where the diary does not say.

    Silently: an outage would else be a line in the journal every few seconds, and `rota ship` tells of it already.
    """
    try:
        line = Line(url.rstrip("/"), environ_token(), certificate)
        return pause_of(line.ask()) > 0
    except NoAnswer:
        sys.exit(NO_ANSWER)

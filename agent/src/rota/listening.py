"""The look for what the diary wants of this host: a question over the network, and all else only where it says yes."""

import os
import sys
from pathlib import Path
from typing import Any

from rota.adapters.listening import Line, NoAnswer, environ_token, pause_of
from rota.core.places import Places, on_host, under

NO_ANSWER = 75
"""The exit code where the diary does not answer: `rota ship` tells of that, and this is tried again in a moment."""


def is_wanted(url: str, certificate: str | None = None) -> bool:
    """Whether somebody waits for this host. Exits with NO_ANSWER where the diary does not say.

    While something is wrong here, it is also asked what people said of that.
    Silently: an outage would else be a line in the journal every few seconds, and `rota ship` tells of it already.
    """
    try:
        line = Line(url.rstrip("/"), environ_token(), certificate)
        home = os.environ.get("ROTA_HOME")
        return pause_of(ask(line, under(Path(home)) if home else on_host())) > 0
    except NoAnswer:
        sys.exit(NO_ANSWER)


def ask(line: Line, places: Places) -> dict[str, Any]:
    """What the diary answers. Raises NoAnswer."""
    if not any(any(folder.glob("*.incident")) for folder in (places.alerts, places.alerts_spare)):
        return line.ask()
    from rota.adapters.reviews import hear, open_failures

    failures = open_failures(places)
    answer = line.ask({"version": 1, "failures": failures} if failures else None)
    hear(places, failures, answer)
    return answer

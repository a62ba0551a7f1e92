"""Letters of the pack's own, through the one door by which anything leaves a host."""

import os
import socket
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rota.adapters.outbound import Addressed, Failures
from rota.adapters.spool import spool_of
from rota.alerting import desk_of, open_door
from rota.catalogue import discover, load
from rota.core import places as layout
from rota.core.catalogue import Agent
from rota.core.letter import Letter, headline
from rota.core.places import Places
from rota.core.rule import is_channel


def find_places() -> Places:
    """This host's, or those under the embedded home."""
    home = os.environ.get("ROTA_HOME")
    if not home:
        return layout.on_host()
    places = layout.under(Path(home).absolute())
    spool_of(places).make()  # what is caught leaves a record there
    return places


def find_agent(places: Places) -> Agent:
    """Who this host is, and how letters leave it. Raises BadConfiguration."""
    environment = places.environment.read_text("utf-8").strip() if places.environment.is_file() else "development"
    found = load(places.configuration, host=socket.gethostname(), environment=environment, python=[], packs=discover())
    return found.agent


def compose(agent: Agent, subject: str, lines: Sequence[str], *, name: str, at: datetime) -> Letter:
    """A letter that is known by `name`; a channel gets its subject alone."""
    return Letter(name=name, subject=headline(subject, desk_of(agent)), lines=tuple(lines), brief=subject, at=at)


def send(places: Places, agent: Agent, letter: Letter, to: Sequence[str], now: datetime) -> tuple[str, Failures]:
    """Hand a letter over: where it went, and who did not get it. Raises NoSecret."""
    door = open_door(places, agent, now, asks_for_urls=any(map(is_channel, to)))
    mail = tuple(each for each in to if not is_channel(each))
    receivers = [each for each in [mail, *((each,) for each in to if is_channel(each))] if each]
    about = {"task": os.environ.get("ROTA_TASK", ""), "run": os.environ.get("ROTA_RUN_ID", "")}
    failures, _ = door.send([Addressed(to=each, letter=letter, **about) for each in receivers], [])
    return door.where, {who: why for failed in failures for who, why in failed.items()}

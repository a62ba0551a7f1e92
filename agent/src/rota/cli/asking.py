"""The commands by which a host hears what people ask of it in the diary, and does it; systemd starts them."""

import argparse
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rota.adapters import systemd
from rota.adapters.diary import DiaryRefused, read_token
from rota.adapters.listening import Line, NoAnswer
from rota.answering import Answering, answer_all
from rota.attending import Attending, attend
from rota.cli.finding import find_catalogue, find_places, find_spool, holding
from rota.cli.parsing import command
from rota.core.catalogue import Agent, Catalogue
from rota.core.errors import RotaError
from rota.core.places import Places
from rota.core.status import Environment
from rota.listening import NO_ANSWER

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


def add_commands(commands: "Commands") -> None:
    listen = command(
        commands, "listen", listen_to_diary, "Fetch what people ask of this host in the diary, and stay while they do."
    )
    listen.add_argument("url", nargs="?", help="first only ask this diary whether anybody does, which is quick")
    listen.add_argument("certificate", nargs="?", help="the only certificate that is trusted then")
    command(commands, "answer", answer_requests, "Carry out, or refuse, what was fetched from the diary.")


def listen_to_diary(options: argparse.Namespace) -> int:
    places = find_places(options)
    agent = find_catalogue(places).agent
    if agent.diary is None:
        raise DiaryRefused(f"agent: diary: url is not set in {places.configuration}/*.yml, so there is none to ask")
    line = Line(agent.diary, read_token(places.credentials), str(agent.certificate) if agent.certificate else None)
    try:
        number = attend(Attending(line=line, places=places, spool=find_spool(places), is_asking=agent.asking))
    except NoAnswer as error:
        print(f"rota: {error}", file=sys.stderr)
        return NO_ANSWER
    finally:
        line.close()
    if number:
        print(f"{number} requests fetched.")
    return 0


def answer_requests(options: argparse.Namespace) -> None:
    places = find_places(options)
    spool = find_spool(places)
    agent, catalogue = find_agent(places)
    places.answered.mkdir(parents=True, exist_ok=True)
    with holding(places.answered, "rota answer"):
        is_live = not places.is_embedded and options.root == Path("/") and systemd.is_booted()
        number = answer_all(
            Answering(
                places=places,
                spool=spool,
                agent=agent,
                catalogue=catalogue,
                now=lambda: datetime.now(UTC),
                is_live=is_live,
            )
        )
    print(f"{number} requests answered.")


class CatalogueUnreadable(RotaError):
    """The catalogue of this host cannot be read."""


def find_agent(places: Places) -> tuple[Agent, "Loader"]:
    """Who this host is, and its catalogue; a catalogue that is broken is an answer too."""
    try:
        catalogue = find_catalogue(places)
    except RotaError as error:
        environment = places.environment.read_text("utf-8").strip() if places.environment.is_file() else "development"
        return Agent(host=socket.gethostname(), environment=Environment(environment)), Loader(error=str(error))
    return catalogue.agent, Loader(catalogue=catalogue)


class Loader:
    """A catalogue, or why there is none."""

    def __init__(self, *, catalogue: Catalogue | None = None, error: str = "") -> None:
        self.catalogue, self.error = catalogue, error

    def __call__(self) -> Catalogue:
        """Raises CatalogueUnreadable."""
        if self.catalogue is None:
            raise CatalogueUnreadable(self.error)
        return self.catalogue

"""The command that prints measurements, and the rules by which a Prometheus server alerts on them."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from rota import measuring
from rota.adapters.standings import Standings
from rota.alerting import incidents_of, is_known_to_fail
from rota.cli.finding import find_catalogue, find_places, find_spool
from rota.cli.parsing import command
from rota.core.exposition import render
from rota.core.rules import rule_file

if TYPE_CHECKING:
    from rota.cli.parsing import Commands


def add_commands(commands: "Commands") -> None:
    metrics = command(commands, "metrics", show_metrics, "Print the measurements of this host and its tasks.")
    metrics.add_argument("--rules", action="store_true", help="print the alert rules for a Prometheus server instead")


def show_metrics(options: argparse.Namespace) -> None:
    places = find_places(options)
    catalogue = find_catalogue(places)
    if options.rules:
        print("# Written by `rota metrics --rules`, from the catalogue of this host.")
        print(yaml.safe_dump(rule_file(catalogue), sort_keys=False, width=1000, allow_unicode=True), end="")
        return
    spool, memory, now = find_spool(places), Standings(places.alerts), datetime.now(UTC)
    standings = memory.look(spool, now=now).standings
    failing = {name: each for name, each in incidents_of(places).load().items() if is_known_to_fail(each, now)}
    print(render(measuring.measure(places, catalogue, standings=standings, failing=failing, now=now)), end="")

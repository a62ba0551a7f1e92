"""Fill a diary with believable runs."""

import random
from argparse import ArgumentParser
from datetime import UTC
from itertools import islice

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rota.diary import seed
from rota.diary.models import Host
from rota.diary.storing import store


class Command(BaseCommand):
    help = "Fill a diary with believable runs, through the same door as a host's; never in production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=1000)
        parser.add_argument("--random", type=int, default=1, help="the same number makes the same runs")

    def handle(self, *args: object, **options: object) -> None:
        if settings.CONFIGURATION.environment == "production":
            raise CommandError("this is production's diary: it shows what happened, and nothing else")
        amount = int(str(options["runs"]))
        source = random.Random(int(str(options["random"])))  # noqa: S311 - invented runs, no secrets
        now = timezone.now().astimezone(UTC)
        for name in seed.HOSTS:
            host, _ = Host.objects.get_or_create(name=name, defaults={"environment": name})
            store(host, list(seed.deploys(name, 6, now=now, source=source)), now=now)
            stored = 0
            waiting = seed.records(name, amount // len(seed.HOSTS), now=now, source=source)
            while batch := list(islice(waiting, 500)):
                stored += len(store(host, batch, now=now))
                if name in seed.CATCHING:
                    store(host, list(seed.outbound(batch, source=source)), now=now)
                self.stdout.write(f"{name}: {stored} runs")

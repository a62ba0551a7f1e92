"""Fill a diary with believable runs."""

from argparse import ArgumentParser
from datetime import UTC

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rota.adapters.progress import Progress
from rota.diary.estate.seeding import seed


class Command(BaseCommand):
    help = "Fill a diary with believable runs, as many as one likes; never in production. Goes on where it was ended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=1000, help="how many there are in the end")

    def handle(self, *args: object, runs: int, **options: object) -> None:
        if settings.CONFIGURATION.environment == "production":
            raise CommandError("this is production's diary: it shows what happened, and nothing else")
        progress = Progress("runs")
        made = seed(runs, until=timezone.now().astimezone(UTC), tell=progress.tell)
        progress.end()
        self.stdout.write(f"{made:,} runs made, of {runs:,}")

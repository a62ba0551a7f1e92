"""Fill a diary with a month of a believable estate."""

from datetime import UTC, timedelta

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from rota.adapters.progress import Progress
from rota.diary.estate.month import LENGTH
from rota.diary.estate.populating import populate


class Command(BaseCommand):
    help = "Fill a diary with a month of a believable estate; never in production. The second time it adds what is new."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=LENGTH.days, help="instead of a month")

    def handle(self, *args: object, days: int = LENGTH.days, **options: object) -> None:
        if settings.CONFIGURATION.environment == "production":
            raise CommandError("this is production's diary: it shows what happened, and nothing else")
        progress = Progress("hosts")
        new = populate(now=timezone.now().astimezone(UTC), tell=progress.tell, length=timedelta(days=days))
        progress.end()
        self.stdout.write(f"{new:,} records were new")

"""Fill a diary with a month of a believable estate."""

from datetime import UTC

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rota.adapters.progress import Progress
from rota.diary.estate.populating import populate


class Command(BaseCommand):
    help = "Fill a diary with a month of a believable estate; never in production. The second time it adds what is new."

    def handle(self, *args: object, **options: object) -> None:
        if settings.CONFIGURATION.environment == "production":
            raise CommandError("this is production's diary: it shows what happened, and nothing else")
        progress = Progress("hosts")
        new = populate(now=timezone.now().astimezone(UTC), tell=progress.tell)
        progress.end()
        self.stdout.write(f"{new:,} records were new")

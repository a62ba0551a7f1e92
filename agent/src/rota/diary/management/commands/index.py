"""Bring into the full-text index what is not in it."""

from django.core.management.base import BaseCommand

from rota.adapters.progress import Progress
from rota.diary.models import Run
from rota.diary.searching.keeping import fill


class Command(BaseCommand):
    help = "Bring runs into the full-text index that are not in it. May be interrupted and repeated."

    def handle(self, *args: object, **options: object) -> None:
        progress, total = Progress("runs"), Run.objects.count()
        added = fill(lambda done: progress.tell(done, total))
        progress.end()
        self.stdout.write(f"{added:,} runs added to the index")

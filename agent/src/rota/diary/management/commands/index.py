"""Bring what is kept beside the runs up to them: the full-text index, and the tally of days."""

from django.core.management.base import BaseCommand

from rota.adapters.progress import Progress
from rota.diary import tallies
from rota.diary.models import Outbound, Run
from rota.diary.searching.keeping import fill


class Command(BaseCommand):
    help = "Bring runs into the full-text index and the tally that are not there yet. May be interrupted and repeated."

    def handle(self, *args: object, **options: object) -> None:
        if days := tallies.count():
            self.stdout.write(f"{days:,} days counted")
        progress, total = Progress("records"), Run.objects.count() + Outbound.objects.count()
        added = fill(lambda done: progress.tell(done, total))
        progress.end()
        self.stdout.write(f"{added:,} records added to the index")

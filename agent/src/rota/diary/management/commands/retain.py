"""Remove what the diary keeps no longer."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rota.adapters.progress import Progress
from rota.core.quantities import show_size
from rota.diary import tallies
from rota.diary.models import Run
from rota.diary.retaining import retain


class Command(BaseCommand):
    help = "Remove runs and deploys that are kept no longer, in small batches. May be interrupted and repeated."

    def handle(self, *args: object, **options: object) -> None:
        if tallies.uncounted() is not None:
            raise CommandError("not all days are counted yet, and what is removed would never be: rota-diary index")
        progress, total = Progress("runs removed"), Run.objects.count()
        removed = retain(settings.CONFIGURATION.keep, now=timezone.now(), tell=lambda done: progress.tell(done, total))
        progress.end()
        self.stdout.write(
            f"removed: {removed.runs:,} runs, {removed.deploys:,} deploys, {removed.caught:,} things that were caught, "
            f"{removed.quarantined:,} records that were not understood, {removed.audited:,} entries of the audit log"
        )
        if removed.over:
            self.stderr.write(
                f"the diary takes {show_size(removed.over)} more than its size; what is left are failures that nobody "
                "has handled, and the latest good runs: review them, or raise the size (keep: size)"
            )

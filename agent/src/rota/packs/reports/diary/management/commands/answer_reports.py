"""Make the reports that were asked for in the embedded diary, where no host's task does."""

import socket
import time

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from rota.diary.configuration import Form
from rota.diary.models import Host
from rota.packs.reports import asked, ledger
from rota.packs.reports.attempt import as_mapping
from rota.packs.reports.diary import places
from rota.packs.reports.diary.attempts import keep_attempt
from rota.packs.reports.running import Desk
from rota.packs.reports.sandbox import Limits
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap

AT_ONCE = 2
LIMITS = Limits(seconds=600)


class Command(BaseCommand):
    help = "Make the reports that were asked for in the embedded diary; the diary starts it. A host has reports_asked."

    def handle(self, *args: object, **options: object) -> None:
        if settings.CONFIGURATION.form is not Form.EMBEDDED:
            raise CommandError("this diary is not the embedded one; on a host the task reports_asked does this")
        places.prepare()
        desk = Desk(places=places.workplace(), sandbox=Bubblewrap(), limits=LIMITS, host=socket.gethostname())
        asked.close_interrupted(desk.places)
        asked.sweep(desk.places, now=time.time())
        number = asked.answer_all(desk, at_once=AT_ONCE, tell=lambda _: keep_told(desk))
        keep_told(desk)
        self.stdout.write(f"{number} requests were answered.")


def keep_told(desk: Desk) -> None:
    """Put the ledger's attempts into the run log, whoever made them."""
    for path, attempt in ledger.waiting(desk.places.ledger):
        keep_attempt(Host(name=desk.host), as_mapping(attempt))
        path.unlink(missing_ok=True)

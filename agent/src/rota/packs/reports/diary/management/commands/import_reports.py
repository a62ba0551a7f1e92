"""Take reports that are defined in a folder of files into the diary, where people go on writing them."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from rota.packs.reports.diary.keeping import refuse_clashes, save_definitions
from rota.packs.reports.diary.logs import save_logs
from rota.packs.reports.folder import read_folder
from rota.packs.reports.importing import read_logs
from rota.packs.reports.reviewing import Sort, review


class Command(BaseCommand):
    help = "Take reports from a folder of definitions, like that of `rota reports import`. What it does not name stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--logs", type=Path, metavar="FILE", help="run logs of `rota reports import --logs-file`")
        parser.add_argument("--dry-run", action="store_true", help="only tell what is wrong with them")

    def handle(self, *args: object, folder: Path, logs: Path | None, dry_run: bool, **options: object) -> None:
        definitions = read_folder(folder)
        earlier = read_logs(logs) if logs else ()
        remarks = review(definitions)
        for remark in remarks:
            self.stderr.write(str(remark))
        # What else is wrong keeps that report alone from running, and can be put right in the diary.
        if wrong := sum(remark.sort is Sort.NAME for remark in remarks):
            raise CommandError(f"{wrong} names are not possible; nothing was taken")
        refuse_clashes(definitions)
        if dry_run:
            self.stdout.write(f"{len(definitions.tasks)} reports of {len(definitions.clients)} clients could be taken")
            return
        changed = save_definitions(definitions, by=None)
        told = ", ".join(f"{number} {kind}" for kind, number in changed.items())
        self.stdout.write(f"Made or changed: {told}")
        if logs:
            new, left_out = save_logs(earlier)
            self.stdout.write(f"Run logs: {new} taken, {left_out} of reports that are not there")

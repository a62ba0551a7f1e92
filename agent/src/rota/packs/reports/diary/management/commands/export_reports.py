"""Write all reports of the diary into a folder of files, to keep them in git."""

from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

from django.core.management.base import BaseCommand

from rota.packs.reports.diary.keeping import definitions_of_database
from rota.packs.reports.folder import clients_of, write_folder


class Command(BaseCommand):
    help = "Write all reports into a folder of definitions, which afterwards defines these and no others."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--secrets", action="store_true", help="with the hashes of clients' passwords and keys")

    def handle(self, *args: object, folder: Path, secrets: bool, **options: object) -> None:
        defined = definitions_of_database()
        if not secrets:
            known = {each.id: (each.password, each.access_key) for each in clients_of(folder)}
            hashes = ((each, *known.get(each.id, ("", ""))) for each in defined.clients)
            clients = (replace(each, password=password, access_key=key) for each, password, key in hashes)
            defined = replace(defined, clients=tuple(clients))
        changed = write_folder(defined, folder)
        self.stdout.write(
            f"{len(defined.tasks)} reports of {len(defined.clients)} clients; {len(changed)} files changed"
        )

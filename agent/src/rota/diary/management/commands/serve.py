"""Serve the embedded diary to the person on this machine."""

from argparse import ArgumentParser
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from rota.diary.configuration import Form


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the inherited signature
        """Say nothing of each request: errors reach standard error through the logging."""


class Command(BaseCommand):
    help = "Serve the embedded diary on 127.0.0.1; only where ROTA_HOME is set. A host uses gunicorn behind nginx."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8321, help="0 takes a free one")

    def handle(self, *args: object, port: int, **options: object) -> None:
        if settings.CONFIGURATION.form is not Form.EMBEDDED:
            raise CommandError("this diary is not the embedded one: set ROTA_HOME, or use gunicorn behind nginx")
        # Imported here because it reads the settings.
        from rota.diary.wsgi import application

        call_command("migrate", interactive=False, verbosity=0)
        call_command("sync", stdout=self.stderr)
        with make_server("127.0.0.1", port, application, server_class=Server, handler_class=Quiet) as server:
            self.stdout.write(f"http://127.0.0.1:{server.server_port}/")
            self.stdout.flush()
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                self.stdout.write("")

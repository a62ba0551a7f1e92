"""The `rota-diary` command: Django's management commands and the diary's own."""

import os
import sys

from rota.diary.configuration import ConfigurationError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rota.diary.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(["rota-diary", *sys.argv[1:]])
    except ConfigurationError as error:
        sys.exit(f"rota-diary: {error.__doc__} {error}")


if __name__ == "__main__":
    main()

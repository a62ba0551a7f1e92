"""The `rota-diary` command: Django's management commands and the diary's own."""

import os
import sys

from rota.core.errors import RotaError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rota.diary.settings")
    # Imported here because it reads the setting above.
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(["rota-diary", *sys.argv[1:]])
    except RotaError as error:
        print(f"rota-diary: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

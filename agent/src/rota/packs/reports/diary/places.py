"""Where the files of reports lie on the diary's host."""

from pathlib import Path

from django.conf import settings

STATE = Path("/var/lib/rota/reports")


def exports() -> Path:
    """What clients download; in the embedded form below the diary's own folder."""
    home = settings.CONFIGURATION.home
    return (home / "reports" if home else STATE) / "exports"

"""Where the files of reports lie on the diary's host."""

from pathlib import Path

from django.conf import settings

from rota.packs.reports.workplace import STATE, Workplace


def exports() -> Path:
    """What clients download; in the embedded form below the diary's own folder."""
    home = settings.CONFIGURATION.home
    return Workplace(home / "reports" if home else STATE).exports

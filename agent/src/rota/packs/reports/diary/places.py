"""Where the files of reports lie on the diary's host."""

from pathlib import Path

from django.conf import settings

from rota.packs.reports.workplace import STATE, Workplace


def workplace() -> Workplace:
    """In the embedded form below the diary's own folder."""
    home = settings.CONFIGURATION.home
    return Workplace(home / "reports" if home else STATE)


def exports() -> Path:
    """What clients download."""
    return workplace().exports


def prepare() -> None:
    """Make the folders of the embedded form; on a host its role and tasks have made them."""
    if settings.CONFIGURATION.home:
        workplace().make()

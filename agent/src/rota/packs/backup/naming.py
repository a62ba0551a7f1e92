"""What archives are called: by their sender and the moment their backup began."""

import re
from datetime import datetime

STAMP = "%Y%m%dT%H%M%SZ"


def archive_name(sender: str, began: datetime) -> str:
    """The name of the archive of one backup."""
    return f"{sender}-{began.strftime(STAMP)}"


def is_archive(sender: str, name: str) -> bool:
    """Whether this sender's backups make archives of such a name."""
    return re.fullmatch(rf"{re.escape(sender)}-\d{{8}}T\d{{6}}Z", name, re.ASCII) is not None


def is_checkpoint(sender: str, name: str) -> bool:
    """Whether borg calls so what an interrupted backup of this sender left."""
    return is_archive(sender, re.sub(r"\.checkpoint(\.\d+)?$", "", name)) and not is_archive(sender, name)

"""What may be shown of where something was to go, and of what it says: never what opens a door."""

import re

SHOWN = frozenset({"http", "https", "ftp", "ftps", "sftp", "ssh", "rsync", "smtp", "smtps"})
"""Schemes whose host is a name; elsewhere, as in `slack://TOKEN/…`, it may be a secret like all that follows."""
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


def public_part(receiver: str) -> str:
    """Of a URL its scheme, and its host where that is a name: user, path and query may be secret. All else as it is."""
    scheme, mark, rest = receiver.partition("://")
    if not mark:
        return receiver
    authority, *further = re.split(r"[/?#\s]", rest, maxsplit=1)
    host = authority.rpartition("@")[2]
    # An `@` further on means that a password has broken the URL in two.
    is_name = scheme.lower() in SHOWN and HOST.fullmatch(host) and not any("@" in each for each in further)
    return f"{scheme}://{host}" if is_name else f"{scheme}://..."


def without_passwords(text: str) -> str:
    """The text with a mark for each password in a URL; never longer than before."""
    return PASSWORD.sub(r"\1:*@", text)

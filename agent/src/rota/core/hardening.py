"""How the text of a unit hardens it: as whom it runs, and what it may reach and use."""

import re

from rota.core.record import MAX_HARDENING, MAX_TEXT, fitting

# Named one by one: what is left out, such as Environment= and SetCredential=, may hold what is nobody's business.
HARDENS = re.compile(
    r"(?:User|DynamicUser|Group|SupplementaryGroups|UMask|Nice|OOM\w+|TasksMax|Memory\w+|Limit\w+|CPU\w+|IO\w+|IP\w+"
    r"|Socket\w+|Private\w+|Protect\w+|Restrict\w+|Proc\w+|Device\w+|Root\w+|SystemCall\w+|Capability\w+|Ambient\w+"
    r"|NoNewPrivileges|SecureBits|KeyringMode|LockPersonality|RemoveIPC|AppArmorProfile|SELinuxContext|Delegate"
    r"|\w+Paths|\w+Directory|TemporaryFileSystem|NetworkNamespacePath)=.*"
)
HASH = re.compile(r"^ExecStart=.*? hash=([0-9a-f]+) -- ", re.MULTILINE)
"""The last that its runner is told before the words of the work."""


def hash_of(unit: str) -> str:
    """What its runner calls this service; "" where it is none of a task."""
    found = HASH.search(unit)
    return found[1] if found else ""


def hardening_of(unit: str) -> tuple[str, ...]:
    """The lines of its text that harden it, in order."""
    lines = (line for line in unit.splitlines() if HARDENS.fullmatch(line))
    return tuple(fitting(line, MAX_TEXT) for line in lines)[:MAX_HARDENING]

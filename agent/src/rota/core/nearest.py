"""What somebody may have meant by a name that is not known."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` when a known name is like this one."""
    found = difflib.get_close_matches(name, [str(each) for each in known], n=1)
    return f", did you mean {found[0]!r}?" if found else ""

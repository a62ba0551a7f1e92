"""When a task that is needed every so often ran last: the text of the file that its runner and `rota run` read.

Ten digits of seconds since 1970 when it last succeeded, a blank, and the same for when it last failed; zeros for never.
"""

from datetime import datetime, timedelta

NEVER = "0000000000 0000000000\n"


def is_due(text: str, now: datetime, *, every: timedelta) -> bool:
    """Whether the latest success is older than this; one in the future tells only of a clock that was set back."""
    succeeded = text[:10]
    age = now.timestamp() - int(succeeded) if succeeded.isdigit() else every.total_seconds()
    return not 0 <= age < every.total_seconds()

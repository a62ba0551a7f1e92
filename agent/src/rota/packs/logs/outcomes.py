"""What becomes of a run that works on several things: one's trouble does not keep the others from being done."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rota.core.errors import RotaError
from rota.packs import Report


class SomeFailed(RotaError):
    """Not everything could be done; the rest was."""


class Troubles:
    """Collects what failed, tells each at once, and fails the run at its end."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.told: list[str] = []

    @contextmanager
    def with_(self, name: object) -> Iterator[None]:
        """Work on one thing; what an operator can do something about is told, and the next thing has its turn."""
        try:
            yield
        except (RotaError, OSError) as error:
            self.tell(name, str(error))

    def tell(self, name: object, message: str) -> None:
        self.told.append(f"{name}: {message}")
        self._report.item(str(name), "failed", message)
        print(f"{name}: {message}", file=sys.stderr)

    def require_none(self) -> None:
        """Raises SomeFailed naming all of them."""
        if self.told:
            raise SomeFailed("; ".join(self.told))

"""Where the pack's files lie on a host."""

from dataclasses import dataclass
from pathlib import Path

STATE = Path("/var/lib/rota/reports")


@dataclass(frozen=True)
class Workplace:
    """Every folder of the pack, below one.

    `exports` is what clients download; `asked` has a file for each run that was asked for, `results` what came of it;
    `ledger` the attempts of which the diary has not heard; `locks` one file for each report; `trees` scripts while they
    run; `known` the definitions that the diary told last.
    """

    state: Path = STATE

    @property
    def exports(self) -> Path:
        return self.state / "exports"

    @property
    def asked(self) -> Path:
        return self.state / "asked"

    @property
    def results(self) -> Path:
        return self.state / "results"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger"

    @property
    def locks(self) -> Path:
        return self.state / "locks"

    @property
    def trees(self) -> Path:
        return self.state / "trees"

    @property
    def known(self) -> Path:
        return self.state / "definitions.json"

    def make(self) -> None:
        """Make the folders that are missing; those that others must reach are made by the role, with their groups."""
        for folder in (self.exports, self.asked, self.results, self.ledger, self.locks, self.trees):
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)

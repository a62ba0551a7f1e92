"""What a start that is not the timer's asks of the runner, and the text in which it is left for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rota.core.record import ParameterValue, format_moment
from rota.core.status import Trigger


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run that is asked for. `id` is the run's own, chosen by who asks, so that they can follow its output.

    `arguments` are words appended to the command, `environment` further variables of the work. `is_watched` says that
    somebody follows the run and is shown at once what it reports, `is_attended` that they do so on a terminal.
    """

    id: str
    trigger: Trigger = Trigger.MANUAL
    slot: datetime | None = None
    asked_by: str = ""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    is_dry_run: bool = False
    is_watched: bool = False
    is_attended: bool = False

    @property
    def text(self) -> str:
        """Lines `key value`; a line that begins with a blank goes on with the value before it."""
        pairs = [("id", self.id), ("trigger", self.trigger.value)]
        if self.slot:
            pairs.append(("slot", format_moment(self.slot)))
        if self.asked_by:
            pairs.append(("asked_by", self.asked_by))
        if self.parameters:
            pairs.append(("parameters", json.dumps(self.parameters, sort_keys=True)))
        pairs += [("environment", f"{name}={value}") for name, value in self.environment.items()]
        pairs += [("argument", word) for word in self.arguments]
        pairs += [(key, "yes") for key, is_so in self._answers if is_so]
        return "".join(f"{key} {value}".replace("\n", "\n ") + "\n" for key, value in pairs)

    @property
    def _answers(self) -> tuple[tuple[str, bool], ...]:
        return ("dry_run", self.is_dry_run), ("attended", self.is_attended)

"""Where the definitions come from: a folder of files, or the diary, whose last answer is kept."""

import json
from pathlib import Path
from typing import Any

from rota.adapters.diary import Diary, DiaryBusy, DiaryRefused, DiaryUnreachable, Unchanged
from rota.adapters.spool import replace_through
from rota.core.errors import RotaError
from rota.packs.reports.definitions import BadDefinitions, Definitions, from_json

ADDRESS = "/api/v1/reports/definitions"


class NoDefinitions(RotaError):
    """The diary does not tell what is defined, and has never told."""


def from_diary(diary: Diary, known: Path) -> tuple[Definitions, str]:
    """What is defined, and why that may be out of date, or "". `known` keeps the last answer.

    Raises NoDefinitions, BadDefinitions.
    """
    before = read_known(known)
    try:
        answer = diary.ask(ADDRESS, read=read_answer, etag=before["version"] if before else "")
    except Unchanged:
        assert before, "nothing was said to be unchanged"  # noqa: S101 - for the types
        return from_json(before["definitions"]), ""
    except (DiaryUnreachable, DiaryBusy, DiaryRefused) as error:
        if before is None:
            raise NoDefinitions(str(error.args[0])) from None
        return from_json(before["definitions"]), f"the diary does not tell what is defined by now: {error.args[0]}"
    definitions = from_json(answer["definitions"])
    replace_through(known, json.dumps(answer))
    return definitions, ""


def read_answer(value: Any) -> dict[str, Any]:
    """Raises ValueError."""
    if not isinstance(value, dict) or not isinstance(value.get("version"), str) or "definitions" not in value:
        raise ValueError("it answers, but not as a diary does")
    return value


def read_known(known: Path) -> dict[str, Any] | None:
    """The last answer; None where there is none that can be used."""
    try:
        answer = read_answer(json.loads(known.read_text("utf-8")))
        from_json(answer["definitions"])
    except (FileNotFoundError, ValueError, BadDefinitions):
        return None
    return answer

"""Whose each address of the reports' pages is: whoever adds one says it here."""

RIGHTS: dict[str, object] = {}

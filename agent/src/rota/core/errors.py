"""The base of every error an operator can do something about."""


class RotaError(Exception):
    """Printed as one line, exit 2: the class's docstring is the first half of the message, the argument the second."""

    def __str__(self) -> str:
        headline = (type(self).__doc__ or "").strip().rstrip(".")
        detail = super().__str__()
        return f"{headline}: {detail}" if detail else headline

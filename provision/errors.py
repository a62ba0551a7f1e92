"""The one family of errors that an operator can do something about; each prints as one line and has an exit code."""


class OperatorError(Exception):
    """A command cannot go on, and the operator can do something about it.

    A subclass's docstring is the first half of the message, its argument the second: what is wrong, with which
    value, and what would be right.
    """

    exit_code = 2

    def __str__(self) -> str:
        sentence = (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")
        detail = super().__str__()
        return f"{sentence}: {detail}" if detail else f"{sentence}."

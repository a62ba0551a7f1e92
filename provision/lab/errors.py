"""What can keep the lab from working, and what the operator can do about it."""

from provision.errors import OperatorError


class LabUnavailable(OperatorError):
    """The lab cannot run here."""


class LabDown(OperatorError):
    """The lab is not up."""


class LabFailed(OperatorError):
    """The lab did not come up as it should."""


class ProgramFailed(OperatorError):
    """A program that the lab needs has failed."""


class UnknownHost(OperatorError):
    """The lab has no host of this name."""

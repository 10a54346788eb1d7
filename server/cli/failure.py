"""What tells a command that was wrong from one that was right and did not work out."""

from pipeline.errors import ParleyError


class RunFailedError(ParleyError):
    """The command is right; what it tried did not work out. Ends `parley` with exit code 1 instead of 2."""

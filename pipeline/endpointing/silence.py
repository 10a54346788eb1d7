"""The turn is over when the silence has lasted as long as the client asked for."""

from typing import Literal

from pipeline.stages import EngineOptions, Pause
from pipeline.workers import CancelToken


class Silence:
    """End of turn by silence alone: nothing but the clock decides."""

    reads: frozenset[Literal["sound", "words"]] = frozenset()

    class Options(EngineOptions, frozen=True):
        """None of its own: how long the silence must last is for the client to say."""

    def __init__(self, options: Options) -> None:
        """Needs nothing."""

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        """Returns the most that the client allows, whatever was said."""
        return pause.most_ms

    def warm_up(self) -> None:
        """Has nothing to warm."""

    def close(self) -> None:
        """Holds nothing."""

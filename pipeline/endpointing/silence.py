"""The turn is over when the silence has lasted as long as the client asked for."""

from pipeline.stages import EngineOptions, Pause
from pipeline.workers import CancelToken


class Silence:
    """End of turn by silence alone: nothing but the clock decides."""

    class Options(EngineOptions, frozen=True):
        """None: how long the silence must last is for the client to say (`turn_detection.silence_duration_ms`)."""

    def __init__(self, options: Options) -> None:
        """Needs nothing."""

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        """Returns the client's own `silence_duration_ms`, whatever was said."""
        return pause.silence_ms

    def warm_up(self) -> None:
        """Has nothing to warm."""

    def close(self) -> None:
        """Holds nothing."""

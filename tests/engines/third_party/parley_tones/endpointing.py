"""The turn is over sooner when the voice has faded away."""

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from parley_tones import TonesEngine
from pipeline.stages import EngineOptions, Pause
from pipeline.workers import CancelToken

LAST = 480
"""Samples at the end of a pause's sound that are listened to: 30 ms."""


class Fading(TonesEngine):
    class Options(EngineOptions, frozen=True, kw_only=True):
        least_ms: Annotated[int, Meta(ge=0, description="Milliseconds of silence after a voice that faded.")] = 200

    reads: frozenset[Literal["sound", "words"]] = frozenset({"sound"})

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        level = np.abs(pause.audio.astype(np.int32))
        faded = level.max(initial=0) > 10 * level[-LAST:].max(initial=0)
        return min(pause.most_ms, self.options.least_ms) if faded else pause.most_ms

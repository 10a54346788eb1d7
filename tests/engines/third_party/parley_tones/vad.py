"""Somebody speaks while it is loud."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta

from parley_tones import TonesEngine
from pipeline.stages import EngineOptions
from pipeline.types import Samples


class Loudness(TonesEngine):
    class Options(EngineOptions, frozen=True, kw_only=True):
        gain: Annotated[float, Meta(gt=0, le=1000, description="What the level is multiplied with.")] = 20.0

    frame = 320

    def open(self) -> list[float]:
        """Returns the last probability, in a list so that it can change."""
        return [0.0]

    def detect(self, batch: Sequence[tuple[list[float], Samples]]) -> list[float]:
        for state, samples in batch:
            level = self.options.gain * float(np.sqrt(np.mean(np.square(samples))))
            state[0] = min(1.0, max(level, 0.5 * state[0]))
        return [state[0] for state, _ in batch]

"""What the engine `silence` promises."""

import numpy as np

from pipeline.endpointing.silence import Silence
from pipeline.stages import Pause
from pipeline.workers import CancelToken


def test_turn_ends_after_the_most_silence_that_the_client_allows() -> None:
    engine = Silence(Silence.Options())
    engine.warm_up()
    for silence_ms in (200, 500, 1500):
        pause = Pause(np.zeros(1600, np.int16), "whatever was said", silence_ms)
        assert engine.assess(pause, CancelToken()) == silence_ms
    engine.close()

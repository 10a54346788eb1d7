"""Silero VAD v6 (https://github.com/snakers4/silero-vad) through onnxruntime.

The weights come with the `silero-vad` wheel, whose own code wants torch; only the ONNX file is used here. Of the
files in the wheel, this is the one whose first axis is the batch, so that one call can serve several sessions.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from onnxruntime import InferenceSession

from pipeline.errors import EngineError
from pipeline.onnx_session import open_session
from pipeline.stages import Device, EngineOptions
from pipeline.types import LISTENING_RATE, Samples

FRAME = 512
"""Samples a frame at 16 kHz (32 ms): what the 16 kHz model was trained on."""

CONTEXT = 64
"""Samples of the frame before that the model is given again, in front of each frame."""

_STATE = 128
_SAMPLE_RATE = np.array(LISTENING_RATE, np.int64)
_FILE = "silero_vad_16k_op15.onnx"
_MEND = "Install it again: pip install --force-reinstall --no-deps silero-vad."


@dataclass(slots=True, eq=False)
class SileroState:
    """What the model remembers of one session: the end of the last frame, and its two LSTM vectors."""

    context: Samples = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))
    hidden: Samples = field(default_factory=lambda: np.zeros((2, _STATE), np.float32))


class Silero:
    """Voice activity detection with Silero VAD: ~0.1 ms a frame alone, half of that each in a batch of 64."""

    class Options(EngineOptions, frozen=True, kw_only=True):
        """Only where: how likely speech must be to count is for the client to say (`turn_detection.threshold`)."""

        device: Annotated[
            Device,
            Meta(
                description="Where it computes: `auto` stays on the CPU, where a frame takes less time than its way to "
                "a GPU and back; `cuda` works or does not start."
            ),
        ] = "auto"

    devices = ("cpu", "cuda")

    frame = FRAME

    def __init__(self, options: Options) -> None:
        """Loads the weights.

        Raises:
            EngineError: the wheel or its ONNX file is missing or unreadable, or `device: cuda` does not work.
        """
        # One thread: a frame is too small to share.
        device: Device = "cuda" if options.device == "cuda" else "cpu"
        self._session, self.device = open_session(_find_weights(), device, trial=_try, mend=_MEND)

    def open(self) -> SileroState:
        """Returns the state of a session that has heard nothing yet."""
        return SileroState()

    def detect(self, batch: Sequence[tuple[SileroState, Samples]]) -> list[float]:
        """Judges one frame, float32 `[512]` at 16 kHz, of each session. See `VoiceActivityDetector.detect`."""
        if not batch:
            return []
        sound = np.stack([np.concatenate((state.context, frame)) for state, frame in batch])
        hidden = np.stack([state.hidden for state, _ in batch], axis=1)
        speech, hidden = self._session.run(None, {"input": sound, "state": hidden, "sr": _SAMPLE_RATE})
        for index, (state, _) in enumerate(batch):
            # Copies: a view would keep the whole batch alive for as long as its slowest session.
            state.context = sound[index, -CONTEXT:].copy()
            state.hidden = hidden[:, index].copy()
        return [float(probability) for probability in speech[:, 0]]

    def warm_up(self) -> None:
        """Judges a frame of silence, alone and in a batch: onnxruntime plans its memory at the first call."""
        for size in (1, 8):
            self.detect([(self.open(), np.zeros(FRAME, np.float32)) for _ in range(size)])

    def close(self) -> None:
        """Frees the weights."""
        self._session = None


def _try(session: InferenceSession) -> None:
    sound, state = np.zeros((1, CONTEXT + FRAME), np.float32), np.zeros((2, 1, _STATE), np.float32)
    session.run(None, {"input": sound, "state": state, "sr": _SAMPLE_RATE})


def _find_weights() -> Path:
    wheel = importlib.util.find_spec("silero_vad")  # finds without importing, which would need torch
    if wheel is None or not wheel.submodule_search_locations:
        raise EngineError("The package silero-vad is not installed.", _MEND)
    return Path(wheel.submodule_search_locations[0]) / "data" / _FILE

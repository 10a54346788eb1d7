"""Smart Turn v3 (https://github.com/pipecat-ai/smart-turn): hears whether somebody has finished speaking.

A small model in an ONNX file: the encoder of Whisper tiny over the last 8 s of sound, and on top of it one number,
the probability that the turn is complete. It knows 23 languages, and goes by the melody of what was said as much as by
the words.

    input   float32 [1, 80, 800]   log-mel spectrogram of 8 s, the newest sound at the end
    → output  float32 [1, 1]       probability
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta
from onnxruntime import InferenceSession

from pipeline import hub
from pipeline.errors import EngineError, StageError
from pipeline.mel import BANDS, HOP, log_mel
from pipeline.onnx_session import open_session
from pipeline.stages import EngineOptions, Pause
from pipeline.types import LISTENING_RATE, Pcm16, Samples
from pipeline.workers import CancelToken

_WINDOW: Final = 8 * LISTENING_RATE
"""Samples that the model looks at."""

_QUIET_MS: Final = 64
"""The silence at the end of a pause's sound: no turn can end sooner."""

_SILENCE: Final = 200 * LISTENING_RATE // 1000
"""Samples of silence behind the last word in the sound that the model was trained with."""

_ADDED: Final = _SILENCE - _QUIET_MS * LISTENING_RATE // 1000

_MEND: Final = (
    "Write `model: hf:pipecat-ai/smart-turn-v3:smart-turn-v3.2-cpu.onnx`, or download that file from "
    "https://huggingface.co/pipecat-ai/smart-turn-v3 and give its path."
)


class SmartTurn:
    """End of turn by how the last words sounded: ~50 ms of computing for each pause, on one core."""

    reads: frozenset[Literal["sound", "words"]] = frozenset({"sound"})

    class Options(EngineOptions, frozen=True, kw_only=True):
        """The weights, and what is made of their judgement."""

        model: Annotated[
            str,
            Meta(
                description="The path of Smart Turn's ONNX file, version 3, or where to download it: "
                "`hf:pipecat-ai/smart-turn-v3:smart-turn-v3.2-cpu.onnx` (8 MB; its `-gpu.onnx` is the one for CUDA)."
            ),
        ]
        threshold: Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="How likely it must be that the user has finished for `silence_ms` to be enough. The "
                "further below, the longer the silence must last, up to the most that the client's `eagerness` allows.",
            ),
        ] = 0.5
        silence_ms: Annotated[
            int,
            Meta(ge=_QUIET_MS, description="Silence that ends a turn after which the user has most likely finished."),
        ] = 200
        threads: Annotated[int, Meta(ge=1, le=256, description="CPU threads for one judgement.")] = 1

    devices = ("cpu", "cuda")

    def __init__(self, options: Options) -> None:
        """Finds, downloads and loads the weights.

        Raises:
            EngineError: they are missing or not those of Smart Turn v3, or `device: cuda` does not work.
        """
        self._options = options
        reference = hub.parse(options.model)
        path = Path(options.model).expanduser() if reference is None else hub.fetch_file(reference)
        session, self.device = open_session(
            path, options.device, threads=options.threads, trial=_try, mend=_MEND, option="model"
        )
        self._session: InferenceSession | None = session

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        """Returns `silence_ms` where the user has most likely finished, and from there to `most_ms` the longer the
        less likely that is: at half the threshold, the middle of the two.

        Raises:
            StageError: onnxruntime fails.
        """
        if cancel.cancelled or not len(pause.audio):
            return pause.most_ms
        doubt = max(0.0, 1 - self._probability(pause.audio) / self._options.threshold)
        least = min(self._options.silence_ms, pause.most_ms)
        return round(least + doubt * (pause.most_ms - least))

    def warm_up(self) -> None:
        """Judges a second of silence: onnxruntime plans its memory at the first call.

        Raises:
            EngineError: what the weights give is no probability.
        """
        try:
            self._probability(np.zeros(LISTENING_RATE, np.int16))
        except StageError as error:
            raise EngineError(
                f"The model {self._options.model} does not work: {error.problem}", _MEND, "model"
            ) from error

    def close(self) -> None:
        """Frees the weights."""
        self._session = None

    def _probability(self, sound: Pcm16) -> float:
        """Returns how likely it is that a turn is complete, by its sound up to 64 ms into the silence."""
        session = self._session
        if session is None:
            raise StageError("endpointing", "Smart Turn has been shut down.")
        picture = log_mel(_prepare(sound))[np.newaxis]
        try:
            (judged,) = session.run(None, {session.get_inputs()[0].name: picture})
            probability = float(judged.item())
        except Exception as error:  # onnxruntime raises classes of its own, without a common base
            raise StageError("endpointing", f"Smart Turn failed: {' '.join(str(error).split())}") from error
        if not 0 <= probability <= 1:
            raise StageError("endpointing", f"Smart Turn gave {probability}, which is no probability.")
        return probability


def _prepare(sound: Pcm16) -> Samples:
    """Returns the newest 8 s as Whisper's feature extractor prepares them: silence in front where there is less, and
    all of it with a mean of zero and a variance of one. Silence is added behind, as in training.
    """
    window = np.zeros(_WINDOW, np.float32)
    newest = sound[-(_WINDOW - _ADDED) :]
    window[_WINDOW - _ADDED - len(newest) : _WINDOW - _ADDED] = newest / np.float32(32768)
    prepared: Samples = (window - window.mean()) / np.sqrt(window.var() + np.float32(1e-7))
    return prepared


def _try(session: InferenceSession) -> None:
    """Runs the model on an empty picture.

    Raises:
        EngineError: it is not Smart Turn v3. Any other exception: it cannot be run.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = [BANDS, _WINDOW // HOP]
    if len(inputs) != 1 or len(outputs) != 1 or (inputs[0].type, inputs[0].shape[1:]) != ("tensor(float)", shape):
        raise EngineError("The file is an ONNX model, but not the one of Smart Turn v3.", _MEND, "model")
    session.run(None, {inputs[0].name: np.zeros((1, *shape), np.float32)})

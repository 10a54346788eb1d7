"""Whisper (https://github.com/openai/whisper) through faster-whisper and CTranslate2.

The weights: whisper_weights.py. How utterances are read: whisper_stream.py, and each window of one: whisper_window.py.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np

from pipeline.device import gpu
from pipeline.errors import EngineError, StageError
from pipeline.registry import did_you_mean, listed
from pipeline.stages import EngineOptions, TranscriberCapabilities
from pipeline.transcription import whisper_weights
from pipeline.transcription.whisper_stream import Turns, WhisperStream, code_of, tag_of
from pipeline.transcription.whisper_window import LONGEST_S, Reading, WindowReader
from pipeline.types import LISTENING_RATE

_CLOSE_S = 10.0
"""How long `close` waits for a window that is being read."""

ComputeType: TypeAlias = Literal[
    "auto",
    "default",
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
]
"""What CTranslate2 can compute with, somewhere."""


class FasterWhisper:
    """Speech to text with Whisper, in up to 100 languages."""

    class Options(EngineOptions, frozen=True, kw_only=True):
        """`model` says how well it understands and how long that takes; `compute_type` and `device`, how fast."""

        model: Annotated[
            str,
            msgspec.Meta(
                description="Which Whisper: the name of a size (`tiny`, `base.en`, `small`, `large-v3`, `turbo`, "
                "`distil-large-v3` …), `hf:OWNER/REPOSITORY[@REVISION]`, or a folder in CTranslate2's format."
            ),
        ] = "base.en"
        compute_type: Annotated[
            ComputeType,
            msgspec.Meta(
                description="What it computes with: `auto` is the fastest here, `default` is what the weights are "
                "stored in, or what comes near it."
            ),
        ] = "auto"
        language: Annotated[
            str | None,
            msgspec.Meta(
                description="What is spoken, a BCP 47 tag, where the session does not say; without it the language "
                "is recognised anew in each utterance."
            ),
        ] = None
        prompt: Annotated[
            str | None,
            msgspec.Meta(
                description="Words that are likely to come, or a text in the style that is wanted, where the session "
                "gives none. The last 223 tokens count."
            ),
        ] = None
        beam_size: Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=32,
                description="Readings that are followed at the same time: 5 is a little more accurate and takes "
                "longer. Only 1 tells the probability of each token.",
            ),
        ] = 1
        temperature: Annotated[
            Annotated[float, msgspec.Meta(ge=0, le=2)] | tuple[Annotated[float, msgspec.Meta(ge=0, le=2)], ...],
            msgspec.Meta(
                description="0 takes the likeliest words, more draws them. Of several, the next is tried where a text "
                "fails `log_prob_threshold` or `compression_ratio_threshold`."
            ),
        ] = (0.0, 0.4, 0.8)
        no_speech_threshold: Annotated[
            Annotated[float, msgspec.Meta(ge=0, le=1)] | None,
            msgspec.Meta(
                description="A text is dropped if the probability that nobody speaks is above this, and the text fails "
                "`log_prob_threshold`. null: never."
            ),
        ] = 0.6
        log_prob_threshold: Annotated[
            Annotated[float, msgspec.Meta(le=0)] | None,
            msgspec.Meta(description="The mean log probability of its tokens below which a text is doubtful; or null."),
        ] = -1.0
        compression_ratio_threshold: Annotated[
            Annotated[float, msgspec.Meta(gt=0)] | None,
            msgspec.Meta(description="How well a text may compress before it counts as repeating itself; or null."),
        ] = 2.4
        window: Annotated[
            float,
            msgspec.Meta(
                ge=5,
                le=LONGEST_S,
                description="Seconds of sound that Whisper is given at least, filled up with silence. 30 is how it was "
                "trained; 10 takes the encoder a fifth of the time; below 10 it is known to understand less.",
            ),
        ] = 10.0
        word_times: Annotated[
            bool, msgspec.Meta(description="Always tells when each word was said, whether asked or not.")
        ] = False
        partials: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=60,
                description="Seconds of new speech after which it is read again, so that words can be shown while they "
                "are spoken; 0: never.",
            ),
        ] = 1.0
        threads: Annotated[
            int, msgspec.Meta(ge=0, le=256, description="CPU threads of a worker; 0: as many as cores, 4 at most.")
        ] = 0
        workers: Annotated[
            int,
            msgspec.Meta(ge=1, le=64, description="Windows that are read at the same time; others wait their turn."),
        ] = 1

    devices = ("cpu", "cuda")

    def __init__(self, options: Options) -> None:
        """Finds the weights, downloads them if they are not here, and loads them.

        Raises:
            EngineError: they cannot be had, are damaged, or this machine cannot compute with them so.
        """
        temperature = options.temperature
        temperatures = temperature if isinstance(temperature, tuple) else (temperature,)
        if not temperatures:
            raise EngineError("`temperature` is an empty list.", "Write a number, or some.", "temperature")
        folder = whisper_weights.find(options.model)
        model, place = whisper_weights.load(
            folder, options.device, options.compute_type, options.threads, options.workers
        )
        self.device = f"cuda ({gpu()})" if place == "cuda" else "cpu"
        self._reader = WindowReader(
            model,
            Reading(
                window_s=options.window,
                beam_size=options.beam_size,
                temperatures=temperatures,
                no_speech_threshold=options.no_speech_threshold,
                log_prob_threshold=options.log_prob_threshold,
                compression_ratio_threshold=options.compression_ratio_threshold,
            ),
        )
        self._turns = Turns(options.workers)
        self._options = options
        self._language = self._default_language()
        self.capabilities = TranscriberCapabilities(
            languages=frozenset(map(tag_of, self._reader.languages)),
            streaming=True,
            partial_s=options.partials or None,
            log_probabilities=options.beam_size == 1,
            word_times=True,
            prompt=True,
            concurrency=options.workers,
        )

    def open(self, language: str | None = None, prompt: str | None = None, word_times: bool = False) -> WhisperStream:
        """Opens a session's stream.

        Raises:
            StageError: the model does not know the language.
        """
        code = self._language if language is None else self._code(language)
        if language is not None and code is None:
            raise StageError("transcription", f"The model does not know the language {language!r}.")
        text = self._options.prompt if prompt is None else prompt
        tokens = self._reader.encode_text(text) if text and text.strip() else []
        return WhisperStream(self._reader, self._turns, code, tokens, word_times or self._options.word_times)

    def warm_up(self) -> None:
        """Reads a second of noise: the first window takes longer than the others.

        Raises:
            EngineError: the model cannot be computed with.
        """
        stream = self.open(word_times=True)
        stream.feed(np.random.default_rng(0).integers(-300, 300, LISTENING_RATE).astype(np.int16))
        try:
            stream.finish()
        except StageError as error:
            raise EngineError(f"The model does not work: {error.problem}", "Try another one.", "model") from error

    def close(self) -> None:
        """Frees the weights when nothing is being read any more."""
        self._turns.end(_CLOSE_S)
        self._reader.close()

    def _default_language(self) -> str | None:
        language = self._options.language
        code = self._code(language) if language is not None else None
        if language is None or code is not None:
            return code
        known = sorted(self._reader.languages)
        if known == ["en"]:
            mend = "This model knows English only: leave `language` out, or take one without `.en`."
        else:
            mend = f"{did_you_mean(language, known)}It knows {listed(known)}."
        raise EngineError(f"The model does not know the language `{language}`.", mend, "language")

    def _code(self, language: str) -> str | None:
        """Returns Whisper's code of a BCP 47 tag, if the model knows it."""
        code = code_of(language)
        return code if code in self._reader.languages else None

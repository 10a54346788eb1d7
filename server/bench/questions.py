"""What is asked: recordings, or questions that espeak-ng speaks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.errors import ParleyError
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from server.cli.loudness import speech_bounds
from server.cli.wav import read_wav, resampled

BUILT_IN: Final = (
    "What is the capital of France?",
    "What time is it?",
    "Tell me a joke.",
    "Turn on the kitchen lights.",
)
"""Questions that PocketSphinx understands when espeak-ng says them slowly, so that a bench needs no recording."""

VOICE: Final = "en-us+klatt4"
WORDS_A_MINUTE: Final = 120
LONG_REPLY: Final = "Tell me a long story."
"""What is asked before an interruption: the reply must still be on its way when it comes."""
INTERRUPTIONS: Final = ("Stop.", "Wait a moment.", "No, that is wrong.", "Turn on the kitchen lights.", "Yes.")
"""What replies are interrupted with, in turn: voices begin softly or hard, and are noticed sooner or later."""


@dataclass(frozen=True, slots=True)
class Question:
    """A recording: int16 at 24 kHz, and the samples at which speech begins and ends in it."""

    name: str
    samples: Pcm16
    start: int
    end: int


def question(name: str, samples: Pcm16) -> Question:
    """Finds the speech in a recording.

    Raises:
        ParleyError: it is silent.
    """
    bounds = speech_bounds(samples, WIRE_RATE)
    if bounds is None:
        raise ParleyError(f"{name} is silent: there is nothing to ask with it.")
    return Question(name, samples, *bounds)


def recorded(paths: list[Path]) -> list[Question]:
    """Reads WAV files, and those in folders, in the order of their names.

    Raises:
        ParleyError: a file cannot be read or is silent, or a folder has none.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.wav")) if path.is_dir() else [path]
        if not found:
            raise ParleyError(f"There is no WAV file in {path}.")
        files += found
    read = ((file, read_wav(file)) for file in files)
    return [question(file.stem, resampled(samples, rate, WIRE_RATE)) for file, (samples, rate) in read]


def spoken(sentences: tuple[str, ...]) -> list[Question]:
    """Has espeak-ng speak them."""
    from pipeline.tts.espeak_ng import EspeakNg  # only now: it loads a library

    engine = EspeakNg(EspeakNg.Options(voice=VOICE, words_per_minute=WORDS_A_MINUTE))
    try:
        made = []
        for sentence in sentences:
            chunks = engine.synthesize(SpeechRequest(sentence, None, 1.0), CancelToken())
            made.append(question(sentence, resampled(np.concatenate(list(chunks)), engine.rate, WIRE_RATE)))
        return made
    finally:
        engine.close()

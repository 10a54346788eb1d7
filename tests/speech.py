"""Spoken input for tests, made by espeak-ng, and a measure of what was understood of it."""

import ctypes
import functools

import numpy as np
import soxr

from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from scripts.train_builtin_model import heard

UNDERSTOOD = (
    "who made you",
    "turn on the kitchen lights",
    "what is your name",
    "how are you today",
)
"""Sentences that PocketSphinx understands (but for a word at most) when `say` says them."""

_LEVEL = 0.3
_ROOM = 30
"""Steps of noise, about -60 dB. Digital silence is not what a microphone hears, and decoders are worse for it."""


@functools.cache
def _speaker() -> EspeakNg:
    # Of espeak-ng's voices and paces the one that PocketSphinx understands best.
    return EspeakNg(EspeakNg.Options(voice="en-us+klatt4", words_per_minute=130))


def say(text: str, rate: int = LISTENING_RATE) -> Pcm16:
    """Returns the text spoken in a quiet room, int16 `[n]` at `rate`, with next to no silence around it."""
    ctypes.CDLL(None).srand(1)  # the voice has noise in it, from C's rand(): let it be the same noise each time
    chunks = list(_speaker().synthesize(SpeechRequest(text), CancelToken()))
    voice: Pcm16 = soxr.resample(np.concatenate(chunks), _speaker().rate, rate)
    room = silence(len(voice) / rate, rate)
    return (voice * _LEVEL).astype(np.int16) + room


def silence(seconds: float, rate: int = LISTENING_RATE) -> Pcm16:
    """Returns the sound of a quiet room, int16 `[n]` at `rate`."""
    return np.random.default_rng(0).integers(-_ROOM, _ROOM + 1, round(seconds * rate)).astype(np.int16)


def utterance(text: str) -> Pcm16:
    """Returns what a transcriber is given of a spoken text: at 16 kHz, with 0.3 s of the room on both sides."""
    return np.concatenate([silence(0.3), say(text), silence(0.3)])


def word_errors(reference: str, hypothesis: str) -> int:
    """Returns how many words must be put in, left out or changed to make one text of the other."""
    return heard.word_errors(reference.split(), hypothesis.split())

"""What clients say to a server that is measured: sentences of espeak-ng, and the quiet of a room."""

import functools
from typing import Final

import numpy as np

from pipeline.audio import StreamResampler
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken

SENTENCES: Final = ("Turn on the kitchen lights.", "What is the capital of France?", "How are you today?")
_LEVEL: Final = 0.3


def spoken(number: int) -> Pcm16:
    """Returns one of the sentences, int16 `[n]` at 24 kHz."""
    return _sentences()[number % len(SENTENCES)]


@functools.cache
def _sentences() -> list[Pcm16]:
    voice = EspeakNg(EspeakNg.Options(voice="en-us+klatt4", words_per_minute=145))
    try:
        return [_say(voice, text) for text in SENTENCES]
    finally:
        voice.close()


def _say(voice: EspeakNg, text: str) -> Pcm16:
    chunks = np.concatenate(list(voice.synthesize(SpeechRequest(text), CancelToken())))
    resampler = StreamResampler(voice.rate, WIRE_RATE)
    sound: Pcm16 = np.concatenate((resampler.process(chunks), resampler.flush()))
    return (sound * _LEVEL).astype(np.int16)


def room(seconds: float, seed: int = 0) -> Pcm16:
    """Returns the sound of a quiet room: about -60 dB of noise. Digital silence is not what a microphone hears."""
    return np.random.default_rng(seed).integers(-30, 31, round(seconds * WIRE_RATE)).astype(np.int16)

"""Speech, the noise that is mixed into it, and the reducer that takes it out, for the measurements."""

import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline.audio import slices
from pipeline.noise import NoiseField, NoiseReducer
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken

Sound = NDArray[np.float64]

_PIECE: Final = WIRE_RATE // 50
_LEVEL: Final = 8_000.0
"""The loudest of the speech, in steps of int16."""

_VOICE: Final = 200.0
"""What is louder counts as speech when its power is taken."""

_TALKERS: Final = 6
_SENTENCES: Final = ("Turn on the kitchen lights.", "What is the capital of France?", "My number is four nine two one.")
_VOICES: Final = ("en-us+klatt4", "en-us+f3")


def reduce(sound: Pcm16, field: NoiseField) -> Pcm16:
    """Takes the noise out, in pieces as in a session."""
    reducer = NoiseReducer(field)
    return np.concatenate([reducer.process(piece) for piece in slices(sound, _PIECE)])


def pcm(sound: Sound) -> Pcm16:
    """Returns sound as int16."""
    return np.clip(np.rint(sound), -32_768, 32_767).astype(np.int16)


def mixed(voice: Sound, kind: str, ratio: int, index: int, speech: Sequence[Sound]) -> tuple[Sound, Pcm16]:
    """Returns a recording between pauses of a second, clean and with noise `ratio` dB below the voice."""
    pause = np.zeros(WIRE_RATE)
    clean = np.concatenate((pause, voice, pause))
    noise = NOISES[kind](len(clean), np.random.default_rng(index), speech)
    noise *= voice[np.abs(voice) > _VOICE].std() / noise.std() / 10 ** (ratio / 20)
    return clean, pcm(clean + noise)


def _white(length: int, random: np.random.Generator, speech: Sequence[Sound]) -> Sound:
    return random.standard_normal(length)


def _pink(length: int, random: np.random.Generator, speech: Sequence[Sound]) -> Sound:
    """Power falls with frequency: 3 dB an octave."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, length)


def _babble(length: int, random: np.random.Generator, speech: Sequence[Sound]) -> Sound:
    """Several talk at once: the recordings, in other orders and from other places."""
    mixed = np.zeros(length)
    for _ in range(_TALKERS):
        said = np.concatenate([speech[index] for index in random.permutation(len(speech))])
        talker = np.resize(np.roll(said, random.integers(len(said))), length)
        mixed += talker / talker.std()
    return mixed


NOISES: Final[dict[str, Callable[[int, np.random.Generator, Sequence[Sound]], Sound]]] = {
    "white": _white,
    "pink": _pink,
    "babble": _babble,
}


def read(path: Path) -> Sound:
    """Returns a recording at 24 kHz."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            sys.exit(f"{path} is not mono with 16 bits.")
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        return _levelled(soxr.resample(sound, file.getframerate(), WIRE_RATE))


def espeak() -> Iterator[tuple[str, Sound]]:
    """Yields sentences of espeak-ng's: what they say, and the sound."""
    for voice in _VOICES:
        speaker = EspeakNg(EspeakNg.Options(voice=voice))
        for text in _SENTENCES:
            sound = np.concatenate(list(speaker.synthesize(SpeechRequest(text), CancelToken())))
            yield text, _levelled(soxr.resample(sound.astype(np.float64), speaker.rate, WIRE_RATE))


def _levelled(sound: Sound) -> Sound:
    levelled: Sound = sound / np.abs(sound).max() * _LEVEL
    return levelled


def signal_to_noise(clean: Sound, heard: Sound | Pcm16) -> float:
    """Returns the scale-invariant signal-to-noise ratio in dB (Le Roux et al., "SDR – half-baked or well done?")."""
    got = heard.astype(np.float64)
    share = clean * (clean @ got) / (clean @ clean)
    return float(10 * np.log10((share @ share) / ((got - share) @ (got - share))))

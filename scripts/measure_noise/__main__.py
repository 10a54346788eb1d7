"""Measures noise reduction: `python -m scripts.measure_noise [FOLDER]`.

Speech is mixed with noise at 0, 5 and 10 dB (of the power while somebody speaks) and put through the reducer in pieces
of 20 ms, as in a session. The speech is what lies in FOLDER as .wav, or espeak-ng's.
"""

import argparse
import sys
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline.audio import StreamResampler, slices, to_float
from pipeline.noise import DELAY, NoiseField, NoiseReducer
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, SpeechRequest
from pipeline.vad.silero import Silero
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


def main() -> None:
    arguments = argparse.ArgumentParser(prog="scripts.measure_noise", description=__doc__)
    arguments.add_argument("folder", nargs="?", help="where .wav files with speech lie: mono, 16 bits")
    folder = arguments.parse_args().folder
    speech = _espeak() if folder is None else [_read(path) for path in sorted(Path(folder).glob("*.wav"))]
    if not speech:
        sys.exit(f"There is no .wav in {folder}.")
    print(f"{len(speech)} recordings\n")
    print("| noise | SNR | field | SNR gained | noise in pauses | voice found where there is none, before → after |")
    print("|---|---|---|---|---|---|")
    detector = Silero(Silero.Options())
    for kind in NOISES:
        for ratio in (0, 5, 10):
            for field in get_args(NoiseField):
                print(f"| {kind} | {ratio} dB | `{field}` | {_row(speech, kind, ratio, field, detector)} |", flush=True)
    sound = _pcm(np.random.default_rng(0).standard_normal(20 * WIRE_RATE) * 1_000)
    began = time.process_time()
    _reduce(sound, "near_field")
    spent = (time.process_time() - began) / 20
    late_ms = DELAY * 1000 // WIRE_RATE
    print(f"\n{1000 * spent:.1f} ms of a core for a second of sound in pieces of 20 ms; {late_ms} ms late")


def _row(speech: Sequence[Sound], kind: str, ratio: int, field: NoiseField, detector: Silero) -> str:
    """Returns the means over all recordings, as cells of a table."""
    gains, quieter, before, after = [], [], [], []
    for index, voice in enumerate(speech):
        pause = np.zeros(WIRE_RATE)
        clean = np.concatenate((pause, voice, pause))
        noise = NOISES[kind](len(clean), np.random.default_rng(index), speech)
        noise *= voice[np.abs(voice) > _VOICE].std() / noise.std() / 10 ** (ratio / 20)
        noisy = _pcm(clean + noise)
        heard = _reduce(noisy, field)
        gains.append(_snr(clean[:-DELAY], heard[DELAY:]) - _snr(clean, noisy))
        settled = slice(WIRE_RATE // 3, WIRE_RATE)
        quieter.append(20 * np.log10(heard[settled].std() / noisy[settled].std()))
        before.append(_false_voice(noisy, detector))
        after.append(_false_voice(heard, detector))
    voices = f"{100 * np.mean(before):.0f} % → {100 * np.mean(after):.0f} %"
    return f"{np.mean(gains):+.1f} dB | {np.mean(quieter):.1f} dB | {voices}"


def _reduce(sound: Pcm16, field: NoiseField) -> Pcm16:
    reducer = NoiseReducer(field)
    return np.concatenate([reducer.process(piece) for piece in slices(sound, _PIECE)])


def _snr(clean: Sound, heard: Pcm16) -> float:
    """Returns the scale-invariant signal-to-noise ratio in dB (Le Roux et al., "SDR – half-baked or well done?")."""
    got = heard.astype(np.float64)
    share = clean * (clean @ got) / (clean @ clean)
    return float(10 * np.log10((share @ share) / ((got - share) @ (got - share))))


def _false_voice(sound: Pcm16, detector: Silero) -> float:
    """Returns how much of the second before the speech the detector takes for a voice, by OpenAI's threshold."""
    resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
    heard = to_float(resampler.process(sound[: WIRE_RATE * 21 // 20]))[:LISTENING_RATE]
    state = detector.open()
    frames = [heard[start : start + 512] for start in range(0, len(heard) - 511, 512)]
    return float(np.mean([detector.detect([(state, frame)])[0] >= 0.5 for frame in frames]))


def _pcm(sound: Sound) -> Pcm16:
    return np.clip(np.rint(sound), -32_768, 32_767).astype(np.int16)


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


def _read(path: Path) -> Sound:
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            sys.exit(f"{path} is not mono with 16 bits.")
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        return _levelled(soxr.resample(sound, file.getframerate(), WIRE_RATE))


def _espeak() -> list[Sound]:
    said = []
    for voice in _VOICES:
        speaker = EspeakNg(EspeakNg.Options(voice=voice))
        for text in _SENTENCES:
            sound = np.concatenate(list(speaker.synthesize(SpeechRequest(text), CancelToken())))
            said.append(_levelled(soxr.resample(sound.astype(np.float64), speaker.rate, WIRE_RATE)))
    return said


def _levelled(sound: Sound) -> Sound:
    levelled: Sound = sound / np.abs(sound).max() * _LEVEL
    return levelled


if __name__ == "__main__":
    main()

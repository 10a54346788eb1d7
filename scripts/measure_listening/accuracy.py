"""What the detector's own resampling costs it: `python -m scripts.measure_listening.accuracy [FOLDER]`.

Speech, in a quiet room and in a loud one, is given to Silero as soxr's best resampling makes it, as its low-delay one
does, and as `pipeline/vad/frames.py` does; what the detector says of the first counts as right. The speech is what lies
in FOLDER as .wav, or espeak-ng's.
"""

import argparse
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline.audio import pcm16_to_bytes, to_float
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, Samples, SpeechRequest
from pipeline.vad.frames import HISTORY, FrameMaker
from pipeline.vad.silero import FRAME, Silero
from pipeline.workers import CancelToken

_SENTENCES: Final = (
    "Turn on the kitchen lights.",
    "What is the capital of France?",
    "My number is four nine two one.",
    "She sells six short shells, thick fish hush.",
)
_VOICES: Final = ("en-us+klatt4", "en-us+f3", "en-us")
_ROOMS: Final = (17.0, 350.0)
"""Noise, as a standard deviation in steps of int16."""

_THRESHOLD: Final = 0.5


def main() -> None:
    arguments = argparse.ArgumentParser(prog="scripts.measure_listening.accuracy", description=__doc__)
    arguments.add_argument("folder", nargs="?", help="where .wav files with speech lie: mono, 16 bits")
    folder = arguments.parse_args().folder
    detector, maker = Silero(Silero.Options()), FrameMaker(FRAME)
    random = np.random.default_rng(0)
    frames = 0
    wrong = {"soxr LQ": 0, "frames.py": 0}
    shifts: dict[str, list[int]] = {name: [] for name in wrong}
    for speech in _espeak() if folder is None else map(_read, sorted(Path(folder).glob("*.wav"))):
        for noise in _ROOMS:
            sound = _in_a_room(speech, random.normal(0, noise, len(speech) + 2 * WIRE_RATE))
            best = _judged(detector, _soxr(sound, "HQ"))
            others = {"soxr LQ": _soxr(sound, "LQ"), "frames.py": _own(maker, sound)}
            frames += len(best)
            for name, each in others.items():
                judged = _judged(detector, each)[: len(best)]
                wrong[name] += int((judged != best[: len(judged)]).sum())
                shifts[name] += [abs(a - b) for a, b in zip(_edges(judged), _edges(best), strict=True)]
    print(f"{frames} frames of {1000 * FRAME // LISTENING_RATE} ms\n")
    print("| | frames judged otherwise | beginnings and ends elsewhere | by 2 frames or more |")
    print("|---|--:|--:|--:|")
    for name, count in wrong.items():
        moved = np.array(shifts[name])
        print(f"| {name} | {100 * count / frames:.2f} % | {(moved > 0).sum()} of {len(moved)} | {(moved > 1).sum()} |")


def _judged(detector: Silero, frames: Samples) -> NDArray[np.bool_]:
    state = detector.open()
    return np.array([detector.detect([(state, frame)])[0] >= _THRESHOLD for frame in frames])


def _edges(voiced: NDArray[np.bool_]) -> tuple[int, int]:
    """Returns the first and the last frame of speech; -1 where there is none."""
    places = np.flatnonzero(voiced)
    return (int(places[0]), int(places[-1])) if len(places) else (-1, -1)


def _soxr(sound: Pcm16, quality: str) -> Samples:
    heard = to_float(soxr.resample(sound, WIRE_RATE, LISTENING_RATE, quality=quality))
    return heard[: len(heard) // FRAME * FRAME].reshape(-1, FRAME)


def _own(maker: FrameMaker, sound: Pcm16) -> Samples:
    padded = bytes(2 * HISTORY) + pcm16_to_bytes(sound)
    starts = range(0, 2 * (len(sound) - maker.ticks + 1), 2 * maker.ticks)
    return maker.frames([padded[start : start + maker.window_bytes] for start in starts])


def _in_a_room(speech: Pcm16, noise: NDArray[np.float64]) -> Pcm16:
    """Returns the speech with a second of the room before and after it, and the room in it."""
    noise[WIRE_RATE : WIRE_RATE + len(speech)] += speech
    return np.clip(noise, -32_768, 32_767).astype(np.int16)


def _espeak() -> Iterator[Pcm16]:
    for name in _VOICES:
        voice = EspeakNg(EspeakNg.Options(voice=name, words_per_minute=150))
        for sentence in _SENTENCES:
            chunks = np.concatenate(list(voice.synthesize(SpeechRequest(sentence), CancelToken())))
            yield (0.3 * soxr.resample(chunks, voice.rate, WIRE_RATE)).astype(np.int16)
        voice.close()


def _read(path: Path) -> Pcm16:
    with wave.open(str(path)) as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise SystemExit(f"{path} is not mono with 16 bits.")
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        resampled: Pcm16 = soxr.resample(sound, file.getframerate(), WIRE_RATE)
    return resampled


if __name__ == "__main__":
    main()

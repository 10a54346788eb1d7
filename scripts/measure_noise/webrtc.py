"""The same sounds through WebRTC's noise suppression: `python -m scripts.measure_noise [FOLDER] --webrtc`.

It needs the package webrtc-noise-gain, which nothing else of Parley does. That hears 16 kHz in pieces of 10 ms, so both
are compared there.
"""

import sys
from collections.abc import Sequence

import numpy as np
import soxr

from pipeline.noise import DELAY
from pipeline.types import LISTENING_RATE, WIRE_RATE
from scripts.measure_noise.sounds import NOISES, Sound, mixed, pcm, reduce, signal_to_noise

_PIECE = LISTENING_RATE // 100
_MOST_LATE = LISTENING_RATE // 25
"""Samples by which what comes out may be late: 40 ms."""

_LEVEL = 3
"""How much WebRTC's suppresses, 1 to 4: of all levels this one gains most."""


def main(speech: Sequence[Sound]) -> None:
    """Prints the gain in signal-to-noise ratio of both, in dB."""
    try:
        from webrtc_noise_gain import AudioProcessor
    except ImportError:
        sys.exit("This needs a package that Parley does not: .venv/bin/python -m pip install webrtc-noise-gain")
    print("| noise | SNR | `near_field` | `far_field` | WebRTC |\n|---|---|---|---|---|")
    for kind in NOISES:
        for ratio in (0, 5, 10, 20):
            gains = []
            for index, voice in enumerate(speech):
                clean, noisy = mixed(voice, kind, ratio, index, speech)
                spoken, given = _listening(clean), pcm(_listening(noisy.astype(np.float64)))
                own = [_listening(reduce(noisy, field).astype(np.float64)) for field in ("near_field", "far_field")]
                suppressor = AudioProcessor(0, _LEVEL)
                frames = [given[at : at + _PIECE] for at in range(0, len(given) - _PIECE + 1, _PIECE)]
                theirs = b"".join(suppressor.Process10ms(frame.tobytes()).audio for frame in frames)
                before = signal_to_noise(spoken, given)
                results = (*own, np.frombuffer(theirs, np.int16).astype(np.float64))
                gains.append([_aligned(spoken, result) - before for result in results])
            cells = " | ".join(f"{gain:+.1f} dB" for gain in np.mean(gains, axis=0))
            print(f"| {kind} | {ratio} dB | {cells} |", flush=True)


def _listening(sound: Sound) -> Sound:
    return soxr.resample(sound, WIRE_RATE, LISTENING_RATE)


def _aligned(clean: Sound, heard: Sound) -> float:
    """Returns the ratio at the delay at which both are most alike."""
    assert _MOST_LATE > DELAY * LISTENING_RATE // WIRE_RATE
    heard = np.pad(heard, (0, max(0, len(clean) - len(heard))))[: len(clean)]
    size = 2 * len(clean)
    alike = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(clean, size)))
    late = int(np.argmax(np.abs(alike[:_MOST_LATE])))
    return signal_to_noise(clean[: len(clean) - late], heard[late:])

"""Measures noise reduction: `python -m scripts.measure_noise [FOLDER] [--words | --webrtc]`.

Speech is mixed with noise at 0, 5 and 10 dB (of the power while somebody speaks) and put through the reducer in pieces
of 20 ms, as in a session. The speech is what lies in FOLDER as .wav, or espeak-ng's.

With `--words`, at 5, 10 and 20 dB, how many words PocketSphinx gets wrong; what is said in FOLDER stands in its
transcripts.tsv. With `--webrtc`, beside WebRTC's noise suppression (webrtc.py).
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from pipeline.audio import StreamResampler, to_float
from pipeline.noise import DELAY, NoiseField
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16
from pipeline.vad.silero import Silero
from scripts.measure_noise import webrtc, words
from scripts.measure_noise.sounds import NOISES, Sound, espeak, mixed, pcm, read, reduce, signal_to_noise


def main() -> None:
    arguments = argparse.ArgumentParser(prog="scripts.measure_noise", description=__doc__)
    arguments.add_argument("folder", nargs="?", help="where .wav files with speech lie: mono, 16 bits")
    arguments.add_argument("--words", action="store_true", help="count the words that PocketSphinx gets wrong")
    arguments.add_argument("--webrtc", action="store_true", help="compare with WebRTC's noise suppression")
    asked = arguments.parse_args()
    folder = asked.folder
    if asked.words:
        words.main(None if folder is None else Path(folder))
        return
    speech = (
        [sound for _, sound in espeak()]
        if folder is None
        else [read(path) for path in sorted(Path(folder).glob("*.wav"))]
    )
    if not speech:
        sys.exit(f"There is no .wav in {folder}.")
    print(f"{len(speech)} recordings\n")
    if asked.webrtc:
        webrtc.main(speech)
        return
    print("| noise | SNR | field | SNR gained | noise in pauses | voice found where there is none, before → after |")
    print("|---|---|---|---|---|---|")
    detector = Silero(Silero.Options())
    for kind in NOISES:
        for ratio in (0, 5, 10):
            for field in get_args(NoiseField):
                print(f"| {kind} | {ratio} dB | `{field}` | {_row(speech, kind, ratio, field, detector)} |", flush=True)
    sound = pcm(np.random.default_rng(0).standard_normal(20 * WIRE_RATE) * 1_000)
    began = time.process_time()
    reduce(sound, "near_field")
    spent = (time.process_time() - began) / 20
    late_ms = DELAY * 1000 // WIRE_RATE
    print(f"\n{1000 * spent:.1f} ms of a core for a second of sound in pieces of 20 ms; {late_ms} ms late")


def _row(speech: Sequence[Sound], kind: str, ratio: int, field: NoiseField, detector: Silero) -> str:
    """Returns the means over all recordings, as cells of a table."""
    gains, quieter, before, after = [], [], [], []
    for index, voice in enumerate(speech):
        clean, noisy = mixed(voice, kind, ratio, index, speech)
        heard = reduce(noisy, field)
        gains.append(signal_to_noise(clean[:-DELAY], heard[DELAY:]) - signal_to_noise(clean, noisy))
        settled = slice(WIRE_RATE // 3, WIRE_RATE)
        quieter.append(20 * np.log10(heard[settled].std() / noisy[settled].std()))
        before.append(_false_voice(noisy, detector))
        after.append(_false_voice(heard, detector))
    voices = f"{100 * np.mean(before):.0f} % → {100 * np.mean(after):.0f} %"
    return f"{np.mean(gains):+.1f} dB | {np.mean(quieter):.1f} dB | {voices}"


def _false_voice(sound: Pcm16, detector: Silero) -> float:
    """Returns how much of the second before the speech the detector takes for a voice, by OpenAI's threshold."""
    resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
    heard = to_float(resampler.process(sound[: WIRE_RATE * 21 // 20]))[:LISTENING_RATE]
    state = detector.open()
    frames = [heard[start : start + 512] for start in range(0, len(heard) - 511, 512)]
    return float(np.mean([detector.detect([(state, frame)])[0] >= 0.5 for frame in frames]))


if __name__ == "__main__":
    main()

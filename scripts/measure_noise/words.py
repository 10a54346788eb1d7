"""How many words PocketSphinx gets wrong, with noise and with what the reducer leaves of it."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.audio import StreamResampler
from pipeline.noise import NoiseField
from pipeline.transcription.pocketsphinx import PocketSphinx
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16
from scripts.measure_noise.sounds import NOISES, Sound, espeak, mixed, read, reduce
from scripts.train_builtin_model.heard import word_errors

_RATIOS = (20, 10, 5)
_FIELDS: tuple[NoiseField | None, ...] = (None, "near_field", "far_field")


def main(folder: Path | None) -> None:
    """Prints a table: of each noise, what it does to the words. The speech is that of a folder, or espeak-ng's."""
    recordings = list(espeak()) if folder is None else list(_labelled(folder))
    if not recordings:
        sys.exit(f"There is no recording in {folder} of which its transcripts.tsv tells the words.")
    texts = [_plain(text) for text, _ in recordings]
    speech = [sound for _, sound in recordings]
    print(f"{len(recordings)} recordings, {sum(map(len, texts))} words\n")
    print("| noise | SNR | words wrong: as it is | `near_field` | `far_field` |\n|---|---|---|---|---|")
    ears = PocketSphinx(PocketSphinx.Options())
    clean = [mixed(voice, "white", 60, index, speech)[1] for index, voice in enumerate(speech)]
    print(f"| none | | {_row(texts, clean, ears)} |", flush=True)
    for kind in NOISES:
        for ratio in _RATIOS:
            noisy = [mixed(voice, kind, ratio, index, speech)[1] for index, voice in enumerate(speech)]
            print(f"| {kind} | {ratio} dB | {_row(texts, noisy, ears)} |", flush=True)
    ears.close()


def _row(texts: Sequence[Sequence[str]], sounds: Sequence[Pcm16], ears: PocketSphinx) -> str:
    cells = []
    for field in _FIELDS:
        wrong = 0
        for text, sound in zip(texts, sounds, strict=True):
            wrong += word_errors(text, _plain(_hear(sound if field is None else reduce(sound, field), ears)))
        cells.append(f"{100 * wrong / sum(map(len, texts)):.0f} %")
    return " | ".join(cells)


def _hear(sound: Pcm16, ears: PocketSphinx) -> str:
    """Returns what is understood, from half a second before the speech to half a second after it."""
    resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
    stream = ears.open()
    stream.feed(resampler.process(sound[WIRE_RATE // 2 : -WIRE_RATE // 2]))
    text = stream.finish().text
    stream.close()
    return text


def _plain(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)*", text.lower())


def _labelled(folder: Path) -> list[tuple[str, Sound]]:
    lines = [line.split("\t") for line in (folder / "transcripts.tsv").read_text("utf-8").splitlines() if "\t" in line]
    return [(text, read(folder / name)) for name, text in lines]

"""Measures the end-of-turn detectors on labelled sentences.

    python -m scripts.measure_turns --smart-turn FILE --ears 1

Each is asked what it is asked in a session under `semantic_vad`: how much silence ends the turn. The one that reads is
given the words as they are, and as PocketSphinx hears them from espeak-ng; the one that listens hears espeak-ng.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pipeline.audio import StreamResampler
from pipeline.endpointing.smart_turn import SmartTurn
from pipeline.endpointing.words import Words
from pipeline.stages import Pause
from pipeline.transcription.pocketsphinx import PocketSphinx
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from scripts.measure_turns.sentences import Part, Sentence, sentences

MOST_MS = 4_000
"""What `eagerness: auto` allows."""

SOON_MS = 700
"""A finished sentence is answered soon if this much silence is enough."""

THINKING_MS = (1_000, 2_000)
"""How long a speaker who has not finished thinks: a turn that ends sooner is cut."""

_QUIET = 64 * LISTENING_RATE // 1000
"""Silence at the end of what a detector hears."""

_ROOM = 30
"""Steps of int16: the noise of a quiet room, about -60 dB."""

Judge = Callable[[Sentence], int]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="scripts.measure_turns", description=__doc__)
    arguments.add_argument("--smart-turn", metavar="FILE", help="smart-turn-v3.2-cpu.onnx, to measure it as well")
    arguments.add_argument(
        "--ears", type=int, default=0, metavar="N", help="have PocketSphinx hear every Nth sentence; 0: none"
    )
    asked = arguments.parse_args()
    print("| sentences | detector | finished: mean, median wait | answered soon | waited for 2 s and more | ", end="")
    print("unfinished: cut at a pause of 1 s | of 2 s |\n|---|---|---|---|---|---|---|")
    speaker = EspeakNg(EspeakNg.Options(voice="en-us+klatt4", words_per_minute=145))
    detectors: list[tuple[str, Judge, int]] = [
        ("a silence of 500 ms (`server_vad`)", lambda sentence: 500, 1),
        ("`words`", by_words(lambda sentence: sentence.as_heard), 1),
    ]
    if asked.smart_turn:
        detectors.append(("`smart-turn`", by_sound(speaker, Path(asked.smart_turn)), 1))
    if asked.ears:
        detectors.append(("`words`, as PocketSphinx hears them", by_words(ears(speaker)), asked.ears))
    parts: tuple[Part, ...] = ("tuning", "heldout")
    for name, judge, every in detectors:
        for part in parts:
            labelled = sentences(part)[::every]
            print(f"| {len(labelled)} of {part} | {name} | {row(labelled, judge)} |", flush=True)


def row(labelled: Iterable[Sentence], judge: Judge) -> str:
    """Returns what comes of a detector on these sentences, as cells of a table."""
    finished: list[int] = []
    unfinished: list[int] = []
    for sentence in labelled:
        (finished if sentence.finished else unfinished).append(judge(sentence))
    cells = [
        f"{statistics.mean(finished):.0f}, {statistics.median(finished):.0f} ms",
        share(wait <= SOON_MS for wait in finished),
        share(wait >= 2_000 for wait in finished),
        *(share(wait < pause for wait in unfinished) for pause in THINKING_MS),
    ]
    return " | ".join(cells)


def share(judged: Iterable[bool]) -> str:
    each = list(judged)
    return f"{100 * sum(each) / len(each):.0f} %"


def by_words(hear: Callable[[Sentence], str]) -> Judge:
    """Returns what the detector says that reads `hear(sentence)`."""
    detector = Words(Words.Options())
    nothing = np.zeros(0, np.int16)
    return lambda sentence: detector.assess(Pause(nothing, hear(sentence), MOST_MS), CancelToken())


def by_sound(speaker: EspeakNg, weights: Path) -> Judge:
    """Returns what Smart Turn says."""
    detector = SmartTurn(SmartTurn.Options(model=str(weights)))
    return lambda sentence: detector.assess(Pause(spoken(speaker, sentence), "", MOST_MS), CancelToken())


def ears(speaker: EspeakNg) -> Callable[[Sentence], str]:
    """Returns what PocketSphinx understands of sentences that are spoken."""
    stream = PocketSphinx(PocketSphinx.Options()).open()

    def hear(sentence: Sentence) -> str:
        stream.feed(spoken(speaker, sentence))
        return stream.finish().text

    return hear


def spoken(speaker: EspeakNg, sentence: Sentence) -> Pcm16:
    """Returns a sentence as a detector gets it: int16 `[n]` at 16 kHz, 300 ms of a room before and 64 ms after it."""
    sound = np.concatenate(list(speaker.synthesize(SpeechRequest(sentence.as_said), CancelToken())))
    resampler = StreamResampler(speaker.rate, LISTENING_RATE)
    voice = np.concatenate((resampler.process(sound), resampler.flush())).astype(np.float64) * 0.3
    voice = voice[: np.flatnonzero(np.abs(voice) > 10 * _ROOM)[-1] + 1]
    padded = np.concatenate((np.zeros(300 * LISTENING_RATE // 1000), voice, np.zeros(_QUIET)))
    room = np.random.default_rng(0).integers(-_ROOM, _ROOM + 1, len(padded))
    return (padded + room).astype(np.int16)


if __name__ == "__main__":
    main()

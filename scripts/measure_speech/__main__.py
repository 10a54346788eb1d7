"""Measures how soon speech begins, and whether it runs dry: `python -m scripts.measure_speech VOICE [--llm FILE]`.

Of the Piper voice: how long a sentence of some 12 s takes to its first sound, and how long it takes as a whole.
With a language model: the moments of a spoken reply, with first clauses of different lengths.

The lead is how much sound a client has in hand that plays what comes as it comes; below zero it hears a gap.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime

from pipeline import clauses
from pipeline.line import Line, Timeouts
from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.slots import Slots
from pipeline.tts.piper import Piper
from pipeline.tts.piper_sound import WholeSound
from pipeline.turn import run_turn
from pipeline.types import WIRE_RATE, Message, Prompt, RunId, SpeechRequest, TurnAudio, TurnRequest
from pipeline.workers import CancelToken

SENTENCE = (
    "Whoever measures how long a machine takes before it says something should give it a sentence that goes on for a "
    "while, such as this one, which takes about twelve seconds to say"
)
PROMPT = Prompt((Message("system", "Be brief."), Message("user", "What did I want to know?")))
WORDS = ((9, 5), (9, 9), (6, 6), (4, 4))
"""Words of a first clause without punctuation: at most, and where a phrase begins."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.measure_speech", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("voice", help="the .onnx file")
    parser.add_argument("--llm", help="a GGUF file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    engine = Piper(Piper.Options(voice=options.voice, threads=options.threads, sentence_pause=0.0))
    engine.warm_up()
    _measure_sentence(engine, Path(options.voice), options.threads, options.rounds)
    if options.llm:
        model = LlamaCpp(LlamaCpp.Options(model=options.llm, context=2048))
        model.warm_up()
        asyncio.run(_measure_replies(engine, model, options.rounds))
        model.close()
    engine.close()


def _measure_sentence(engine: Piper, path: Path, threads: int, rounds: int) -> None:
    choice = engine._choices[engine.capabilities.voices[0]]
    (sentence,) = choice.voice.sentences(SENTENCE)
    whole = WholeSound(path, "cpu", threads, lambda _: None, mend="", option="voice")
    scales = engine._scales(choice.voice, 1.0)
    firsts, alls, wholes, leads, seconds = [], [], [], [], 0.0
    for _ in range(rounds + 1):
        began = time.perf_counter()
        list(whole.speak(sentence.ids, choice.speaker, scales, onnxruntime.RunOptions()))
        wholes.append(time.perf_counter() - began)
        began = time.perf_counter()
        arrived = [
            (time.perf_counter() - began, len(chunk) / engine.rate)
            for chunk in engine.synthesize(SpeechRequest(SENTENCE), CancelToken())
        ]
        firsts.append(arrived[0][0])
        alls.append(arrived[-1][0])
        leads.append(lead(arrived))
        seconds = sum(length for _, length in arrived)
    first, all_, one = (1000 * median(each[1:]) for each in (firsts, alls, wholes))  # the first round warms up
    print(f"a sentence of {seconds:.1f} s: first sound after {first:.0f} ms, all of it in slices after {all_:.0f} ms")
    print(f"made whole: {one:.0f} ms; first sound / whole: {first / one:.2f}; least lead {1000 * min(leads):.0f} ms")


def lead(arrived: Iterable[tuple[float, float]]) -> float:
    """Returns the least lead, in seconds; `arrived` are pieces of sound, when each came and how long it lasts."""
    pieces = list(arrived)
    heard = itertools.accumulate((length for _, length in pieces), initial=pieces[0][0])
    return min((end - at for (at, _), end in zip(pieces[1:], list(heard)[1:], strict=False)), default=pieces[0][1])


async def _measure_replies(engine: Piper, model: LlamaCpp, rounds: int) -> None:
    unused: Any = None
    line = Line(
        "measured",
        unused,
        unused,
        unused,
        unused,
        model,
        engine,
        Timeouts(60, 60, 60, 60, 60),
        Slots(engine.concurrency),
    )
    print("\n| first words, at most / before a phrase | first token | first clause | first sound | least lead |")
    print("|---|---:|---:|---:|---:|")
    rows: dict[tuple[int, int], list[list[float]]] = {words: [] for words in WORDS}
    for _, words in itertools.product(range(rounds), WORDS):
        clauses.FIRST_WORDS, clauses.FIRST_WORDS_OF_PHRASE = words  # type: ignore[misc]
        rows[words].append(await _reply(line))
    for (most, phrase), measured in rows.items():
        told = " | ".join(f"{1000 * median(column):.0f} ms" for column in zip(*measured, strict=True))
        print(f"| {most} / {phrase} | {told} |")


async def _reply(line: Line) -> list[float]:
    began = time.perf_counter()
    at: dict[str, float] = {}
    arrived = []
    stream = line.llm.open()
    watch = lambda name: at.setdefault(name, time.perf_counter() - began)  # noqa: E731
    async for event in run_turn(line, stream, TurnRequest(RunId(0, 0), PROMPT, "audio"), watch):
        if isinstance(event, TurnAudio):
            arrived.append((time.perf_counter() - began, len(event.samples) / WIRE_RATE))
    stream.close()
    return [at["first_token"], at["first_clause"], arrived[0][0], lead(arrived)]


if __name__ == "__main__":
    main()

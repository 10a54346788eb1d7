"""`parley say`: speech synthesis alone."""

import argparse
import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.audio import StreamResampler
from pipeline.clauses import ClauseSplitter
from pipeline.errors import ParleyError
from pipeline.registry import did_you_mean
from pipeline.stages import Synthesizer
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken, iterate
from server.cli import one_engine
from server.cli.audio_devices import Speaker, open_speaker
from server.cli.failure import RunFailedError
from server.cli.playback import Playback
from server.cli.wav import check_writable, write_wav

NAME = "say"
HELP = "try speech synthesis alone, without a server"

_EPILOG = """\
examples:
  parley say "Good morning."                     plays it
  parley say "Good morning." --out hello.wav     writes it to a file
  echo "Good morning." | parley say - --out hello.wav
"""

_ITEM = "speech"


@dataclass(frozen=True, slots=True)
class _Spoken:
    """Sound, int16 at 24 kHz, and the seconds that its first and its last sample took."""

    samples: Pcm16
    first_s: float
    total_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("text", help="what to say; - reads it from the standard input")
    parser.add_argument("--out", type=Path, metavar="WAV", help="write it to a file instead of playing it")
    parser.add_argument(
        "--voice", metavar="NAME", help="one of the engine's voices, a name of models.yaml's voices, or OpenAI's"
    )
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="1 is normal (default), 2 twice as fast")
    one_engine.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    text = (sys.stdin.read() if args.text == "-" else args.text).strip()
    if not text:
        raise ParleyError("There is nothing to say: the text is empty.")
    if args.out is not None:
        check_writable(args.out)
    # Opened first: without one there is no use in loading the engine.
    speaker = open_speaker() if args.out is None else None
    with one_engine.loaded(args, "tts") as tts:
        request = _request(args, tts)
        spoken = asyncio.run(_speak(tts, text, request, speaker))
    seconds = len(spoken.samples) / WIRE_RATE
    if not seconds:
        raise RunFailedError("The engine made no sound of this text.")
    print(f"first audio    {1000 * spoken.first_s:6.0f} ms")
    print(f"all of it      {1000 * spoken.total_s:6.0f} ms for {seconds:.1f} s of sound")
    if args.out is not None:
        write_wav(args.out, spoken.samples, WIRE_RATE)
        print(args.out)
    return 0


def _request(args: argparse.Namespace, tts: one_engine.OneEngine) -> SpeechRequest:
    """Returns a request without text, with the voice and the speed that were asked for.

    Raises:
        ParleyError: the engine has no such voice, or cannot speak that fast or slowly.
    """
    engine: Synthesizer = tts.engine
    voices = engine.capabilities.voices
    names = tts.config.voice_names(tts.pipeline, voices)
    voice = names.get(args.voice)
    if args.voice is not None and voice is None:
        hint = did_you_mean(args.voice, names)
        some = ", ".join(voices[:8])
        raise ParleyError(f"{tts.block.engine} has no voice `{args.voice}`. {hint}Some that it has: {some}.")
    slowest, fastest = engine.capabilities.speeds
    if not slowest <= args.speed <= fastest:
        raise ParleyError(f"{tts.block.engine} speaks at speeds from {slowest:.2f} to {fastest:.2f}.")
    return SpeechRequest("", voice, args.speed)


async def _speak(tts: one_engine.OneEngine, text: str, request: SpeechRequest, speaker: Speaker | None) -> _Spoken:
    began = time.perf_counter()
    first_s = 0.0
    parts: list[Pcm16] = []
    with _playing(speaker) as playback:
        async for samples in _synthesize(tts, text, request):
            first_s = first_s or time.perf_counter() - began
            parts.append(samples)
            if playback is not None:
                playback.push(_ITEM, 0, samples)
        total_s = time.perf_counter() - began
    return _Spoken(np.concatenate([np.zeros(0, np.int16), *parts]), first_s, total_s)


async def _synthesize(tts: one_engine.OneEngine, text: str, request: SpeechRequest) -> AsyncIterator[Pcm16]:
    """Says a text clause by clause, as a turn does. Yields int16 at 24 kHz."""
    engine: Synthesizer = tts.engine
    resampler = StreamResampler(engine.rate, WIRE_RATE)
    splitter = ClauseSplitter()
    for clause in [*splitter.feed(text), *splitter.finish()]:
        if not clause.speech:
            continue
        cancel = CancelToken()
        spoken = SpeechRequest(clause.speech, request.voice, request.speed)
        chunks = iterate("tts", partial(engine.synthesize, spoken, cancel), cancel, timeout=tts.block.timeout)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if len(ready := resampler.process(chunk)):
                    yield ready
    if len(rest := resampler.flush()):
        yield rest


@contextlib.contextmanager
def _playing(speaker: Speaker | None) -> Iterator[Playback | None]:
    """Plays what is pushed; leaving waits until all of it has been heard."""
    if speaker is None:
        yield None
        return
    playback, over = Playback(speaker.rate), threading.Event()

    def fill(count: int) -> Pcm16:
        block = playback.pull(count)
        if playback.is_over(_ITEM):
            over.set()
        return block

    try:
        speaker.start(fill, over.set)
        yield playback
        playback.finish(_ITEM)
        over.wait()
        time.sleep(speaker.latency_s)
    finally:
        speaker.close()

"""`parley listen`: transcription alone."""

import argparse
import contextlib
import math
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from pipeline.audio import StreamResampler, slices
from pipeline.errors import ParleyError
from pipeline.stages import Transcriber, TranscriptionStream
from pipeline.types import LISTENING_RATE, Pcm16, Transcript
from server.cli import one_engine
from server.cli.audio_devices import Microphone, open_microphone
from server.cli.enter_key import on_enter
from server.cli.failure import RunFailedError
from server.cli.loudness import level_db
from server.cli.view import View
from server.cli.wav import read_wav, resampled
from server.realtime.session_config import speaks

NAME = "listen"
HELP = "try transcription alone, without a server"

_EPILOG = """\
examples:
  parley listen question.wav     prints what is understood of a file
  parley listen                  listens to the microphone until Enter or Ctrl-C
"""

_FRAME = LISTENING_RATE // 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("file", nargs="?", type=Path, metavar="WAV", help="a recording (default: the microphone)")
    parser.add_argument("--language", metavar="TAG", help="the language that is spoken, such as en")
    parser.add_argument("--prompt", metavar="TEXT", help="words that are likely to come, such as names")
    parser.add_argument("--words", action="store_true", help="also print when each word was said")
    one_engine.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.file is not None:
        samples, rate = read_wav(args.file)
        samples = resampled(samples, rate, LISTENING_RATE)
        with one_engine.loaded(args, "transcription") as transcription, _stream(transcription, args) as stream:
            return _transcribe(stream, samples, args.words)
    microphone = open_microphone()
    with one_engine.loaded(args, "transcription") as transcription, _stream(transcription, args) as stream:
        return _transcribe_live(stream, microphone, args.words, transcription.engine.capabilities.partial_s)


@contextlib.contextmanager
def _stream(transcription: one_engine.OneEngine, args: argparse.Namespace) -> Iterator[TranscriptionStream]:
    engine: Transcriber = transcription.engine
    name, able = transcription.block.engine, engine.capabilities
    if args.language and not any(speaks(args.language, known) for known in able.languages):
        known_languages = ", ".join(sorted(able.languages))
        raise ParleyError(f"{name} does not understand `{args.language}`, only: {known_languages}.")
    if args.prompt and not able.prompt:
        raise ParleyError(f"{name} takes no prompt.")
    if args.words and not able.word_times:
        raise ParleyError(f"{name} does not tell when a word was said. Leave --words out.")
    stream = engine.open(args.language, args.prompt, args.words)
    try:
        yield stream
    finally:
        stream.close()


def _transcribe(stream: TranscriptionStream, samples: Pcm16, words: bool) -> int:
    began = time.perf_counter()
    with Console(stderr=True).status("Listening"):
        for frame in slices(samples, _FRAME):
            stream.feed(frame)
        transcript = stream.finish()
    took = time.perf_counter() - began
    _print(transcript, words)
    print(f"{1000 * took:.0f} ms for {len(samples) / LISTENING_RATE:.1f} s of sound", file=sys.stderr)
    return 0


def _transcribe_live(
    stream: TranscriptionStream, microphone: Microphone, words: bool, look_every_s: float | None
) -> int:
    """Listens until Enter or Ctrl-C. The last words' time is what one waits for after that."""
    blocks: queue.SimpleQueue[Pcm16 | None] = queue.SimpleQueue()
    gone = False

    def ended() -> None:
        nonlocal gone
        gone = True
        blocks.put(None)

    resampler = StreamResampler(microphone.rate, LISTENING_RATE)
    with View(Console(highlight=False)) as view, _until_enter(lambda: blocks.put(None)):
        view.status("listening; Enter ends it")
        try:
            microphone.start(blocks.put, ended)
            _feed(stream, blocks, resampler, view, look_every_s)
        finally:
            microphone.close()
        began = time.perf_counter()
        view.status("transcribing")
        if len(rest := resampler.flush()):
            stream.feed(rest)
        transcript = stream.finish()
        took = time.perf_counter() - began
        view.hearing("")
    _print(transcript, words)
    print(f"{1000 * took:.0f} ms after the end", file=sys.stderr)
    if gone:
        raise RunFailedError("The microphone has gone away.")
    return 0


@contextlib.contextmanager
def _until_enter(end: Callable[[], None]) -> Iterator[None]:
    """Calls `end` at Enter, and at Ctrl-C in place of an exception, which could hit an engine in mid-word."""
    before = signal.signal(signal.SIGINT, lambda *_: end())
    try:
        with on_enter(end):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def _feed(
    stream: TranscriptionStream,
    blocks: "queue.SimpleQueue[Pcm16 | None]",
    resampler: StreamResampler,
    view: View,
    look_every_s: float | None,
) -> None:
    since_look = 0
    while (block := blocks.get()) is not None:
        view.level(level_db(block))
        samples = resampler.process(block)
        if not len(samples):
            continue
        stream.feed(samples)
        since_look += len(samples)
        if look_every_s is not None and since_look >= look_every_s * LISTENING_RATE:
            since_look = 0
            view.hearing(stream.hypothesis().text)


def _print(transcript: Transcript, words: bool) -> None:
    """Prints the words; with `words`, when each was said, in seconds, and how likely it is.

    Raises:
        RunFailedError: there are none.
    """
    if not transcript.text:
        raise RunFailedError("Nothing was understood.")
    print(transcript.text)
    if words:
        for word in (word for segment in transcript.segments for word in segment.words):
            likely = "" if word.log_probability is None else f"  {math.exp(word.log_probability):4.0%}"
            print(f"{word.start:8.2f} {word.end:7.2f}{likely}  {word.text}")

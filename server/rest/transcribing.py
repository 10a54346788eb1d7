"""A file of sound → what is said in it, piece by piece, by the transcriber that live sessions use."""

from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, TypeVar

from pipeline.audio import slices
from pipeline.line import Line
from pipeline.slots import Slots
from pipeline.stages import TranscriptionStream
from pipeline.types import LISTENING_RATE, Segment, Transcript
from pipeline.workers import SerialWorker
from server.rest.errors import ApiError
from server.rest.pieces import Piece, pieces
from server.rest.sound_in import NotSoundError, TooLongError, read_sound

T = TypeVar("T")

_WITH_TIMES_S = 20.0
"""Seconds after which the next pause ends a piece, for an engine that says itself when what was said: it understands
more of longer pieces."""

_WITHOUT_TIMES_S = 1.0
"""The same for an engine that does not: the pieces are its segments."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was understood of a piece of the file. Times are in seconds of the file; `end` is the end of the piece."""

    end: float
    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Manner:
    """How to listen: what `Transcriber.open` takes."""

    language: str | None = None
    prompt: str | None = None
    word_times: bool = False


async def transcribe(line: Line, slots: Slots, file: BinaryIO, manner: Manner) -> AsyncGenerator[Heard, None]:
    """Transcribes a file. A piece waits for one of `slots`; close the generator to stop it.

    Raises:
        ApiError: the file is no sound that can be read, or too much of it.
        StageError: the transcriber failed.
    """
    ears = _Ears(line, partial(_open, line, manner))
    times = line.transcription.capabilities.word_times
    cut = pieces(read_sound(file), _WITH_TIMES_S if times else _WITHOUT_TIMES_S)
    try:
        while True:
            piece = await ears.do(partial(_next, cut))
            if isinstance(piece, ApiError):
                raise piece
            if piece is None:
                return
            give_back = await slots.take()
            try:
                yield _heard(piece, await ears.hear(piece))
            finally:
                give_back()
    finally:
        ears.close()


def _open(line: Line, manner: Manner) -> TranscriptionStream:
    if manner.word_times:  # else it is not even mentioned, for engines that do not know it
        return line.transcription.open(manner.language, manner.prompt, word_times=True)
    return line.transcription.open(manner.language, manner.prompt)


class _Ears:
    """A stream of the transcriber, and the worker that makes all calls, those on the file too: it is for one thread."""

    def __init__(self, line: Line, open_stream: Callable[[], TranscriptionStream]) -> None:
        self._line = line
        self._worker = SerialWorker("transcription")
        self._timeout = line.timeouts.transcription
        self._open = open_stream
        self._stream: TranscriptionStream | None = None
        self._closed = False

    async def do(self, call: Callable[[], T], length_s: float = 0.0) -> T:
        return await self._worker.result(self._worker.post(call), self._timeout + length_s)

    async def hear(self, piece: Piece) -> Transcript:
        def hear() -> Transcript:
            stream = self._opened()
            for samples in slices(piece.samples, LISTENING_RATE):
                stream.feed(samples)
            return stream.finish()

        # A session's utterance comes no faster than it is spoken, and this one at once: it may take so much longer.
        give_back = self._line.transcription_slots.count()
        try:
            return await self.do(hear, len(piece.samples) / LISTENING_RATE)
        finally:
            give_back()

    def close(self) -> None:
        """Ends a call that is under way."""
        self._closed = True
        self._worker.abandon()
        if self._stream is not None:
            self._stream.close()

    def _opened(self) -> TranscriptionStream:
        """Returns the stream, on the worker's thread."""
        if self._stream is None:
            self._stream = self._open()
            if self._closed:
                self._stream.close()
        return self._stream


def _next(cut: Iterator[Piece]) -> Piece | ApiError | None:
    """Returns the next piece; what is wrong with the file comes as a value, since it is no failure of the stage."""
    try:
        return next(cut, None)
    except NotSoundError as error:
        return ApiError(400, "invalid_audio", str(error), "file")
    except TooLongError as error:
        return ApiError(413, "audio_too_long", str(error), "file")


def _heard(piece: Piece, transcript: Transcript) -> Heard:
    start, end = piece.start / LISTENING_RATE, (piece.start + len(piece.samples)) / LISTENING_RATE
    segments = tuple(_later(segment, start) for segment in transcript.segments)
    if not segments and transcript.text:
        voiced = piece.voiced_from / LISTENING_RATE, piece.voiced_to / LISTENING_RATE
        segments = (Segment(transcript.text, *voiced),)
    return Heard(end, replace(transcript, segments=segments))


def _later(segment: Segment, seconds: float) -> Segment:
    words = (replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=tuple(words))

"""Transcription for one session: feeds utterances to the transcriber while they are spoken, off the event loop."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pipeline.audio import StreamResampler, slices
from pipeline.errors import StageError
from pipeline.stages import Transcriber, TranscriptionStream
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, Transcript
from pipeline.workers import SerialWorker, as_stage_error

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Utterance:
    """One utterance on its way into a stream. After a failure it does nothing but fail again."""

    def __init__(self, stream: TranscriptionStream) -> None:
        self.stream = stream
        self._error: StageError | None = None
        self._resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)

    def feed(self, samples: Pcm16) -> None:
        self._guard(lambda: self._feed(self._resampler.process(samples)))

    def hypothesis(self) -> Transcript:
        return self._guard(self.stream.hypothesis)

    def finish(self) -> Transcript:
        def finish() -> Transcript:
            self._feed(self._resampler.flush())
            return self.stream.finish()

        return self._guard(finish)

    def discard(self) -> None:
        self._guard(self.stream.discard)

    def fail(self, error: StageError) -> None:
        """Makes it fail from now on, if it has not failed yet."""
        self._error = self._error or error

    def _feed(self, samples: Pcm16) -> None:
        if len(samples):
            self.stream.feed(samples)

    def _guard(self, call: Callable[[], T]) -> T:
        if self._error is not None:
            raise self._error
        try:
            return call()
        except Exception as error:
            if not isinstance(error, StageError):
                log.exception("transcription: the engine raised")
            self._error = as_stage_error("transcription", error)
            raise self._error from error


@dataclass(frozen=True, slots=True)
class Question:
    """Something asked of the transcriber that has its place in line; `Hearing.answer` waits for it."""

    utterance: _Utterance
    future: "asyncio.Future[Transcript]"


class Hearing:
    """One session's ear. A stream that failed or hung is given up; the next utterance gets a new one."""

    def __init__(self, transcriber: Transcriber, timeout: float) -> None:
        """`timeout` is the longest the transcriber may give no sign of life, in seconds."""
        self._transcriber = transcriber
        self._timeout = timeout
        self._language: str | None = None
        self._prompt: str | None = None
        self._stream: TranscriptionStream | None = None
        self._worker = SerialWorker("transcription")
        self._utterances: dict[int, _Utterance] = {}

    def configure(self, language: str | None, prompt: str | None) -> None:
        """Sets language (BCP 47) and prompt, from the next utterance on."""
        if (language, prompt) != (self._language, self._prompt):
            self._language, self._prompt = language, prompt
            self._retire()

    def feed(self, turn: int, samples: Pcm16) -> None:
        """Feeds int16 `[n]` at 24 kHz to the utterance of this turn."""
        utterance = self._utterances.get(turn) or self._begin(turn)
        for piece in slices(samples, WIRE_RATE):
            self._worker.post(partial(utterance.feed, piece))

    def hypothesis(self, turn: int) -> Question:
        """Asks what is understood of the utterance so far."""
        utterance = self._utterances.get(turn) or self._begin(turn)
        return Question(utterance, self._worker.post(utterance.hypothesis))

    def finish(self, turn: int) -> Question:
        """Ends the utterance and asks for its transcript; what is fed after this belongs to another."""
        utterance = self._utterances.get(turn) or self._begin(turn)
        del self._utterances[turn]
        return Question(utterance, self._worker.post(utterance.finish))

    async def answer(self, question: Question) -> Transcript:
        """Waits for the answer.

        Raises:
            StageError: the transcriber failed.
        """
        try:
            return await self._worker.result(question.future, self._timeout)
        except StageError as error:
            # The utterance stays, failed: what is still fed to it must not be taken for another's beginning.
            question.utterance.fail(error)
            if question.utterance.stream is self._stream:
                self._give_up()
                self._worker = SerialWorker("transcription")
            raise

    def discard(self, turn: int) -> None:
        """Drops an utterance."""
        if (utterance := self._utterances.pop(turn, None)) is not None:
            self._worker.post(utterance.discard)

    def close(self) -> None:
        """Gives everything up at once."""
        self._utterances.clear()
        self._give_up()

    def _give_up(self) -> None:
        self._worker.abandon()
        if self._stream is not None:
            _close(self._stream)
            self._stream = None

    def _begin(self, turn: int) -> _Utterance:
        if self._stream is None:
            self._stream = self._transcriber.open(self._language, self._prompt)
        utterance = self._utterances[turn] = _Utterance(self._stream)
        return utterance

    def _retire(self) -> None:
        """Lets the stream go when what it was asked has been done."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            self._worker.post(partial(_close, stream))


def _close(stream: TranscriptionStream) -> None:
    with contextlib.suppress(Exception):
        stream.close()

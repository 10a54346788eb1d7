"""Transcription for one session: feeds utterances to the transcriber while they are spoken, off the event loop."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from pipeline.agreement import Agreement
from pipeline.audio import StreamResampler, slices
from pipeline.errors import StageError, StageTimeoutError
from pipeline.slots import Slots
from pipeline.stages import PausingStream, Transcriber, TranscriptionStream
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, TokenLogProbability, Transcript
from pipeline.workers import SerialWorker, as_stage_error

T = TypeVar("T")

ShowWords: TypeAlias = Callable[[int, str, tuple[TokenLogProbability, ...]], None]
"""Is told a turn, all of its words that can be shown so far, and the tokens of the hypothesis that they begin."""

log = logging.getLogger(__name__)


_FAR_BEHIND = 10 * 60 * WIRE_RATE
"""Sound that may wait for the transcriber before its sender has to: ten minutes, as much as the input buffer holds."""


class _Ear:
    """A stream of the transcriber, opened when it is first wanted, and the worker that makes the calls on it."""

    def __init__(self, open_stream: Callable[[], TranscriptionStream]) -> None:
        self.worker = SerialWorker("transcription")
        self._open = open_stream
        self._stream: TranscriptionStream | None = None
        self._given_up = False

    def stream(self) -> TranscriptionStream:
        """Returns the stream, for the worker's thread: what opening it raises is a call that failed."""
        if self._stream is None:
            self._stream = self._open()
            if self._given_up:
                self.close()
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.close()

    def give_up(self) -> None:
        """Drops the calls that wait and ends the one under way."""
        self._given_up = True
        self.worker.abandon()
        self.close()


class _Utterance:
    """One utterance on its way into an ear. After a failure it does nothing but fail again."""

    def __init__(self, ear: _Ear) -> None:
        self.ear = ear
        self.agreement = Agreement()
        self.unasked = 0
        """Ticks that were fed since a hypothesis was last asked for."""
        self.is_asked = False
        """Whether a hypothesis that is only to be shown is under way."""
        self._error: StageError | None = None
        self._resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)

    def feed(self, samples: Pcm16) -> None:
        self._guard(lambda: self._feed(self._resampler.process(samples)))

    def hypothesis(self) -> Transcript:
        return self._guard(lambda: self.ear.stream().hypothesis())

    def pause(self) -> None:
        """Feeds what is still held back: a hypothesis now is of all that was fed."""
        self._guard(self._flush)

    def hypothesis_in_pause(self) -> Transcript:
        """Returns what is understood if this is the end."""

        def ask() -> Transcript:
            stream = self.ear.stream()
            return stream.pause() if isinstance(stream, PausingStream) else stream.hypothesis()

        return self._guard(ask)

    def finish(self) -> Transcript:
        def finish() -> Transcript:
            self._flush()
            return self.ear.stream().finish()

        return self._guard(finish)

    def discard(self) -> None:
        self._guard(lambda: self.ear.stream().discard())

    def fail(self, error: StageError) -> StageError:
        """Makes it fail from now on. Returns why: what went wrong first."""
        self._error = self._error or error
        return self._error

    def _flush(self) -> None:
        """Feeds what the resampler still has. The seam that this makes, if more is said, lies in the quiet."""
        self._feed(self._resampler.flush())
        self._resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)

    def _feed(self, samples: Pcm16) -> None:
        if len(samples):
            self.ear.stream().feed(samples)

    def _guard(self, call: Callable[[], T]) -> T:
        if self._error is not None:
            raise self._error
        try:
            return call()
        except Exception as error:
            if not isinstance(error, StageError):
                log.exception("transcription: the engine raised")
            # What went wrong first counts: after a time limit the stream is closed under the call.
            raise self.fail(as_stage_error("transcription", error)) from error


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """Something asked of the transcriber that has its place in line; `Hearing.answer` waits for it."""

    utterance: _Utterance
    future: "asyncio.Future[T]"


class Hearing:
    """One session's hearing. An ear that failed or hung is given up; the next utterance gets a new one."""

    def __init__(self, transcriber: Transcriber, timeout: float, show: ShowWords, slots: Slots | None = None) -> None:
        """`timeout` is the longest the transcriber may give no sign of life, in seconds.

        `show` is told, on the event loop, of words that can be shown while they are spoken, as far as hypotheses agree.
        `slots` count what is asked of the transcriber over all sessions.
        """
        self._slots = slots or Slots(None)
        self._transcriber = transcriber
        self._timeout = timeout
        self._show = show
        self._shows = False
        self._language: str | None = None
        self._prompt: str | None = None
        self._ear: _Ear | None = None
        """The ear of the next utterance; those under way keep theirs."""
        self._aside: _Ear | None = None
        """The ear of recordings, which are heard one after the other beside what is being said."""
        self._recordings: set[_Utterance] = set()
        """Those whose transcripts are not there yet."""
        self._ears: set[_Ear] = set()
        self._utterances: dict[int, _Utterance] = {}
        self._behind = 0
        self._newest: Question[None] | None = None

    def configure(self, language: str | None, prompt: str | None, shows: bool) -> None:
        """Sets language (BCP 47) and prompt, from the next utterance on, and whether words are shown at all."""
        self._shows = shows
        if (language, prompt) != (self._language, self._prompt):
            self._language, self._prompt = language, prompt
            self._renew()

    def feed(self, turn: int, samples: Pcm16, *, pauses: bool = False) -> None:
        """Feeds int16 `[n]` at 24 kHz to the utterance of this turn, which `pauses` behind them."""
        utterance = self._utterance(turn)
        self._feed(utterance, samples)
        if pauses:
            self._ask(utterance, utterance.pause)
        interval = self._transcriber.capabilities.partial_s
        if self._shows and interval and not utterance.is_asked and utterance.unasked >= interval * WIRE_RATE:
            utterance.is_asked = True
            self._ask_for_words(turn, utterance, utterance.hypothesis)

    def transcribe(self, samples: Pcm16) -> Question[Transcript]:
        """Asks for the transcript of a whole recording, int16 `[n]` at 24 kHz, beside the utterances of turns."""
        if self._aside is None:
            self._aside = self._new_ear()
        utterance = _Utterance(self._aside)
        self._recordings.add(utterance)
        self._feed(utterance, samples)
        question = self._ask_counted(utterance, utterance.finish)
        question.future.add_done_callback(partial(self._recording_ended, utterance))
        return question

    def hypothesis(self, turn: int) -> Question[Transcript]:
        """Asks what is understood of the utterance, in a pause."""
        utterance = self._utterance(turn)
        return self._ask_for_words(turn, utterance, utterance.hypothesis_in_pause)

    def finish(self, turn: int) -> Question[Transcript]:
        """Ends the utterance and asks for its transcript; what is fed after this belongs to another."""
        utterance = self._utterance(turn)
        question = self._ask_counted(utterance, utterance.finish)
        self._end(turn)
        return question

    def discard(self, turn: int) -> None:
        """Drops an utterance."""
        if (utterance := self._utterances.get(turn)) is not None:
            self._ask(utterance, utterance.discard)
            self._end(turn)

    async def answer(self, question: Question[T]) -> T:
        """Waits for the answer.

        Raises:
            StageError: the transcriber failed.
        """
        ear = question.utterance.ear
        try:
            return await ear.worker.result(question.future, self._timeout)
        except StageError as error:
            # The utterance stays, failed: what is still fed to it must not be taken for another's beginning.
            cause = question.utterance.fail(error)
            if isinstance(error, StageTimeoutError):
                self._give_up(ear)
            raise cause  # noqa: B904 - it is `error`, or what came before it

    async def caught_up(self) -> None:
        """Waits while the transcriber is far behind, so that whoever sends faster than it hears has to wait."""
        if self._behind > _FAR_BEHIND and self._newest is not None:
            with contextlib.suppress(StageError):  # its utterance will say so
                await self.answer(self._newest)

    def close(self) -> None:
        """Gives everything up at once."""
        self._utterances.clear()
        for ear in list(self._ears):
            self._give_up(ear)

    def _utterance(self, turn: int) -> _Utterance:
        if (utterance := self._utterances.get(turn)) is not None:
            return utterance
        if self._ear is None:
            self._ear = self._new_ear()
        utterance = self._utterances[turn] = _Utterance(self._ear)
        return utterance

    def _new_ear(self) -> _Ear:
        ear = _Ear(partial(self._transcriber.open, self._language, self._prompt))
        self._ears.add(ear)
        return ear

    def _feed(self, utterance: _Utterance, samples: Pcm16) -> None:
        for piece in slices(samples, WIRE_RATE):
            self._behind += len(piece)
            self._newest = self._ask(utterance, partial(utterance.feed, piece))
            self._newest.future.add_done_callback(partial(self._fed, len(piece)))
            utterance.unasked += len(piece)

    def _recording_ended(self, utterance: _Utterance, _: "asyncio.Future[Transcript]") -> None:
        """An ear that no recording waits for is let go."""
        self._recordings.discard(utterance)
        if all(other.ear is not utterance.ear for other in self._recordings):
            if utterance.ear is self._aside:
                self._aside = None
            self._retire(utterance.ear)

    def _ask(self, utterance: _Utterance, call: Callable[[], T]) -> Question[T]:
        future = utterance.ear.worker.post(call)
        future.add_done_callback(partial(self._notice, utterance.ear))
        return Question(utterance, future)

    def _ask_counted(self, utterance: _Utterance, call: Callable[[], T]) -> Question[T]:
        """Asks for words: what keeps the transcriber busy."""
        question, give_back = self._ask(utterance, call), self._slots.count()
        question.future.add_done_callback(lambda _: give_back())
        return question

    def _notice(self, ear: _Ear, done: "asyncio.Future[Any]") -> None:
        if done.exception() is None:
            return
        if ear is self._aside:
            self._aside = None
        if ear is self._ear:
            self._renew()

    def _ask_for_words(self, turn: int, utterance: _Utterance, call: Callable[[], Transcript]) -> Question[Transcript]:
        utterance.unasked = 0
        question = self._ask_counted(utterance, call)
        question.future.add_done_callback(partial(self._understood, turn, utterance))
        return question

    def _understood(self, turn: int, utterance: _Utterance, done: "asyncio.Future[Transcript]") -> None:
        utterance.is_asked = False
        if done.exception() is not None or not self._shows:
            return
        hypothesis = done.result()
        if agreed := utterance.agreement.add(hypothesis.text):
            self._show(turn, agreed, hypothesis.token_log_probabilities)

    def _fed(self, ticks: int, _: "asyncio.Future[None]") -> None:
        self._behind -= ticks

    def _end(self, turn: int) -> None:
        ear = self._utterances.pop(turn).ear
        if ear is not self._ear:
            self._retire(ear)

    def _renew(self) -> None:
        """The next utterance gets a new ear; the old one goes with the utterance that uses it."""
        self._aside = None
        ear, self._ear = self._ear, None
        if ear is not None and all(utterance.ear is not ear for utterance in self._utterances.values()):
            self._retire(ear)

    def _retire(self, ear: _Ear) -> None:
        """Lets an ear go when what it was asked has been done."""
        ear.worker.post(ear.close).add_done_callback(lambda _: self._ears.discard(ear))

    def _give_up(self, ear: _Ear) -> None:
        if ear is self._ear:
            self._ear = None
        if ear is self._aside:
            self._aside = None
        self._ears.discard(ear)
        ear.give_up()

"""One session's ear that reads with Whisper.

An utterance is read when it is over, or when somebody asks what is understood so far; each time Whisper sees all of it.
One that is longer than Whisper's 30 seconds is read window by window while it is spoken, up to the end of a segment, so
that no more than one window is left in the end.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.errors import StageError
from pipeline.transcription.whisper_window import LONGEST_S, Passage, Read, WindowReader
from pipeline.types import LISTENING_RATE, Pcm16, Segment, Transcript

_WINDOW = LONGEST_S * LISTENING_RATE
_SHORTEST = LISTENING_RATE // 10
"""Samples. There is no word in less, and Whisper would make one up."""

_UNSETTLED = 0.5
"""Text that a higher temperature than this was needed for says nothing about what follows (OpenAI's whisper)."""

_CODES = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh"}
"""Languages that Whisper has another code for than BCP 47, or that it has under another name."""
_TAGS = {"jw": "jv"}


def code_of(tag: str) -> str:
    """Returns Whisper's code of a BCP 47 tag's language: `en-GB` → `en`."""
    primary = tag.replace("_", "-").partition("-")[0].lower()
    return _CODES.get(primary, primary)


def tag_of(code: str) -> str:
    """Returns the BCP 47 tag of a language that Whisper has this code for."""
    return _TAGS.get(code, code)


class Turns:
    """So many windows are read at a time; the others wait in line."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._line: deque[object] = deque()
        self._over = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """Waits for a turn. `check` is called once in line, and again whenever something changes: it may raise.

        Raises:
            StageError: there are no more turns.
        """
        place = object()
        with self._changed:
            self._line.append(place)
            try:
                check()
                while not self._over and (not self._free or self._line[0] is not place):
                    self._changed.wait()
                    check()
                if self._over:
                    raise StageError("transcription", "The transcription has been shut down.")
                self._free -= 1
            finally:
                self._line.remove(place)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def wake(self) -> None:
        """Lets those who wait look again whether they are wanted."""
        with self._changed:
            self._changed.notify_all()

    def end(self, timeout: float) -> None:
        """Gives no more turns, and waits until nothing is being read, for `timeout` seconds at most."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._free == self._count, timeout)


@dataclass
class _Utterance:
    """What has been said and not been read for good, and what of it has.

    `length` and `offset` are samples: how many there are of the rest, and where it begins. `context` are the tokens of
    the prompt and of what has been read; `latest` is what is understood, if nothing was fed since.
    """

    sound: list[Pcm16] = field(default_factory=list)
    length: int = 0
    offset: int = 0
    passages: list[Passage] = field(default_factory=list)
    context: list[int] = field(default_factory=list)
    language: str | None = None
    latest: Transcript | None = None

    def add(self, samples: Pcm16) -> None:
        self.sound.append(samples)
        self.length += len(samples)
        self.latest = None

    def rest(self) -> Pcm16:
        """Returns what has not been read for good."""
        if len(self.sound) != 1:
            self.sound = [np.concatenate(self.sound) if self.sound else np.zeros(0, np.int16)]
        return self.sound[0]

    def drop(self, samples: int) -> None:
        """Forgets the beginning of the rest: it has been read."""
        self.sound = [self.rest()[samples:].copy()]
        self.length -= samples
        self.offset += samples


class WhisperStream:
    """One session's ear. Utterances have nothing to do with each other."""

    def __init__(
        self, reader: WindowReader, turns: Turns, language: str | None, prompt: list[int], word_times: bool
    ) -> None:
        self._reader = reader
        self._turns = turns
        self._language = language
        self._prompt = prompt
        self._word_times = word_times
        self._closed = False
        self._utterance = self._begin()

    def feed(self, samples: Pcm16) -> None:
        """Keeps the samples. When more than a window has come together, its finished segments are read."""
        self._check()
        utterance = self._utterance
        for start in range(0, len(samples), _WINDOW):
            utterance.add(samples[start : start + _WINDOW].copy())
            while utterance.length >= _WINDOW:
                self._advance(utterance)

    def hypothesis(self) -> Transcript:
        """Returns what is understood so far. Costs one window, or nothing if nothing was fed since the last one."""
        self._check()
        utterance = self._utterance
        if utterance.latest is None:
            utterance.latest = self._transcript(utterance)
        return utterance.latest

    def finish(self) -> Transcript:
        """Ends the utterance; costs nothing after a `hypothesis`."""
        transcript = self.hypothesis()
        self._utterance = self._begin()
        return transcript

    def discard(self) -> None:
        self._utterance = self._begin()

    def close(self) -> None:
        """Lets a call that is under way end with the job it has in CTranslate2, and starts none."""
        self._closed = True
        self._turns.wake()

    def _begin(self) -> _Utterance:
        return _Utterance(context=list(self._prompt), language=self._language)

    def _check(self) -> None:
        if self._closed:
            raise StageError("transcription", "The stream has been closed.")

    def _advance(self, utterance: _Utterance) -> None:
        """Reads a window in the middle of an utterance for good, as far as its segments are whole."""
        read = self._read(utterance.rest()[:_WINDOW], utterance.language, utterance.context, last=False)
        utterance.passages += _later(read.passages, utterance.offset)
        if read.passages:
            utterance.language = read.language
        if read.temperature > _UNSETTLED:
            utterance.context = list(self._prompt)
        else:
            utterance.context += _tokens(read.passages)
        utterance.drop(_WINDOW if read.rest_s is None else round(read.rest_s * LISTENING_RATE))

    def _transcript(self, utterance: _Utterance) -> Transcript:
        sound, at = utterance.rest(), 0
        passages, language = list(utterance.passages), utterance.language
        context = list(utterance.context)
        while len(sound) - at >= _SHORTEST:
            read = self._read(sound[at:], language, context, last=True)
            passages += _later(read.passages, utterance.offset + at)
            context += _tokens(read.passages)
            if read.passages:
                language = read.language
            if read.rest_s is None:
                break
            at += round(read.rest_s * LISTENING_RATE)
        return Transcript(
            "".join(passage.text for passage in passages).strip(),
            tokens=sum(len(passage.tokens) for passage in passages),
            language=tag_of(language) if language else None,
            segments=tuple(passage.segment for passage in passages),
            token_log_probabilities=tuple(each for passage in passages for each in passage.token_log_probabilities),
        )

    def _read(self, sound: Pcm16, language: str | None, context: list[int], last: bool) -> Read:
        if not sound.any():
            return Read((), language or "")
        samples = sound.astype(np.float32) / np.float32(32768)
        try:
            with self._turns.turn(self._check):
                read = self._reader.read(
                    samples, language, context, word_times=self._word_times, last=last, check=self._check
                )
        except (RuntimeError, ValueError) as error:
            raise StageError("transcription", f"CTranslate2 failed: {str(error).rstrip('.')}.") from error
        self._check()
        return read


def _tokens(passages: Sequence[Passage]) -> list[int]:
    return [token for passage in passages for token in passage.tokens]


def _later(passages: Sequence[Passage], samples: int) -> list[Passage]:
    """Returns the passages of a window that begins so many samples into the utterance."""
    seconds = samples / LISTENING_RATE
    return [replace(passage, segment=_segment_later(passage.segment, seconds)) for passage in passages]


def _segment_later(segment: Segment, seconds: float) -> Segment:
    words = (replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=tuple(words))

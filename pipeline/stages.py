"""The Protocols that engines implement: one stage, one Protocol.

An engine is a class with an `Options` struct, made once from its block in models.yaml and shared by every
session: `Engine(Engine.Options(...))` loads its weights and raises `EngineError` when it cannot. What belongs
to one session lives in a stream that `open()` returns.

Engines are written as plain blocking code. The pipeline calls them on threads of its own (workers.py), so an
engine needs no asyncio and no locks for its streams; methods of one stream are never called at the same time,
except `close`. An engine that speaks HTTP may write a method that is to return an iterator as an async generator
(`async def` with `yield`): that runs on the event loop.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from pipeline.types import (
    GenerationRequest,
    ModelOutput,
    Pcm16,
    Samples,
    SpeechRequest,
    Transcript,
)
from pipeline.workers import CancelToken


class EngineOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every engine's options. Fields are keys in models.yaml; describe each with `msgspec.Meta`."""


class Engine(Protocol):
    """What the engines of every stage have in common."""

    @property
    def Options(self) -> type[Any]:  # noqa: N802 - a class of the engine, with the options that models.yaml may set
        """The struct of the engine's options: a subclass of `EngineOptions`, nested in the engine."""

    def warm_up(self) -> None:
        """Does once what would make the first turn slow. Called before the server listens."""

    def close(self) -> None:
        """Ends every thread and process of the engine and frees its weights. Called once, after all streams."""


# --- voice activity detection ---------------------------------------------------------------------------------


class VoiceActivityDetector(Engine, Protocol):
    """Tells for every frame of sound how likely it is that somebody speaks."""

    frame: int
    """Samples a frame at 16 kHz."""

    def open(self) -> object:
        """Returns the state of one session's stream, made new; it is only ever handed back to `detect`."""

    def detect(self, batch: Sequence[tuple[Any, Samples]]) -> list[float]:
        """Judges one frame each of several sessions, in one call, and moves their states on.

        Args:
            batch: pairs of a state from `open` and its next frame, float32 `[frame]` at 16 kHz. A state occurs
                once at most.

        Returns:
            The probability of speech in [0, 1] for each pair, in order.
        """


# --- endpointing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in the user's speech, and what is known when it begins.

    `audio` is the utterance so far, int16 `[n]` at 16 kHz; `silence_ms` is the silence the client asked for.
    """

    audio: Pcm16
    transcript: str
    silence_ms: int


class EndOfTurnDetector(Engine, Protocol):
    """Tells how long a pause must last before the turn is over."""

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        """Returns the milliseconds of silence, from its first quiet frame, after which the turn is over."""


# --- transcription --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TranscriberCapabilities:
    """`languages` are BCP 47 tags; `streaming` means that `hypothesis` costs next to nothing at any time."""

    languages: frozenset[str]
    streaming: bool = False
    log_probabilities: bool = False
    prompt: bool = False


class TranscriptionStream(Protocol):
    """One session's ear: any number of utterances, one after the other.

    An utterance begins with the first `feed` after `open`, `finish` or `discard`. Any method may raise
    `StageError`; the stream is closed after that and another opened for the next utterance.
    """

    def feed(self, samples: Pcm16) -> None:
        """Takes the next samples of the utterance, int16 `[n]` at 16 kHz."""

    def hypothesis(self) -> Transcript:
        """Returns what is understood so far, without ending the utterance.

        If nothing is fed after it, this is the transcript; `finish` is then only called to end the utterance.
        """

    def finish(self) -> Transcript:
        """Ends the utterance and returns its transcript."""

    def discard(self) -> None:
        """Drops the utterance and what was understood of it."""

    def close(self) -> None:
        """Frees what the stream holds. May be called at any time from another thread, and more than once; a call
        that is under way then ends soon, with a `StageError`.
        """


class Transcriber(Engine, Protocol):
    """Turns speech into text."""

    capabilities: TranscriberCapabilities

    def open(self, language: str | None = None, prompt: str | None = None) -> TranscriptionStream:
        """Opens a session's stream. Cheap: heavy things are borrowed when an utterance begins."""


# --- language model -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LanguageModelCapabilities:
    """`context` is the most tokens that prompt and reply may have together."""

    context: int
    tools: bool = False
    grammar: bool = False
    vision: bool = False


class LanguageModelStream(Protocol):
    """One session's hold on the model: where it keeps what it has computed of the session's history."""

    def generate(
        self, request: GenerationRequest, cancel: CancelToken
    ) -> Iterator[ModelOutput] | AsyncIterator[ModelOutput]:
        """Makes one reply. Several may be under way in one stream.

        Yields text and tool calls as they are made and `Generated` as the last value. When `cancel` is set
        it ends soon, without `Generated`.

        Raises:
            StageError: the reply cannot be made (or be finished).
        """

    def close(self) -> None:
        """Frees what the stream holds in the model."""


class LanguageModel(Engine, Protocol):
    """Makes the reply."""

    capabilities: LanguageModelCapabilities

    def open(self) -> LanguageModelStream:
        """Opens a session's stream. Cheap."""


# --- speech synthesis -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SynthesizerCapabilities:
    """`voices` are what a request may name, the engine's default first; `speeds` are the slowest and the fastest."""

    voices: tuple[str, ...]
    languages: frozenset[str]
    speeds: tuple[float, float] = (1.0, 1.0)


class Synthesizer(Engine, Protocol):
    """Turns clauses into speech. It has no session state: each clause stands alone."""

    capabilities: SynthesizerCapabilities
    rate: int
    """Samples a second of what `synthesize` yields."""
    concurrency: int
    """How many clauses may be in the making at the same time; others wait their turn."""

    def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Pcm16] | AsyncIterator[Pcm16]:
        """Says one clause: yields int16 `[n]` at `rate`, in chunks, as soon as they are made.

        When `cancel` is set it ends soon.

        Raises:
            StageError: the clause cannot be said.
        """

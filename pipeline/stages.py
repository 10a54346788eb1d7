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
from typing import Annotated, Any, Literal, Protocol, TypeAlias, runtime_checkable

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

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
"""What models.yaml may say of where an engine computes."""


class EngineOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every engine's options. Fields are keys in models.yaml; describe each with `msgspec.Meta`."""

    device: Annotated[
        Device,
        msgspec.Meta(
            description="Where it computes: `auto` takes CUDA where it works, `cuda` works or does not start."
        ),
    ] = "auto"


class Engine(Protocol):
    """What the engines of every stage have in common.

    An engine that can compute on a GPU says so in a class attribute `devices = ("cpu", "cuda")` and heeds
    `options.device`; `cuda` is refused for one that does not (see device.py). After loading, its attribute
    `device` says where it computes, such as "cuda (NVIDIA H200)"; without the attribute that is the CPU.
    """

    @property
    def Options(self) -> type[Any]:  # noqa: N802 - a class of the engine, with the options that models.yaml may set
        """The struct of the engine's options: a subclass of `EngineOptions`, nested in the engine."""

    def warm_up(self) -> None:
        """Does once what would make the first turn slow. Called before the server listens."""

    def close(self) -> None:
        """Ends every thread and process of the engine and frees its weights. Again: does nothing.

        Called when all streams are closed; what is asked of the engine after it is a `StageError`.
        """


# --- voice activity detection ---------------------------------------------------------------------------------


class VoiceActivityDetector(Engine, Protocol):
    """Tells for every frame of sound how likely it is that somebody speaks."""

    frame: int
    """Samples a frame at 16 kHz: an even number, so that it is whole at 24 kHz as well."""

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

    `audio` is the newest of the utterance so far, 8 s at most, int16 `[n]` at 16 kHz, up to 64 ms into the silence.
    `transcript` is empty for a detector that does not read words. `most_ms` is the silence after which the turn is
    over whatever was said.
    """

    audio: Pcm16
    transcript: str
    most_ms: int


class EndOfTurnDetector(Engine, Protocol):
    """Tells how long a pause must last before the turn is over. Asked where turn detection is `semantic_vad`."""

    reads: frozenset[Literal["sound", "words"]]
    """What it looks at besides the silence. With nothing it is not asked: under `semantic_vad` the pipeline has
    `pipeline.endpointing.words` judge its pauses. With `words` it is asked when the words are known, else at once.
    """

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        """Returns the milliseconds of silence, from its first quiet frame, after which the turn is over: `most_ms`
        where the user is likely to go on, less where they have finished.
        """


# --- transcription --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TranscriberCapabilities:
    """`languages` are BCP 47 tags.

    `streaming` means that a reply may be started on a hypothesis: `hypothesis` costs no more than `finish`.
    `partial_s` is after how many seconds of new sound another hypothesis is worth its cost, so that words can be
    shown while they are spoken; None: never. `log_probabilities` and `word_times` say what transcripts may carry;
    `prompt`, whether `open` takes one. `concurrency` is how many utterances are worked on at the same time, over all
    streams; None: as many as it is asked for.
    """

    languages: frozenset[str]
    streaming: bool = False
    partial_s: float | None = None
    log_probabilities: bool = False
    word_times: bool = False
    prompt: bool = False
    concurrency: int | None = None


class TranscriptionStream(Protocol):
    """One session's ear: any number of utterances, one after the other.

    An utterance begins with the first `feed` after `open`, `finish` or `discard`. Any method may raise
    `StageError`; the stream is closed after that and another opened for the next utterance.
    """

    def feed(self, samples: Pcm16) -> None:
        """Takes the next samples of the utterance, int16 `[n]` at 16 kHz."""

    def hypothesis(self) -> Transcript:
        """Returns what is understood so far, without ending the utterance.

        If nothing is fed after it, this is the transcript: `finish` then returns the same and decodes nothing again;
        unless the stream is a `PausingStream`, of whose `pause` that is true.
        """

    def finish(self) -> Transcript:
        """Ends the utterance and returns its transcript."""

    def discard(self) -> None:
        """Drops the utterance and what was understood of it."""

    def close(self) -> None:
        """Frees what the stream holds. May be called at any time from another thread, and more than once; a call
        that is under way then ends soon, with a `StageError`.
        """


@runtime_checkable
class PausingStream(TranscriptionStream, Protocol):
    """A stream for which it is more work to say what an utterance would be if it ended than what is understood so far.

    It is asked for the one in pauses, and for the other while somebody speaks.
    """

    def pause(self) -> Transcript:
        """Returns what `finish` would return now, without ending the utterance."""


class Transcriber(Engine, Protocol):
    """Turns speech into text."""

    capabilities: TranscriberCapabilities

    def open(
        self, language: str | None = None, prompt: str | None = None, word_times: bool = False
    ) -> TranscriptionStream:
        """Opens a session's stream. Cheap: heavy things are borrowed when an utterance begins.

        Args:
            language: what is spoken, a BCP 47 tag; None: the engine's own setting, or whatever it recognises.
            prompt: words that are likely to come, or text that came before.
            word_times: whether segments are to carry their words with times; asked only of engines that can.
        """


# --- language model -------------------------------------------------------------------------------------------


RequestSetting: TypeAlias = Literal["stop", "top_p", "seed", "presence_penalty", "frequency_penalty", "truncation"]
"""Fields of `GenerationRequest` that not every engine knows."""


@dataclass(frozen=True, slots=True)
class LanguageModelCapabilities:
    """`context` is the most tokens that prompt and reply may have together; None: whoever runs the model knows.

    `tools`: it can be given tools. `forced_calls`: `required` and named tool choices are certain to be met.
    `vision`: its messages may have images. `reasoning`: it can think before it replies. `heeds` are the further
    settings of a request that have their effect. `prefills`: it gains by being told a prompt before it is complete
    (`PrefillingStream`). `concurrency` is how many replies are made at the same time, over all streams; None: as many
    as it is asked for.
    """

    context: int | None
    tools: bool = False
    forced_calls: bool = False
    vision: bool = False
    reasoning: bool = False
    heeds: frozenset[RequestSetting] = frozenset()
    prefills: bool = False
    concurrency: int | None = None


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


@runtime_checkable
class PrefillingStream(LanguageModelStream, Protocol):
    """A stream of a model whose capabilities say `prefills`."""

    def prefill(self, request: GenerationRequest) -> None:
        """Begins to compute what the prompt of a reply to come will begin with: instructions, tools, history, and of
        the newest message as much as is known. Returns at once and never raises for a prompt that does not fit.

        The newest call counts: it takes the place of one that is still being worked on, and the next `generate` of the
        stream ends it. Replies of any stream go before it. Calling it changes no reply, only when it comes.
        """


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

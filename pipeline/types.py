"""The frozen values that pass from stage to stage.

Sound is mono. Inside the pipeline it is `int16` for storage and the wire and `float32` in [-1, 1) for
the voice activity detector; the sample rate is said wherever it is not obvious from the type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm16: TypeAlias = NDArray[np.int16]
"""Mono samples, shape `[n]`, full scale ±32768."""

Samples: TypeAlias = NDArray[np.float32]
"""Mono samples, shape `[n]`, in [-1, 1)."""

WIRE_RATE = 24_000
"""Samples a second of PCM on the wire, and ticks a second of a session's input clock."""

LISTENING_RATE = 16_000
"""Samples a second that detectors and transcribers are given."""


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """Which attempt at which turn a value was made for.

    A turn is one utterance or one `response.create`. Each attempt to answer it has its own revision, so that
    whatever still arrives from an abandoned attempt is recognised by its id and dropped.
    """

    turn: int
    revision: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a transcript: when it was said, in seconds from the utterance's first sample, and how sure the
    engine is of it (natural logarithm of the probability; None: it does not say).
    """

    text: str
    start: float
    end: float
    log_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a transcript, in seconds from the utterance's first sample.

    `log_probability` is the mean over its tokens; `words` is empty unless word times were asked for.
    """

    text: str
    start: float
    end: float
    log_probability: float | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenLogProbability:
    """A token of a transcript as text, and the natural logarithm of its probability.

    `raw` are its bytes where the text does not say them: of a part of a character.
    """

    text: str
    log_probability: float
    raw: bytes | None = None

    @property
    def utf8(self) -> bytes:
        return self.text.encode() if self.raw is None else self.raw


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a transcriber understood of an utterance.

    `text` is empty when nothing was understood. `tokens` counts what the engine's decoder produced (words,
    where the engine has no tokens). `language` is a BCP 47 tag where the engine knows it. `segments` are in order
    and empty where the engine has none; so is `token_log_probabilities`.
    """

    text: str
    tokens: int = 0
    language: str | None = None
    segments: tuple[Segment, ...] = ()
    token_log_probabilities: tuple[TokenLogProbability, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema. If it is `strict`, a call whose arguments are
    not what the schema says fails the reply (strict_calls.py).
    """

    name: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made. `arguments` is a JSON object as text; `id` joins it with its result."""

    id: str
    name: str
    arguments: str


Detail: TypeAlias = Literal["auto", "low", "high"]
"""How closely a model is to look at an image."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message: the bytes of a PNG or JPEG file, and its size in pixels.

    `at` is where it is shown: so many characters of the message's text come before it.
    """

    data: bytes = field(repr=False)
    media_type: Literal["image/png", "image/jpeg"]
    width: int
    height: int
    detail: Detail = "auto"
    at: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt, as text; a user's message to a model that sees may have images in it.

    `calls` are what an assistant's message called, after its text (which may be empty). A message of role `tool`
    is the result of one call: `text` is what came back, `call_id` says of which. `heard` is the length of the sound
    that the text was understood from, in samples at 24 kHz: it costs something, but the model is not told.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    images: tuple[Image, ...] = ()
    heard: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that the language model is told: instructions first, then the conversation, oldest first; and the tools
    that it may call.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A tool choice: this function must be called."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool
"""Whether the model may call a tool, must not, must call one, or must call this one."""


Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
"""How much a model is to reason before it replies."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """What becomes of a conversation that is longer than the model's context has room for.

    `auto`: the oldest turns are left out, as the engine thinks best. `disabled`: the reply fails. `retention_ratio`:
    when the conversation has more tokens than fit, or than `most_tokens`, its oldest turns are left out until it has no
    more than `ratio` of that. Instructions and tools do not count as conversation and always stay; calls stay or go
    with their results.
    """

    mode: Literal["auto", "disabled", "retention_ratio"] = "auto"
    ratio: float = 1.0
    most_tokens: int | None = None


AUTO: Final = Truncation()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One reply to make.

    `max_tokens` of None means as many as the engine's own limit allows; None for `temperature` and `effort`
    (reasoning before the reply, by models that can) means what the engine is set to. `tool_choice` says how the
    prompt's tools are to be used; with `parallel_tool_calls` false there is one call at most.

    The rest is only asked of engines whose capabilities say that they heed it; None is what the engine is set to.
    `truncation` other than `auto` says what to do with a conversation that is too long.
    `stop` are texts at which the reply ends, besides the engine's own; they are not part of it. `top_p` draws from the
    likeliest tokens that together reach this probability; `seed` makes the same draws for the same prompt; the
    penalties are taken off the logit of a token that has come (presence: once, frequency: each time).
    """

    prompt: Prompt
    max_tokens: int | None = None
    temperature: float | None = None
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    effort: Effort | None = None
    truncation: Truncation = AUTO
    stop: tuple[str, ...] = ()
    top_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @property
    def thinking(self) -> bool | None:
        """Whether the model is to reason, for those that only do or do not."""
        return None if self.effort is None else self.effort not in ("none", "minimal")


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text of the reply that can be shown and spoken, in order; never reasoning, never tool markup."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of one tool call.

    `index` counts the calls of a reply from 0. `name` is whole and comes with the first piece (empty later);
    `arguments` is JSON in parts. `id` is the engine's own for the call, where it has one.
    """

    index: int
    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """The last value of a generation: why it ended and what it cost, in the engine's tokens.

    `input_tokens` counts the whole prompt, `cached_tokens` the part of it that needed no computing, `image_tokens` what
    of it stands for images, where that is known. `left_out` are the indices of the prompt's messages that the model was
    not told, for want of room.
    """

    reason: Literal["stop", "max_tokens"]
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    left_out: frozenset[int] = frozenset()
    image_tokens: int = 0


ModelOutput: TypeAlias = TextDelta | ToolCallDelta | Generated


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of the reply that is spoken in one go.

    `text` is the exact slice of the reply (all clauses joined give the reply back); `speech` is what the
    synthesizer is told to say, without markup, and may be empty.
    """

    index: int
    text: str
    speech: str


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One clause to say, with a voice of the engine (None: its own choice) at a speed (1.0: normal)."""

    text: str
    voice: str | None = None
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """All that decides what a turn will be. Two requests that differ only in `run` ask for the same reply."""

    run: RunId
    prompt: Prompt
    modality: Literal["audio", "text"]
    voice: str | None = None
    speed: float = 1.0
    max_tokens: int | None = None
    temperature: float | None = None
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    effort: Effort | None = None
    truncation: Truncation = AUTO

    @property
    def generation(self) -> GenerationRequest:
        """What of it is asked of the language model."""
        return GenerationRequest(
            prompt=self.prompt,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            tool_choice=self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls,
            effort=self.effort,
            truncation=self.truncation,
        )


@dataclass(frozen=True, slots=True)
class TurnText:
    """Text of the reply, where text was asked for."""

    run: RunId
    text: str


@dataclass(frozen=True, slots=True)
class TurnClause:
    """The next clause is about to be heard: its sound follows."""

    run: RunId
    text: str


@dataclass(frozen=True, slots=True)
class TurnAudio:
    """Sound of the clause named last: int16 `[n]` at 24 kHz. Equality looks at the samples."""

    run: RunId
    samples: Pcm16

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TurnAudio) and self.run == other.run and np.array_equal(self.samples, other.samples)

    def __hash__(self) -> int:
        return hash((self.run, len(self.samples)))


@dataclass(frozen=True, slots=True)
class TurnCall:
    """A piece of a tool call. `index` counts the calls of the reply; `name` comes with the first piece, and is empty
    later; `arguments` is JSON in parts.
    """

    run: RunId
    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The reply is whole; `generated` says why it ended and what it cost."""

    run: RunId
    generated: Generated


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """A stage failed and the run has ended.

    `code` is `<stage>_failed` or `<stage>_timeout`, or what a remote service called its error; `kind` is the
    protocol's type of error.
    """

    run: RunId
    code: str
    problem: str
    kind: str = "server_error"


TurnEvent: TypeAlias = TurnText | TurnClause | TurnAudio | TurnCall | TurnFinished | TurnFailed

"""What reaches the machine besides client events: results of stages, and the end of the connection.

Positions in the user's sound are ticks of the input clock: samples at 24 kHz (`pipeline.types.WIRE_RATE`),
counted from the first sample of the session, whatever format the client sends.
"""

from dataclasses import dataclass
from typing import TypeAlias

from pipeline.types import RunId, TokenLogProbability, Transcript, TurnEvent
from server.realtime.client_events import ClientEvent
from server.realtime.mcp_schema import McpError, McpListedTool
from server.realtime.server_objects import ErrorBody


@dataclass(frozen=True, slots=True)
class Refused:
    """A client event that the wire could not decode. It only leads to an `error`."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class VoiceVerdict:
    """How likely it is that somebody speaks in the frame `[start, end)`.

    `epoch` is the one the frame was sent to the detector under; a verdict of an old epoch is dropped.
    """

    epoch: int
    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class VoiceFailed:
    """The voice activity detector failed on frames of this epoch."""

    epoch: int
    problem: str


@dataclass(frozen=True, slots=True)
class SoundArrived:
    """In a call: the user's sound as it comes, PCM16 at 24 kHz."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class SoundPlaying:
    """In a call: from now on the sound of this item is played, beginning at `place`, in samples at 24 kHz."""

    item_id: str
    place: int


@dataclass(frozen=True, slots=True)
class SoundPaused:
    """In a call: all that there is of this item's sound has been played, up to `place`, and nothing else is."""

    item_id: str
    place: int


@dataclass(frozen=True, slots=True)
class IdleTimer:
    """The timer with this number has run out; see `commands.SetIdleTimer`."""

    number: int


@dataclass(frozen=True, slots=True)
class PauseAssessed:
    """How much silence ends the turn, by the end-of-turn detector, for the pause of this run."""

    run: RunId
    silence_ms: int


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What is understood of an utterance when a pause begins: the ground of speculation."""

    run: RunId
    transcript: Transcript


@dataclass(frozen=True, slots=True)
class PlaceWanted:
    """A reply that somebody waits for needs the place that this run has with an engine: held, it gives way."""

    run: RunId


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """Words of an utterance that several hypotheses agree on, while it is being spoken: all of them so far.

    `tokens` are those of the newest hypothesis, which begins with these words; empty where there are none.
    """

    turn: int
    text: str
    tokens: tuple[TokenLogProbability, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The transcript of a committed utterance."""

    turn: int
    transcript: Transcript


@dataclass(frozen=True, slots=True)
class TranscriptionFault:
    """An utterance could not be transcribed. `code` and `kind` are as in `TurnFailed`."""

    turn: int
    code: str
    problem: str
    kind: str = "server_error"


@dataclass(frozen=True, slots=True)
class McpToolsListed:
    """The tools that an MCP server has, for this listing."""

    listing: str
    tools: tuple[McpListedTool, ...]


@dataclass(frozen=True, slots=True)
class McpListingFailed:
    """An MCP server could not be asked for its tools."""

    listing: str
    problem: str


@dataclass(frozen=True, slots=True)
class McpReturned:
    """What a call of an MCP server's tool came to: a text, or an error."""

    call: str
    result: str | McpError


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The client is gone: everything of the session ends."""


Event: TypeAlias = (
    ClientEvent
    | Refused
    | VoiceVerdict
    | VoiceFailed
    | SoundArrived
    | SoundPlaying
    | SoundPaused
    | IdleTimer
    | PauseAssessed
    | Hypothesis
    | PlaceWanted
    | PartialTranscript
    | Transcribed
    | TranscriptionFault
    | TurnEvent
    | McpToolsListed
    | McpListingFailed
    | McpReturned
    | Disconnected
)
"""All that `Machine.handle` takes."""

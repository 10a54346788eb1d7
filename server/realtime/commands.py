"""What the machine wants done. The session (server/session.py) carries the commands out, in order.

Positions are ticks of the input clock: samples at 24 kHz.
"""

from dataclasses import dataclass
from typing import TypeAlias

from pipeline.noise import NoiseField
from pipeline.types import GenerationRequest, RunId, TurnRequest
from server.realtime.mcp_schema import McpServer
from server.realtime.schema import AudioFormat
from server.realtime.server_events import ItemRetrieved, ServerEvent


@dataclass(frozen=True, slots=True)
class Send:
    """Sends an event to the client."""

    event: ServerEvent


@dataclass(frozen=True, slots=True)
class StoreAudio:
    """Keeps appended sound, PCM16 at 24 kHz whatever the client sends; with `listen_epoch` its frames also go to the
    voice activity detector.
    """

    audio: bytes
    listen_epoch: int | None


@dataclass(frozen=True, slots=True)
class ReduceNoise:
    """From now on noise is taken out of appended sound, before it is kept and before the detector hears it.

    None: it is left as it is.
    """

    field: NoiseField | None


@dataclass(frozen=True, slots=True)
class SetIdleTimer:
    """Brings `IdleTimer` with this number in so many ms, and no earlier one any more. None: none at all."""

    number: int
    after_ms: int | None


@dataclass(frozen=True, slots=True)
class ResetVoice:
    """Makes the detector's state for the session new; frames on their way to it are dropped."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ForgetAudio:
    """Sound before this tick is not needed any more."""

    before: int


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Feeds `[start, end)` of the sound to the utterance of this turn, which begins with the first such command.

    `pauses`: the utterance may end here, so that nothing of it is held back. It is the same sample whether or not
    anything is asked about the pause, so that the words are the same.
    """

    turn: int
    start: int
    end: int
    pauses: bool = False


@dataclass(frozen=True, slots=True)
class Hypothesise:
    """Asks what is understood of the utterance so far. `is_speculative`: only a held reply would come of it, so it
    need not be answered where there is more to do.
    """

    run: RunId
    is_speculative: bool = False


@dataclass(frozen=True, slots=True)
class AssessPause:
    """Asks the end-of-turn detector about the pause at `end` of the utterance that began at `start`.

    `words` are what is understood of it; `most_ms` is the silence that ends the turn in any case.
    """

    run: RunId
    start: int
    end: int
    words: str
    most_ms: int


@dataclass(frozen=True, slots=True)
class FinishTranscript:
    """Ends the utterance of this turn and asks for its transcript."""

    turn: int


@dataclass(frozen=True, slots=True)
class DiscardUtterance:
    """Drops the utterance of this turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class TranscribeRecording:
    """Asks for the transcript of a recording, PCM16 at 24 kHz, as that of this turn, beside what is being said."""

    turn: int
    audio: bytes


@dataclass(frozen=True, slots=True)
class KeepSpoken:
    """Keeps `[start, end)` of the sound as that of an item, for whoever retrieves it, as long as there is room."""

    item_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class KeepRecording:
    """Keeps a recording, PCM16 at 24 kHz, as the sound of a part of an item, likewise."""

    item_id: str
    content_index: int
    audio: bytes


@dataclass(frozen=True, slots=True)
class ForgetSound:
    """The item is gone, and its sound with it."""

    item_id: str


@dataclass(frozen=True, slots=True)
class SendRetrieved:
    """Sends an item to the client, with its sound in this format where that is kept and an event has room for it."""

    event: ItemRetrieved
    format: AudioFormat


@dataclass(frozen=True, slots=True)
class SetTranscription:
    """From the next utterance on, transcribe with this language (BCP 47) and prompt.

    `shows`: whether words are wanted while they are spoken.
    """

    language: str | None
    prompt: str | None
    shows: bool


@dataclass(frozen=True, slots=True)
class Prefill:
    """Tells the model what the prompt of the next reply begins with, as far as that is known; the newest counts."""

    request: GenerationRequest


@dataclass(frozen=True, slots=True)
class StartRun:
    """Starts a run. While `held`, what it makes stays with the machine, so only so much of it is pulled."""

    request: TurnRequest
    held: bool


@dataclass(frozen=True, slots=True)
class ReleaseRun:
    """The run is held no more: what it makes now goes to the client."""

    run: RunId


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Ends a run; nothing that still comes from it matters."""

    run: RunId


@dataclass(frozen=True, slots=True)
class PlaySound:
    """In a call: plays sound, PCM16 at 24 kHz, after what was to be played of this item, and that after other items."""

    response_id: str
    item_id: str
    audio: bytes


@dataclass(frozen=True, slots=True)
class EndSound:
    """In a call: no more sound of this item comes; when all of it has been played, the next item's is."""

    item_id: str


@dataclass(frozen=True, slots=True)
class DropSound:
    """In a call: what has not been played of this item is not to be, at once."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ListMcpTools:
    """Asks an MCP server for its tools; `listing` comes back with them."""

    listing: str
    server: McpServer


@dataclass(frozen=True, slots=True)
class CallMcpTool:
    """Has an MCP server's tool called; `call` comes back with what it returns. `arguments` is a JSON object as text."""

    call: str
    server: McpServer
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CancelMcpCall:
    """Ends a call; what would still come of it matters to nobody."""

    call: str


@dataclass(frozen=True, slots=True)
class CloseMcpServer:
    """The connection to an MCP server is needed no more."""

    server: McpServer


Command: TypeAlias = (
    Send
    | StoreAudio
    | ReduceNoise
    | SetIdleTimer
    | ResetVoice
    | ForgetAudio
    | Transcribe
    | Hypothesise
    | AssessPause
    | FinishTranscript
    | DiscardUtterance
    | TranscribeRecording
    | KeepSpoken
    | KeepRecording
    | ForgetSound
    | SendRetrieved
    | SetTranscription
    | Prefill
    | StartRun
    | ReleaseRun
    | CancelRun
    | PlaySound
    | EndSound
    | DropSound
    | ListMcpTools
    | CallMcpTool
    | CancelMcpCall
    | CloseMcpServer
)
"""All that `Machine.handle` returns."""

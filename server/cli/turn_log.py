"""What happened in a conversation, and when: Realtime events in, exchanges out. No clock, no I/O.

An exchange is what the user said, in one utterance or several, and the response to it. Responses that a client
asks for out of band are not its business.
"""

from dataclasses import dataclass, field

from server.cli.realtime_client import Event, audio_of


@dataclass(slots=True)
class Utterance:
    """One stretch of the user's speech. Moments (`…_at`) are seconds of the clock that `TurnLog.take` is given."""

    item_id: str
    start_ms: int = 0
    end_ms: int = 0
    """Where it lies in the sound that was sent."""
    stopped_at: float | None = None
    transcript: str | None = None
    transcript_at: float | None = None
    problem: str | None = None


@dataclass(slots=True)
class Reply:
    """One response."""

    id: str
    text: str = ""
    audio: bytearray = field(default_factory=bytearray)
    first_text_at: float | None = None
    first_audio_at: float | None = None
    done_at: float | None = None
    status: str = "in_progress"
    problem: str | None = None
    """Why it failed or was cut, as the server says it."""


@dataclass(slots=True)
class Exchange:
    utterances: list[Utterance]
    reply: Reply

    @property
    def over(self) -> bool:
        """Whether all is known of it: the reply has ended, and the words are there or will never be."""
        heard = all(each.transcript is not None or each.problem is not None for each in self.utterances)
        return self.reply.done_at is not None and heard


class TurnLog:
    """Keeps account of a session's events."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.speaking: Utterance | None = None
        """What the user is saying."""
        self.unanswered: list[Utterance] = []
        """What was committed and has no response yet."""
        self._utterances: dict[str, Utterance] = {}

    @property
    def heard_anything(self) -> bool:
        return self.speaking is not None or bool(self._utterances)

    @property
    def settled(self) -> bool:
        """Whether everything that was said has been answered."""
        return self.speaking is None and not self.unanswered and all(each.over for each in self.exchanges)

    def take(self, event: Event, at: float) -> None:
        """Takes the next server event, which came at the moment `at`, in seconds."""
        match str(event.get("type")).split("."):
            case ["input_audio_buffer", what]:
                self._input(what, event, at)
            case ["conversation", "item", "input_audio_transcription", what]:
                self._transcription(what, event, at)
            case ["response", *what]:
                self._response(".".join(what), event, at)

    def find(self, response_id: str) -> Exchange | None:
        """Returns the exchange that a response belongs to."""
        return next((each for each in reversed(self.exchanges) if each.reply.id == response_id), None)

    def _input(self, what: str, event: Event, at: float) -> None:
        item_id = str(event.get("item_id"))
        if what == "speech_started":
            self.speaking = Utterance(item_id, start_ms=event.get("audio_start_ms", 0))
        elif what == "speech_stopped" and self.speaking is not None:
            self.speaking.end_ms = event.get("audio_end_ms", 0)
            self.speaking.stopped_at = at
        elif what == "committed":
            utterance, self.speaking = self.speaking or Utterance(item_id), None
            self._utterances[item_id] = utterance
            self.unanswered.append(utterance)

    def _transcription(self, what: str, event: Event, at: float) -> None:
        utterance = self._utterances.get(str(event.get("item_id")))
        if utterance is None:
            return
        if what == "completed":
            utterance.transcript = str(event.get("transcript") or "").strip()
            utterance.transcript_at = at
        elif what == "failed":
            utterance.problem = str((event.get("error") or {}).get("message") or "transcription failed")

    def _response(self, what: str, event: Event, at: float) -> None:
        if what == "created":
            self.exchanges.append(Exchange(self.unanswered, Reply(str(event["response"]["id"]))))
            self.unanswered = []
            return
        if what == "done":
            exchange = self.find(str(event["response"]["id"]))
            if exchange is not None:
                _close(exchange.reply, event["response"], at)
            return
        exchange = self.find(str(event.get("response_id")))
        if exchange is None:
            return
        reply = exchange.reply
        if what in ("output_audio_transcript.delta", "output_text.delta"):
            reply.first_text_at = reply.first_text_at or at
            reply.text += str(event.get("delta", ""))
        elif what == "output_audio.delta":
            reply.first_audio_at = reply.first_audio_at or at
            reply.audio += audio_of(event)


def _close(reply: Reply, response: Event, at: float) -> None:
    reply.done_at = at
    reply.status = str(response.get("status"))
    reply.problem = status_problem(response)


def status_problem(response: Event) -> str | None:
    """Returns why a response is not `completed`, in a few words; None if it is."""
    if response.get("status") == "completed":
        return None
    details = response.get("status_details") or {}
    error = details.get("error") or {}
    said = details.get("reason"), error.get("message") or error.get("code")
    return ": ".join(str(part) for part in said if part) or "no reason given"

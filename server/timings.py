"""Where the time of a turn went: what the server tells a client that asks for it.

A client asks with `?timings=true` in the URL it connects to. It is told in `response.done`, in the response's
`metadata`, since the protocol's schema has no other place for it: `parley.timings` is a JSON object of milliseconds.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pipeline.types import RunId
from server.realtime import commands as do
from server.realtime import server_events as out
from server.realtime.inbox import Event, Hypothesis, Transcribed, VoiceVerdict

METADATA_KEY: Final = "parley.timings"

STAGES: Final = {
    "voice": "the voice detector has judged the last frame of speech",
    "quiet": "quiet frames: the reply to what is understood may be begun",
    "words": "the transcriber has said what it understood of the tail",
    "run": "the language model is asked",
    "first_token": "its first text is there",
    "first_clause": "the first clause is handed to the synthesizer",
    "first_audio": "its first sound is there",
    "committed": "the turn is over: the silence was long enough",
    "transcript": "the final transcript is there",
    "created": "response.created is on its way",
    "released": "what was held may go to the client",
    "sent": "the first sound is on its way",
}
"""What is timed, in milliseconds after the last frame of speech arrived. A reply asked for by text has less."""

_SPEECH: Final = 0.5
"""The probability from which a frame counts as speech here: the default threshold of the protocol."""


@dataclass(slots=True)
class _Speech:
    """An utterance: when the last of it arrived, and moments by the names in `STAGES`."""

    end: float | None = None
    at: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Response:
    """A response: what it answers, its own moments, and those of the run that makes it."""

    speech: _Speech
    at: dict[str, float]
    run: dict[str, float] = field(default_factory=dict)


class Timings:
    """Follows one session: what the machine took and what it wants done. Moments (`now`) are seconds of one clock."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[int, float]] = deque()
        """Up to which tick sound had come, and when; what lies before is forgotten with the sound."""
        self._ticks = 0
        self._speech = _Speech()
        """What is being said."""
        self._committed = _Speech()
        self._unanswered: _Speech | None = None
        """What was said last, and whether no response answers it yet."""
        self._runs: dict[RunId, dict[str, float]] = {}
        self._responses: dict[str, _Response] = {}

    def observe(self, event: Event | None, commands: Sequence[do.Command], now: float) -> None:
        """Takes an event that the machine has handled, and what it wants done about it."""
        match event:
            case VoiceVerdict(end=end, probability=probability) if probability >= _SPEECH:
                self._speech.end = self._arrival(end)
                self._speech.at = {"voice": now}
            case Hypothesis():
                self._speech.at["words"] = now
            case Transcribed():
                self._committed.at["transcript"] = now
        run: RunId | None = getattr(event, "run", None)
        for command in commands:
            match command:
                case do.StoreAudio() | do.ForgetAudio():
                    self._follow_sound(command, now)
                case do.Hypothesise():
                    self._speech.at["quiet"] = now
                case do.StartRun(request=request, held=held):
                    self._runs[request.run] = {"run": now}
                    run = run if held else request.run
                case do.ReleaseRun(run=released):
                    run = released
                    self.mark(run, "released", now)
                case do.Send() | do.PlaySound():
                    self._sending(command, now)
        if run in self._runs:
            self._link(self._runs[run], commands)
        for command in commands:
            if isinstance(command, do.CancelRun):
                self._runs.pop(command.run, None)

    def mark(self, run: RunId, name: str, now: float) -> None:
        """Notes the moment of a stage of a run, once."""
        if (marks := self._runs.get(run)) is not None:
            marks.setdefault(name, now)

    def told(self, event: out.ServerEvent) -> out.ServerEvent:
        """Returns the event; with the timings in it, if it is the end of a response."""
        if not isinstance(event, out.ResponseDone):
            return event
        if (known := self._responses.pop(event.response.id, None)) is None:
            return event
        self._runs = {run: marks for run, marks in self._runs.items() if marks is not known.run}
        base = known.at["created"] if known.speech.end is None else known.speech.end
        moments = known.speech.at | known.run | known.at
        counted = {name: round(1000 * (moments[name] - base), 1) for name in STAGES if name in moments}
        metadata = {**(event.response.metadata or {}), METADATA_KEY: msgspec.json.encode(counted).decode()}
        return msgspec.structs.replace(event, response=msgspec.structs.replace(event.response, metadata=metadata))

    def _sending(self, command: do.Send | do.PlaySound, now: float) -> None:
        if isinstance(command, do.PlaySound):
            self._sound_leaves(command.response_id, now)
            return
        match command.event:
            case out.Committed():
                self._speech.at["committed"] = now
                self._committed = self._unanswered = self._speech
                self._speech = _Speech()
            case out.ResponseCreated(response=response):
                self._responses[response.id] = _Response(self._unanswered or _Speech(), {"created": now})
                self._unanswered = None
            case out.OutputAudioDelta(response_id=id_):
                self._sound_leaves(id_, now)

    def _sound_leaves(self, response_id: str, now: float) -> None:
        if (response := self._responses.get(response_id)) is not None:
            response.at.setdefault("sent", now)

    def _link(self, marks: dict[str, float], commands: Sequence[do.Command]) -> None:
        """Gives the responses that these commands speak of the moments of the run that makes them."""
        for command in commands:
            if isinstance(command, do.Send):
                sent: Any = command.event
                id_ = sent.response.id if hasattr(sent, "response") else getattr(sent, "response_id", None)
                if id_ in self._responses:
                    self._responses[id_].run = marks

    def _follow_sound(self, command: do.StoreAudio | do.ForgetAudio, now: float) -> None:
        if isinstance(command, do.ForgetAudio):
            self._forget(command.before)
        else:
            self._ticks += len(command.audio) // 2
            self._arrivals.append((self._ticks, now))

    def _arrival(self, tick: int) -> float | None:
        """Returns when the sound up to a tick had come, and forgets what lies before it."""
        self._forget(tick)
        return self._arrivals[0][1] if self._arrivals else None

    def _forget(self, before: int) -> None:
        while self._arrivals and self._arrivals[0][0] < before:
            self._arrivals.popleft()


def read_timings(text: Any) -> dict[str, float]:
    """Returns the timings of a response's metadata; nothing where there are none."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, float])
    except (msgspec.MsgspecError, TypeError):
        return {}

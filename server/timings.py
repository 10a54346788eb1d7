"""Where the time of a turn went: what the server tells a client that asks for it.

A client asks with `?timings=true` in the URL it connects to. It is told in `response.done`, in the response's
`metadata`, since the protocol's schema has no other place for it: `parley.timings` is a JSON object of milliseconds
by the names in `STAGES`, `parley.counts` one of numbers by the names in `COUNTS`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pipeline.types import Generated, RunId, TurnFinished
from server.realtime import commands as do
from server.realtime import server_events as out
from server.realtime.inbox import Event, Hypothesis, Transcribed, VoiceVerdict

METADATA_KEY: Final = "parley.timings"
COUNTS_KEY: Final = "parley.counts"

STAGES: Final = {
    "prefill": "the model was last told what the prompt begins with",
    "voice": "the voice detector has judged the last frame of speech",
    "quiet": "quiet frames: the reply to what is understood may be begun",
    "words": "the transcriber has said what it understood of the tail",
    "run": "the reply may be begun; it is held until `released`, where that follows",
    "begun": "the language model has a place for it, and is asked",
    "first_token": "its first text is there",
    "first_clause": "the first clause is handed to the synthesizer",
    "first_audio": "its first sound is there",
    "committed": "the turn is over: the silence was long enough",
    "transcript": "the final transcript is there",
    "created": "response.created is on its way",
    "released": "what was held may go to the client",
    "sent": "the first sound is on its way",
}
"""What is timed, in milliseconds after the last frame of speech arrived. A reply asked for by text has less. What
happens while the user speaks, such as `prefill`, is negative.
"""

COUNTS: Final = {
    "prefills": "how often the model was told what the prompt begins with, since the turn before",
    "abandoned": "held replies that were given up: the user went on, the words changed, or others needed the place",
    "input_tokens": "tokens of the prompt",
    "cached_tokens": "those of them that were computed before the model was asked: history, and what it was told ahead",
}
"""What is counted of a response and of what it answers."""

_SPEECH: Final = 0.5
"""The probability from which a frame counts as speech here: the default threshold of the protocol."""


@dataclass(slots=True)
class _Speech:
    """An utterance: when the last of it arrived, moments by the names in `STAGES`, and what is counted of it."""

    end: float | None = None
    prefill: float | None = None
    at: dict[str, float] = field(default_factory=dict)
    prefills: int = 0
    abandoned: int = 0

    def ask(self, command: do.Command, now: float) -> None:
        """Takes what is asked of the stages while it is being said."""
        match command:
            case do.Hypothesise():
                self.at["quiet"] = now
            case do.Prefill():
                self.prefill = now
                self.prefills += 1


@dataclass(slots=True)
class _Run:
    """What makes a response: its moments, the utterance in whose pause it is `held`, and what it cost."""

    at: dict[str, float]
    held: _Speech | None = None
    generated: Generated | None = None


@dataclass(slots=True)
class _Response:
    """A response: what it answers, its own moments, and the run that makes it."""

    speech: _Speech
    at: dict[str, float]
    run: _Run = field(default_factory=lambda: _Run({}))


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
        self._runs: dict[RunId, _Run] = {}
        self._responses: dict[str, _Response] = {}

    def observe(self, event: Event | None, commands: Sequence[do.Command], now: float) -> None:
        """Takes an event that the machine has handled, and what it wants done about it."""
        self._hear(event, now)
        run: RunId | None = getattr(event, "run", None)
        for command in commands:
            match command:
                case do.StoreAudio() | do.ForgetAudio():
                    self._follow_sound(command, now)
                case do.StartRun(request=request, held=held):
                    self._runs[request.run] = _Run({"run": now}, self._speech if held else None)
                    run = run if held else request.run
                case do.ReleaseRun(run=released):
                    run = released
                    self._release(run, now)
                case do.Send() | do.PlaySound():
                    self._sending(command, now)
                case _:
                    self._speech.ask(command, now)
        if run in self._runs:
            self._link(self._runs[run], commands)
        for command in commands:
            if isinstance(command, do.CancelRun) and (ended := self._runs.pop(command.run, None)) and ended.held:
                ended.held.abandoned += 1

    def _hear(self, event: Event | None, now: float) -> None:
        """Takes what the stages have said."""
        match event:
            case VoiceVerdict(end=end, probability=probability) if probability >= _SPEECH:
                self._speech.end = self._arrival(end)
                self._speech.at = {"voice": now}
            case Hypothesis():
                self._speech.at["words"] = now
            case Transcribed():
                self._committed.at["transcript"] = now
            case TurnFinished(run=run, generated=generated) if run in self._runs:
                self._runs[run].generated = generated

    def _release(self, run: RunId, now: float) -> None:
        self.mark(run, "released", now)
        if run in self._runs:
            self._runs[run].held = None

    def mark(self, run: RunId, name: str, now: float) -> None:
        """Notes the moment of a stage of a run, once."""
        if (known := self._runs.get(run)) is not None:
            known.at.setdefault(name, now)

    def told(self, event: out.ServerEvent) -> out.ServerEvent:
        """Returns the event; with the timings in it, if it is the end of a response."""
        if not isinstance(event, out.ResponseDone):
            return event
        if (known := self._responses.pop(event.response.id, None)) is None:
            return event
        self._runs = {run: made for run, made in self._runs.items() if made is not known.run}
        metadata = {
            **(event.response.metadata or {}),
            METADATA_KEY: msgspec.json.encode(_moments(known)).decode(),
            COUNTS_KEY: msgspec.json.encode(_counts(known)).decode(),
        }
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

    def _link(self, run: _Run, commands: Sequence[do.Command]) -> None:
        """Gives the responses that these commands speak of the run that makes them."""
        for command in commands:
            if isinstance(command, do.Send):
                sent: Any = command.event
                id_ = sent.response.id if hasattr(sent, "response") else getattr(sent, "response_id", None)
                if id_ in self._responses:
                    self._responses[id_].run = run

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


def _moments(response: _Response) -> dict[str, float]:
    speech = response.speech
    base = response.at["created"] if speech.end is None else speech.end
    moments = speech.at | response.run.at | response.at
    if speech.prefill is not None:
        moments["prefill"] = speech.prefill
    return {name: round(1000 * (moments[name] - base), 1) for name in STAGES if name in moments}


def _counts(response: _Response) -> dict[str, int]:
    counts = {"prefills": response.speech.prefills, "abandoned": response.speech.abandoned}
    if (generated := response.run.generated) is not None:
        counts |= {"input_tokens": generated.input_tokens, "cached_tokens": generated.cached_tokens}
    return counts


def read_timings(text: Any) -> dict[str, float]:
    """Returns the timings of a response's metadata; nothing where there are none."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, float])
    except (msgspec.MsgspecError, TypeError):
        return {}

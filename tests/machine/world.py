"""A simulated world around the session machine: it carries out commands, and lets a test decide what happens when.

It checks what only it can know: where every sample went, what was held when, who was told what.
"""

import dataclasses
import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from pipeline.types import (
    Generated,
    GenerationRequest,
    RunId,
    TokenLogProbability,
    Transcript,
    TurnAudio,
    TurnCall,
    TurnClause,
    TurnFailed,
    TurnFinished,
    TurnRequest,
    TurnText,
)
from server.realtime import commands as do
from server.realtime.call import Call
from server.realtime.inbox import (
    Disconnected,
    Event,
    Hypothesis,
    IdleTimer,
    PartialTranscript,
    PauseAssessed,
    PlaceWanted,
    Transcribed,
    TranscriptionFault,
    VoiceVerdict,
)
from server.realtime.machine import Machine
from server.realtime.mcp_schema import McpTool
from server.realtime.schema import SessionKind
from server.realtime.session_config import Profile
from server.realtime.usage import ms_to_ticks
from server.wire import Dialect, beta, ga
from tests.wire_checker import WireChecker

FRAME = 768
"""Ticks of one frame of the detector: 32 ms."""

PROFILE = Profile(
    model="mini",
    instructions="Be brief.",
    voice="one",
    voices={"one": "one", "two": "two"},
    speeds=(0.5, 1.5),
    transcriber="ears",
    languages=frozenset({"en-us"}),
    transcriber_prompt=False,
    speculation=True,
    prefills=True,
    tools=True,
    forced_calls=True,
)


SEMANTIC = dataclasses.replace(PROFILE, endpointing_reads=frozenset({"sound"}), semantic_by_default=True)
"""The like with an end-of-turn detector that listens: sessions begin with `semantic_vad`."""

READING = dataclasses.replace(SEMANTIC, endpointing_reads=frozenset({"sound", "words"}))
"""The like with one that waits for the words."""


TOLD = ("response.output_text", "response.output_audio_transcript", "response.text", "response.audio_transcript")
"""How the names of events begin that tell what the model says, in either dialect."""


@dataclass
class SimulatedRun:
    request: TurnRequest
    held: bool
    cancelled: bool = False
    over: bool = False
    said: int = 0
    calls: int = 0


@dataclass
class SimulatedUtterance:
    fed: list[tuple[int, int]] = field(default_factory=list)
    state: str = "open"
    pauses: list[int] = field(default_factory=list)
    """Up to where it had been fed when it paused."""


class World:
    def __init__(
        self,
        profile: Profile = PROFILE,
        dialect: Dialect = ga,
        kind: SessionKind = "realtime",
        call: Call | None = None,
    ) -> None:
        """`dialect` is what `client` speaks, and what `wire` and the lists of events are in."""
        self.dialect = dialect
        self.shows_images = profile.vision and dialect is ga
        """The older dialect has none, so that it cannot look on."""
        counter = itertools.count()
        self.machine = Machine(
            profile, lambda prefix: f"{prefix}_{next(counter)}", 2_000_000_000, profile.model, kind=kind, call=call
        )
        self.wire = WireChecker(max_sound=None, call=call is not None)
        self.other_wire = WireChecker(max_sound=None, call=call is not None)
        """The same session, as a client of the other dialect would see it: up to its first MCP server, which only one
        of them can tell of.
        """
        self.has_mcp = False
        self.now = 0
        self.epoch = 0
        self.appended = 0
        self.judged = 0
        """Tick up to which the detector has judged what it was given under this epoch."""
        self.runs: dict[RunId, SimulatedRun] = {}
        self.prefills: list[GenerationRequest] = []
        """What the model was told of the prompt to come."""
        self.utterances: dict[int, SimulatedUtterance] = {}
        self.recordings: dict[int, bytes] = {}
        """Sound that came inside items, by turn."""
        self.kept: dict[str, tuple[int, int] | bytes] = {}
        """The sound of items, from where to where or itself."""
        self.questions: list[do.Hypothesise] = []
        self.pauses: list[do.AssessPause] = []
        self.listings: list[do.ListMcpTools] = []
        self.mcp_calls: list[do.CallMcpTool] = []
        self.cancelled_calls: list[do.CancelMcpCall] = []
        self.closed: list[do.CloseMcpServer] = []
        self.noise_reduction: list[str | None] = []
        """What the filter was set to, each time it was."""
        self.timer: tuple[int, int] | None = None
        """The idle timer that runs: its number, and when it is due."""
        self.transcription: do.SetTranscription | None = None
        """How the next utterance is transcribed."""
        self.voiced: list[tuple[int, int]] = []
        self.held_in_pause = 0
        """Replies that were held since a voice was heard last, or the client changed how turns are found."""
        self.forgotten = 0
        self.instructions_at_creation: dict[str, str] = {}
        self.log: list[tuple[Event, int]] = []
        self._carry_out(self.machine.start())

    def handle(self, event: Event) -> list[dict[str, Any]]:
        """Gives the machine an event; returns what it sent because of it."""
        self.log.append((event, self.now))
        before = len(self.wire.events)
        self._carry_out(self.machine.handle(event, self.now))
        self.check_tally()
        return self.wire.events[before:]

    def client(self, **event: Any) -> list[dict[str, Any]]:
        if event.get("type") == "session.update":
            self.held_in_pause = 0
        decoded = self.dialect.decode(msgspec.json.encode(event).decode())
        return self.handle(decoded)

    def check_tally(self) -> None:
        tally, buffered = self.machine.listening.tally, self.machine.listening.buffered
        assert tally.appended == self.appended
        assert tally.appended == tally.committed + tally.cleared + tally.trimmed + buffered, "invariant 5"

    # --- what happens ---

    def speak(self, frames: int, voiced: bool) -> None:
        """The client sends sound, and the detector judges it at once."""
        for _ in range(frames):
            self.append(FRAME)
            self.judge(voiced)

    def append(self, ticks: int) -> None:
        self.now += ticks * 1000 // 24_000
        self.client(type="input_audio_buffer.append", audio=bytes(ticks * 2))

    def judge(self, voiced: bool) -> None:
        """The detector judges its next frame, if one is whole."""
        if self.machine.session.audio.input.turn_detection is None or self.appended - self.judged < FRAME:
            return
        start, self.judged = self.judged, self.judged + FRAME
        if voiced:
            self.voiced.append((start, self.judged))
            self.held_in_pause = 0
        self.handle(VoiceVerdict(self.epoch, start, self.judged, 0.9 if voiced else 0.05))

    def answer_hypothesis(self, text: str) -> None:
        ask = self.questions.pop(0)
        self.handle(Hypothesis(ask.run, Transcript(text, tokens=len(text.split()))))

    def want_place(self, run: RunId) -> None:
        """Somebody waits for a reply that needs the place of this one."""
        self.handle(PlaceWanted(run))

    def show_partial(self, turn: int, text: str, *tokens: TokenLogProbability) -> list[dict[str, Any]]:
        """Hypotheses of an utterance have agreed on these words; the newest is spelled by `tokens`."""
        return self.handle(PartialTranscript(turn, text, tokens))

    def assess(self, silence_ms: int) -> None:
        ask = self.pauses.pop(0)
        self.handle(PauseAssessed(ask.run, silence_ms))

    def wait(self, ms: int) -> list[dict[str, Any]]:
        """Time passes, with nothing coming in but what the idle timer brings; returns what was sent."""
        before, end = len(self.wire.events), self.now + ms
        while self.timer is not None and self.timer[1] <= end:
            number, self.now = self.timer
            self.timer = None
            self.handle(IdleTimer(number))
        self.now = end
        return self.wire.events[before:]

    @property
    def finishing(self) -> list[int]:
        return [turn for turn, utterance in self.utterances.items() if utterance.state == "finishing"]

    def transcribe(self, turn: int, text: str | Transcript | None) -> list[dict[str, Any]]:
        """The transcript of a turn arrives, as its words or whole; None: the stage fails."""
        self.utterances[turn].state = "done"
        if text is None:
            return self.handle(TranscriptionFault(turn, "transcription_failed", "broken"))
        whole = text if isinstance(text, Transcript) else Transcript(text, tokens=len(text.split()))
        return self.handle(Transcribed(turn, whole))

    def step_run(self, run: SimulatedRun, what: str) -> list[dict[str, Any]]:
        """A run makes something: a clause with sound, its end, or a failure. Cancelled ones may still do so."""
        rid = run.request.run
        if what == "clause":
            run.said += 1
            text = f"r{rid.turn}.{rid.revision}c{run.said} and more. "
            if run.request.modality == "text":
                return self.handle(TurnText(rid, text))
            sent = self.handle(TurnClause(rid, text))
            return sent + self.handle(TurnAudio(rid, np.zeros(2400 * run.said, np.int16)))
        if what == "call":
            run.calls += 1
            sent = self.handle(TurnCall(rid, run.calls - 1, "look_up", '{"what": '))
            return sent + self.handle(TurnCall(rid, run.calls - 1, "", f'"r{rid.turn}"}}'))
        if what in ("empty call", "half a call"):
            run.calls += 1
            return self.handle(TurnCall(rid, run.calls - 1, "look_up", "" if what == "empty call" else '{"what": '))
        run.over = True
        if what == "fail":
            return self.handle(TurnFailed(rid, "tts_failed", "broken"))
        reason = "max_tokens" if what == "limit" else "stop"
        return self.handle(TurnFinished(rid, Generated(reason, input_tokens=20, output_tokens=5, cached_tokens=3)))  # type: ignore[arg-type]

    def disconnect(self) -> None:
        self.handle(Disconnected())
        assert self.timer is None, "no timer outlives the session (10)"
        assert all(run.cancelled or run.over for run in self.runs.values()), "no run outlives the session (10)"
        assert not any(u.state == "open" for u in self.utterances.values()), "no utterance outlives it (10)"
        assert self.machine.handle(Disconnected(), self.now) == []

    # --- what the machine wants ---

    def _carry_out(self, commands: list[do.Command]) -> None:  # noqa: PLR0912, PLR0915 - one branch a command
        for command in commands:
            match command:
                case do.Send(event=event):
                    self._send(event)
                case do.StoreAudio(audio=audio):
                    self.appended += len(audio) // 2
                case do.ReduceNoise(field=field):
                    self.noise_reduction.append(field)
                case do.SetIdleTimer(number=number, after_ms=after_ms):
                    self.timer = None if after_ms is None else (number, self.now + after_ms)
                case do.ResetVoice(epoch=epoch):
                    assert epoch > self.epoch
                    self.epoch, self.judged = epoch, self.appended
                case do.ForgetAudio(before=before):
                    assert before >= self.forgotten
                    self.forgotten = before
                case do.Transcribe(turn=turn, start=start, end=end, pauses=pauses):
                    self._feed(turn, start, end)
                    self._utterance(turn).pauses += [end] if pauses else []
                case do.Hypothesise():
                    self.questions.append(command)
                case do.AssessPause():
                    assert command.start >= self.forgotten
                    self.pauses.append(command)
                case do.FinishTranscript(turn=turn):
                    self._utterance(turn).state = "finishing"
                case do.DiscardUtterance(turn=turn):
                    self._utterance(turn).state = "discarded"
                case do.TranscribeRecording(turn=turn, audio=audio):
                    self._utterance(turn).state = "finishing"
                    self.recordings[turn] = audio
                case do.KeepSpoken(start=start, end=end):
                    assert self.forgotten <= start <= end <= self.appended, "sound is kept before it is forgotten"
                    self.kept[command.item_id] = (start, end)
                case do.KeepRecording(item_id=item_id, audio=audio):
                    self.kept[item_id] = audio
                case do.ForgetSound(item_id=item_id):
                    self.kept.pop(item_id, None)
                case do.SendRetrieved(event=event):
                    self._send(event)
                case do.SetTranscription():
                    self.transcription = command
                case do.Prefill(request=request):
                    assert not any(run.held and not run.cancelled for run in self.runs.values())
                    self.prefills.append(request)
                case do.StartRun(request=request, held=held):
                    assert request.run not in self.runs, "every run has an id of its own"
                    self.runs[request.run] = SimulatedRun(request, held)
                    self.held_in_pause += held
                    assert self.held_in_pause <= 1, "at most one speculative run a pause"
                case do.ReleaseRun(run=run):
                    assert self.runs[run].held
                    assert not self.runs[run].cancelled
                    self.runs[run].held = False
                case do.CancelRun(run=run):
                    self.runs[run].cancelled = True
                case do.ListMcpTools():
                    self.listings.append(command)
                case do.CallMcpTool():
                    self.mcp_calls.append(command)
                case do.CancelMcpCall():
                    self.cancelled_calls.append(command)
                case do.CloseMcpServer():
                    self.closed.append(command)

    def _utterance(self, turn: int) -> SimulatedUtterance:
        return self.utterances.setdefault(turn, SimulatedUtterance())

    def _feed(self, turn: int, start: int, end: int) -> None:
        utterance = self._utterance(turn)
        assert utterance.state == "open"
        assert self.forgotten <= start < end <= self.appended
        assert not utterance.fed or utterance.fed[-1][1] == start, "an utterance has no gaps and no repeats (7)"
        utterance.fed.append((start, end))

    def _send(self, event: Any) -> None:
        self.has_mcp = self.has_mcp or _is_of_mcp(event)
        if not self.has_mcp and not self.shows_images:
            self._see(event, beta if self.dialect is ga else ga, self.other_wire)
        sent = self._see(event, self.dialect, self.wire)
        if sent is None:
            return
        if sent["type"] == "response.created":
            self.instructions_at_creation[sent["response"]["id"]] = self.machine.session.instructions
        if "delta" in sent and sent["type"].startswith(TOLD):
            self._check_delta(sent["delta"])

    def _see(self, event: Any, dialect: Dialect, wire: WireChecker) -> dict[str, Any] | None:
        if (frame := dialect.encode(event)) is None:
            return None
        sent: dict[str, Any] = msgspec.json.decode(frame)
        wire.see(sent)
        return sent

    def _check_delta(self, delta: str) -> None:
        if (named := re.match(r"r(\d+)\.(\d+)c", delta)) is None:
            return  # words of a test's own
        run = self.runs[RunId(int(named[1]), int(named[2]))]
        assert not run.held, "nothing speculative reaches the client before commit (4)"
        assert not run.cancelled, "nothing of an old revision after a cancel (4)"

    def check_voiced_was_heard(self) -> None:
        """Every voiced frame that no clear dropped lies in an utterance that was transcribed, or still is (7)."""
        spans = [
            (utterance.fed[0][0], utterance.fed[-1][1])
            for utterance in self.utterances.values()
            if utterance.fed and utterance.state != "discarded"
        ]
        for start, end in self.voiced:
            assert any(first <= start and end <= last for first, last in spans), f"words lost in [{start}, {end}) (7)"


def ticks(ms: int) -> int:
    return ms_to_ticks(ms)


def _is_of_mcp(event: Any) -> bool:
    item, session = getattr(event, "item", None), getattr(event, "session", None)
    if item is not None:
        return bool(item.type.startswith("mcp_"))
    return session is not None and any(isinstance(tool, McpTool) for tool in getattr(session, "tools", ()))

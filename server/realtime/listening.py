"""The input region: from appended sound to committed utterances.

    Idle → Speaking → MaybeDone → (committed) Idle
                 ↖───────┘ speech resumes: revision + 1

It only counts: the sound itself is kept by the session, in ticks of the same clock. At any time

    appended = committed + cleared + trimmed + buffered                                (invariant 5)
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from pipeline.types import RunId
from server.realtime.commands import (
    DiscardUtterance,
    FinishTranscript,
    ForgetAudio,
    KeepSpoken,
    ResetVoice,
    StoreAudio,
    Transcribe,
)
from server.realtime.inbox import VoiceVerdict
from server.realtime.outbox import Outbox
from server.realtime.refusal import Refusal
from server.realtime.schema import TurnDetection
from server.realtime.server_events import Cleared, SpeechStarted, SpeechStopped, TimeoutTriggered
from server.realtime.usage import ms_to_ticks, ticks_to_ms

QUIET_MS = 64
"""Silence after which the turn may be over: two frames of the detector. The utterance's tail is cut there, whether
or not speculation runs; PocketSphinx knew 33 of 34 recordings by heart 130 ms after the voice had ended."""

HYSTERESIS = 0.15
"""How far below the threshold speech must fall to count as silence; Silero's own `neg_threshold`."""

MAX_BUFFER_MS = 10 * 60_000
"""Most sound that waits to be committed: what comes after is refused, or ends the turn where one is under way. With
a detector that has not judged it yet there may be twice as much, so that no long append is refused for a long turn.
"""

MIN_COMMIT_MS = 100
"""Less than this is not worth an item; OpenAI's limit."""


class Phase(Enum):
    IDLE = auto()
    SPEAKING = auto()
    MAYBE_DONE = auto()


@dataclass(slots=True)
class Utterance:
    """What the user is saying: its sound is `[start, fed)` so far, judged up to `judged`, in ticks."""

    turn: int
    item_id: str
    start: int
    fed: int
    judged: int
    revision: int = 0
    quiet_since: int | None = None
    silence_ms: int | None = None
    """How much silence ends it, where the end-of-turn detector said."""
    is_announced: bool = False
    """Whether the client has been told its id before it is committed."""
    shown: str = ""
    """The words of it that the client has seen."""

    @property
    def run(self) -> RunId:
        return RunId(self.turn, self.revision)


@dataclass(slots=True)
class Tally:
    """Where all sound went, in ticks."""

    appended: int = 0
    committed: int = 0
    cleared: int = 0
    trimmed: int = 0


class Turns(Protocol):
    """Who is told how the user's turn goes."""

    def speech_started(self) -> None: ...

    def paused(self, utterance: Utterance) -> None:
        """The turn may be over."""

    def resumed(self) -> None:
        """It was not over."""

    def committed(self, utterance: Utterance, end: int, by_voice: bool) -> None:
        """The sound `[utterance.start, end)` is an item now."""

    def timed_out(self, utterance: Utterance, end: int) -> None:
        """The sound `[utterance.start, end)` is an item in which nobody speaks."""

    def dropped(self) -> None:
        """The utterance under way was cleared."""


class Listening:
    """The input region of one session."""

    def __init__(self, outbox: Outbox, turns: Turns, detection: TurnDetection | None) -> None:
        self._outbox = outbox
        self._turns = turns
        self._detection = detection
        self._epoch = 0
        self._floor = 0
        self.judged = 0
        """Tick up to which the detector has judged the sound."""
        self.phase = Phase.IDLE
        self.utterance: Utterance | None = None
        self.tally = Tally()

    @property
    def buffered(self) -> int:
        """Ticks that wait to be committed."""
        return self.tally.appended - self._floor

    @property
    def epoch(self) -> int:
        return self._epoch

    def set_detection(self, detection: TurnDetection | None) -> None:
        """Changes how turns are found, at once; sound that waits to be committed stays."""
        was_on, self._detection = self._detection is not None, detection
        if was_on and detection is None:
            self._renew_epoch()
            if self.utterance is not None:
                self._end_pause()
                self._feed(self.tally.appended)
        elif not was_on and detection is not None:
            self._renew_epoch()
            self._discard()
        else:
            self._end_pause()  # the next frame of silence begins it anew: what was asked about it was asked for the old

    def append(self, audio: bytes, ticks: int) -> None:
        """Takes sound in.

        Raises:
            Refusal: the buffer is full.
        """
        self.check_room(ticks)
        self.tally.appended += ticks
        self._outbox.put(StoreAudio(audio, self._epoch if self._detection else None))
        if self._detection is None and ticks:
            self.utterance = self.utterance or self._begin(self._floor)
            self._feed(self.tally.appended)

    def check_room(self, ticks: int) -> None:
        """Raises:
        Refusal: the buffer is too full for so much more.
        """
        most = MAX_BUFFER_MS if self._detection is None else 2 * MAX_BUFFER_MS
        if ticks_to_ms(self.buffered + ticks) > most:
            raise Refusal(
                "input_audio_buffer_full",
                f"The input audio buffer holds at most {MAX_BUFFER_MS // 60_000} minutes. Commit or clear it.",
                "audio",
            )

    def judge(self, verdict: VoiceVerdict) -> None:
        """Moves on by one frame of the voice activity detector."""
        detection = self._detection
        if detection is None or verdict.epoch != self._epoch:
            return
        self.judged = verdict.end
        voiced = verdict.probability >= detection.threshold
        if self.utterance is None:
            if voiced:
                self._start_speaking(verdict, detection)
            else:
                self._trim(verdict.end - ms_to_ticks(detection.prefix_padding_ms))
            return
        utterance = self.utterance
        utterance.judged = verdict.end
        if voiced:
            self._hear_voice(utterance, verdict.end)
        elif verdict.probability < max(detection.threshold - HYSTERESIS, 0.01) and utterance.quiet_since is None:
            utterance.quiet_since = verdict.start
        if utterance.quiet_since is not None:
            self._hear_silence(utterance, verdict.end, detection)
        elif not voiced:
            self._feed(verdict.end)
        if self.utterance is utterance and ticks_to_ms(verdict.end - utterance.start) >= MAX_BUFFER_MS:
            self._commit_by_voice(utterance, verdict.end)

    def assess(self, run: RunId, silence_ms: int) -> None:
        """Takes the end-of-turn detector's word for the pause of this run; if it has lasted that long, it is over."""
        utterance = self.utterance
        if self.phase is Phase.MAYBE_DONE and self._detection and utterance and utterance.run == run:
            utterance.silence_ms = silence_ms
            self._end_if_quiet(utterance, utterance.judged, self._detection)

    def restart(self) -> None:
        """Makes the detector new after it failed; what it was asked before is forgotten."""
        self._renew_epoch()

    def commit(self) -> None:
        """Commits all that waits, because the client says so.

        Raises:
            Refusal: there is too little of it.
        """
        waiting = ticks_to_ms(self.buffered)
        if waiting < MIN_COMMIT_MS:
            raise Refusal(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least {MIN_COMMIT_MS}ms of audio, but buffer only has {waiting}.00ms of audio.",
            )
        end = self.tally.appended
        if self._detection is not None:
            self._renew_epoch()
        if self.utterance is None:
            self.utterance = self._begin(self._floor)
        elif self._detection is not None:
            self._end_pause()
            self._send_stopped(self.utterance, end)
        self._feed(end)
        self._commit(self.utterance, end, by_voice=False)

    def time_out(self, start: int) -> None:
        """Commits what the buffer holds of a silence that began at tick `start`; what is not judged yet stays."""
        end = max(self._floor, self.judged)
        utterance = self._begin(self._floor)
        self._outbox.send(
            TimeoutTriggered(
                audio_start_ms=ticks_to_ms(min(start, end)), audio_end_ms=ticks_to_ms(end), item_id=utterance.item_id
            )
        )
        self.tally.committed += end - self._floor
        self._outbox.put(KeepSpoken(utterance.item_id, utterance.start, end))
        self._set_floor(end)
        self._turns.timed_out(utterance, end)

    def clear(self) -> None:
        """Drops all that waits."""
        if self._detection is not None:
            self._renew_epoch()
        self._discard()
        self.tally.cleared += self.buffered
        self._set_floor(self.tally.appended)
        self._outbox.send(Cleared())

    def close(self) -> None:
        """Ends the region with the session."""
        self._discard()

    def _start_speaking(self, verdict: VoiceVerdict, detection: TurnDetection) -> None:
        start = max(self._floor, verdict.start - ms_to_ticks(detection.prefix_padding_ms))
        self._trim(start)
        self.utterance = utterance = self._begin(start)
        utterance.is_announced = True
        self.phase = Phase.SPEAKING
        self._outbox.send(SpeechStarted(audio_start_ms=ticks_to_ms(start), item_id=utterance.item_id))
        self._turns.speech_started()
        self._feed(verdict.end)

    def _hear_voice(self, utterance: Utterance, end: int) -> None:
        utterance.quiet_since = None
        self._end_pause()
        self._feed(end)

    def _hear_silence(self, utterance: Utterance, end: int, detection: TurnDetection) -> None:
        assert utterance.quiet_since is not None
        quiet = end - utterance.quiet_since
        if self.phase is Phase.SPEAKING:
            pauses = quiet >= ms_to_ticks(QUIET_MS)
            self._feed(end, pauses)
            if pauses:
                self.phase = Phase.MAYBE_DONE
                self._turns.paused(utterance)
        self._end_if_quiet(utterance, end, detection)

    def _end_if_quiet(self, utterance: Utterance, end: int, detection: TurnDetection) -> None:
        assert utterance.quiet_since is not None
        limit = detection.most_ms if utterance.silence_ms is None else min(utterance.silence_ms, detection.most_ms)
        if end - utterance.quiet_since >= ms_to_ticks(max(limit, QUIET_MS)):
            self._commit_by_voice(utterance, end)

    def _end_pause(self) -> None:
        if self.phase is Phase.MAYBE_DONE and self.utterance is not None:
            self.utterance.revision += 1
            self.utterance.silence_ms = None
            self.phase = Phase.SPEAKING
            self._turns.resumed()

    def _commit_by_voice(self, utterance: Utterance, end: int) -> None:
        self._send_stopped(utterance, end)
        self._commit(utterance, end, by_voice=True)

    def _commit(self, utterance: Utterance, end: int, by_voice: bool) -> None:
        self.tally.committed += end - self._floor
        self._outbox.put(KeepSpoken(utterance.item_id, utterance.start, end))
        self._set_floor(end)
        self.utterance, self.phase = None, Phase.IDLE
        self._outbox.put(FinishTranscript(utterance.turn))
        self._turns.committed(utterance, end, by_voice)

    def _send_stopped(self, utterance: Utterance, end: int) -> None:
        self._outbox.send(SpeechStopped(audio_end_ms=ticks_to_ms(end), item_id=utterance.item_id))

    def _begin(self, start: int) -> Utterance:
        return Utterance(self._outbox.new_turn(), self._outbox.new_id("item"), start, start, start)

    def _feed(self, end: int, pauses: bool = False) -> None:
        utterance = self.utterance
        if utterance is not None and end > utterance.fed:
            self._outbox.put(Transcribe(utterance.turn, utterance.fed, end, pauses))
            utterance.fed = end

    def _discard(self) -> None:
        if self.utterance is not None:
            self._outbox.put(DiscardUtterance(self.utterance.turn))
            self._turns.dropped()
        self.utterance, self.phase = None, Phase.IDLE

    def _trim(self, before: int) -> None:
        if before > self._floor:
            self.tally.trimmed += before - self._floor
            self._set_floor(before)

    def _set_floor(self, floor: int) -> None:
        self._floor = floor
        self._outbox.put(ForgetAudio(floor))

    def _renew_epoch(self) -> None:
        self._epoch += 1
        self._outbox.put(ResetVoice(self._epoch))

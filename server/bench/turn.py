"""What was measured of one turn: events with their times in, milliseconds out. No clock, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from pipeline.audio import pcm16_from_bytes
from pipeline.types import WIRE_RATE
from server.cli.loudness import first_audible
from server.cli.realtime_client import Event, audio_of
from server.timings import COUNTS_KEY, METADATA_KEY, read_timings

METRICS: Final = {
    "end_to_audible": "end of speech → first audible sample",
    "stopped_to_audible": "speech_stopped → first audible sample",
    "end_to_stopped": "end of speech → speech_stopped",
    "end_to_first_words": "end of speech → first transcript (negative: while speaking)",
    "end_to_transcript": "end of speech → final transcript",
    "end_to_text": "end of speech → first text of the reply",
    "end_to_delta": "end of speech → first audio delta",
    "leading_silence": "silence at the start of the reply",
    "voice_to_last_delta": "interruption: voice → last audio delta",
    "voice_to_started": "interruption: voice → speech_started",
    "started_to_last_delta": "interruption: speech_started → last audio delta",
}
"""What is measured of a turn, in milliseconds, with what it says in the report."""

Interruption: TypeAlias = Literal["cut", "over", "ignored"]
"""What became of a reply that was to be interrupted: it was cut off; all of it had come before the voice; it went on to
its end all the same."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A server event and when it came, in seconds of any clock."""

    at: float
    event: Event


@dataclass(frozen=True, slots=True)
class Turn:
    """One question asked of one server. `measures` are milliseconds by the names in `METRICS`; what did not happen is
    not there. `stages` are the server's own timings, in milliseconds after the end of speech, and `counts` what it
    counted, by the names in `server.timings`.
    """

    question: str
    measures: dict[str, float] = field(default_factory=dict)
    transcript: str = ""
    reply: str = ""
    reply_seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    interruption: Interruption | None = None
    problem: str | None = None


@dataclass(slots=True)
class _Reply:
    """The first response and what belongs to it."""

    id: str = ""
    text: str = ""
    text_at: float | None = None
    deltas: list[tuple[float, bytes]] = field(default_factory=list)
    done: Event = field(default_factory=dict)


def measured(
    question: str,
    events: Sequence[Timed],
    spoken_until: float,
    interrupted_at: float | None = None,
    *,
    to_be_interrupted: bool = False,
) -> Turn:
    """Returns what the events of one turn say.

    Args:
        question: its name.
        events: all that the server sent since the question began.
        spoken_until: when the last audible sample of the question was sent, in seconds.
        interrupted_at: when the first audible sample of an interruption was sent; None: it was not.
        to_be_interrupted: whether one was meant to be sent.
    """
    reply = _reply_of(events)
    stopped = _first(events, "input_audio_buffer.speech_stopped", last=True, before=_created_at(events))
    final = _first(events, "conversation.item.input_audio_transcription.completed")
    words = _first(events, "conversation.item.input_audio_transcription.delta") or final
    moments = {
        "end_to_stopped": stopped.at if stopped else None,
        "end_to_first_words": words.at if words else None,
        "end_to_transcript": final.at if final else None,
        "end_to_text": reply.text_at,
        "end_to_delta": reply.deltas[0][0] if reply.deltas else None,
    }
    measures = {name: 1000 * (at - spoken_until) for name, at in moments.items() if at is not None}
    sound = b"".join(delta for _, delta in reply.deltas)
    audible = first_audible(pcm16_from_bytes(sound), WIRE_RATE) if sound else None
    if audible is not None:
        heard = _audible_at(reply.deltas, audible)
        measures["leading_silence"] = 1000 * audible / WIRE_RATE
        measures["end_to_audible"] = 1000 * (heard - spoken_until)
        if stopped:
            measures["stopped_to_audible"] = 1000 * (heard - stopped.at)
    interruption: Interruption | None = None
    if to_be_interrupted or interrupted_at is not None:
        interruption = _interruption(events, reply, interrupted_at)
        if interruption == "cut" and interrupted_at is not None:
            measures |= _went_on(events, reply.deltas[-1][0], interrupted_at)
    metadata = reply.done.get("metadata") or {}
    return Turn(
        question,
        measures,
        transcript=str(final.event.get("transcript", "")).strip() if final else "",
        reply=reply.text,
        reply_seconds=len(sound) / 2 / WIRE_RATE,
        stages=read_timings(metadata.get(METADATA_KEY)),
        counts=read_timings(metadata.get(COUNTS_KEY)),
        interruption=interruption,
        problem=_problem(reply, interruption is not None),
    )


def _reply_of(events: Sequence[Timed]) -> _Reply:
    reply = _Reply()
    for timed in events:
        event = timed.event
        match event.get("type"):
            case "response.created" if not reply.id:
                reply.id = str(event["response"]["id"])
            case "response.done" if event["response"]["id"] == reply.id:
                reply.done = event["response"]
        if not reply.id or event.get("response_id") != reply.id:
            continue
        match event.get("type"):
            case "response.output_audio.delta":
                reply.deltas.append((timed.at, audio_of(event)))
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                reply.text_at = reply.text_at or timed.at
                reply.text += str(event.get("delta", ""))
    return reply


def _first(events: Sequence[Timed], kind: str, *, last: bool = False, before: float | None = None) -> Timed | None:
    found = [each for each in events if each.event.get("type") == kind and (before is None or each.at <= before)]
    return (found[-1] if last else found[0]) if found else None


def _created_at(events: Sequence[Timed]) -> float | None:
    created = _first(events, "response.created")
    return created.at if created else None


def _audible_at(deltas: Sequence[tuple[float, bytes]], audible: int) -> float:
    """Returns when a sample can be heard: it has come, and what lies before it has been played."""
    begun, position = deltas[0][0], 0
    for at, delta in deltas:
        begun = max(begun, at - position / WIRE_RATE)  # a player that ran dry goes on when more comes
        position += len(delta) // 2
        if position > audible:
            break
    return begun + audible / WIRE_RATE


def _interruption(events: Sequence[Timed], reply: _Reply, voice_at: float | None) -> Interruption | None:
    """Returns what became of the reply; None where there was none."""
    if not reply.deltas:
        return None
    if reply.done.get("status") == "cancelled" and voice_at is not None:
        return "cut"
    ended = _first(events, "response.done")
    over = voice_at is None or reply.deltas[-1][0] <= voice_at or (ended is not None and ended.at <= voice_at)
    return "over" if over else "ignored"


def _went_on(events: Sequence[Timed], last: float, voice_at: float) -> dict[str, float]:
    """Returns how long sound of the reply still came after the voice, and after the server had noticed it."""
    measures = {"voice_to_last_delta": 1000 * max(last - voice_at, 0.0)}
    started = [each for each in events if each.event.get("type") == "input_audio_buffer.speech_started"]
    if after := [each.at for each in started if each.at >= voice_at]:
        measures["voice_to_started"] = 1000 * (after[0] - voice_at)
        measures["started_to_last_delta"] = 1000 * max(last - after[0], 0.0)
    return measures


def _problem(reply: _Reply, interrupted: bool) -> str | None:
    status: Any = reply.done.get("status")
    if status == "completed" or (interrupted and status == "cancelled"):
        return None if reply.deltas else "no sound"
    if not reply.id:
        return "no response"
    error = (reply.done.get("status_details") or {}).get("error") or {}
    return str(error.get("message") or f"the response is {status or 'not finished'}")

"""What is measured of a turn: events with their moments in, milliseconds out."""

import base64
from typing import Any

import numpy as np
import pytest

from pipeline.types import WIRE_RATE
from server.bench.turn import Timed, measured
from server.timings import COUNTS_KEY, METADATA_KEY

SPOKEN = 10.0
"""When the last audible sample of the question was sent, in seconds."""


def sound(ms: int, level: int) -> np.ndarray:
    return np.full(ms * WIRE_RATE // 1000, level, np.int16)


def turn(*more: Timed, deltas: tuple[tuple[float, np.ndarray], ...], status: str = "completed") -> list[Timed]:
    """The events of one turn; the reply's sound comes in `deltas`."""
    place = {"response_id": "resp_1", "item_id": "item_2"}
    spoken = [
        Timed(at, {"type": "response.output_audio.delta", "delta": base64.b64encode(samples.tobytes()), **place})
        for at, samples in deltas
    ]
    response: dict[str, Any] = {"id": "resp_1", "status": status}
    events = [
        Timed(SPOKEN + 0.55, {"type": "input_audio_buffer.speech_stopped", "item_id": "item_1"}),
        Timed(SPOKEN + 0.56, {"type": "response.created", "response": {"id": "resp_1"}}),
        Timed(SPOKEN + 0.57, {"type": "response.output_audio_transcript.delta", "delta": "Paris.", **place}),
        *spoken,
        *more,
        Timed(SPOKEN + 3.0, {"type": "response.done", "response": response}),
    ]
    return sorted(events, key=lambda timed: timed.at)


def test_the_first_audible_sample_is_later_than_the_first_delta_by_the_silence_before_it() -> None:
    made = measured("q", turn(deltas=((SPOKEN + 0.6, np.concatenate([sound(120, 0), sound(100, 9000)])),)), SPOKEN)
    assert made.measures["end_to_delta"] == pytest.approx(600)
    assert made.measures["leading_silence"] == pytest.approx(120)
    assert made.measures["end_to_audible"] == pytest.approx(720)
    assert made.measures["stopped_to_audible"] == pytest.approx(170)
    assert made.problem is None


def test_sound_that_comes_late_is_heard_when_it_comes_not_when_it_was_due() -> None:
    deltas = ((SPOKEN + 0.6, sound(50, 0)), (SPOKEN + 0.9, sound(100, 9000)))
    assert measured("q", turn(deltas=deltas), SPOKEN).measures["end_to_audible"] == pytest.approx(900)


def test_sound_that_comes_early_waits_for_what_lies_before_it() -> None:
    deltas = ((SPOKEN + 0.6, sound(200, 0)), (SPOKEN + 0.61, sound(100, 9000)))
    assert measured("q", turn(deltas=deltas), SPOKEN).measures["end_to_audible"] == pytest.approx(800)


def test_a_reply_of_silence_alone_is_never_heard() -> None:
    made = measured("q", turn(deltas=((SPOKEN + 0.6, sound(300, 2)),)), SPOKEN)
    assert "end_to_audible" not in made.measures


def test_words_shown_while_the_user_speaks_come_before_the_end_of_speech() -> None:
    kind = "conversation.item.input_audio_transcription"
    words = Timed(SPOKEN - 0.4, {"type": f"{kind}.delta", "delta": "what"})
    final = Timed(SPOKEN + 0.6, {"type": f"{kind}.completed", "transcript": "what is it"})
    made = measured("q", turn(words, final, deltas=((SPOKEN + 0.6, sound(100, 9000)),)), SPOKEN)
    assert made.measures["end_to_first_words"] == pytest.approx(-400)
    assert made.measures["end_to_transcript"] == pytest.approx(600)
    assert made.transcript == "what is it"


def test_an_interrupted_reply_tells_how_long_it_went_on() -> None:
    voice_at = SPOKEN + 1.0
    started = Timed(voice_at + 0.06, {"type": "input_audio_buffer.speech_started", "item_id": "item_3"})
    deltas = tuple((SPOKEN + 0.6 + 0.1 * n, sound(100, 9000)) for n in range(6))
    made = measured("q", turn(started, deltas=deltas, status="cancelled"), SPOKEN, voice_at)
    assert made.measures["voice_to_last_delta"] == pytest.approx(100)
    assert made.measures["started_to_last_delta"] == pytest.approx(40)
    assert made.measures["voice_to_started"] == pytest.approx(60)
    assert made.interruption == "cut"
    assert made.problem is None


def test_a_reply_that_was_all_there_before_the_voice_says_nothing_of_interruptions() -> None:
    made = measured("q", turn(deltas=((SPOKEN + 0.6, sound(100, 9000)),)), SPOKEN, SPOKEN + 1.0)
    assert "voice_to_last_delta" not in made.measures
    assert made.interruption == "over"


def test_a_reply_that_ended_before_anybody_could_speak_was_over() -> None:
    made = measured("q", turn(deltas=((SPOKEN + 0.6, sound(100, 9000)),)), SPOKEN, to_be_interrupted=True)
    assert made.interruption == "over"
    assert made.problem is None


def test_a_reply_that_goes_on_to_its_end_has_ignored_the_voice() -> None:
    deltas = tuple((SPOKEN + 0.6 + 0.1 * n, sound(100, 9000)) for n in range(9))
    made = measured("q", turn(deltas=deltas), SPOKEN, SPOKEN + 1.0)
    assert made.interruption == "ignored"
    assert "voice_to_last_delta" not in made.measures


def test_what_the_server_counted_and_timed_is_read_from_the_response() -> None:
    events = turn(deltas=((SPOKEN + 0.6, sound(100, 9000)),))
    metadata = {METADATA_KEY: '{"sent": 12.5}', COUNTS_KEY: '{"abandoned": 1, "prefills": 3}', "mine": "x"}
    events[-1].event["response"]["metadata"] = metadata
    made = measured("q", events, SPOKEN)
    assert made.stages == {"sent": 12.5}
    assert made.counts == {"abandoned": 1, "prefills": 3}


def test_a_turn_without_a_response_or_with_a_failed_one_is_a_problem() -> None:
    assert measured("q", [], SPOKEN).problem == "no response"
    failed = turn(deltas=(), status="failed")
    assert measured("q", failed, SPOKEN).problem == "the response is failed"

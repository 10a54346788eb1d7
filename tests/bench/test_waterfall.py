"""The stages of a turn as spans: what a server's moments say, and what they do not."""

from server.bench.turn import Turn
from server.bench.waterfall import END, SPANS, Span, scale, spans
from server.timings import STAGES

HELD = {
    "voice": 70.0,
    "quiet": 130.0,
    "words": 140.0,
    "run": 141.0,
    "first_token": 150.0,
    "first_clause": 160.0,
    "first_audio": 165.0,
    "committed": 570.0,
    "transcript": 572.0,
    "created": 572.0,
    "released": 573.0,
    "sent": 574.0,
}


def of(moments: dict[str, float]) -> dict[str, Span]:
    return {span.name: span for span in spans([Turn("q", stages=moments)])}


def test_a_reply_that_was_ready_is_held_until_the_turn_is_over() -> None:
    found = of(HELD)
    assert found["held until the turn is over"] == Span("held until the turn is over", 165.0, 573.0)
    assert found["endpointing: the silence"].start == 70.0
    assert found["sent"].start == 573.0


def test_a_reply_that_was_made_after_the_turn_was_held_by_nobody() -> None:
    made = HELD | {"run": 573.0, "first_token": 690.0, "first_clause": 800.0, "first_audio": 900.0, "sent": 901.0}
    made.pop("released")
    found = of(made)
    assert "held until the turn is over" not in found
    assert found["sent"] == Span("sent", 900.0, 901.0)


def test_a_reply_that_was_released_before_it_had_sound_was_not_held() -> None:
    found = of(HELD | {"first_audio": 600.0, "sent": 601.0})
    assert "held until the turn is over" not in found
    assert found["sent"] == Span("sent", 600.0, 601.0)


def test_a_language_model_is_waited_for_until_it_has_a_place() -> None:
    found = of(HELD | {"begun": 145.0, "prefill": -800.0})
    assert found["waiting for the language model"] == Span("waiting for the language model", 141.0, 145.0)
    assert found["language model to its first token"].start == 145.0
    assert found["last prefill (a moment)"] == Span("last prefill (a moment)", -800.0, -800.0)


def test_a_stage_lies_where_its_median_beginning_and_end_lie() -> None:
    turns = [Turn("q", stages={"voice": at}) for at in (60.0, 70.0, 110.0)]
    assert spans(turns) == [Span("voice detection", 0.0, 70.0)]


def test_what_lies_far_before_the_end_of_speech_does_not_press_the_rest_together() -> None:
    assert scale([Span("a", 0.0, 800.0)]) == (0.0, 800.0)
    assert scale([Span("b", -50.0, -50.0), Span("a", 0.0, 800.0)]) == (-50.0, 800.0)
    assert scale([Span("b", -5000.0, -5000.0), Span("a", 0.0, 800.0)]) == (-100.0, 800.0)


def test_a_server_that_tells_nothing_has_no_waterfall() -> None:
    assert spans([Turn("q")]) == []


def test_every_moment_of_a_span_is_one_that_servers_tell() -> None:
    told = {END, *STAGES}
    assert {moment for _, begins, end in SPANS for moment in (*begins, end)} <= told

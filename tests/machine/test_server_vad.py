"""`server_vad`: every field has its effect."""

from typing import Any

import pytest

from server.realtime.inbox import VoiceVerdict
from tests.machine.scenes import SILENCE, configured, detection, kinds, running, say, write
from tests.machine.world import FRAME, World

FRAME_MS = 32
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"


def hear(world: World, probability: float, frames: int = 1) -> None:
    """The detector finds a voice as likely as this in the next frames."""
    for _ in range(frames):
        world.append(FRAME)
        start, world.judged = world.judged, world.judged + FRAME
        world.handle(VoiceVerdict(world.epoch, start, world.judged, probability))


@pytest.mark.parametrize(("threshold", "speaks"), [(0.5, True), (0.6, True), (0.61, False), (1.0, False)])
def test_threshold_is_how_likely_a_voice_has_to_be(threshold: float, speaks: bool) -> None:
    world = configured(detection(threshold=threshold))
    hear(world, 0.6)
    assert (STARTED in kinds(world.wire.events)) is speaks


def test_a_voice_ends_well_below_the_threshold() -> None:
    world = configured(detection(threshold=0.6))
    hear(world, 0.7)
    hear(world, 0.5, frames=50)
    assert not world.wire.of_type(STOPPED), "between the threshold and 0.15 below it nothing changes"
    hear(world, 0.4, frames=SILENCE)
    assert world.wire.of_type(STOPPED)


@pytest.mark.parametrize("padding_ms", [0, 64, 300, 1_000])
def test_prefix_padding_is_how_much_is_kept_from_before_the_voice(padding_ms: int) -> None:
    world = configured(detection(prefix_padding_ms=padding_ms))
    world.speak(60, voiced=False)
    world.speak(1, voiced=True)
    (started,) = world.wire.of_type(STARTED)
    assert started["audio_start_ms"] == 60 * FRAME_MS - padding_ms
    (utterance,) = world.utterances.values()
    assert utterance.fed[0][0] == 60 * FRAME - 24 * padding_ms


@pytest.mark.parametrize("silence_ms", [200, 500, 1_000, 3_000])
def test_silence_duration_is_how_much_silence_ends_the_turn(silence_ms: int) -> None:
    world = configured(detection(silence_duration_ms=silence_ms))
    world.speak(10, voiced=True)
    whole = -(-silence_ms // FRAME_MS)
    world.speak(whole - 1, voiced=False)
    assert not world.wire.of_type(STOPPED)
    world.speak(1, voiced=False)
    (stopped,) = world.wire.of_type(STOPPED)
    assert stopped["audio_end_ms"] == (10 + whole) * FRAME_MS


@pytest.mark.parametrize("create", [True, False])
def test_create_response_says_whether_a_turn_is_answered(create: bool) -> None:
    world = configured(detection(create_response=create))
    say(world, "hello there")
    assert ("response.created" in kinds(world.wire.events)) is create
    assert "input_audio_buffer.committed" in kinds(world.wire.events)


@pytest.mark.parametrize("interrupt", [True, False])
def test_interrupt_response_says_whether_a_voice_ends_the_reply(interrupt: bool) -> None:
    world = configured(detection(interrupt_response=interrupt))
    write(world, "hello")
    world.client(type="response.create")
    run = running(world)
    world.step_run(run, "clause")
    world.speak(1, voiced=True)
    assert run.cancelled is interrupt
    done = world.wire.of_type("response.done")
    assert [response["response"]["status_details"]["reason"] for response in done] == ["turn_detected"] * interrupt


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"silence_duration_ms": 64}, STOPPED),
    ({"threshold": 0.99}, STOPPED),
]


@pytest.mark.parametrize(("options", "event"), CHANGES)
def test_an_update_counts_in_the_turn_that_is_under_way(options: dict[str, Any], event: str) -> None:
    world = configured(detection(silence_duration_ms=500))
    hear(world, 0.8, frames=10)
    world.client(type="session.update", session=detection(**options))
    hear(world, 0.8 if "threshold" in options else 0.05, frames=SILENCE if "threshold" in options else 2)
    assert world.wire.of_type(event)


@pytest.mark.parametrize("kind", ["near_field", "far_field", None])
def test_noise_reduction_is_set_at_once_and_only_when_it_changes(kind: str | None) -> None:
    world = World()
    assert world.noise_reduction == [], "sound is left as it is, to begin with"
    reduction = None if kind is None else {"type": kind}
    session = {"type": "realtime", "audio": {"input": {"noise_reduction": reduction}}}
    (updated,) = world.client(type="session.update", session=session)
    assert updated["session"]["audio"]["input"]["noise_reduction"] == reduction
    world.client(type="session.update", session=session)
    assert world.noise_reduction == ([] if kind is None else [kind])
    world.client(type="session.update", session={"type": "realtime", "audio": {"input": {"noise_reduction": None}}})
    assert world.noise_reduction == ([] if kind is None else [kind, None])

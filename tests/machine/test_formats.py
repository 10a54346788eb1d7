"""G.711 on the wire: what is sent under its name is that, and all that is counted is counted in its time."""

import base64
from typing import Any

import numpy as np
import pytest

from pipeline.g711 import A_LAW, MU_LAW
from pipeline.types import Pcm16, TurnAudio, TurnClause
from server.realtime import commands as do
from server.realtime.client_events import InputAudioBufferAppend
from tests.machine.scenes import configured, error_of, kinds, running, sing, spoken_item, told, write
from tests.machine.world import FRAME, SimulatedRun, World

LAWS = {"audio/pcmu": MU_LAW, "audio/pcma": A_LAW}
MS = 8
"""Bytes of G.711 a millisecond."""


def sound_in(kind: str, detection: Any = None) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": {"format": {"type": kind}, "turn_detection": detection}}}


def sound_out(kind: str) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"output": {"format": {"type": kind}}}}


def append(world: World, codes: bytes) -> list[dict[str, Any]]:
    return world.client(type="input_audio_buffer.append", audio=codes)


def tone(ms: int, hertz: int = 400) -> Pcm16:
    return np.rint(8_000 * np.sin(2 * np.pi * hertz * np.arange(24 * ms) / 24_000)).astype(np.int16)


def stored(world: World, codes: bytes) -> Pcm16:
    """What becomes of sound that is appended."""
    commands = world.machine.handle(InputAudioBufferAppend(audio=codes), world.now)
    (audio,) = [command.audio for command in commands if isinstance(command, do.StoreAudio)]
    return np.frombuffer(audio, "<i2")


def sent_sound(world: World) -> bytes:
    return b"".join(base64.b64decode(event["delta"]) for event in world.wire.of_type("response.output_audio.delta"))


def speak(world: World, run: SimulatedRun, words: str, samples: Pcm16) -> None:
    world.handle(TurnClause(run.request.run, words))
    for start in range(0, len(samples), 4_800):
        world.handle(TurnAudio(run.request.run, samples[start : start + 4_800]))


def asked(session: dict[str, Any], **response: Any) -> tuple[World, SimulatedRun]:
    world = configured(session)
    write(world, "hello")
    world.client(type="response.create", response=response)
    return world, running(world)


# --- what comes in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAWS)
def test_sound_that_comes_in_is_heard_as_it_was(kind: str) -> None:
    world = configured(sound_in(kind))
    codes = LAWS[kind].encode(tone(500)[::3])
    heard = np.concatenate([stored(world, codes[start : start + 161]) for start in range(0, len(codes), 161)])
    assert len(heard) == 24 * 500
    noise = heard[95 + 240 : -240].astype(float) - tone(500)[240 : -95 - 240]
    assert 10 * np.log10((tone(500).astype(float) ** 2).mean() / (noise**2).mean()) > 30


@pytest.mark.parametrize("kind", LAWS)
def test_a_hundred_milliseconds_can_be_committed_and_no_less(kind: str) -> None:
    world = configured(sound_in(kind))
    append(world, b"\xff" * (100 * MS - 1))
    error = error_of(world.client(type="input_audio_buffer.commit", event_id="mine"))
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    append(world, b"\xff")
    assert kinds(world.client(type="input_audio_buffer.commit"))[0] == "input_audio_buffer.committed"


def test_the_users_sound_costs_a_token_for_100_ms() -> None:
    world = configured(sound_in("audio/pcmu"))
    append(world, b"\xff" * (1_500 * MS))
    world.client(type="input_audio_buffer.commit")
    world.transcribe(world.finishing[0], "hello")
    (completed,) = world.wire.of_type("conversation.item.input_audio_transcription.completed")
    assert completed["usage"]["input_token_details"]["audio_tokens"] == 15
    world.client(type="response.create")
    world.step_run(running(world), "finish")
    (done,) = world.wire.of_type("response.done")
    assert done["response"]["usage"]["input_token_details"]["audio_tokens"] == 15


def test_offsets_are_milliseconds_of_sound() -> None:
    world = configured(sound_in("audio/pcma", {"type": "server_vad", "prefix_padding_ms": 0}))
    frame = FRAME // 3
    for voiced in [False] * 10 + [True] * 10 + [False] * 17:
        append(world, b"\xd5" * frame)
        world.judge(voiced)
    (started,) = world.wire.of_type("input_audio_buffer.speech_started")
    (stopped,) = world.wire.of_type("input_audio_buffer.speech_stopped")
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (320, (20 + 16) * 32)


def test_the_format_may_change_in_the_middle() -> None:
    """The clock counts samples, never bytes."""
    world = configured(sound_in("audio/pcmu"))
    append(world, b"\xff" * (300 * MS))
    world.client(type="session.update", session=sound_in("audio/pcm"))
    append(world, bytes(300 * 48))
    world.client(type="session.update", session=sound_in("audio/pcma"))
    append(world, b"\xd5" * (300 * MS))
    world.client(type="input_audio_buffer.commit")
    (utterance,) = world.utterances.values()
    assert (utterance.fed[0][0], utterance.fed[-1][1]) == (0, 900 * 24)


def test_any_number_of_bytes_is_a_whole_number_of_samples_but_not_of_pcm() -> None:
    world = configured(sound_in("audio/pcmu"))
    assert append(world, b"\xff" * 3) == []
    world.client(type="session.update", session=sound_in("audio/pcm"))
    assert error_of(append(world, bytes(3)))["param"] == "audio"


def test_the_buffer_is_full_by_time_and_what_is_refused_leaves_no_trace() -> None:
    world = configured(sound_in("audio/pcmu"))
    append(world, b"\xff" * (9 * 60_000 * MS))
    error = error_of(append(world, MU_LAW.encode(tone(60_001)[::3])))
    assert (error["code"], error["param"]) == ("input_audio_buffer_full", "audio")
    assert not stored(world, b"\xff" * 800).any()


# --- what goes out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAWS)
def test_what_goes_out_is_the_reply_at_8_khz(kind: str) -> None:
    world, run = asked(sound_out(kind))
    speak(world, run, "One. ", tone(330))
    speak(world, run, "Two. ", tone(345)[: 24 * 340])
    world.step_run(run, "finish")
    codes = sent_sound(world)
    assert len(codes) == 670 * MS
    whole = np.concatenate((tone(330), tone(340)))[::3].astype(float)
    noise = LAWS[kind].decode(codes) - whole
    inner = np.abs(np.arange(len(whole)) - 330 * MS) > 100  # the two tones meet at an angle
    assert 10 * np.log10((whole**2).mean() / (noise[inner][100:-100] ** 2).mean()) > 30


def test_the_reply_in_pieces_is_the_reply_in_one() -> None:
    whole, pieces = asked(sound_out("audio/pcmu")), asked(sound_out("audio/pcmu"))
    speak(*whole, "One. ", tone(200))
    pieces[0].handle(TurnClause(pieces[1].request.run, "One. "))
    for start in range(0, 4_800, 37):
        pieces[0].handle(TurnAudio(pieces[1].request.run, tone(200)[start : start + 37]))
    for world, run in (whole, pieces):
        world.step_run(run, "finish")
    assert sent_sound(whole[0]) == sent_sound(pieces[0])
    assert len(sent_sound(whole[0])) == 200 * MS


def test_each_direction_has_its_own_format_and_a_response_may_have_another() -> None:
    world = configured(sound_in("audio/pcma"))
    world.client(type="session.update", session=sound_out("audio/pcmu"))
    audio = world.machine.session.audio
    assert (type(audio.input.format).__name__, type(audio.output.format).__name__) == ("PcmaFormat", "PcmuFormat")
    write(world, "hello")
    world.client(type="response.create", response={"audio": {"output": {"format": {"type": "audio/pcma"}}}})
    run = running(world)
    world.client(type="session.update", session=sound_out("audio/pcm"))  # too late for the one under way
    speak(world, run, "One. ", tone(100))
    world.step_run(run, "finish")
    (done,) = world.wire.of_type("response.done")
    assert done["response"]["audio"]["output"]["format"] == {"type": "audio/pcma"}
    assert len(sent_sound(world)) == 100 * MS
    assert np.abs(A_LAW.decode(sent_sound(world))).max() == pytest.approx(8_000, rel=0.05)


def test_the_replys_sound_costs_a_token_for_50_ms() -> None:
    world, run = asked(sound_out("audio/pcmu"))
    speak(world, run, "One. ", tone(1_000))
    world.step_run(run, "finish")
    (done,) = world.wire.of_type("response.done")
    assert done["response"]["usage"]["output_token_details"]["audio_tokens"] == 20


def test_the_end_of_the_sound_comes_before_its_done_and_before_a_call() -> None:
    world, run = asked(sound_out("audio/pcmu"))
    speak(world, run, "One. ", tone(100))
    before = len(sent_sound(world))
    world.step_run(run, "call")
    assert before < 100 * MS == len(sent_sound(world))
    order = kinds(world.wire.events)
    last = len(order) - 1 - order[::-1].index("response.output_audio.delta")
    assert last < order.index("response.output_audio.done")


def test_nothing_more_is_heard_of_a_reply_that_is_cancelled() -> None:
    world, run = asked(sound_out("audio/pcmu"))
    speak(world, run, "One. ", tone(100))
    before = len(sent_sound(world))
    world.client(type="response.cancel")
    assert len(sent_sound(world)) == before
    item_id, ms = spoken_item(world), before // MS
    error = error_of(
        world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=ms + 1)
    )
    assert error["param"] == "audio_end_ms", "what was not sent cannot have been heard"
    sent = world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=ms)
    assert kinds(sent) == ["conversation.item.truncated"]


@pytest.mark.parametrize("kind", ["audio/pcm", *LAWS])
def test_what_is_truncated_at_700_ms_ends_at_700_ms(kind: str) -> None:
    world, run = asked(sound_out(kind))
    sing(world, run, "One two three four five six seven eight nine ten. ", 1_000)
    sing(world, run, "And eleven. ", 500)
    world.step_run(run, "finish")
    item_id = spoken_item(world)

    def truncate(ms: int) -> list[dict[str, Any]]:
        return world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=ms)

    assert error_of(truncate(1_501))["param"] == "audio_end_ms"
    assert kinds(truncate(700)) == ["conversation.item.truncated"]
    assert error_of(truncate(701))["param"] == "audio_end_ms"
    write(world, "go on")
    world.client(type="response.create")
    assert told(running(world))[1] == ("assistant", "One two three four five six seven")

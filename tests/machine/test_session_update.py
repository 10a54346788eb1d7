"""session.update: what is merged, what is refused, and how."""

import copy
import dataclasses
from typing import Any

import pytest

from tests.machine.scenes import (
    MANUAL,
    a_spoken_reply,
    configured,
    detection,
    error_of,
    kinds,
    pause_with_hypothesis,
    running,
    say,
    told,
)
from tests.machine.world import FRAME, PROFILE, World


def test_an_update_merges_what_is_there_and_keeps_the_rest() -> None:
    world = World()
    (created,) = world.wire.events
    expected = copy.deepcopy(created["session"])
    (updated,) = world.client(
        type="session.update",
        session={"type": "realtime", "audio": {"output": {"voice": "two"}}, "max_output_tokens": 100},
    )
    expected["audio"]["output"]["voice"] = "two"
    expected["max_output_tokens"] = 100
    assert updated["session"] == expected
    (again,) = world.client(type="session.update", session={"type": "realtime"})
    assert again["session"] == expected


UPDATES: list[tuple[dict[str, Any], tuple[str, ...], Any]] = [
    ({"instructions": ""}, ("instructions",), ""),
    ({"output_modalities": ["text"]}, ("output_modalities",), ["text"]),
    ({"max_output_tokens": "inf"}, ("max_output_tokens",), "inf"),
    ({"tool_choice": "none"}, ("tool_choice",), "none"),
    ({"tools": []}, ("tools",), []),
    ({"tools": [{"type": "function", "name": "f"}]}, ("tools",), [{"type": "function", "name": "f"}]),
    (
        {"tools": [{"type": "function", "name": "f"}], "tool_choice": "f"},
        ("tool_choice",),
        {"type": "function", "name": "f"},
    ),
    ({"tools": [{"type": "function", "name": "f"}], "tool_choice": "required"}, ("tool_choice",), "required"),
    (
        {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}},
        ("tool_choice",),
        {"type": "function", "name": "f"},
    ),
    ({"model": "mini"}, ("model",), "mini"),
    ({"truncation": "auto"}, ("truncation",), "auto"),
    ({"tracing": None}, ("tracing",), None),
    ({"audio": {"input": {"turn_detection": None}}}, ("audio", "input", "turn_detection"), None),
    ({"audio": {"input": {"transcription": None}}}, ("audio", "input", "transcription"), None),
    ({"audio": {"input": {"noise_reduction": None}}}, ("audio", "input", "noise_reduction"), None),
    (
        {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}},
        ("audio", "input", "noise_reduction"),
        {"type": "near_field"},
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}},
        ("audio", "input", "turn_detection"),
        {"type": "semantic_vad", "eagerness": "low", "create_response": True, "interrupt_response": True},
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}}},
        ("audio", "input", "turn_detection", "idle_timeout_ms"),
        5000,
    ),
    (
        {"audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}}},
        ("audio", "input", "transcription"),
        {"model": "whisper-1", "language": "en"},
    ),
    ({"audio": {"input": {"transcription": {}}}}, ("audio", "input", "transcription"), {"model": "ears"}),
    (
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}},
        ("audio", "input", "format"),
        {"type": "audio/pcm", "rate": 24000},
    ),
    (
        {"audio": {"input": {"format": {"type": "audio/pcmu"}}}},
        ("audio", "input", "format"),
        {"type": "audio/pcmu"},
    ),
    (
        {"audio": {"output": {"format": {"type": "audio/pcma"}}}},
        ("audio", "output", "format"),
        {"type": "audio/pcma"},
    ),
    ({"audio": {"output": {"voice": "one"}}}, ("audio", "output", "voice"), "one"),
    ({"audio": {"output": {"speed": 0.5}}}, ("audio", "output", "speed"), 0.5),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.3}}}},
        ("audio", "input", "turn_detection"),
        {
            "type": "server_vad",
            "threshold": 0.3,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "idle_timeout_ms": None,
            "create_response": True,
            "interrupt_response": True,
        },
    ),
]


@pytest.mark.parametrize(("update", "path", "value"), UPDATES, ids=lambda value: str(value)[:60])
def test_an_update_is_honoured(update: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    (updated,) = World().client(type="session.update", session={"type": "realtime", **update})
    assert updated["type"] == "session.updated", updated
    at = updated["session"]
    for key in path:
        at = at[key]
    assert at == value


def test_what_has_a_type_is_replaced_whole() -> None:
    world = configured(detection(silence_duration_ms=200, threshold=0.3))
    (updated,) = world.client(type="session.update", session=detection(threshold=0.6))
    now = updated["session"]["audio"]["input"]["turn_detection"]
    assert (now["threshold"], now["silence_duration_ms"]) == (0.6, 500)


def test_another_name_of_the_model_is_its_name() -> None:
    """Agents SDKs name OpenAI's model in every update, whatever the URL names."""
    world = World(dataclasses.replace(PROFILE, answers_to=lambda name: name.startswith("gpt-realtime")))
    (updated,) = world.client(type="session.update", session={"type": "realtime", "model": "gpt-realtime-2.1"})
    assert updated["session"]["model"] == "mini"
    refused = world.client(type="session.update", session={"type": "realtime", "model": "gpt-4o"})
    assert error_of(refused)["code"] == "cannot_change_model"


BAD_UPDATES: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "transcription"}, "invalid_value", "session.type"),
    ({"type": None}, "invalid_value", "session.type"),
    ({"colour": 1}, "unknown_parameter", "session.colour"),
    ({"id": "sess_mine"}, "unknown_parameter", "session.id"),
    ({"expires_at": 1}, "unknown_parameter", "session.expires_at"),
    ({"object": "realtime.session"}, "unknown_parameter", "session.object"),
    ({"model": "other"}, "cannot_change_model", "session.model"),
    ({"instructions": 5}, "invalid_type", "session.instructions"),
    ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities[0]"),
    ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
    ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
    ({"max_output_tokens": "many"}, "invalid_value", "session.max_output_tokens"),
    ({"tools": [{"type": "function", "name": ""}]}, "invalid_value", "session.tools[0].name"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "missing_required_parameter", "session.tools[0].server_url"),
    ({"tools": [{"type": "magic"}]}, "invalid_value", "session.tools[0].type"),
    ({"tools": [{"type": "function", "name": "f", "strict": True}]}, "unknown_parameter", "session.tools[0].strict"),
    ({"tools": [{"type": "function", "name": "f"}] * 2}, "invalid_value", "session.tools[1].name"),
    ({"tool_choice": "f"}, "invalid_value", "session.tool_choice"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "invalid_value", "session.tool_choice"),
    ({"tool_choice": "required"}, "invalid_value", "session.tool_choice"),
    ({"truncation": "sometimes"}, "invalid_value", "session.truncation"),
    ({"reasoning": {"effort": "low"}}, "invalid_value", "session.reasoning.effort"),
    ({"parallel_tool_calls": "yes"}, "invalid_type", "session.parallel_tool_calls"),
    ({"tracing": "on"}, "invalid_value", "session.tracing"),
    ({"prompt": {"id": "p"}}, "invalid_type", "session.prompt"),
    ({"include": ["item.input_audio_transcription.logprobs"]}, "invalid_value", "session.include"),
    ({"colour": None}, "unknown_parameter", "session.colour"),
    ({"audio": {"volume": 1}}, "unknown_parameter", "session.audio.volume"),
    ({"audio": {"input": {"format": {"type": "audio/mp3"}}}}, "invalid_value", "session.audio.input.format.type"),
    (
        {"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
        "unknown_parameter",
        "session.audio.input.format.rate",
    ),
    (
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        {"audio": {"input": {"noise_reduction": {"type": "loud"}}}},
        "invalid_value",
        "session.audio.input.noise_reduction.type",
    ),
    (
        {"audio": {"input": {"noise_reduction": {}}}},
        "missing_required_parameter",
        "session.audio.input.noise_reduction.type",
    ),
    (
        {"audio": {"input": {"noise_reduction": {"type": "near_field", "depth": 1}}}},
        "unknown_parameter",
        "session.audio.input.noise_reduction.depth",
    ),
    ({"audio": {"input": {"noise_reduction": "near_field"}}}, "invalid_type", "session.audio.input.noise_reduction"),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.5}}}},
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}}}},
        "invalid_value",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "prefix_padding_ms": 10**9}}}},
        "invalid_value",
        "session.audio.input.turn_detection.prefix_padding_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 4999}}}},
        "invalid_value",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 30001}}}},
        "invalid_value",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "idle_timeout_ms": 6000}}}},
        "unknown_parameter",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "eagerness": "low"}}}},
        "unknown_parameter",
        "session.audio.input.turn_detection.eagerness",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "eager"}}}},
        "invalid_value",
        "session.audio.input.turn_detection.eagerness",
    ),
    (
        {"audio": {"input": {"transcription": {"model": "ears-9000"}}}},
        "invalid_value",
        "session.audio.input.transcription.model",
    ),
    (
        {"audio": {"input": {"transcription": {"language": "fr"}}}},
        "invalid_value",
        "session.audio.input.transcription.language",
    ),
    (
        {"audio": {"input": {"transcription": {"prompt": "Names."}}}},
        "invalid_value",
        "session.audio.input.transcription.prompt",
    ),
    ({"audio": {"output": {"voice": "three"}}}, "invalid_value", "session.audio.output.voice"),
    ({"audio": {"output": {"voice": {"id": "v"}}}}, "invalid_type", "session.audio.output.voice"),
    ({"audio": {"output": {"speed": 0.3}}}, "invalid_value", "session.audio.output.speed"),
    ({"audio": {"output": {"speed": 2.0}}}, "invalid_value", "session.audio.output.speed"),
    ({"audio": {"output": {"format": {"type": "audio/mp3"}}}}, "invalid_value", "session.audio.output.format.type"),
]


@pytest.mark.parametrize(("update", "code", "param"), BAD_UPDATES, ids=lambda value: str(value)[:60])
def test_a_bad_update_is_refused_by_name_and_changes_nothing(update: dict[str, Any], code: str, param: str) -> None:
    world = World()
    (created,) = world.wire.events
    session = {"type": "realtime", "instructions": "Changed.", **update}
    error = error_of(world.client(type="session.update", event_id="mine", session=session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    (updated,) = world.client(type="session.update", session={"type": "realtime"})
    assert updated["session"] == created["session"]


def test_the_voice_is_fixed_once_sound_was_sent() -> None:
    world, _ = a_spoken_reply()
    voice = {"type": "realtime", "audio": {"output": {"voice": "two"}}}
    error = error_of(world.client(type="session.update", event_id="mine", session=voice))
    assert (error["code"], error["param"]) == ("cannot_update_voice", "session.audio.output.voice")
    voice["audio"]["output"]["voice"] = "one"  # type: ignore[index]
    assert kinds(world.client(type="session.update", session=voice)) == ["session.updated"]


def test_held_sound_does_not_fix_the_voice() -> None:
    world = World()
    world.step_run(pause_with_hypothesis(world, "hello"), "clause")
    voice = {"type": "realtime", "audio": {"output": {"voice": "two"}}}
    assert kinds(world.client(type="session.update", session=voice)) == ["session.updated"]


def test_without_transcription_the_client_sees_no_words_but_gets_an_answer() -> None:
    world = configured({"type": "realtime", "audio": {"input": {"transcription": None}}})
    sent = say(world, "hello there")
    assert not [kind for kind in kinds(sent) if "transcription" in kind]
    assert told(running(world)) == [("user", "hello there")]


def test_switching_detection_off_in_the_middle_keeps_what_was_said() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.client(type="session.update", session=MANUAL)
    world.append(10 * FRAME)
    world.client(type="input_audio_buffer.commit")
    (utterance,) = world.utterances.values()
    assert (utterance.fed[0][0], utterance.fed[-1][1]) == (0, 20 * FRAME)

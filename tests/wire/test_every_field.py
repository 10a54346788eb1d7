"""Every field of every client event, in both dialects: honoured or refused by name, whatever is in it.

The fields are those of the `openai` package's types (scripts/make_docs/protocol_types.py), so that new ones are tested
by themselves.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from scripts.make_docs.protocol_session import Talk, answer_to, is_about, kind_of, verdict_on
from scripts.make_docs.protocol_types import Field, Object
from server.wire import Dialect, beta, ga
from tests.wire.every_field import every_field, wrong_events
from tests.wire.sdk import check, check_beta

FIELDS = [
    pytest.param(is_beta, field, id=f"{'beta' if is_beta else 'GA'}: {field.event}: {field.path} {field.of}".strip())
    for is_beta in (False, True)
    for field in every_field(is_beta)
]

DIALECTS: tuple[Dialect, Dialect] = (ga, beta)


def session_of(talk: Talk) -> Object | None:
    """The probe: the session goes on, and says what it is like."""
    assert [event["type"] for event in talk.send({"type": "input_audio_buffer.clear"}).sent] == [
        "input_audio_buffer.cleared"
    ]
    if talk.kind == "transcription":
        return None
    session = {"type": "realtime"} if talk.dialect is ga else {}
    (updated,) = talk.send({"type": "session.update", "session": session}).sent
    shown: Object = updated["session"]
    return shown


class Refusing:
    """A session that is sent what it has to refuse, each time in good form and without any other effect."""

    def __init__(self, event: Object, is_beta: bool, before: Sequence[Object] = ()) -> None:
        """It is brought to where `event` makes sense, or through the events `before`."""
        self.talk = Talk(DIALECTS[is_beta], kind_of(event))
        self._check = check_beta if is_beta else check
        for each in before:
            assert self.talk.send(each).error is None
        if not before:
            self.talk.prepare(event["type"])
        # The probe would take away the sound that is to be committed.
        self._was = session_of(self.talk) if event["type"] != "input_audio_buffer.commit" else None

    def error(self, event: Object) -> Object:
        """Sends an event that has to be refused; returns the error."""
        answer = self.talk.send({**event, "event_id": "mine"})
        assert [each["type"] for each in answer.sent] == ["error"], event
        assert not answer.done, "nothing is done of what is refused"
        self._check(answer.sent[0])
        error: Object = answer.sent[0]["error"]
        assert error["type"] == "invalid_request_error"
        assert error["code"]
        assert error["message"]
        assert error["event_id"] == "mine"
        now = session_of(self.talk)
        assert self._was is None or now == self._was, "a refused update changes nothing"
        return error


def refusal_of(event: Object, is_beta: bool, before: Sequence[Object] = ()) -> Object:
    return Refusing(event, is_beta, before).error(event)


@pytest.mark.parametrize(("is_beta", "field"), FIELDS)
def test_a_field_is_honoured_or_refused_by_name(is_beta: bool, field: Field) -> None:
    for value, _ in verdict_on(field, is_beta).refused:
        for event in field.events(value):
            error = refusal_of({**event, "event_id": "mine"}, is_beta)
            assert error["param"] is not None, error
            # Where the object itself is refused (a tool of a type that there is not), that is what is named.
            assert is_about(error["param"], field.path) or is_refused_without(field, event, is_beta), error


def is_refused_without(field: Field, event: Object, is_beta: bool) -> bool:
    """Whether the event would be refused without the field as well."""
    return any(
        answer_to(DIALECTS[is_beta], place.put(without(place.inner, field.name))).error is not None
        for place in field.places
    )


def without(inner: Object, name: str) -> Object:
    return {key: value for key, value in inner.items() if key != name}


@pytest.mark.parametrize(("is_beta", "field"), FIELDS)
def test_a_wrong_value_is_refused_by_name(is_beta: bool, field: Field) -> None:
    honoured = verdict_on(field, is_beta).is_honoured
    wrong = list(wrong_events(field))
    if field.name == "event_id":
        for event in wrong:
            assert_event_id_is_refused(event, is_beta)
        return
    if not wrong:
        return  # anything goes
    refusing = Refusing(wrong[0], is_beta)
    for event in wrong:
        error = refusing.error(event)
        if honoured:
            assert named(error) == field.path or named(error).startswith((f"{field.path}.", f"{field.path}[")), error


def assert_event_id_is_refused(event: Object, is_beta: bool) -> None:
    error = answer_to(DIALECTS[is_beta], event).error
    assert error is not None
    assert error["type"] == "invalid_request_error"
    assert error["code"]


def named(error: Object) -> str:
    """The field that an error names, with `[]` for each of a list."""
    return re.sub(r"\[\d*\.*\]", "[]", error["param"] or "")


@pytest.mark.parametrize(("is_beta", "field"), FIELDS)
def test_null_is_taken_or_refused_by_name(is_beta: bool, field: Field) -> None:
    if not verdict_on(field, is_beta).is_honoured:
        return
    event = next(field.events(None))
    answer = answer_to(DIALECTS[is_beta], event)
    if answer.error is not None:
        assert is_about(refusal_of(event, is_beta)["param"], field.path)


@pytest.mark.parametrize(("is_beta", "field"), FIELDS)
def test_an_unknown_field_beside_it_is_refused_by_name(is_beta: bool, field: Field) -> None:
    *outer, _ = field.path.split(".")
    path = ".".join([*outer, "colour"])
    for place in field.places:
        error = refusal_of(place.put({**place.inner, "colour": 1}), is_beta)
        if error["code"] == "unknown_parameter" and error["param"].endswith("colour"):
            assert named(error) == path
        else:
            assert answer_to(DIALECTS[is_beta], place.put(place.inner)).error is not None, error


EFFECTLESS = {
    "event_id": "comes back in errors alone",
    "response_id": "names the active response, which is cancelled without it, too",
    "model": "is the one that the session has; others are refused",
}
OF_RESPONSES = ("create_response", "interrupt_response")
"""Part of every turn detection, but of no meaning in a transcription session, which has no responses."""
SHOWN_TO_NOBODY = re.compile(r"response\.input\[\]\.(id|status|approval_request_id)")
"""What is said of items that are in a response's own input alone, and is of no meaning there."""


@pytest.mark.parametrize(("is_beta", "field"), FIELDS)
def test_what_is_honoured_has_an_effect(is_beta: bool, field: Field) -> None:
    """Something is said or done otherwise than without it, for some value."""
    verdict = verdict_on(field, is_beta)
    could_only_be_this = len(verdict.honoured) == 1 and bool(field.kinds.literals)
    if not verdict.is_honoured or could_only_be_this or verdict.honoured == [{}] or field.name in EFFECTLESS:
        return
    if SHOWN_TO_NOBODY.fullmatch(field.path) or field.of == "mcp":
        return  # what is said of an MCP server shows when it has told its tools: tests/machine/test_mcp.py
    if field.name in OF_RESPONSES and kind_of(next(field.events(True))) == "transcription":
        return
    assert any(differs(event, place.put(without(place.inner, field.name)), is_beta)
               for value in verdict.honoured
               for place, event in zip(field.places, field.events(value), strict=True)
               ), f"{field.path} is accepted and ignored"  # fmt: skip


def differs(event: Object, other: Object, is_beta: bool) -> bool:
    answers = [answer_to(DIALECTS[is_beta], each) for each in (event, other)]
    return answers[0].sent != answers[1].sent or repr(answers[0].done) != repr(answers[1].done)


# --- at the wrong time, and with unknown ids ---

SOUND = {"type": "input_audio_buffer.append", "audio": "A" * 12_800}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
CREATE: Object = {"type": "response.create"}
NEAR = {"content_index": 0, "audio_end_ms": 1}


def create(**more: Any) -> Object:
    return {"type": "conversation.item.create", "item": ITEM, **more}


def output(call_id: str) -> Object:
    return {**create(), "item": {"type": "function_call_output", "call_id": call_id, "output": "done"}}


WRONG_TIME: list[tuple[str, list[Object], Object, str, str | None]] = [
    ("no sound", [], {"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ("sound cleared", [SOUND, {"type": "input_audio_buffer.clear"}], {"type": "input_audio_buffer.commit"},
     "input_audio_buffer_commit_empty", None),
    ("sound committed", [SOUND, {"type": "input_audio_buffer.commit"}], {"type": "input_audio_buffer.commit"},
     "input_audio_buffer_commit_empty", None),
    ("half a sample", [], {"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value", "audio"),
    ("WebRTC alone", [], {"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    ("nothing to cancel", [], {"type": "response.cancel"}, "response_cancel_not_active", None),
    ("no such response", [], {"type": "response.cancel", "response_id": "x"}, "response_cancel_not_active",
     "response_id"),
    ("another response", [CREATE], {"type": "response.cancel", "response_id": "x"}, "response_cancel_not_active",
     "response_id"),
    ("a cancelled one", [CREATE, {"type": "response.cancel"}], {"type": "response.cancel"},
     "response_cancel_not_active", None),
    ("one is active", [CREATE], CREATE, "conversation_already_has_active_response", None),
    ("too many", [{**CREATE, "response": {"conversation": "none"}}] * 16,
     {**CREATE, "response": {"conversation": "none"}}, "too_many_responses", None),
    ("no item to delete", [], {"type": "conversation.item.delete", "item_id": "x"}, "item_not_found", "item_id"),
    ("a deleted item", [{"type": "conversation.item.delete", "item_id": "item_x"}],
     {"type": "conversation.item.delete", "item_id": "item_x"}, "item_not_found", "item_id"),
    ("no item to retrieve", [], {"type": "conversation.item.retrieve", "item_id": "x"}, "item_not_found", "item_id"),
    ("no item to truncate", [], {"type": "conversation.item.truncate", "item_id": "x", **NEAR}, "item_not_found",
     "item_id"),
    ("nothing of the assistant", [], {"type": "conversation.item.truncate", "item_id": "item_x", **NEAR},
     "invalid_value", "item_id"),
    ("a call", [], {"type": "conversation.item.truncate", "item_id": "item_call", **NEAR}, "invalid_value", "item_id"),
    ("no item before it", [], create(previous_item_id="x"), "item_not_found", "previous_item_id"),
    ("an item that there is", [], {**create(), "item": {**ITEM, "id": "item_x"}}, "item_already_exists", "item.id"),
    ("no such call", [], output("x"), "invalid_tool_call_id", "item.call_id"),
]  # fmt: skip


def cases() -> Iterator[Any]:
    for name, before, event, code, param in WRONG_TIME:
        for is_beta in (False, True):
            yield pytest.param(is_beta, before, event, code, param, id=f"{name}{' in beta' if is_beta else ''}")


@pytest.mark.parametrize(("is_beta", "before", "event", "code", "param"), list(cases()))
def test_what_comes_at_the_wrong_time_or_names_what_is_not_there_is_refused(
    is_beta: bool, before: list[Object], event: Object, code: str, param: str | None
) -> None:
    error = refusal_of(event, is_beta, before or [SOUND, {"type": "input_audio_buffer.clear"}])
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize("is_beta", [False, True])
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"audio_end_ms": 2_001}, "audio_end_ms"),
        ({"content_index": 1}, "content_index"),
        ({"audio_end_ms": 10**18}, "audio_end_ms"),
    ],
)
def test_a_truncation_behind_the_sound_is_refused(change: Object, param: str, is_beta: bool) -> None:
    event = {"type": "conversation.item.truncate", "item_id": "SPOKEN", "content_index": 0, "audio_end_ms": 2_000}
    assert answer_to(DIALECTS[is_beta], event).error is None
    error = refusal_of({**event, **change}, is_beta)
    assert (error["code"], error["param"]) == ("invalid_value", param)


@pytest.mark.parametrize("is_beta", [False, True])
def test_the_voice_is_fixed_once_it_was_heard(is_beta: bool) -> None:
    talk = Talk(DIALECTS[is_beta])
    talk.prepare("conversation.item.truncate")  # after which there is a spoken reply
    session = {"voice": "two"} if is_beta else {"type": "realtime", "audio": {"output": {"voice": "two"}}}
    error = talk.send({"type": "session.update", "session": session}).error
    assert error is not None
    assert (error["code"], error["param"]) == (
        "cannot_update_voice",
        "session.voice" if is_beta else "session.audio.output.voice",
    )

"""Whatever a client sends, in either dialect, is answered in good form, and the session goes on.

The events that are spoilt are made from the package's types: see every_field.py.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.make_docs.protocol_session import Answer, Talk, kind_of
from scripts.make_docs.protocol_types import Field, Object
from server.wire import beta, ga
from tests.wire.every_field import every_field
from tests.wire.sdk import check, check_beta
from tests.wire.test_ga import JSON

DIALECTS = (ga, beta)
FIELDS = [(is_beta, field) for is_beta in (False, True) for field in every_field(is_beta)]

HOLE = "a hole for what is no value of Python's"

RAW = [
    "1" + "0" * 400,
    "-1" + "0" * 5_000,
    "1e999999",
    "-1e-999999",
    "0." + "3" * 5_000,
    "NaN",
    "Infinity",
    "01",
    "'text'",
    "",
    "nul",
    '"\\ud800"',
    '"\\u0000"',
    '"\x00"',
    '"' + "x" * 100_000 + '"',
    "[" * 100_000,
    "[" * 50_000 + "]" * 50_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '{"a": 1, "a": 2}',
    '{"": {}}',
    "[[[[[[[[[[{}]]]]]]]]]]",
    "true, false",
    '1}, "type": "response.cancel", "x": {"y": 1',
]
"""What may stand for a value in JSON, or in what is none."""


def assert_goes_on(talk: Talk, answer: Answer, event_id: str | None = None) -> None:
    """What was sent is in good form, an error has what clients read of it, and the session still answers."""
    for sent in answer.sent:
        (check if talk.dialect is ga else check_beta)(sent)
        if sent["type"] == "error":
            assert sent["error"]["code"]
            assert sent["error"]["message"]
            assert event_id is None or sent["error"]["event_id"] == event_id
    probe = talk.send({"type": "input_audio_buffer.clear"})
    assert [event["type"] for event in probe.sent] == ["input_audio_buffer.cleared"]


@given(frame=st.text(st.characters(), max_size=60) | st.binary(max_size=60), is_beta=st.booleans())
def test_any_frame(frame: str | bytes, is_beta: bool) -> None:
    talk = Talk(DIALECTS[is_beta])
    answer = talk.send_frame(frame)
    assert [event["type"] for event in answer.sent] == ["error"]
    assert_goes_on(talk, answer)


@given(value=JSON, is_beta=st.booleans())
def test_any_json(value: Any, is_beta: bool) -> None:
    talk = Talk(DIALECTS[is_beta])
    answer = talk.send_frame(json.dumps(value))
    assert [event["type"] for event in answer.sent] == ["error"]
    assert_goes_on(talk, answer)


@given(where=st.sampled_from(FIELDS), value=JSON)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_in_any_field(where: tuple[bool, Field], value: Any) -> None:
    is_beta, field = where
    for event in field.events(value):
        talk = Talk(DIALECTS[is_beta], kind_of(event))
        talk.prepare(field.event)
        is_known = field.name != "event_id" and is_json(event)
        frame = json.dumps({"event_id": "mine", **event})
        assert_goes_on(talk, talk.send_frame(frame), "mine" if is_known else None)


def is_json(event: Object) -> bool:
    """Whether it can be written as JSON: not what is no number, and no half of a character."""
    try:
        json.dumps(event, allow_nan=False)
        json.dumps(event, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


@given(where=st.sampled_from(FIELDS), raw=st.sampled_from(RAW))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_in_the_place_of_any_value(where: tuple[bool, Field], raw: str) -> None:
    is_beta, field = where
    event = next(field.events(HOLE))
    talk = Talk(DIALECTS[is_beta], kind_of(event))
    talk.prepare(field.event)
    answer = talk.send_frame(json.dumps(event).replace(json.dumps(HOLE), raw))
    assert_goes_on(talk, answer)


@pytest.mark.parametrize("is_beta", [False, True])
@pytest.mark.parametrize("raw", RAW, ids=lambda raw: ascii(raw)[:30])
def test_the_same_in_the_place_of_an_event(raw: str, is_beta: bool) -> None:
    talk = Talk(DIALECTS[is_beta])
    answer = talk.send_frame(raw)
    assert [event["type"] for event in answer.sent] == ["error"]
    assert_goes_on(talk, answer)


@pytest.mark.parametrize("is_beta", [False, True])
def test_frames_that_are_cut_off_anywhere(is_beta: bool) -> None:
    """As a client that crashes in the middle of one would send them."""
    whole = json.dumps({"type": "response.create", "event_id": "mine", "response": {"metadata": {"key": "välue"}}})
    talk = Talk(DIALECTS[is_beta])
    for end in range(len(whole)):
        answer = talk.send_frame(whole[:end])
        assert [event["type"] for event in answer.sent] == ["error"]
        assert answer.sent[0]["error"]["code"] == "invalid_json"
    assert_goes_on(talk, talk.send_frame(whole))

"""Validates events against the types of the `openai` package, more strictly than the package does by itself."""

from collections.abc import Set
from typing import Any, get_args

from openai.types.beta.realtime.realtime_server_event import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

_adapter: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
_beta_adapter: TypeAdapter[Any] = TypeAdapter(BetaServerEvent)

# What OpenAI's server sends and clients read, although the package's types lack it.
_ALLOWED_EXTRA = {
    "response.status_details.error.message",
    "session.id",
    "session.object",
    "session.expires_at",
}

# What OpenAI's documentation shows of transcription sessions in beta, although the package's types lack it.
_ALLOWED_OF_TRANSCRIPTION = {
    "session.include",
    "session.input_audio_noise_reduction",
    "session.turn_detection.eagerness",
}

BETA_EVENTS = frozenset(
    name for kind in get_args(get_args(BetaServerEvent)[0]) for name in get_args(kind.model_fields["type"].annotation)
)
"""The types of the events that the package knows in beta."""


def check(event: dict[str, Any]) -> BaseModel:
    """Returns the event as the package's type. Raises AssertionError when a field is wrong or not in the schema."""
    return _check(_adapter, event)


def check_beta(event: dict[str, Any]) -> BaseModel:
    """The like for the types of the beta dialect."""
    if event["type"].startswith("transcription_session."):
        return _check_transcription_session(event)
    if "session" in event:  # the package knows OpenAI's models alone
        assert isinstance(event["session"]["model"], str)
        event = {**event, "session": {**event["session"], "model": "gpt-realtime"}}
    return _check(_beta_adapter, event)


def _check_transcription_session(event: dict[str, Any]) -> BaseModel:
    """The package lacks the event by which OpenAI's server begins such a session, and some fields. It wants a key in
    the session, and says that there is none unless by HTTP.
    """
    assert "client_secret" not in event["session"]
    session = {**event["session"], "client_secret": {"value": "", "expires_at": 0}}
    known = session["input_audio_transcription"]
    if known is not None:  # the package knows OpenAI's models alone
        assert isinstance(known["model"], str)
        session["input_audio_transcription"] = {**known, "model": "whisper-1"}
    kind = event["type"].replace("created", "updated")
    return _check(_beta_adapter, {**event, "type": kind, "session": session}, _ALLOWED_OF_TRANSCRIPTION)


def _check(adapter: TypeAdapter[Any], event: dict[str, Any], more: Set[str] = frozenset()) -> BaseModel:
    model: BaseModel = adapter.validate_python(event)
    assert model.type == event["type"], f"{event['type']} was taken for {type(model).__name__}"  # type: ignore[attr-defined]
    extra = set(_extra(model, "")) - _ALLOWED_EXTRA - more
    assert not extra, f"{event['type']} has fields outside the schema: {sorted(extra)}"
    return model


def _extra(value: Any, path: str) -> list[str]:
    if isinstance(value, BaseModel):
        found = [f"{path}{name}" for name in (value.model_extra or {})]
        for name in type(value).model_fields:
            found += _extra(getattr(value, name), f"{path}{name}.")
        return found
    if isinstance(value, list):
        return [name for entry in value for name in _extra(entry, path)]
    return []

"""A session to try the protocol on: the machine and a dialect, with a pipeline that can do everything.

What is said of a field in docs/protocol.md is what this session answers to it.
"""

import dataclasses
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np

from pipeline.types import Generated, TurnAudio, TurnCall, TurnClause, TurnFinished
from scripts.make_docs.protocol_types import SHOP, Field, Object
from server.realtime.commands import Command, ListMcpTools, Send, StartRun
from server.realtime.inbox import Event, McpToolsListed
from server.realtime.machine import Machine
from server.realtime.mcp_schema import McpListedTool
from server.realtime.session_config import Profile
from server.wire import Dialect, beta, ga

Kind = Literal["realtime", "transcription"]

_ABLE: dict[str, Any] = {each.name: True for each in dataclasses.fields(Profile) if each.type is bool}

PROFILE = Profile(
    **{
        **_ABLE,
        "model": "mini",
        "instructions": "Be brief.",
        "voice": "one",
        "voices": {"one": "one", "two": "two"},
        "speeds": (0.25, 1.5),
        "transcriber": "ears",
        "languages": frozenset({"en"}),
        "endpointing_reads": frozenset({"sound"}),
        "context": 32_768,
    }
)
"""A pipeline that can do everything."""

_MESSAGE = {"type": "message", "role": "user", "id": "item_x", "content": [{"type": "input_text", "text": "hello"}]}
_CALL = {"type": "function_call", "id": "item_call", "call_id": "call_x", "name": "look_up", "arguments": "{}"}


@dataclass(slots=True)
class Answer:
    """What came of an event: what the client is told, and what else is done."""

    sent: list[Object]
    done: list[Command]

    @property
    def error(self) -> Object | None:
        """The refusal, if there is one."""
        return next((event["error"] for event in self.sent if event["type"] == "error"), None)


@dataclass(slots=True)
class Talk:
    """One session, in which there are an item `item_x` and a call `call_x`."""

    dialect: Dialect
    kind: Kind = "realtime"
    response_id: str = ""
    spoken_id: str = ""
    request_id: str = ""
    _machine: Machine = field(init=False)
    _commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers = itertools.count()
        self._machine = Machine(
            PROFILE, lambda prefix: f"{prefix}_{next(numbers)}", 2_000_000_000, "mini", kind=self.kind
        )
        self._machine.start()
        for item in (_MESSAGE, _CALL):
            self.send({"type": "conversation.item.create", "item": item})

    def send(self, event: Object) -> Answer:
        """Sends an event; SPOKEN, RESPONSE and REQUEST stand for the ids of the reply's item, of the active response
        and of a request for approval.
        """
        text = json.dumps(event).replace('"SPOKEN"', f'"{self.spoken_id}"')
        text = text.replace('"REQUEST"', f'"{self.request_id}"')
        return self.send_frame(text.replace('"RESPONSE"', f'"{self.response_id}"'))

    def send_frame(self, frame: str | bytes) -> Answer:
        return self._handle(self.dialect.decode(frame))

    def prepare(self, event: str) -> None:
        """Brings the session where an event of this type makes sense."""
        if event.startswith("conversation.item.") and self.kind == "realtime":
            self._say_something()
        if event == "conversation.item.create" and self.kind == "realtime" and self.dialect is ga:
            self._ask_for_approval()
        if event == "response.cancel":
            created = self.send({"type": "response.create"})
            self.response_id = created.sent[0]["response"]["id"]
        if event == "input_audio_buffer.commit":
            self.send({"type": "input_audio_buffer.append", "audio": "A" * 12_800})

    def _handle(self, event: Event) -> Answer:
        commands = self._machine.handle(event, 0)
        sent = [self.dialect.encode(each.event) for each in commands if isinstance(each, Send)]
        return Answer(
            [msgspec.json.decode(frame) for frame in sent if frame is not None],
            [each for each in commands if not isinstance(each, Send)],
        )

    def _say_something(self) -> None:
        answer = self.send({"type": "response.create"})
        (run,) = [each.request.run for each in answer.done if isinstance(each, StartRun)]
        sent = self._handle(TurnClause(run, "I am here."))
        self.spoken_id = next(each["item"]["id"] for each in sent.sent if "item" in each)
        self._handle(TurnAudio(run, np.zeros(48_000, np.int16)))
        self.send({"type": "response.cancel"})

    def _ask_for_approval(self) -> None:
        """The model wants to call a tool on an MCP server."""
        asked = self.send({"type": "session.update", "session": {"type": "realtime", "tools": [SHOP]}})
        (listing,) = [each.listing for each in asked.done if isinstance(each, ListMcpTools)]
        self._handle(McpToolsListed(listing, (McpListedTool(name="look_up"),)))
        answer = self.send({"type": "response.create", "response": {"instructions": "Look it up."}})
        (run,) = [each.request.run for each in answer.done if isinstance(each, StartRun)]
        self._handle(TurnCall(run, 0, "look_up", "{}"))
        told = self._handle(TurnFinished(run, Generated("stop", input_tokens=1, output_tokens=1)))
        self.request_id = told.sent[-1]["response"]["output"][0]["id"]


@dataclass(slots=True)
class Verdict:
    """What becomes of a field: the values that are honoured, and what is said of the others."""

    honoured: list[Any] = field(default_factory=list)
    refused: list[tuple[Any, Object]] = field(default_factory=list)

    @property
    def is_honoured(self) -> bool:
        return bool(self.honoured)


def kind_of(event: Object) -> Kind:
    session = event.get("session")
    told = isinstance(session, dict) and session.get("type") == "transcription"
    return "transcription" if told or event["type"].startswith("transcription") else "realtime"


def answer_to(dialect: Dialect, event: Object) -> Answer:
    """Returns what a session answers to an event that comes at the right time."""
    talk = Talk(dialect, kind_of(event))
    talk.prepare(event["type"])
    return talk.send(event)


def verdict_on(field: Field, is_beta: bool) -> Verdict:
    """Tries each value of a field in each object that it can be in; one of these has to take it."""
    verdict = Verdict()
    for value in field.values:
        errors = []
        for event in field.events(value):
            error = answer_to(beta if is_beta else ga, event).error
            if error is None:
                verdict.honoured.append(value)
                break
            errors.append(error)
        else:
            verdict.refused.append((value, _nearest(errors, field.path)))
    return verdict


def _nearest(errors: list[Object], path: str) -> Object:
    """Returns the error that is about this field, if one is."""
    return next((error for error in errors if is_about(error["param"], path)), errors[0])


def is_about(param: str | None, path: str) -> bool:
    """Returns whether an error names this field, something in it, or what it is in."""
    if param is None:
        return False
    named = re.sub(r"\[\d*\.*\]", "[]", param)
    return _leads_to(named, path) or _leads_to(path, named)


def _leads_to(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))

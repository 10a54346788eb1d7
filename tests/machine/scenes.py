"""Scenes for examples of the protocol: what is said and done to a simulated session, and what it tells."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.audio import slices
from pipeline.turn import MAX_CHUNK
from pipeline.types import TurnAudio, TurnClause
from server.realtime.session_config import Profile
from tests.machine.world import PROFILE, SimulatedRun, World

SILENCE = 16
"""Frames after which 500 ms of silence are over."""

MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


def detection(**options: Any) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", **options}}}}


def configured(session: dict[str, Any], profile: Profile = PROFILE) -> World:
    world = World(profile)
    sent = world.client(type="session.update", session=session)
    assert kinds(sent) == ["session.updated"]
    return world


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def say(world: World, text: str | None, hypothesis: str | None = None) -> list[dict[str, Any]]:
    """The user says something and is silent; it is understood as `text` (None: the stage fails)."""
    before = len(world.wire.events)
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    if hypothesis is not None:
        world.answer_hypothesis(hypothesis)
    world.speak(SILENCE - 3, voiced=False)
    world.transcribe(world.finishing[0], text)
    return world.wire.events[before:]


def write(world: World, text: str, **options: Any) -> dict[str, Any]:
    """The client adds a message of the user; returns the item."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    sent = world.client(type="conversation.item.create", item=item, **options)
    assert kinds(sent) == ["conversation.item.added", "conversation.item.done"]
    added: dict[str, Any] = sent[0]
    return added


def running(world: World) -> SimulatedRun:
    """The one run that is under way."""
    (run,) = [run for run in world.runs.values() if not run.over and not run.cancelled]
    return run


def told(run: SimulatedRun) -> list[tuple[str, str]]:
    """What the model is told after the instructions: (role, text)."""
    return [(message.role, message.text) for message in run.request.prompt.messages[1:]]


def answered(world: World, clauses: int = 1) -> dict[str, Any]:
    """The reply comes to its end; returns the response of `response.done`."""
    run = running(world)
    for _ in range(clauses):
        world.step_run(run, "clause")
    sent = world.step_run(run, "finish")
    assert sent[-1]["type"] == "response.done"
    response: dict[str, Any] = sent[-1]["response"]
    return response


def sing(world: World, run: SimulatedRun, words: str, ms: int) -> None:
    """The run says `words` in `ms` of sound."""
    world.handle(TurnClause(run.request.run, words))
    for piece in slices(np.zeros(24 * ms, np.int16), MAX_CHUNK):
        world.handle(TurnAudio(run.request.run, piece))


def spoken_item(world: World) -> str:
    """The id of the newest item of the assistant."""
    item_id: str = world.wire.of_type("response.output_item.added")[-1]["item"]["id"]
    return item_id


def error_of(sent: list[dict[str, Any]]) -> dict[str, Any]:
    (event,) = sent
    assert event["type"] == "error"
    assert event["error"]["type"] == "invalid_request_error"
    error: dict[str, Any] = event["error"]
    return error


def a_spoken_reply(clauses_ms: Sequence[int] = (1_000, 1_000)) -> tuple[World, str]:
    """A finished reply of two clauses; returns its item's id."""
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    run = running(world)
    for index, ms in enumerate(clauses_ms):
        sing(world, run, f"Words of clause {index}. ", ms)
    world.step_run(run, "finish")
    return world, spoken_item(world)


def pause_with_hypothesis(world: World, words: str) -> SimulatedRun:
    """The user speaks and pauses, and `words` are understood; returns the run that is held."""
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis(words)
    run = running(world)
    assert run.held
    return run

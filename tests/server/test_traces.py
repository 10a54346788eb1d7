"""Traces: what a session says is written down where it asks for it, whole lines only, and nothing that is secret."""

import asyncio
import dataclasses
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ParleyError
from server import traces as module
from server.realtime.client_events import InputAudioBufferCommit, SessionUpdate
from server.realtime.schema import TracingConfig
from server.session import Session
from server.traces import Traces
from server.voice import VoiceHub
from server.wire import ga
from tests.fakes import fake_line
from tests.machine.world import PROFILE
from tests.wire.sdk import check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "traces"


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def lines(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob("*.jsonl")
    return read(file)


def read(file: Path) -> list[dict[str, Any]]:
    text = file.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


async def converse(folder: Path | None, *events: Any, changes: Any = None) -> list[dict[str, Any]]:
    """Has a session with a client that says this; returns what it was sent."""
    traces = None if folder is None else Traces(folder)
    line = fake_line()
    hub = VoiceHub(line.vad, 10.0)
    profile = dataclasses.replace(PROFILE, traces=traces is not None)
    session = Session(line, hub, profile, ga, "mini", changes=changes, traces=traces)
    sent: list[dict[str, Any]] = []
    answered = asyncio.Event()

    async def frames() -> AsyncIterator[str]:
        for event in events:
            yield json.dumps(event)
        if any(event["type"] == "response.create" for event in events):
            await asyncio.wait_for(answered.wait(), 20)

    async def receive() -> None:
        while True:
            frame = await session.outbound.get()
            sent.append(json.loads(frame))
            check(sent[-1])
            if sent[-1]["type"] == "response.done":
                answered.set()
            session.outbound.sent(frame)

    receiving = asyncio.create_task(receive())
    await session.run(frames())
    await asyncio.sleep(0)
    receiving.cancel()
    hub.close()
    if traces is not None:
        traces.close()
    return sent


def turn_on(tracing: Any = "auto") -> dict[str, Any]:
    return {"type": "session.update", "event_id": "on", "session": {"type": "realtime", "tracing": tracing}}


ASK = {
    "type": "conversation.item.create",
    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
}


async def test_both_sides_are_written_down_in_order_with_their_times(folder: Path) -> None:
    sent = await converse(folder, turn_on(), ASK, {"type": "response.create"})
    head, *said, last = lines(folder)
    assert head["session"] == sent[0]["session"]["id"]
    assert head["tracing"] == "auto"
    assert head["began"].endswith("+00:00")
    assert last["ended"] == "the session ended"
    assert [line["client"]["type"] for line in said if "client" in line] == [
        "session.update",
        "conversation.item.create",
        "response.create",
    ]
    server = [line["server"] for line in said if "server" in line]
    assert [event["event_id"] for event in server] == [event["event_id"] for event in sent[1:]]
    for written, told, whole in ((server[0], sent[1], "session"), (server[-1], sent[-1], "response")):
        assert written.pop(whole) == {**told.pop(whole), "temperature": None}  # which this client's dialect lacks
        assert written == told
    times = [line["at_ms"] for line in (head, *said, last)]
    assert times == sorted(times)
    assert times[0] >= 0


async def test_what_the_trace_is_called_is_kept(folder: Path) -> None:
    config = {"workflow_name": "Support", "group_id": "g1", "metadata": {"customer": {"id": 7}}}
    sent = await converse(folder, turn_on(config))
    assert sent[1]["session"]["tracing"] == config
    assert lines(folder)[0]["tracing"] == config


async def test_a_session_can_begin_with_tracing_and_is_traced_from_its_first_event(folder: Path) -> None:
    await converse(folder, changes={"type": "realtime", "tracing": {"group_id": "g"}})
    assert [list(line)[1] for line in lines(folder)] == ["session", "server", "ended"]


async def test_a_session_that_does_not_ask_for_it_is_not_traced(folder: Path) -> None:
    await converse(folder, ASK)
    assert not files(folder)


async def test_it_can_be_changed_and_turned_off(folder: Path) -> None:
    sent = await converse(folder, turn_on(), turn_on({"group_id": "g"}), turn_on(None), ASK)
    assert [event["session"]["tracing"] for event in sent[1:4]] == ["auto", {"group_id": "g"}, None]
    assert [line["tracing"] for line in lines(folder) if "tracing" in line] == ["auto", {"group_id": "g"}, None]
    assert [line["client"]["type"] for line in lines(folder) if "client" in line] == ["session.update"] * 2


@pytest.mark.parametrize("tracing", ["auto", {"workflow_name": "Support"}])
async def test_without_a_folder_asking_does_not_fail_and_the_session_says_that_there_is_none(tracing: Any) -> None:
    sent = await converse(None, turn_on(tracing))
    assert [event["type"] for event in sent] == ["session.created", "session.updated"]
    assert sent[1]["session"]["tracing"] is None


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    ("tracing", "param"),
    [
        ("on", "session.tracing"),
        (5, "session.tracing"),
        ({"colour": 1}, "session.tracing.colour"),
        ({"group_id": 5}, "session.tracing.group_id"),
        ({"metadata": "x"}, "session.tracing.metadata"),
    ],
)
async def test_what_is_no_tracing_is_refused_by_name(folder: Path, there: bool, tracing: Any, param: str) -> None:
    sent = await converse(folder if there else None, turn_on(tracing))
    assert (sent[1]["type"], sent[1]["error"]["param"]) == ("error", param)


async def test_sound_and_images_and_credentials_are_left_out(folder: Path) -> None:
    sent = await converse(
        folder,
        {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
        turn_on(),
        {"type": "input_audio_buffer.append", "audio": "QUJDREVG" * 1000},
        ASK,
        {"type": "response.create"},
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "tools": [{"type": "mcp", "authorization": "SECRET", "headers": {"x": "SECRET"}, "server_label": "a"}],
                "prompt": {"variables": {"photo": {"type": "input_image", "image_url": "data:QUJDREVG"}}},
            },
        },
    )
    text = json.dumps(lines(folder))
    assert "QUJD" not in text
    assert "SECRET" not in text
    assert "(6000 bytes)" in text
    deltas = [event["delta"] for event in sent if event["type"] == "response.output_audio.delta"]
    assert deltas
    assert all(delta[:40] not in text for delta in deltas)
    written = [
        line["server"] for line in lines(folder) if line.get("server", {}).get("type", "").endswith("audio.delta")
    ]
    assert len(written) == len(deltas)


async def test_what_is_nested_too_deeply_ends_neither_the_trace_nor_the_session(folder: Path) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = {"x": deep}
    sent = await converse(folder, turn_on(), turn_on({"metadata": deep}), ASK)
    assert sent[-1]["type"] == "conversation.item.done"
    assert lines(folder)[-1]["ended"] == "the session ended"


async def test_files_are_for_this_user_alone(folder: Path) -> None:
    await converse(folder, turn_on())
    (file,) = files(folder)
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (file, folder)] == [0o600, 0o700]


def update(text: str = "") -> SessionUpdate:
    return SessionUpdate(session={"instructions": text})


def test_a_trace_is_bounded_and_says_that_it_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 5000)
    traces = Traces(folder)
    trace = traces.open("sess_1")
    trace.follow("auto")
    for _ in range(100):
        trace.client(update("x" * 100))
    trace.close()
    traces.close()
    (file,) = folder.iterdir()
    assert 4000 < file.stat().st_size <= 5000
    assert read(file)[-1]["ended"] == "the trace has reached 5000 bytes"


def test_the_oldest_traces_make_room_and_other_files_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)
    folder.mkdir()
    (folder / "0.jsonl").write_text("mine")
    traces = Traces(folder)
    for number in range(5):
        trace = traces.open(f"sess_{number}")
        trace.follow(TracingConfig(group_id=str(number)))
        trace.close()
    traces.close()
    left = sorted(file.name.partition("-")[2] for file in folder.iterdir() if file.name != "0.jsonl")
    assert left == ["sess_2.jsonl", "sess_3.jsonl", "sess_4.jsonl"]
    assert (folder / "0.jsonl").read_text() == "mine"


def test_a_disk_that_is_full_leaves_whole_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.write, 0

    def write(descriptor: int, data: bytes) -> int:
        nonlocal written
        room = max(0, 1000 - written)
        written += len(data)
        return real(descriptor, data[:room])

    traces = Traces(folder)
    trace = traces.open("sess_1")
    trace.follow("auto")
    monkeypatch.setattr(module.os, "write", write)
    for _ in range(20):
        trace.client(update("x" * 100))
    trace.close()
    traces.close()
    (file,) = folder.iterdir()
    assert 0 < len(read(file)) < 20


def test_a_disk_that_is_slow_ends_a_trace_and_holds_up_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 2000)
    traces = Traces(folder)
    gate = module.threading.Event()
    make_room = module._make_room
    monkeypatch.setattr(module, "_make_room", lambda path: gate.wait(10) and make_room(path))
    trace = traces.open("sess_1")
    trace.follow("auto")
    for _ in range(100):
        trace.client(InputAudioBufferCommit())
    gate.set()
    trace.close()
    traces.close()
    (file,) = folder.iterdir()
    assert 2 < len(read(file)) < 50


def test_a_folder_that_cannot_be_written_to_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ParleyError, match="--traces"):
        Traces(tmp_path / "file")

"""Clients written before GA, against a real server: the `openai` package's own, and what it does not check itself."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import soxr
from openai import AsyncOpenAI

from pipeline.g711 import A_LAW, MU_LAW
from tests.e2e.client import RATE, Client, spoken, understood
from tests.e2e.conftest import Server
from tests.speech import silence
from tests.wire_checker import next_on

QUESTION = "what is your name"
TELEPHONE_FRAME = 160


class BetaClient(Client):
    """One session in beta."""

    async def send(self, **event: Any) -> None:
        await self.send_frame(json.dumps(event))

    async def send_frame(self, frame: str | bytes) -> None:
        """The package's beta connection has no way to send what is wrong, so its WebSocket is asked."""
        await self.connection._connection.send(frame)

    async def configure(self, **session: Any) -> None:
        count = len(self.wire.of_type("session.updated")) + 1
        await self.send(type="session.update", session=session)
        await self.wait_for("session.updated", count)

    def answers(self) -> list[str]:
        return [event["transcript"] for event in self.wire.of_type("response.audio_transcript.done")]

    def answer_bytes(self) -> bytes:
        return b"".join(base64.b64decode(event["delta"]) for event in self.wire.of_type("response.audio.delta"))

    async def write(self, text: str) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send(type="conversation.item.create", item=item)


@contextlib.asynccontextmanager
async def connect(port: int, model: str = "mini") -> AsyncIterator[BetaClient]:
    async with package(port).beta.realtime.connect(model=model) as connection:
        client = BetaClient(connection)  # type: ignore[arg-type]
        try:
            await client.wait_for("session.created")
            yield client
        finally:
            await client.close()


def package(port: int) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key="local", base_url=f"http://127.0.0.1:{port}/v1", websocket_base_url=f"ws://127.0.0.1:{port}/v1"
    )


async def test_the_packages_own_beta_client_talks(server: Server) -> None:
    """As its users write it: typed events, and the methods of the connection."""
    text = []
    async with package(server.port).beta.realtime.connect(model="echo") as connection:
        await connection.session.update(session={"modalities": ["text"], "temperature": 0.9})
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        )
        await connection.response.create()
        async with asyncio.timeout(15):
            async for event in connection:
                if event.type == "session.updated":
                    assert (event.session.modalities, event.session.temperature) == (["text"], 0.9)
                elif event.type == "response.text.delta":
                    text.append(event.delta)
                elif event.type == "error":
                    raise AssertionError(event.error)
                elif event.type == "response.done":
                    assert event.response.status == "completed"
                    assert event.response.usage is not None
                    break
    assert "".join(text).split() == ["You", "said", "hello."]


async def test_a_spoken_question_is_answered_in_sound(server: Server) -> None:
    async with connect(server.port) as client:
        client.open_microphone()
        client.say(spoken(QUESTION))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert understood(QUESTION, client.transcripts()[0])
        assert "parley" in client.answers()[0].lower()
        assert np.abs(np.frombuffer(client.answer_bytes(), "<i2")).max() > 1_000
        assert client.kinds[:2] == ["session.created", "conversation.created"]
        created = client.wire.events[0]["session"]
        assert created["temperature"] == 0.0, "what models.yaml says"


@pytest.mark.parametrize(("name", "law"), [("g711_ulaw", MU_LAW), ("g711_alaw", A_LAW)])
async def test_a_telephone_call(server: Server, name: str, law: Any) -> None:
    """G.711 both ways, in frames of 20 ms, as telephone systems send them."""
    async with connect(server.port, model="echo") as client:
        await client.configure(input_audio_format=name, output_audio_format=name)
        sound = np.concatenate((silence(0.3, RATE), spoken(QUESTION), silence(1.0, RATE)))
        codes = law.encode(soxr.resample(sound, RATE, 8_000))
        for start in range(0, len(codes), TELEPHONE_FRAME):
            audio = base64.b64encode(codes[start : start + TELEPHONE_FRAME]).decode()
            await client.send(type="input_audio_buffer.append", audio=audio)
        done = await client.wait_for("response.done")
        assert understood(QUESTION, client.transcripts()[0])
        stopped = await client.wait_for("input_audio_buffer.speech_stopped")
        assert 1_000 < stopped["audio_end_ms"] <= len(codes) // 8
        answer = client.answer_bytes()
        assert np.abs(law.decode(answer)).max() > 1_000
        tokens = done["response"]["usage"]["output_token_details"]["audio_tokens"]
        assert tokens == -(-len(answer) // 400), "one for 50 ms"
        (item,) = done["response"]["output"]
        end = {"type": "conversation.item.truncate", "item_id": item["id"], "content_index": 0}
        await client.send(**end, audio_end_ms=len(answer) // 8 + 1)
        assert (await client.wait_for("error"))["error"]["param"] == "audio_end_ms"
        await client.send(**end, audio_end_ms=700)
        await client.wait_for("conversation.item.truncated")


async def test_a_function_is_called_and_its_result_answered(server: Server) -> None:
    tool = {"type": "function", "name": "get_time", "description": "Tells the time.", "parameters": {"type": "object"}}
    async with connect(server.port) as client:
        await client.configure(tools=[tool], modalities=["text"])
        await client.write("what time is it")
        await client.send(
            type="response.create",
            response={"tool_choice": {"type": "function", "function": {"name": "get_time"}}},
        )
        (call,) = (await client.wait_for("response.done"))["response"]["output"]
        assert (call["type"], call["name"], call["status"]) == ("function_call", "get_time", "completed")
        done = await client.wait_for("response.function_call_arguments.done")
        assert json.loads(done["arguments"]) == json.loads(call["arguments"])
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "noon"}
        await client.send(type="conversation.item.create", item=output)
        await client.send(type="response.create", response={"tool_choice": "none"})
        second = (await client.wait_for("response.done", 2))["response"]
        assert second["status"] == "completed"
        assert second["output"][0]["content"][0]["text"]


async def test_a_reply_is_cancelled_and_truncated(server: Server) -> None:
    async with connect(server.port, model="slow") as client:
        await client.write("repeat 5")
        await client.send(type="response.create")
        delta = await client.wait_for("response.audio.delta", 8)
        await client.send(type="response.cancel")
        done = await client.wait_for("response.done")
        details = done["response"]["status_details"]
        assert (details["type"], details["reason"]) == ("cancelled", "client_cancelled")
        await client.send(
            type="conversation.item.truncate", item_id=delta["item_id"], content_index=0, audio_end_ms=300
        )
        truncated = await client.wait_for("conversation.item.truncated")
        assert truncated["audio_end_ms"] == 300
        await client.send(type="conversation.item.retrieve", item_id=delta["item_id"])
        item = (await client.wait_for("conversation.item.retrieved"))["item"]
        (content,) = item["content"]
        assert content["type"] == "audio"
        assert content["transcript"] != client.answers()[0]


async def test_a_failed_stage_is_told_with_its_details(server: Server) -> None:
    async with connect(server.port, model="slow") as client:
        await client.write("tts raise")
        await client.send(type="response.create")
        response = (await client.wait_for("response.done"))["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "tts_failed"


BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "nonsense"}, "invalid_value", "type"),
    ({"type": "session.update", "session": {"audio": {}}}, "unknown_parameter", "session.audio"),
    ({"type": "session.update", "session": {"voice": "nobody"}}, "invalid_value", "session.voice"),
    ({"type": "session.update", "session": {"temperature": 2}}, "invalid_value", "session.temperature"),
    ({"type": "response.create", "response": {"modalities": ["audio"]}}, "invalid_value", "response.modalities"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_not_found", "item_id"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
]


async def test_bad_events_are_answered_with_an_error_and_the_session_goes_on(server: Server) -> None:
    async with connect(server.port, model="echo") as client:
        for count, (event, code, param) in enumerate(BAD, start=1):
            await client.send(**event, event_id=f"e{count}")
            error = (await client.wait_for("error", count))["error"]
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
            assert error["event_id"] == f"e{count}"
        await client.send_frame(b"\x00\x01")
        await client.wait_for("error", len(BAD) + 1)
        await client.write("hi")
        await client.send(type="response.create")
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


@pytest.mark.parametrize(
    ("offered", "echoed"),
    [
        (("realtime", "openai-insecure-api-key.k", "openai-beta.realtime-v1"), "realtime"),
        (("openai-beta.realtime-v1",), "openai-beta.realtime-v1"),
    ],
)
async def test_a_browser_asks_for_it_by_subprotocol(server: Server, offered: tuple[str, ...], echoed: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{server.port}/v1/realtime", protocols=offered) as websocket,
    ):
        assert websocket.protocol == echoed
        created = next_on(websocket, await websocket.receive_json())
        assert created["session"]["modalities"] == ["text", "audio"]
        assert next_on(websocket, await websocket.receive_json())["type"] == "conversation.created"

"""Images and sound in items, from the `openai` package to a real server: to a model that sees, through real ears."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from openai import AsyncOpenAI

from tests.e2e.client import RATE, Client, connect, spoken, understood
from tests.e2e.conftest import Server, python_path, serving
from tests.engines import seeing_gguf
from tests.images import jpeg, picture, png, url
from tests.openai_endpoint import Endpoint

MINI = {
    "vad": {"engine": "silero"},
    "transcription": {"engine": "pocketsphinx"},
    "tts": {"engine": "espeak-ng", "voice": "en-us"},
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("seeing")
    service = {"engine": "openai", "base_url": endpoint.base_url, "model": "test"}
    eyes = {**service, "vision": True, "tell_thinking": "reasoning_effort"}
    own = {
        "engine": "llama-cpp",
        "model": str(seeing_gguf.write_seer(folder / "seer.gguf")),
        "projector": str(seeing_gguf.write_projector(folder / "projector.gguf")),
        "temperature": 0,
    }
    models = {
        "eyes": MINI | {"llm": eyes},
        "own": MINI | {"llm": own},
        "blind": MINI | {"llm": {**service, "context": 300}},
    }
    config = folder / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "eyes", "models": models}))
    with serving(config, list(models), folder, PYTHONPATH=python_path()) as server:
        yield server


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(content)}


TEXT = {"type": "input_text", "text": "What is this?"}


async def give(client: Client, item: dict[str, Any]) -> dict[str, Any]:
    count = len(client.wire.of_type("conversation.item.added")) + 1
    await client.send(type="conversation.item.create", item=item)
    added: dict[str, Any] = (await client.wait_for("conversation.item.added", count))["item"]
    return added


async def test_an_image_in_an_item_and_one_in_an_input_reach_the_model(seeing: Server, endpoint: Endpoint) -> None:
    drawing, photo = url(png(8, 8)), url(jpeg(), "image/jpeg")
    async with connect(seeing.port, model="eyes") as client:
        await client.configure(output_modalities=["text"], reasoning={"effort": "low"})
        item = await give(client, user(TEXT, {"type": "input_image", "image_url": drawing, "detail": "high"}))
        await client.send(type="response.create")
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        asked = endpoint.asked("chat")[-1].json
        assert asked["messages"][-1]["content"] == [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": drawing, "detail": "high"}},
        ]
        assert asked["reasoning_effort"] == "low"
        reference = {"type": "item_reference", "id": item["id"]}
        own = [reference, user({"type": "input_image", "image_url": photo, "detail": "low"})]
        await client.send(type="response.create", response={"conversation": "none", "input": own})
        await client.wait_for("response.done", 2)
        first, second = endpoint.asked("chat")[-1].json["messages"][1:]
        assert [part["type"] for part in first["content"]] == ["text", "image_url"]
        assert second["content"] == [{"type": "image_url", "image_url": {"url": photo, "detail": "low"}}]
        await client.send(type="conversation.item.retrieve", item_id=item["id"])
        assert (await client.wait_for("conversation.item.retrieved"))["item"]["content"][1]["image_url"] == drawing


async def test_a_model_in_the_process_says_what_it_sees(seeing: Server) -> None:
    red, blue = (url(picture(np.full((20, 20, 3), colour))) for colour in ((255, 0, 0), (0, 0, 255)))
    async with connect(seeing.port, model="own") as client:
        await client.configure(output_modalities=["text"])
        for count, image, expected in ((1, red, "red"), (2, blue, "blue")):
            own = [user(TEXT, {"type": "input_image", "image_url": image})]
            await client.send(type="response.create", response={"conversation": "none", "input": own})
            response = (await client.wait_for("response.done", count))["response"]
            assert response["output"][0]["content"][0]["text"] == expected
            details = response["usage"]["input_token_details"]
            assert details["image_tokens"] == 4
            assert details["image_tokens"] + details["text_tokens"] == response["usage"]["input_tokens"]
        damaged = {"type": "input_image", "image_url": url(picture(np.zeros((90, 90, 3)))[:-30])}
        await client.send(type="response.create", response={"conversation": "none", "input": [user(damaged)]})
        response = (await client.wait_for("response.done", 3))["response"]
        assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", "invalid_image")


async def test_a_model_that_does_not_see_says_so_and_the_session_goes_on(seeing: Server) -> None:
    async with connect(seeing.port, model="blind") as client:
        await client.send(
            type="conversation.item.create",
            event_id="mine",
            item=user({"type": "input_image", "image_url": url(png())}),
        )
        error = (await client.wait_for("error"))["error"]
        assert (error["param"], error["event_id"]) == ("item.content[0].type", "mine")
        assert "'blind' does not see" in error["message"]
        await give(client, user(TEXT))


async def test_images_over_http_reach_the_model_too(seeing: Server, endpoint: Endpoint) -> None:
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{seeing.port}/v1", api_key="local") as api:
        content: Any = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": url(png())}},
        ]
        await api.chat.completions.create(model="eyes", messages=[{"role": "user", "content": content}])
        (message,) = endpoint.asked("chat")[-1].json["messages"]
        assert message["content"][1]["image_url"] == {"url": url(png()), "detail": "auto"}


async def test_a_long_conversation_is_shortened_or_fails_as_the_client_wishes(
    seeing: Server, endpoint: Endpoint
) -> None:
    async with connect(seeing.port, model="blind") as client:
        await client.configure(output_modalities=["text"], instructions="Be brief.", truncation="disabled")
        for number in range(12):
            await give(client, user({"type": "input_text", "text": f"{number}: {'so it went ' * 12}"}))
            said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Oh."}]}
            await give(client, said)
        await give(client, user({"type": "input_text", "text": "And now?"}))
        await client.send(type="response.create")
        failed = (await client.wait_for("response.done"))["response"]
        assert (failed["status"], failed["status_details"]["error"]["code"]) == ("failed", "context_length_exceeded")
        await client.configure(truncation="auto")
        await client.send(type="response.create")
        assert (await client.wait_for("response.done", 2))["response"]["status"] == "completed"
        told = endpoint.asked("chat")[-1].json["messages"]
        assert (told[0]["content"], told[-1]["content"]) == ("Be brief.", "And now?")
        assert 3 <= len(told) < 20


async def test_speech_in_an_item_is_understood_before_it_is_answered(server: Server) -> None:
    question = "what is your name"
    async with connect(server.port, model="echo") as client:
        await client.configure(output_modalities=["text"])
        samples = np.concatenate([np.zeros(RATE // 4, np.int16), spoken(question), np.zeros(RATE // 4, np.int16)])
        audio = base64.b64encode(samples.astype("<i2").tobytes()).decode()
        item = await give(client, user({"type": "input_audio", "audio": audio}))
        await client.send(type="response.create")
        (part,) = (await client.wait_for("response.done"))["response"]["output"][0]["content"]
        (transcript,) = client.transcripts()
        assert understood(question, transcript)
        assert transcript in part["text"], "the model was told what was understood"
        await client.send(type="conversation.item.retrieve", item_id=item["id"])
        (content,) = (await client.wait_for("conversation.item.retrieved"))["item"]["content"]
        assert (content["audio"], content["transcript"]) == (audio, transcript)


async def test_a_second_of_silence_in_an_item_makes_the_model_speak(server: Server) -> None:
    async with connect(server.port) as client:
        await client.configure(output_modalities=["text"])
        await give(client, user({"type": "input_text", "text": "Hello."}))
        audio = base64.b64encode(bytes(2 * RATE)).decode()
        await give(client, user({"type": "input_audio", "audio": audio}))
        await client.send(type="response.create")
        response = (await client.wait_for("response.done"))["response"]
        assert response["status"] == "completed"
        assert response["output"]

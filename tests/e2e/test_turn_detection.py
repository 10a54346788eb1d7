"""Turn detection and noise reduction as an application sees them: a real server, and the package's client."""

import numpy as np

from tests.e2e.client import RATE, connect, spoken, understood
from tests.e2e.conftest import Server
from tests.speech import silence


async def test_the_default_pipeline_waits_for_the_end_of_a_sentence(server: Server) -> None:
    """The words are read: who has finished is answered before the four seconds that a pause may last."""
    async with connect(server.port, model="echo") as client:
        await client.configure(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
        (effective,) = [event["session"]["audio"]["input"] for event in client.wire.of_type("session.updated")]
        assert effective["turn_detection"]["eagerness"] == "auto"
        await client.append(np.concatenate((spoken("who made you"), silence(2, RATE))))
        await client.wait_for("input_audio_buffer.speech_stopped")  # no more silence comes than these two seconds
        await client.wait_for("response.done")
        assert understood("who made you", client.transcripts()[0])


async def test_speech_in_noise_is_understood_with_noise_reduction(server: Server) -> None:
    async with connect(server.port, model="echo") as client:
        await client.configure(audio={"input": {"noise_reduction": {"type": "near_field"}}})
        said = np.concatenate((silence(1, RATE), spoken("who made you"), silence(1, RATE)))
        noise = np.random.default_rng(0).standard_normal(len(said)) * 200
        await client.append((said + noise).astype(np.int16))
        await client.wait_for("response.done")
        assert understood("who made you", client.transcripts()[0])


async def test_a_user_who_says_nothing_is_spoken_to_again(server: Server) -> None:
    async with connect(server.port, model="echo") as client:
        detection = {"type": "server_vad", "idle_timeout_ms": 5_000}
        await client.configure(audio={"input": {"turn_detection": detection}}, output_modalities=["text"])
        client.open_microphone()
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        await client.send(type="conversation.item.create", item=item)
        await client.send(type="response.create")
        await client.wait_for("response.done")
        triggered = await client.wait_for("input_audio_buffer.timeout_triggered")
        assert 4_000 < triggered["audio_end_ms"] - triggered["audio_start_ms"] < 7_000
        done = await client.wait_for("response.done", 2)
        assert done["response"]["status"] == "completed"
        committed = await client.wait_for("input_audio_buffer.committed")
        assert committed["item_id"] == triggered["item_id"]

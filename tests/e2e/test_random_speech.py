"""Random speech with pauses of 50 to 900 ms: what speculation makes of it is what a server makes without it."""

import asyncio
import json
import random
from typing import Any

import numpy as np
import pytest

from server.timings import COUNTS_KEY, METADATA_KEY
from tests.e2e.client import FRAME, FRAME_S, RATE, Client, connect
from tests.e2e.conftest import Server
from tests.speech import UNDERSTOOD, say, silence

WORDS = sorted({word for sentence in UNDERSTOOD for word in sentence.split()} | {"russia", "capital", "ten", "count"})

SPEED = 4
"""How much faster than real time the user speaks: turns are counted in samples."""

Turn = tuple[str, str]


def speech(seed: int) -> tuple[Any, int]:
    """Random words with random pauses, int16 at 24 kHz, and where the last of them ends in it, in ms."""
    chance = random.Random(seed)
    parts = [silence(0.3, RATE)]
    for _ in range(chance.randint(2, 4)):
        parts += [say(" ".join(chance.sample(WORDS, chance.randint(1, 4))), RATE)]
        parts += [silence(chance.uniform(0.05, 0.9), RATE)]
    end = sum(len(part) for part in parts[:-1])
    return np.concatenate([*parts, silence(1.0, RATE)]), end * 1000 // RATE


async def hear_out(client: Client, sound: Any, end_ms: int) -> None:
    """Says it, and waits until all of it has been answered. While a turn is being answered, the user waits."""
    for start in range(0, len(sound), FRAME):
        await client.append(sound[start : start + FRAME])
        await asyncio.sleep(FRAME_S / SPEED)
        if committed := len(client.wire.of_type("input_audio_buffer.committed")):
            await client.wait_for("response.done", committed)
    while not any(event["audio_end_ms"] > end_ms for event in client.wire.of_type("input_audio_buffer.speech_stopped")):
        await client.append(silence(FRAME_S, RATE))
        await asyncio.sleep(FRAME_S / SPEED)
    await client.wait_for("response.done", len(client.wire.of_type("input_audio_buffer.speech_stopped")))


async def talk(server: Server, model: str, sound: Any, end_ms: int) -> tuple[list[Turn], list[dict[str, Any]]]:
    """Returns what was understood and answered, turn by turn, and the metadata of the responses."""
    async with connect(server.port, model=model, timings="true") as client:
        # Replies are heard to their end: how much of an interrupted one counts as heard depends on the clock.
        await client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
        await hear_out(client, sound, end_ms)
        responses = [event["response"] for event in client.wire.of_type("response.done")]
        said = [item["content"][0]["transcript"] for response in responses for item in response["output"]]
        assert [response["status"] for response in responses] == ["completed"] * len(responses)
        client.wire.end()
        return list(zip(client.transcripts(), said, strict=True)), [response["metadata"] for response in responses]


@pytest.mark.parametrize("seed", range(5))
async def test_words_and_replies_are_the_same_with_and_without_speculation(server: Server, seed: int) -> None:
    said = speech(seed)  # once: what the voice has said before shows in its noise
    (heard, metadata), (patiently, without) = await asyncio.gather(
        talk(server, "mini", *said), talk(server, "patient", *said)
    )
    assert heard == patiently
    assert all("begun" in json.loads(told[METADATA_KEY]) for told in metadata)
    assert not any("released" in json.loads(told[METADATA_KEY]) for told in without)
    assert not any(json.loads(told[COUNTS_KEY])["abandoned"] for told in without)


async def test_a_reply_that_was_begun_in_a_pause_is_given_up_without_a_trace(server: Server) -> None:
    """The cases above are about something, if the machine is fast enough: here there is time for it in any case."""
    async with connect(server.port, timings="true") as client:
        await client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 2000}}})
        client.open_microphone()
        client.say(np.concatenate([say("what is", RATE), silence(1.5, RATE), say("your name", RATE)]))
        done = await client.wait_for("response.done")
        assert json.loads(done["response"]["metadata"][COUNTS_KEY])["abandoned"] >= 1
        assert len(client.wire.of_type("response.created")) == len(client.answers()) == 1
        client.wire.end()

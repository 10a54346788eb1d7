"""The sound that a client gets is what its label says; what it cuts off is gone, for the client and for the model."""

import base64
from typing import Any

import av
import numpy as np
import pytest
import soxr

from tests.e2e.client import RATE, Client, connect
from tests.e2e.conftest import Server

TELEPHONE_RATE = 8_000
FORMATS = [
    ({"type": "audio/pcm", "rate": RATE}, 2 * RATE // 1000),
    ({"type": "audio/pcmu"}, TELEPHONE_RATE // 1000),
    ({"type": "audio/pcma"}, TELEPHONE_RATE // 1000),
]
"""With bytes a millisecond."""


async def ask(client: Client, text: str) -> dict[str, Any]:
    """Asks in writing; returns the response when it is done."""
    count = len(client.wire.of_type("response.done")) + 1
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await client.send(type="conversation.item.create", item=item)
    await client.send(type="response.create")
    done: dict[str, Any] = (await client.wait_for("response.done", count, timeout=30))["response"]
    assert done["status"] == "completed"
    return done


async def reply(server: Server, kind: dict[str, Any]) -> bytes:
    """The sound of the same words in a format."""
    async with connect(server.port, model="echo") as client:
        await client.configure(audio={"output": {"format": kind}})
        await ask(client, "one two three four five six seven")
        return sound(client)


def sound(client: Client) -> bytes:
    return b"".join(base64.b64decode(event["delta"]) for event in client.wire.of_type("response.output_audio.delta"))


def decoded(codes: bytes, codec: str) -> Any:
    """G.711 as FFmpeg understands it, int16."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate = TELEPHONE_RATE  # type: ignore[attr-defined]
    decoder.layout = "mono"  # type: ignore[attr-defined]
    frames = decoder.decode(av.Packet(codes))  # type: ignore[attr-defined]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


@pytest.mark.parametrize(("name", "codec"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
async def test_what_is_sent_as_g711_is_the_reply_at_8_khz(server: Server, name: str, codec: str) -> None:
    plain = np.frombuffer(await reply(server, {"type": "audio/pcm", "rate": RATE}), "<i2")
    wanted = soxr.resample(plain.astype(np.float64), RATE, TELEPHONE_RATE)
    heard = decoded(await reply(server, {"type": name}), codec).astype(np.float64)
    assert abs(len(heard) - len(wanted)) <= TELEPHONE_RATE // 100, "as long as the reply, to 10 ms"
    likeness = max(_likeness(wanted, heard, late) for late in range(-80, 81))
    assert likeness > 0.98, "the same sound, but for the noise of eight bits and the two filters"


def _likeness(one: Any, other: Any, late: int) -> float:
    one, other = one[max(0, -late) :], other[max(0, late) :]
    length = min(len(one), len(other))
    return float(np.corrcoef(one[:length], other[:length])[0, 1])


@pytest.mark.parametrize(("kind", "bytes_a_ms"), FORMATS, ids=[kind["type"] for kind, _ in FORMATS])
async def test_what_is_truncated_at_700_ms_ends_there_in_sound_and_words_and_for_the_model(
    server: Server, kind: dict[str, Any], bytes_a_ms: int
) -> None:
    async with connect(server.port, model="echo") as client:
        await client.configure(audio={"output": {"format": kind}})
        (item,) = (await ask(client, "one two three four five six seven repeat 3"))["output"]
        length_ms = len(sound(client)) // bytes_a_ms
        assert length_ms > 3_000
        words = words_until(client, 700 * bytes_a_ms)
        assert words
        cut = {"type": "conversation.item.truncate", "item_id": item["id"], "content_index": 0}
        await client.send(**cut, audio_end_ms=length_ms + 1, event_id="behind the end")
        assert (await client.wait_for("error"))["error"]["event_id"] == "behind the end"
        await client.send(**cut, audio_end_ms=700)
        await client.wait_for("conversation.item.truncated")
        await client.send(**cut, audio_end_ms=701, event_id="behind the cut")
        error = (await client.wait_for("error", 2))["error"]
        assert (error["event_id"], error["param"]) == ("behind the cut", "audio_end_ms")
        assert "700ms" in error["message"]
        await client.send(type="conversation.item.retrieve", item_id=item["id"])
        retrieved = (await client.wait_for("conversation.item.retrieved"))["item"]
        assert retrieved["content"][0]["transcript"] == words
        await ask(client, "recall what you said")
        assert client.answers()[-1].split() == words.split(), "what the model was told that it had said"


def words_until(client: Client, end: int) -> str:
    """What had been said by a byte of the sound: a clause's words come before its sound, and are spread over it."""
    clauses: list[tuple[str, int]] = []
    for event in client.wire.events:
        if event["type"] == "response.output_audio_transcript.delta":
            clauses.append((event["delta"], 0))
        if event["type"] == "response.output_audio.delta":
            text, size = clauses[-1]
            clauses[-1] = (text, size + len(base64.b64decode(event["delta"])))
    said, start = "", 0
    for text, size in clauses:
        if start + size > end:
            words = text.split()
            return said + " ".join(words[: len(words) * (end - start) // size])
        said, start = said + text, start + size
    return said

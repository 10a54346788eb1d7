"""Barge-in: whoever speaks over a reply that is still streaming ends it."""

from tests.e2e.client import RATE, connect, spoken, understood
from tests.e2e.conftest import Server


async def test_speaking_over_a_reply_ends_it_and_the_next_turn_works(server: Server) -> None:
    async with connect(server.port, model="slow") as client:
        client.open_microphone()
        client.say(spoken("who made you"))
        await client.wait_for("response.output_audio.delta", 5)
        client.say(spoken("how are you today"))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        assert done["response"]["output"][0]["status"] == "incomplete"
        first = done["response"]["id"]
        started = client.wire.of_type("input_audio_buffer.speech_started")[1]
        after = client.wire.events[client.wire.events.index(started) + 1 :]
        late = [e for e in after if e["type"] == "response.output_audio.delta" and e["response_id"] == first]
        assert not late, "no sound follows once the voice was heard"

        so_far = len(client.wire.of_type("response.output_audio.delta"))
        await client.wait_for("response.output_audio.delta", so_far + 3)
        assert understood("how are you today", client.transcripts()[1])
        assert client.answers()[0] != client.transcripts()[0]


async def test_without_interruption_the_reply_ends_and_then_the_rest_is_answered(server: Server) -> None:
    async with connect(server.port, model="slow") as client:
        detection = {"type": "server_vad", "interrupt_response": False}
        await client.configure(audio={"input": {"turn_detection": detection}})
        client.open_microphone()
        client.say(spoken("who made you"))
        await client.wait_for("response.output_audio.delta", 2)
        client.say(spoken("how are you today"))
        first = await client.wait_for("response.done", 1, timeout=20)
        assert first["response"]["status"] == "completed"
        await client.wait_for("conversation.item.input_audio_transcription.completed", 2)
        await client.send(type="response.cancel")
        second = await client.wait_for("response.done", 2)
        assert second["response"]["status_details"]["reason"] == "client_cancelled"
        first_words, then = client.transcripts()
        assert understood("who made you", first_words)
        assert understood("how are you today", then)


async def test_the_model_is_told_only_what_was_heard(server: Server) -> None:
    """A reply that was made in no time is interrupted while it plays: `echo` repeats what it is told."""
    async with connect(server.port, model="echo") as client:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "repeat 30"}]}
        await client.send(type="conversation.item.create", item=item)
        await client.send(type="response.create")
        done = await client.wait_for("response.done")
        item_id = done["response"]["output"][0]["id"]
        length_ms = len(client.answer_sound(done["response"]["id"])) * 1000 // RATE
        assert length_ms > 10_000
        await client.send(
            type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=length_ms + 1
        )
        error = await client.wait_for("error")
        assert error["error"]["param"] == "audio_end_ms"
        await client.send(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=700)
        await client.wait_for("conversation.item.truncated")
        await client.send(type="conversation.item.retrieve", item_id=item_id)
        retrieved = await client.wait_for("conversation.item.retrieved")
        said = retrieved["item"]["content"][0]["transcript"]
        assert client.answers()[0].startswith(said)
        assert len(said.split()) <= 4
